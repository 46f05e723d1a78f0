"""The papers' numbers, as `claims.toml` declares them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Claim:
    """One number of a paper.

    Attributes
    ----------
    id : str
        As in the ledger (``C33``).
    where : str
        Paper and place.
    meaning : str
        What it is, in words.
    data : str
        What it rests on.
    value : dict
        The number, with what is needed to find its row or point.
    """

    id: str
    where: str
    meaning: str
    data: str
    value: dict[str, Any]


@cache
def _declared() -> dict[str, Any]:
    return tomllib.loads((files("bench.report") / "claims.toml").read_text(encoding="utf-8"))


def load_claims() -> dict[str, Claim]:
    """All claims by id, in the order of the file."""
    return {entry["id"]: Claim(**entry) for entry in _declared()["claim"]}


def paper_note(paper: str = "C") -> str:
    """What a reader must know where a number of this paper stands beside ours."""
    return str(_declared()["papers"][paper]["note"])


def table4_claim(feature: str, classifier: str, fine_tuning: str) -> Claim | None:
    """The row of Table 4 of C that a backend stands beside, if the paper prints one."""
    wanted = (feature.casefold(), classifier.casefold(), fine_tuning.casefold())
    for claim in load_claims().values():
        row = claim.value
        if "classifier" in row and wanted == tuple(
            str(row[key]).casefold() for key in ("feature", "classifier", "fine_tuning")
        ):
            return claim
    return None
