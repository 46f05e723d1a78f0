"""What killed processes leave is swept by whoever writes there next; what is being written is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shelfbench.base import partial
from shelfbench.base.partial import aside_file, aside_folder, aside_of, put_folder, sweep
from shelfbench.base.storage import write_text

_WRITER = """
import sys, time
from pathlib import Path
from shelfbench.base.partial import aside_file, aside_folder
with aside_file(Path(sys.argv[1]) / "a.txt") as file, aside_folder(Path(sys.argv[1]) / "b") as folder:
    (folder / "inside").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def _aged(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 60,) * 2)


def _partial(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.startswith(".partial-"))


def test_files_of_a_killed_process_are_swept_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        begun = _partial(tmp_path)
        _aged(*begun)
        assert len(begun) == 2
        assert sweep(tmp_path) == 0
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert _partial(tmp_path) == begun
    assert sweep(tmp_path) == 2
    assert not _partial(tmp_path)


def test_nothing_else_is_swept(tmp_path: Path) -> None:
    kept = [
        ".partial-mine",
        ".partial-0123456789ab.txt",
        "partial-0123456789ab-a",
        ".partial-0123456789AB-a",
        ".hidden",
    ]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / ".partial-0123456789ab-link").symlink_to(tmp_path / ".hidden")
    os.mkfifo(tmp_path / ".partial-0123456789ab-pipe")
    _aged(*tmp_path.iterdir())
    assert sweep(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == len(kept) + 2


def test_a_file_of_the_future_is_swept_and_one_of_this_moment_is_left(tmp_path: Path) -> None:
    future, now = aside_of(tmp_path / "a"), aside_of(tmp_path / "b")
    future.touch()
    now.touch()
    os.utime(future, (time.time() + 9999,) * 2)  # the clock was set back
    assert sweep(tmp_path) == 1
    assert _partial(tmp_path) == [now]


def test_where_there_are_no_locks_only_what_is_a_day_old_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    young, old = aside_of(tmp_path / "a"), aside_of(tmp_path / "b")
    for path, age in ((young, 3600), (old, 90_000)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    monkeypatch.setattr(partial.fcntl, "flock", refuse)
    assert sweep(tmp_path) == 1
    assert _partial(tmp_path) == [young]


def test_writing_sweeps_the_folder_once(tmp_path: Path) -> None:
    left = [aside_of(tmp_path / "a"), aside_of(tmp_path / "b")]
    left[0].touch()
    _aged(left[0])
    write_text(tmp_path / "c", "1")
    assert not left[0].exists()
    left[1].touch()
    _aged(left[1])
    write_text(tmp_path / "c", "2")
    assert left[1].exists()


@pytest.mark.parametrize("swap", [True, False])
def test_a_folder_replaces_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: bool) -> None:
    if not swap:
        monkeypatch.setattr(partial, "_exchanged", lambda *_: False)
    for text in ("old", "new"):
        with aside_folder(tmp_path / "there") as aside:
            (aside / text).touch()
            put_folder(aside, tmp_path / "there")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["new"]
    assert not _partial(tmp_path)


def test_what_failed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), aside_file(tmp_path / "a"), aside_folder(tmp_path / "b"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
