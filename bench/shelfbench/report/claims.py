"""The papers' numbers, as `claims.toml` and `claims_x.toml` declare them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

FILES = ("claims.toml", "claims_x.toml")
OPEN = "claims_open.toml"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One number of a paper; docs/papers.md explains them all.

    Attributes
    ----------
    id : str
        Its name in code and documents (``C33``).
    where : str
        Paper and place.
    meaning : str
        What it is, in words.
    data : str
        The data it was measured on.
    printed : str
        The number as the paper prints it.
    value : dict
        The number as a value, with what is needed to find its row or point.
    reading : str
        How it is read here, if the text leaves that open.
    recomputed : str
        Name of a calculation from the paper's own numbers (`shelfbench.report.recomputed`).
    measure : list of dict
        Cells of a run's tables or record to compare it with.
    checked : list of str
        Tests of shelfbench that check it, if it needs no data.
    """

    id: str
    where: str
    meaning: str
    data: str
    printed: str
    value: dict[str, Any] = field(default_factory=dict)
    reading: str = ""
    recomputed: str = ""
    measure: list[dict[str, Any]] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What would settle some claims that are open, as `claims_open.toml` says.

    Attributes
    ----------
    number : str
        Its name in tables.
    name : str
        In words.
    claims : list of str
    needs : str
        Data and machine.
    commands : list of str
    takes : str
        Time, disk and money.
    leaves : str
        What stays open even then.
    """

    number: str
    name: str
    claims: list[str]
    needs: str
    commands: list[str]
    takes: str
    leaves: str


def load_missing() -> list[Missing]:
    """Load what would settle the claims that may be open."""
    text = (files("shelfbench.report") / OPEN).read_text(encoding="utf-8")
    return [Missing(number=number, **entry) for number, entry in tomllib.loads(text)["settle"].items()]


@cache
def _declared() -> dict[str, Any]:
    texts = [(files("shelfbench.report") / name).read_text(encoding="utf-8") for name in FILES]
    parts = [tomllib.loads(text) for text in texts]
    return {key: {name: entry for part in parts for name, entry in part[key].items()} for key in ("papers", "claim")}


def load_claims() -> dict[str, Claim]:
    """Load all claims by id, in the order of the files."""
    return {name: Claim(id=name, **entry) for name, entry in _declared()["claim"].items()}


def paper_note(paper: str = "C") -> str:
    """Return the caveat for places where a paper's number appears next to ours.

    Parameters
    ----------
    paper : str
        ``C`` or ``X``.

    Returns
    -------
    str
        Half a sentence.
    """
    return str(_declared()["papers"][paper]["note"])


def oracle_note(papers: bool) -> str:
    """Say what the oracle is: Eq. 5 of C, where the papers matter."""
    what = "Eq. 5 of C read literally" if papers else "the largest share of any kind that is precise enough"
    return f"Oracle: {what}, which no threshold reaches."


def table4_claim(feature: str, classifier: str, fine_tuning: str) -> Claim | None:
    """Find the row of C's Table 4 that corresponds to a backend.

    Parameters
    ----------
    feature : str
        ``HOG`` or ``Bottlenecks``, in any case.
    classifier : str
        Like ``2NN-512``.
    fine_tuning : str
        ``yes`` or ``no``.

    Returns
    -------
    Claim or None
        None if the paper does not print such a row.
    """
    wanted = (feature.casefold(), classifier.casefold(), fine_tuning.casefold())
    for claim in load_claims().values():
        row = claim.value
        if "classifier" in row and wanted == tuple(
            str(row[key]).casefold() for key in ("feature", "classifier", "fine_tuning")
        ):
            return claim
    return None
