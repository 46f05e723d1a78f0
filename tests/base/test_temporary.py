"""A command's temporary files are in a folder of its own, which goes with it; the next one removes a killed one's."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shelfbench.base.temporary import own_temporary_folder

KILLED = """
import os, signal, tempfile
from shelfbench.base.temporary import own_temporary_folder
with own_temporary_folder():
    tempfile.NamedTemporaryFile(prefix="__autograph_generated_file", delete=False)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_files_are_in_it_also_those_of_processes_that_are_started_and_it_goes_at_the_end(place):
    with own_temporary_folder():
        folder = Path(tempfile.gettempdir())
        assert folder.parent == place
        assert folder.stat().st_mode & 0o077 == 0, "nobody else may read what is in it"
        started = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
        assert subprocess.run(started, capture_output=True, text=True, check=True).stdout.strip() == str(folder)
        (folder / "left").touch()
    assert list(place.iterdir()) == []
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(place)


def test_the_next_command_removes_what_a_killed_one_left(place, monkeypatch):
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    (left,) = place.iterdir()
    assert len(list(left.iterdir())) == 1
    os.utime(left, (0, 0))
    monkeypatch.setattr("shelfbench.base.partial._swept", set())
    with own_temporary_folder():
        assert not left.exists()


def test_where_no_folder_can_be_made_the_system_s_is_used(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    with own_temporary_folder():
        assert tempfile.gettempdir() == "/proc/nowhere"
