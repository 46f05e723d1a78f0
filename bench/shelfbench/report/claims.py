"""The papers' numbers, as `claims.toml` and `claims_x.toml` declare them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

FILES = ("claims.toml", "claims_x.toml")


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
    printed : str
        As the paper prints it.
    value : dict
        The number, with what is needed to find its row or point.
    reading : str
        How it is read here, where that is not plain.
    recomputed : str
        Name of the calculation that the paper's own numbers allow (`shelfbench.report.ledger`).
    measure : list of dict
        Cells of a run's tables or record that stand beside it.
    checked : list of str
        Tests that hold this project to it, where it needs no data.
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


@cache
def _declared() -> dict[str, Any]:
    texts = [(files("shelfbench.report") / name).read_text(encoding="utf-8") for name in FILES]
    parts = [tomllib.loads(text) for text in texts]
    return {key: {name: entry for part in parts for name, entry in part[key].items()} for key in ("papers", "claim")}


def load_claims() -> dict[str, Claim]:
    """All claims by id, in the order of the files."""
    return {name: Claim(name, **entry) for name, entry in _declared()["claim"].items()}


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
