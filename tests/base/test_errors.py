"""Whatever the system refuses is one line with a remedy, and never called a bug."""

import errno
import importlib
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import shelfbench
from shelfbench.base.errors import InputError, NotInstalled, RunError, explain
from shelfbench.base.storage import storage_errors
from shelfbench.cli.main import main

AGAIN = "reinstall it: python -m pip install --force-reinstall engine_x"
REFUSALS = sorted(errno.errorcode)


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize("named", [True, False])
def test_no_error_of_the_system_is_called_a_bug(number, named):
    error = OSError(number, os.strerror(number), *(["some/file"] if named else []))
    found = explain(error)
    assert isinstance(found, (InputError, RunError))
    assert found.remedy
    assert os.strerror(number) in str(found)
    assert "some/file" in str(found) or not named
    assert "\n" not in str(found)
    assert "bug" not in str(found)


@pytest.mark.parametrize(
    "number", [n for n in REFUSALS if n not in (errno.EPIPE, errno.ESHUTDOWN)], ids=errno.errorcode.get
)
def test_what_cannot_be_written_is_named_with_its_place(number):
    with pytest.raises((InputError, RunError)) as caught, storage_errors(Path("out/x.parquet")):
        raise OSError(number, os.strerror(number))
    assert "out/x.parquet" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("said", ["No space left on device (os error 28)", "File too large (os error 27)"])
def test_the_systems_error_inside_a_librarys_is_seen(said):
    with pytest.raises(RunError, match="no space left on the disk while writing out/x"), storage_errors(Path("out/x")):
        raise ValueError(f"Error while serializing: I/O error: {said}")


@pytest.mark.parametrize("said", ["160 requested and 32 written", "not enough free space to write 80 bytes"])
def test_numpys_words_for_a_full_disk_are_understood(said):
    with pytest.raises(RunError, match="no space left on the disk while writing out/x"), storage_errors(Path("out/x")):
        raise OSError(said)


def test_names_that_are_not_utf_8_are_named(tmp_path, capsys):
    with pytest.raises(UnicodeEncodeError) as caught:
        "out/o\udcff1".encode()
    assert "out/o\\udcff1" in str(explain(caught.value))
    assert main(["report", str(tmp_path / "o\udcff1")]) == 2
    assert "o\\udcff1' is not UTF-8; rename it" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"path is .* which is not UTF-8"):
        shelfbench.load_run(tmp_path / "o\udcff1")


def test_memory_workers_and_circles_are_not_bugs():
    for error in (MemoryError(), BrokenProcessPool(), RuntimeError("Symlink loop from 'a/b'")):
        assert "bug" not in str(explain(error))
    assert str(explain(RuntimeError("Symlink loop from 'a/b'"))).startswith("'a/b': too many levels of symbolic links")


NATIVE = """
import traceback
try:
    raise ImportError("libstdc++.so.6: cannot open shared object file: No such file or directory")
except ImportError:
    raise ImportError(f"{traceback.format_exc()}\\n\\nFailed to load the native runtime.\\nSee https://example.org")
"""


@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        ("from engine_x.python import tf2", "engine_x 1.2 is installed, but cannot be loaded (No module named", AGAIN),
        ("from engine_x import core", "cannot be loaded (cannot import name 'core' from", AGAIN),
        (NATIVE, "cannot be loaded (libstdc++.so.6: cannot open", f"install libstdc++.so.6 on this system, or {AGAIN}"),
        (
            "import ctypes; ctypes.CDLL('libx.so.9')",
            "(libx.so.9: cannot",
            f"install libx.so.9 on this system, or {AGAIN}",
        ),
        ("import absent_x", "absent_x is not installed, and engine_x 1.2", "python -m pip install absent_x"),
        (None, "loaded (module 'engine_x' has no attribute 'ops')", AGAIN),
    ],
)
def test_an_engine_that_is_installed_only_in_part_is_named_with_its_remedy(tmp_path, monkeypatch, code, said, remedy):
    monkeypatch.syspath_prepend(tmp_path)
    # reading what is installed takes a second
    monkeypatch.setattr("shelfbench.base.loading.packages_distributions", lambda: {"engine_x": ["engine_x"]})
    about = tmp_path / "engine_x-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: engine_x\nVersion: 1.2\n")
    (about / "top_level.txt").write_text("engine_x\n")
    (tmp_path / "engine_x").mkdir()
    if code:
        (tmp_path / "engine_x" / "__init__.py").write_text(code)
    # another package, or a module of one's own, is where it shows
    (tmp_path / "above_x.py").write_text("import engine_x; engine_x.ops")
    monkeypatch.delitem(sys.modules, "engine_x", raising=False)
    with pytest.raises((ImportError, OSError, AttributeError)) as caught:
        importlib.import_module("above_x")
    found = explain(caught.value)
    assert isinstance(found, NotInstalled)
    assert said in found.message
    assert "\\n" not in found.message
    assert "circular" not in found.message
    assert found.remedy == remedy


def test_what_is_missing_is_named_and_a_slip_in_ones_own_module_is_not_blamed_on_a_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("shelfbench.base.loading.packages_distributions", dict)
    (tmp_path / "mine_x.py").write_text("import absent_x")
    for work, kind in (
        (lambda: importlib.import_module("mine_x"), RunError),
        (lambda: exec("import absent_x", {"__name__": "shelfbench.some"}), NotInstalled),
        (lambda: os.nothing, RunError),
        (lambda: importlib.import_module("shelfbench.nothing"), RunError),
    ):
        with pytest.raises((ImportError, AttributeError)) as caught:
            work()
        assert type(explain(caught.value)) is kind
