"""The members of a tar archive, by their headers alone: names, offsets and lengths (POSIX.1-2001, ustar and GNU)."""

from __future__ import annotations

import mmap
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from shelfbench.base.errors import InputError, first_line

_BLOCK = 512
_REGULAR = (b"0", b"\0", b"7")
# Records of an extended header that do not change which bytes a member has or what it is called.
_HARMLESS = (b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment")


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    offset: int
    length: int


def _blocks(length: int) -> int:
    return -(-length // _BLOCK) * _BLOCK


def _octal(field: bytes) -> int:
    return int(field.strip(b" \0") or b"0", 8)


def _only_times(records: bytes) -> bool:
    """Tell whether an extended header has harmless records only: ``LENGTH KEY=VALUE`` and a line feed each."""
    while records:
        digits, _, rest = records.partition(b" ")
        if not digits.isdigit() or not rest.partition(b"=")[0].startswith(_HARMLESS):
            return False
        records = records[int(digits) or len(records) :]
    return True


def members(path: Path, view: mmap.mmap) -> Iterator[Member]:
    """Go through the files of an archive in order; plain headers are read here, any other by the standard library.

    Parameters
    ----------
    path : Path
        For messages.
    view : mmap
        The archive.

    Yields
    ------
    Member

    Raises
    ------
    InputError
        If it is not a tar archive, or is truncated; the message names the offset of the first bad header.
    """
    at, size = 0, len(view)
    with ExitStack() as stack:
        slow: tarfile.TarFile | None = None
        while at < size:
            head = view[at : at + _BLOCK]
            if not head[0] and not head.strip(b"\0"):
                return
            try:
                if len(head) == _BLOCK and head[257:262] == b"ustar" and head[124] < 0x80:
                    kind, length = head[156:157], _octal(head[124:136])
                    if kind == b"x" and _only_times(view[at + _BLOCK : at + _BLOCK + length]):
                        at += _BLOCK + _blocks(length)
                        continue
                    if kind in _REGULAR:
                        name = head[:100].partition(b"\0")[0]
                        if head[262:263] == b"\0" and head[345]:
                            name = head[345:500].partition(b"\0")[0] + b"/" + name
                        yield _checked(path, Member(name.decode("utf-8"), at + _BLOCK, length), size)
                        at += _BLOCK + _blocks(length)
                        continue
                if slow is None:
                    slow = tarfile.TarFile(fileobj=stack.enter_context(open(path, "rb")))
                slow.fileobj.seek(at)
                info = tarfile.TarInfo.fromtarfile(slow)
            except (tarfile.HeaderError, tarfile.TarError, ValueError, OSError) as error:
                raise InputError(
                    f"{path}: bad header at byte {at} ({first_line(error)})",
                    "is this a tar archive without compression? if so, fetch it again",
                ) from None
            member = Member(info.name, info.offset_data, info.size)
            if info.isreg():
                yield _checked(path, member, size)
            at = info.offset_data + (
                _blocks(info.size) if info.isreg() or info.type not in tarfile.SUPPORTED_TYPES else 0
            )


def _checked(path: Path, member: Member, size: int) -> Member:
    if not member.name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in member.name):
        raise InputError(f"{path}: the name of {member.name!r} is not UTF-8", "write the archive with names in UTF-8")
    if member.offset + member.length > size:
        raise InputError(f"{path} is truncated: {member.name!r} ends beyond byte {size}", "fetch the archive again")
    return member
