"""Where files are kept, and how they get there: whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from shelfbench.base.errors import InputError, RunError, ShelfbenchError, system_error
from shelfbench.base.partial import aside_file, aside_folder, hold, put_folder
from shelfbench.base.using import cache_dir as cache_dir
from shelfbench.base.using import used

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# File systems allow 255 bytes; suffixes and the marks of unfinished files come on top.
_LONGEST = 180
# A disk, a user's share of it or a file that is full; and what NumPy's writers say, which do not set errno.
_NO_SPACE = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
_SHORT = ("free space", " requested and ")
# The umask; the system reveals it only when it is set.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def file_stem(name: str) -> str:
    """Return a name as the stem of a file: what some file system forbids is written as in an address, as ``%3A``.

    Parameters
    ----------
    name : str
        Of a backend, say, which may end in ``@timm:NAME`` or ``@PATH``.

    Returns
    -------
    str
        The name itself if it consists of letters, digits and ``@ + - . _ ~``; different for different names.
    """
    stem = quote(name, safe="@+")
    if len(stem) > _LONGEST:
        stem = f"{stem[: _LONGEST - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return stem


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a full or read-only disk into one line that names the place.

    Parameters
    ----------
    path : Path
        What is being written.

    Raises
    ------
    InputError
        If `path` cannot be written.
    RunError
        If the disk is full.
    """
    elsewhere = "choose another folder with --out, or with SHELFBENCH_CACHE for the cache"
    try:
        yield
    except PermissionError as error:
        raise InputError(f"no permission to write {error.filename or path}", elsewhere) from error
    except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise InputError(f"{error.filename or path} is in the way of a folder or file", elsewhere) from error
    except BrokenPipeError:  # stdout's
        raise
    except OSError as error:
        if error.errno in _NO_SPACE or (error.errno is None and any(said in str(error) for said in _SHORT)):
            raise _full(path) from error
        if error.errno in (errno.EROFS, errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL):
            raise InputError(f"cannot write {path} ({error.strerror})", elsewhere) from error
        if error.errno is None:  # of something else that is read on the way: a link, a store
            raise
        raise system_error(error, str(error.filename or f"cannot write {path}"), elsewhere) from error
    except ShelfbenchError:
        raise
    except Exception as error:  # safetensors wraps the system's error in its own
        said = str(error)
        if "No space left" in said or "quota exceeded" in said or "File too large" in said:
            raise _full(path) from error
        if "os error" in said or "I/O error" in said:
            raise RunError(f"cannot write {path} ({said.splitlines()[0][:160]})", elsewhere) from error
        raise


def _full(path: Path) -> RunError:
    return RunError(f"no space left on the disk while writing {path}", "free some space and run the same command again")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, sync it, and move it to its place.

    Parameters
    ----------
    path : Path
        The final place; its folder is created if necessary.
    write : callable
        Called with a temporary path of the same suffix in the same folder.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    RunError
        If the disk is full.
    """
    with whole_file(path) as aside, storage_errors(path):
        write(aside)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Have a file written aside by a block, which may do more than that; if it ends well, the file moves to its place.

    Parameters
    ----------
    path : Path
        The final place; its folder is created if necessary.

    Yields
    ------
    Path
        A temporary path of the same suffix in the same folder, to be written in `storage_errors`.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    RunError
        If the disk is full.
    """
    with ExitStack() as stack:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            used(path)
            path.parent.mkdir(parents=True, exist_ok=True)  # an old one may have been cleaned away before it was held
            aside = stack.enter_context(aside_file(path))
        yield aside
        with storage_errors(path):
            with open(aside, "rb+") as handle:
                hold(handle.fileno())
                os.fsync(handle.fileno())
            aside.chmod(0o666 & ~_UMASK)  # safetensors makes files readable by the owner only
            os.replace(aside, path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Have a folder filled aside by a block; if it ends well, the folder moves to its place.

    Parameters
    ----------
    path : Path
        The final place; a folder that is there is replaced, and stays as it is if the block fails.

    Yields
    ------
    Path
        An empty folder.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    RunError
        If the disk is full.
    """
    with storage_errors(path), aside_folder(path) as aside:
        yield aside
        put_folder(aside, path)


class LineFeeds:
    """A file for a CSV writer whose lines end with CR LF; they are written with LF alone.

    Python's writer quotes a carriage return in a value only if its own lines end with one, and readers would take an
    unquoted one for the end of a line.
    """

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle

    def write(self, line: str) -> None:
        """Write one line.

        Parameters
        ----------
        line : str
        """
        self._handle.write(line.removesuffix("\r\n") + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, with the same ends of lines on every system, whole or not at all; see `write_whole`."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON (indented, keys in the given order), whole or not at all; see `write_whole`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def load_json(path: Path) -> Any:
    """Read JSON.

    Parameters
    ----------
    path : Path

    Returns
    -------
    object

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not JSON, or is nested too deeply to be read.
    """
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """Read JSON that a stranger may have written.

    Parameters
    ----------
    text : str or bytes

    Returns
    -------
    object

    Raises
    ------
    ValueError
        If it is not JSON, is nested too deeply to be read, or holds half a character.
    """
    try:
        value = json.loads(text)
        if (b"\\ud" if isinstance(text, bytes) else "\\ud") in text.lower():  # type: ignore[operator]
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_parquet(path: Path, table: pa.Table | pd.DataFrame) -> None:
    """Write a Parquet file (zstd), whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    write_whole(path, lambda aside: pq.write_table(whole, aside, compression="zstd"))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Return a hash of a JSON value that does not depend on the order of keys (32 hexadecimal digits)."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
