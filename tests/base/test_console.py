"""What a command says while it works: on a terminal, in a pipe, quiet and verbose."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shelfbench.base.console as module
from shelfbench.base.console import Console
from tests.base.test_screen import Terminal, harmless


@pytest.fixture
def clock(monkeypatch):
    """Hold a clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def work(console, clock, seconds, units=10, total=100):
    with console.progress(total, "features of hog") as bar:
        for _ in range(total // units):
            clock[0] += seconds
            bar.update(units)


def test_outside_a_terminal_a_line_every_ten_seconds(capsys, clock):
    work(Console(), clock, seconds=4.0)
    assert capsys.readouterr().err.splitlines() == [
        "features of hog: 30 of 100 images, 28 s left",
        "features of hog: 60 of 100 images, 16 s left",
        "features of hog: 90 of 100 images, 4 s left",
    ]
    work(Console(), clock, seconds=500.0, units=25)
    assert capsys.readouterr().err.splitlines()[0] == "features of hog: 25 of 100 images, 25 min left"
    work(Console(), clock, seconds=0.9)
    work(Console(quiet=True), clock, seconds=60.0)
    assert capsys.readouterr().err == ""


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch, clock):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    work(Console(), clock, seconds=20.0, units=50)
    Console().warn("little memory")
    assert screen.getvalue() == "features of hog: 50 of 100 images, 20 s left\nwarning: little memory\n"


def test_verbose_says_how_long_a_stage_took(capsys, clock):
    for console in (Console(), Console(verbose=True), Console(quiet=True, verbose=True)):
        with console.stage("splitting"):
            pass
        console.detail("caches in /c")
        work(console, clock, seconds=0.1, units=50)
    assert capsys.readouterr().err.splitlines() == [
        "splitting: 0.0 s",
        "caches in /c",
        "features of hog, 100 images: 0.0 s",
    ]


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_colour_only_on_a_terminal_without_no_color(stream, monkeypatch):
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Console(quiet=True).warn("w")
    coloured = stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    Console(quiet=True).warn("w")
    assert stream.getvalue() == coloured + "warning: w\n"
    assert ("\x1b" in coloured) == stream.isatty()


@given(st.text(st.characters() | st.sampled_from("\n\r\x1b\x9b\u202e\u2028")))
def test_whatever_a_name_contains_a_message_is_one_harmless_line(name):
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", written)
        Console().log(f"category {name}")
        Console().warn(name)
        Console(verbose=True).detail(name)
    lines = written.getvalue().split("\n")
    assert len(lines) == 4
    assert all(map(harmless, lines))


def test_a_closed_stderr_is_silence_not_stdout(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    Console().warn("w")
    with Console().progress(10, "x") as bar:
        bar.update(10)
    assert capsys.readouterr().out == ""
