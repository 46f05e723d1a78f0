"""Commands on a real terminal and in a pipe: tables fold or are whole, and no name does anything."""

import os
import subprocess
import sys

import pytest

from shelfbench.base.screen import width_of
from tests.base.test_screen import harmless
from tests.helpers.photos import noise_picture
from tests.helpers.synthetic_run import make_run

pty = pytest.importorskip("pty")
HOSTILE = ("ev\x1b[2J\nil", "right\u202eleft\u2028", "bell\x07\x9b31m")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("terminal") / "run", products=400, categories=12)


def command(*words):
    return [sys.executable, "-m", "shelfbench.cli.main", *map(str, words)]


def piped(*words):
    """Run a command in a pipe; return stdout and stderr."""
    done = subprocess.run(command(*words), capture_output=True, check=True)
    return done.stdout.decode(), done.stderr.decode()


def typed(columns, *words, **environment):
    """Run a command on a terminal of some columns; return what it wrote, without its carriage returns at line ends."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        command(*words),
        stdin=slave,
        stdout=slave,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **environment},
    ) as running:
        os.close(slave)
        written = b""
        try:
            while block := os.read(master, 1 << 16):
                written += block
        except OSError:  # Linux says so that the other end is closed
            pass
        os.close(master)
        assert running.wait() == 0
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [60, pytest.param(110, marks=pytest.mark.slow)])
def test_a_table_folds_on_a_terminal_and_is_whole_in_a_pipe(run, columns):
    words = ("compare", run, "--resamples", 50)
    whole, _ = piped(*words)
    shown = typed(columns, *words)
    assert max(map(width_of, shown.splitlines())) <= columns
    assert shown.split("─")[-1].split() == whole.split("─")[-1].split(), "the notes say the same"
    for text in (whole, shown):
        assert "…" not in text
        assert "bottleneck-2nn-4096" in "".join(text.split())


def test_no_name_of_a_category_does_anything(tmp_path):
    shop = tmp_path / "shop\x1b]0;title\x07"
    for number, name in enumerate(HOSTILE):
        (shop / name).mkdir(parents=True)
        for photo in range(24):
            (shop / name / f"{photo}\x1b[31m.png").write_bytes(noise_picture(24 * number + photo))
    (shop / HOSTILE[0] / "broken\x1b[0m.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ["--set", "hog.pixels=48", "--set", "hog.cells=8", "--set", "svm.C=[0.01]", "--workers", 1, "--verbose"]
    out, err = piped("run", "--dataset", shop, "--out", tmp_path / "run", "--backend", "hog-svm", *words)
    assert "shop\\x1b]0;title\\x07" in err
    for text in (out, err):
        assert all(map(harmless, text.split("\n")))
    assert harmless(typed(200, "compare", "--help").replace("\n", ""))
