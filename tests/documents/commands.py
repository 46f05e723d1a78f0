"""The commands that the documents show: fenced blocks without a language or of bash, and words in backticks."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.helpers.sources import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
PROGRAMS = ("shelfbench", "python", "nox", "pytest", "pip", "apt")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


@dataclass(frozen=True)
class Command:
    """A command of a page: its words, without what is set before it, and whether it stands in a block to copy."""

    page: str
    text: str
    words: tuple[str, ...]
    block: bool

    @property
    def verb(self) -> str:
        """The verb of shelfbench, or an empty text."""
        return self.words[1] if self.words[0] == "shelfbench" and len(self.words) > 1 else ""


def page_name(path: Path) -> str:
    """Name a page as it is written in links from the top."""
    return path.relative_to(ROOT).as_posix()


@cache
def blocks(path: Path) -> tuple[str, ...]:
    """The blocks of a page that are meant to be typed."""
    text = path.read_text(encoding="utf-8")
    return tuple(body for _, language, body in FENCE.findall(text) if language in ("", "bash"))


@cache
def inline(path: Path) -> tuple[str, ...]:
    """What stands in backticks outside of blocks."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return tuple(found.replace("\n", " ") for found in re.findall(r"`([^`]+)`", text))


@cache
def commands(path: Path) -> tuple[Command, ...]:
    """All commands of a page, in order: those of its blocks, then those within sentences."""
    found = [_command(path, line, True) for body in blocks(path) for line in body.splitlines()]
    found += [_command(path, text, False) for text in inline(path) if text.split()[0] in PROGRAMS]
    return tuple(command for parts in found for command in parts)


def _command(path: Path, line: str, block: bool) -> list[Command]:
    """Read a line; what is joined by && makes several."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="&>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    read = []
    for words in parts:
        while words and ASSIGNMENT.fullmatch(words[0]):
            words.pop(0)
        if words:
            text = " ".join(line.split()) if len(parts) == 1 else shlex.join(words)
            read.append(Command(page_name(path), re.sub(r" +# .*", "", text), tuple(words), block))
    return read
