"""Tests on the same products to certify on are counted: whoever picks the best of many is right less often.

Each test that `shelfbench.decide` makes on a run leaves a line in ``tries.jsonl`` of the run's directory; the same
question asked again is not another test. The probability that the promises of all of them are kept is at least
1 - sum(1 - level) (Bonferroni), and no more can be said of one that is picked among them. Named together beforehand
(`decide_family`), several tests share what one would have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import fingerprint, parse_json
from shelfbench.decision.ladder import LadderRuling
from shelfbench.decision.rule import Requirement, Ruling, Verdict

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
    """

    path: Path
    made: tuple[Mapping[str, Any], ...]

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
            If the file is damaged.
        """
        path = folder / FILE
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error})", _damaged(path)) from None
        made: list[Mapping[str, Any]] = []
        for number, line in enumerate(lines, start=1):
            try:
                found = parse_json(line)
                if not 0 < float(found["level"]) < 1:
                    raise ValueError
            except (ValueError, TypeError, KeyError):
                raise InputError(f"{path}: line {number} is damaged", _damaged(path)) from None
            made += [found] * (found not in made)
        return cls(path, tuple(made))

    def also(self, questions: Sequence[Mapping[str, Any]]) -> Tries:
        """Return these tests and others that are made now."""
        new: list[Mapping[str, Any]] = []
        for question in questions:
            new += [question] * (question not in self.made and question not in new)
        return Tries(self.path, (*self.made, *new))

    def save(self, console: Console) -> None:
        """Write down the tests that the file lacks; warn where it cannot be written."""
        known = Tries.of(self.path.parent).made
        lines = "".join(json.dumps(made, ensure_ascii=False) + "\n" for made in self.made if made not in known)
        if not lines:
            return
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(lines)  # at once, so that two commands lose none of their lines
        except OSError as error:
            console.warn(f"{self.path} cannot be written ({error.strerror}): this decision is not counted")

    @property
    def left(self) -> float:
        """Least probability with which the promises of all of these tests are kept."""
        missed = sum((1 - Fraction(str(made["level"])) for made in self.made), Fraction(0))
        return float(max(1 - missed, Fraction(0)))


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
    required: Requirement, asked: Sequence[tuple[str, str]], rungs: Sequence[Fraction] = ()
) -> list[dict[str, Any]]:
    """Describe tests, so that the same ones are known again.

    Parameters
    ----------
    required : Requirement
        What is required in each.
    asked : sequence of (str, str)
        Backends and measures.
    rungs : sequence of Fraction
        Targets of a ladder's rungs; empty without one.

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
        **({"rungs": [str(target) for target in rungs]} if rungs else {}),
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
    count, left = len(tries.made), tries.left
    samples = any("labelled" in made for made in tries.made)
    where = "on this run, labelled samples among them" if samples else "on the same products to certify on"
    if count < 2 or not ruling.passed:
        return ruling
    if left <= 0:
        if isinstance(ruling, LadderRuling):
            silent = tuple(replace(rung, threshold=None, evidence=(), mix=None) for rung in ruling.rungs)
            ruling = replace(ruling, rungs=silent)
        return replace(
            ruling,
            verdict=Verdict.INCONCLUSIVE,
            reason=f"after {count:,} tests {where}, nothing can be promised of the one that is picked",
            remedy=_NEW,
            threshold=None,
            missing=None,
            evidence=(),
            mix=None,
            certified_mix=None,
        )
    return replace(
        ruling,
        level=left,
        reason=f"{ruling.reason}; it is one of {count:,} tests {where}, and all of them together keep what they "
        f"promise with probability {left:.9g}: that is what is promised",
    )
