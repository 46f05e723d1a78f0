"""Tests on the same products to certify on are counted: whoever picks the best of many is right less often.

Each test that `shelfbench.decide` makes on a run leaves a line in ``tries.jsonl`` of the run's directory; the same
question asked again is not another test. The probability that the promises of all of them are kept is at least
1 - sum(1 - level) (Bonferroni), and no more can be said of one that is picked among them. Named together beforehand
(`decide_family`), several tests share what one would have. Draws of one study (``run --seeds``) share their data, so
the tests on all of them are counted together.

A test is written down first, and what all of them leave is read afterwards: of two commands at the same time, at least
one sees the test of the other.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.errors import READ_ONLY, InputError
from shelfbench.base.grid import number_of, promise
from shelfbench.base.storage import fingerprint
from shelfbench.decision.ladder import LadderRuling
from shelfbench.decision.rule import Requirement, Ruling, Verdict
from shelfbench.runs.draws import DRAWS

FILE = "tries.jsonl"
_NEW = "certify on further labelled products: run the study again, with them, in another directory"


@dataclass(frozen=True)
class Tries:
    """The tests that were made on the products of one run that certify.

    Attributes
    ----------
    path : Path
        Their file.
    made : tuple of mapping
        Different questions, in the order in which they were asked; each has its ``level``.
    elsewhere : tuple of mapping
        Those that were asked of other draws of the same study.
    unnoted : bool
        Whether the file cannot be written, so that tests may have been made which it lacks.
    """

    path: Path
    made: tuple[Mapping[str, Any], ...]
    elsewhere: tuple[Mapping[str, Any], ...] = ()
    unnoted: bool = False

    @classmethod
    def of(cls, folder: Path) -> Tries:
        """Read the tests that were made so far.

        Parameters
        ----------
        folder : Path
            The run's directory.

        Returns
        -------
        Tries

        Raises
        ------
        InputError
            If the file is damaged or is not a file.
        """
        path = folder / FILE
        others = [one for draw in _other_draws(folder) for one in _read(draw / FILE)]
        return cls(path, _read(path), tuple(others))

    def also(self, questions: Sequence[Mapping[str, Any]]) -> Tries:
        """Return these tests and others that are made now."""
        new: list[Mapping[str, Any]] = []
        for question in questions:
            new += [question] * (question not in self.made and question not in new)
        return replace(self, made=(*self.made, *new))

    def save(self, console: Console) -> Tries:
        """Write down the tests that the file lacks.

        Parameters
        ----------
        console : Console
            Warns where the run may only be read, as in an archive.

        Returns
        -------
        Tries
            All tests that were made by now, also by other commands meanwhile.

        Raises
        ------
        InputError
            If the file is damaged, or cannot be written for another reason.
        """
        known = _read(self.path)
        lines = "".join(json.dumps(made) + "\n" for made in self.made if made not in known)
        try:
            _append(self.path, lines)
        except OSError as error:
            remedy = "copy the run to where it can be written, and decide there"
            said = f"{self.path} cannot be written ({error.strerror or error})"
            if error.errno not in READ_ONLY:
                raise InputError(f"{said}, so this test would not be counted", remedy) from None
            console.warn(f"{said}: this test is not counted, and what is promised says so; {remedy}")
            return replace(self, unnoted=True)
        return Tries.of(self.path.parent)

    @property
    def left(self) -> float:
        """Least probability with which the promises of all of these tests are kept."""
        every = (*self.made, *self.elsewhere)
        missed = sum((1 - Fraction(str(made["level"])) for made in every), Fraction(0))
        return float(max(1 - missed, Fraction(0)))


def _other_draws(folder: Path) -> list[Path]:
    """List the other draws of the study that a run is a draw of; none if it is a run by itself."""
    own = folder.resolve()
    if not re.fullmatch("seed-[0-9]+", own.name) or not (own.parent / DRAWS).is_file():
        return []
    return [draw for draw in sorted(own.parent.glob("seed-*")) if draw.resolve() != own and draw.is_dir()]


def _read(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read the different questions of a file; blank lines and a missing end of the last line lose none."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        what = "a link" if path.is_symlink() else "not a file"
        raise InputError(f"{path} is {what}, so that no test would be counted", "put a file in its place, or delete it")
    try:  # only a line feed ends a line, whatever else a name contains
        lines = path.read_text(encoding="utf-8-sig").split("\n") if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})", _damaged(path)) from None
    made: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)  # a name may hold half a character, which `parse_json` refuses
            if not 0 < float(found["level"]) < 1:
                raise ValueError
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{path}: line {number} is damaged", _damaged(path)) from None
        made += [found] * (found not in made)
    return tuple(made)


def _append(path: Path, lines: str) -> None:
    """Write lines at the end of a file; without any, only see whether it can be written."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with open(handle, "rb+", buffering=0) as file:
        if not lines:
            return
        size = file.seek(0, os.SEEK_END)
        if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
            lines = "\n" + lines
        content = lines.encode()  # at once, so that two commands lose none of their lines
        if file.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _damaged(path: Path) -> str:
    return f"restore {path.name} from a backup of the run: it counts what was tested on the same products"


