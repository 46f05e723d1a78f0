"""Whatever the system refuses is one line with a remedy, and never called a bug."""

import errno
import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import shelfbench
from shelfbench.base.errors import InputError, RunError, explain
from shelfbench.base.storage import storage_errors
from shelfbench.cli.main import main

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
