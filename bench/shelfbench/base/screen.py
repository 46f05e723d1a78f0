"""Text on a screen: what a stranger's text may not do there, how wide it is, and how it folds."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import unicodedata
from typing import IO, cast

from shelfbench.base.errors import system_error

# Besides control characters: marks that turn the direction of the text around them, and a mark of byte order.
_TURNING = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
# C0, DEL and C1, the separators of lines and paragraphs, and halves of characters.
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_TURNING}\ud800-\udfff]")
_UNSAFE_IN_LINES = re.compile(f"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029{_TURNING}\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Before a command that is to be copied: such a line is not folded.
CODE = "    "
# Longest message on stderr: more is what someone gave, repeated.
_MESSAGE = 3000
# Longest line of notes below a table, for reading.
NOTE = 110


def printable(text: str) -> str:
    r"""Write control characters, line breaks and marks of direction as escapes, like ``\x1b``.

    Names of categories, files and products come from data. On a terminal, a control character in one could move the
    cursor, rewrite what was said before, or end the line.

    Parameters
    ----------
    text : str
        One line, or part of one.

    Returns
    -------
    str
        One line of plain characters.
    """
    return _UNSAFE.sub(_escape, text)


def shortened(message: str) -> str:
    """Leave out the middle of a message that repeats a long value; its beginning and the remedy at its end stay.

    Parameters
    ----------
    message : str

    Returns
    -------
    str
    """
    half = _MESSAGE // 2
    return message if len(message) <= _MESSAGE else f"{message[:half]} … {message[-half:]}"


def printable_lines(text: str) -> str:
    """Do the same for text of several lines, whose line feeds stay.

    Parameters
    ----------
    text : str
        Composed here; names in it have been through `printable` if they could contain a line feed.

    Returns
    -------
    str
    """
    return _UNSAFE_IN_LINES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def show(text: str, folds: bool = True) -> None:
    """Print lines on stdout, without control characters; on a terminal, sentences fold at blanks, commands do not."""
    width = screen_width() if folds else None
    try:
        for line in printable_lines(text).split("\n"):
            for part in [line] if width is None else _sentence(line, width):
                print(part)
    except BrokenPipeError:  # whoever read it has seen enough
        raise
    except OSError as error:
        raise system_error(error, "the output could not be written", "send it to another place") from error


def _sentence(line: str, width: int) -> list[str]:
    """Fold a line, keeping its indentation; leave it alone if a word, such as a path, would have to be divided."""
    body = line.lstrip(" ")
    indent = line[: len(line) - len(body)]
    room = width - len(indent)
    if line.startswith(f"{CODE}shelfbench ") or longest_word(body) > room:
        return [line]
    return [indent + part for part in folded(body, room)]


class _Screen(io.TextIOBase):
    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, line: str) -> int:
        """Write a whole line, whose end stays."""
        body = line.removesuffix("\n")
        self._stream.write(printable(body) + line[len(body) :])
        return len(line)


def on_screen(stream: IO[str]) -> IO[str]:
    """Make a stream for lines of data, such as CSV, whose control characters are escaped if it is a terminal.

    Parameters
    ----------
    stream : text stream

    Returns
    -------
    text stream
        `stream` itself if it is a file or a pipe: data stay as they are.
    """
    return cast(IO[str], _Screen(stream)) if stream.isatty() else stream


def screen_width() -> int | None:
    """Return the number of columns of the terminal behind stdout; None if stdout is something else."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return max(20, shutil.get_terminal_size().columns)


def is_terminal(stream: IO[str] | None) -> bool:
    """Tell whether a stream is a terminal that can move its cursor and show colours."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def width_of(text: str) -> int:
    """Count the columns that text takes on a terminal.

    Parameters
    ----------
    text : str
        One line.

    Returns
    -------
    int
        Wide characters (of Chinese, Japanese, Korean; emoji) count two, combining and invisible marks zero.
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def padded(text: str, width: int, right: bool = False) -> str:
    """Fill a line with blanks up to a width, on its left if it is to stand on the right."""
    blanks = " " * (width - width_of(text))
    return blanks + text if right else text + blanks


def longest_word(text: str) -> int:
    """Return the columns of the longest word, below which folding would have to cut it."""
    return max(map(width_of, text.split(" ")), default=0)


def folded(text: str, width: int) -> list[str]:
    """Fold a line at its blanks; only a word longer than the width is divided.

    Parameters
    ----------
    text : str
        One line.
    width : int
        In columns, at least 2.

    Returns
    -------
    list of str
        At least one line; without the blanks at which it was folded, they say what `text` says.
    """
    if width_of(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        if line and width_of(line) + 1 + width_of(word) <= width:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
        *whole, line = _divided(word, width)
        lines += whole
    return [*lines, line] if line or not lines else lines


def _divided(word: str, width: int) -> list[str]:
    pieces, taken = [""], 0
    for character in word:
        size = _columns(character)
        if taken + size > width:
            pieces.append("")
            taken = 0
        pieces[-1] += character
        taken += size
    return pieces