def shared(required: Requirement, tests: int) -> Requirement:
    """Divide what a test may miss among several, so that all of them together miss no more.

    Parameters
    ----------
    required : Requirement
    tests : int

    Returns
    -------
    Requirement
    """
    if tests < 2:
        return required
    return replace(required, level=float(1 - (1 - Fraction(str(required.level))) / tests))


def questions(
    required: Requirement, asked: Sequence[tuple[str, str]], rungs: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Describe tests, so that the same ones are known again.

    Parameters
    ----------
    required : Requirement
        What is required in each.
    asked : sequence of (str, str)
        Backends and measures.
    rungs : sequence of str
        A ladder's rungs with their targets; empty without one.

    Returns
    -------
    list of dict
        JSON.
    """
    flow = required.flow
    rest = {
        "precision": str(required.target),
        "level": required.level,
        "all_categories": required.all_categories,
        "walk": required.walk,
        **({"rungs": list(rungs)} if rungs else {}),
        **({"mix": fingerprint({key: round(share, 9) for key, share in flow.shares.items()})} if flow else {}),
    }
    return [{"backend": backend, "measure": measure, **rest} for backend, measure in asked]


def stated(ruling: Ruling, tries: Tries) -> Ruling:
    """State a promise at the level that all tests on the same products leave.

    Parameters
    ----------
    ruling : Ruling
    tries : Tries
        With the test of this ruling.

    Returns
    -------
    Ruling
    """
    count, left = len(tries.made) + len(tries.elsewhere), tries.left
    if not ruling.passed or (count < 2 and not tries.unnoted):
        return ruling
    among = f"the {number_of(count, 'test')} on the same products to certify on"
    if tries.elsewhere:
        among = f"the {number_of(count, 'test')} on this run and on the other draws of its study"
    elif any("labelled" in made for made in tries.made):
        among = f"the {number_of(count, 'test')} on this run, labelled samples among them,"
    if left <= 0:
        if isinstance(ruling, LadderRuling):
            silent = tuple(replace(rung, threshold=None, evidence=(), mix=None) for rung in ruling.rungs)
            ruling = replace(ruling, rungs=silent)
        return replace(
            ruling,
            verdict=Verdict.INCONCLUSIVE,
            reason=f"after {among}, nothing can be promised of the one that is picked",
            remedy=_NEW,
            threshold=None,
            missing=None,
            evidence=(),
            mix=None,
            certified_mix=None,
        )
    conditions = [f"which is what {among} leave together"] if count > 1 else []
    if tries.unnoted:
        conditions.append(
            f"only if no other test was made on these products: {FILE} of the run cannot be written, so that this one "
            "is not counted, and others may not be either"
        )
    alone, said = (f"with probability {promise(level)}" for level in (ruling.level, left))
    told = f"{said} ({', and '.join(conditions)})"
    reason = ruling.reason.replace(alone, told, 1)
    return replace(ruling, level=left, reason=reason if told in reason else f"{told}: {reason}")
