"""Reading files that a stranger may have written: size, kind and structure are checked before anything is used."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.base.storage import storage_errors

REMEDY = "do not use it; make it again with shelfbench decide"
# The deepest nesting of JSON.
DEPTH = 24
# The longest header of a safetensors file, in bytes; thousands of arrays take less than a mebibyte.
_HEADER = 8 << 20
T = TypeVar("T")
_BYTES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8},
    **{"F16": 2, "F32": 4, "F64": 8},
}
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)


def refuse(where: Path | str, problem: str) -> NoReturn:
    """Raise the one line that names a file and says what to do.

    Parameters
    ----------
    where : Path or str
        The file.
    problem : str
        What is wrong with it, as the rest of a sentence that starts with its name.

    Raises
    ------
    InputError
        Always.
    """
    raise InputError(f"{where} {problem}", REMEDY)


def copy_known(
    folder: Path, into: Path, limits: Mapping[str, int], only: Collection[str] | None = None
) -> dict[str, str]:
    """Copy the files of a folder into one of our own, hashing them on the way.

    Parameters
    ----------
    folder : Path
        Not trusted: its contents may change while they are read.
    into : Path
        An empty folder of this process; everything is read from here later.
    limits : mapping of str to int
        The names allowed, and the largest size of each in bytes.
    only : collection of str, optional
        Leave the other files where they are.

    Returns
    -------
    dict of str to str
        SHA-256 of each file that was copied, by name.

    Raises
    ------
    InputError
        If there is anything else, or a file is a link, not a regular file, or too large.
    RunError
        If there is no space for the copy.
    """
    if not folder.is_dir():
        reason = "is a file, and a decision is a folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {reason}", "name the folder that shelfbench decide wrote")
    with os.scandir(folder) as entries:
        # what systems leave behind (.DS_Store, ._model.json) is not read
        names = sorted(entry.name for entry in entries if not (entry.name.startswith(".") and _plain(entry)))
    strangers = [name for name in names if name not in limits]
    if strangers:
        refuse(folder / shown(strangers[0]), "is not part of a decision")
    hashes = {}
    for name in names if only is None else [name for name in names if name in only]:
        with storage_errors(into):
            hashes[name] = _copy(folder / name, into / name, limits[name])
    return hashes


def _plain(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _copy(source: Path, target: Path, limit: int) -> str:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if source.is_symlink():
            refuse(source, "is a link")
        handle = os.open(source, flags)
    except OSError as error:
        refuse(source, f"cannot be opened ({error.strerror})")
    state = hashlib.sha256()
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        refuse(source, "is not a regular file")
    with open(handle, "rb") as opened:
        if found.st_size > limit:
            refuse(source, f"has {found.st_size:,} bytes, more than the {limit:,} allowed")
        with open(target, "xb") as copy:
            left = limit
            while block := opened.read(1 << 20):
                left -= len(block)
                if left < 0:
                    refuse(source, f"has more than the {limit:,} bytes allowed")
                state.update(block)
                copy.write(block)
    return state.hexdigest()


def strict_json(data: bytes, where: Path | str) -> Any:
    """Read JSON of bounded depth, without duplicate keys, non-finite numbers, or halves of characters.

    Parameters
    ----------
    data : bytes
    where : Path or str
        The file, for messages.

    Returns
    -------
    object
        Dictionaries, lists, text, numbers, booleans and None.

    Raises
    ------
    InputError
        If it is anything else.
    """
    depth = deepest = 0
    for token in _TOKENS.finditer(data):
        kind = data[token.start()]
        depth += (kind in b"[{") - (kind in b"]}")
        deepest = max(deepest, depth)
    if deepest > DEPTH:
        refuse(where, f"is nested {deepest} levels deep")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            twice = next(name for name, count in Counter(name for name, _ in items).items() if count > 1)
            raise ValueError(f"the key {shown(twice)!r} appears twice")
        return found

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"{text[:20]} is not a finite number")
        return value

    def constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is not a finite number")

    try:
        values = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_float=number, parse_constant=constant)
        if b"\\u" in data:  # an escape can denote half a character, which cannot be encoded in UTF-8
            json.dumps(values, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:  # invalid UTF-8 and overlong numbers raise ValueError
        refuse(where, f"is not valid JSON ({shown(str(error))})")
    return values


def typed(values: Any, kind: type[T], where: Path | str, what: str) -> T:
    """Make a typed model of what `strict_json` read.

    Parameters
    ----------
    values : object
    kind : type
        A `msgspec.Struct` that forbids unknown fields.
    where : Path or str
        The file, for messages.
    what : str
        What the file should be, with its article.

    Returns
    -------
    kind

    Raises
    ------
    InputError
        If a field is missing, unknown, of another type or out of its range.
    """
    try:
        return msgspec.convert(values, kind)
    except (msgspec.ValidationError, ShelfbenchError, OverflowError, RecursionError) as error:
        reason = error.message if isinstance(error, ShelfbenchError) else str(error)
        refuse(where, f"is not {what} ({shown(reason, 200)})")


def check_safetensors(path: Path, where: Path | str) -> None:
    """Check the header of a safetensors file: types, shapes and offsets, against the size of the file.

    Parameters
    ----------
    path : Path
        The copy to read.
    where : Path or str
        The file, for messages.

    Raises
    ------
    InputError
        If the arrays do not fill the file exactly, without overlap, each as large as its shape and type say.
    """
    size = path.stat().st_size
    with open(path, "rb") as handle:
        start = handle.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(_HEADER, size - 8):
            refuse(where, "is not a safetensors file: its header is longer than allowed")
        header = strict_json(handle.read(length), where)
    if not isinstance(header, dict):
        refuse(where, "is not a safetensors file: its header is not an object")
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(value, str) for value in notes.values()):
        refuse(where, "has metadata that is not text")
    spans = sorted(_span(name, entry, where) for name, entry in header.items())
    at = 0
    for begin, end in spans:
        if begin != at:
            refuse(where, "contains arrays that overlap or leave gaps")
        at = end
    if at != size - 8 - length:
        refuse(where, f"declares {at:,} bytes of arrays and contains {size - 8 - length:,}")


def _span(name: str, entry: Any, where: Path | str) -> tuple[int, int]:
    """Check the offsets of one array against its type and shape, and return them."""
    label = shown(name)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        refuse(where, f"describes the array {label!r} in an unknown way")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _BYTES:
        refuse(where, f"declares the array {label!r} of type {shown(str(kind))!r}")
    if not _whole(shape) or len(shape) > 8 or not _whole(offsets) or len(offsets) != 2:
        refuse(where, f"gives the array {label!r} an invalid shape or invalid offsets")
    if offsets[1] - offsets[0] != math.prod(shape) * _BYTES[kind]:
        refuse(where, f"gives the array {label!r} the shape {shown(str(shape))}, which its bytes do not fill")
    return offsets[0], offsets[1]


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def shown(text: str, most: int = 60) -> str:
    """Make a stranger's text short and printable.

    Parameters
    ----------
    text : str
    most : int
        Number of characters to keep.

    Returns
    -------
    str
    """
    short = text if len(text) <= most else text[: most - 3] + "..."
    return short.encode("unicode_escape").decode() if not short.isprintable() else short
