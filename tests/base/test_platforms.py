"""What can be known from one system about others: nothing needs what Windows lacks, and workers are spawned."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shelfbench.base import partial, stopping
from shelfbench.base.storage import write_text
from shelfbench.data.selection import write_at
from tests.helpers.sources import PYTHONPATH, ROOT


def as_on_windows(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tests.helpers.as_on_windows", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment | {"PYTHONPATH": PYTHONPATH},
    )


def test_every_module_is_imported_without_what_windows_lacks():
    done = as_on_windows("import")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200


@pytest.mark.slow
def test_a_run_and_a_decision_as_on_windows_with_spawned_workers(image_folder, tmp_path):
    cache = {"SHELFBENCH_CACHE": str(tmp_path / "cache")}
    run, decision = tmp_path / "run", tmp_path / "decision"
    study = ("run", "--dataset", image_folder, "--backend", "hog-svm", "--set", "hog.pixels=32", "--out", run)
    for words in (
        (*study, "--workers", 2),
        (*study, "--repair", "--workers", 1),
        ("report", run),
        ("decide", run, "hog-svm", "--precision", 0.5, "--out", decision),
        ("decide", run, "hog-svm", "--precision", 0.5, "--out", decision),  # which replaces the first
        ("classify", decision, image_folder, "--workers", 2),
        ("generate", tmp_path / "made", "--products", 64, "--workers", 2),
    ):
        done = as_on_windows(*words, **cache)
        assert done.returncode in ((0, 3, 4) if words[0] == "decide" else (0,)), done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.fixture
def windows(monkeypatch):
    """Folders are neither locked nor swapped, and a name that is taken is given to nothing else."""
    rename = Path.rename

    def renamed(self, target):
        if os.path.lexists(target):
            raise FileExistsError(str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(partial, "fcntl", None)
    monkeypatch.setattr(sys, "platform", "win32")


def test_a_folder_is_replaced_where_folders_cannot_be_swapped(tmp_path, windows):
    place = tmp_path / "decision"
    for content in ("first", "second"):
        with partial.aside_folder(place) as aside:
            (aside / "file").write_text(content)
            partial.put_folder(aside, place)
        assert (place / "file").read_text() == content
        assert [path.name for path in tmp_path.iterdir()] == ["decision"]


def test_what_is_still_open_is_left_for_the_next_sweep_and_the_error_is_shown(tmp_path, windows, monkeypatch):
    def unlink(self, missing_ok=False):
        raise PermissionError("it is open")

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(ValueError, match="what went wrong"), partial.aside_file(tmp_path / "file"):
        raise ValueError("what went wrong")


def test_text_has_the_same_bytes_on_every_system(tmp_path, monkeypatch):
    said = []
    written = Path.write_text

    def noting(self, text, **settings):
        said.append(settings)
        return written(self, text, **settings)

    monkeypatch.setattr(Path, "write_text", noting)
    write_text(tmp_path / "file", "a\nb\r\n")
    assert said == [{"encoding": "utf-8", "newline": "\n"}]
    assert (tmp_path / "file").read_bytes() == b"a\nb\r\n"


@pytest.mark.parametrize("placed", [True, False])
def test_bytes_are_written_at_their_place(tmp_path, monkeypatch, placed):
    if not placed:
        monkeypatch.delattr(os, "pwrite")
    with open(tmp_path / "file", "wb+") as file:
        for place, data in ((4, b"defg"), (0, b"abcd")):
            write_at(file.fileno(), memoryview(data), place)
    assert (tmp_path / "file").read_bytes() == b"abcddefg"


@pytest.mark.parametrize("system", ["posix", "nt"])
def test_a_signal_is_sent_again_without_ending_the_process(monkeypatch, system):
    sent = []
    monkeypatch.setattr(stopping.os, "kill", lambda process, number: sent.append(("kill", number)))
    monkeypatch.setattr(stopping.signal, "raise_signal", lambda number: sent.append(("raised", number)))
    monkeypatch.setattr(stopping.os, "name", system)
    stopping._send(2)
    monkeypatch.undo()
    assert sent == [("kill" if system == "posix" else "raised", 2)]
