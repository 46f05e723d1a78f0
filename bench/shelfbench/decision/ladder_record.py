"""The rungs of a ladder in ``decision.json``, read strictly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Annotated, Any

from msgspec import Meta, Struct

from shelfbench.decision.ladder import Rung
from shelfbench.decision.parts import EvidenceEntry, MixEntry, Ratio, Text, evidence_entry, evidence_of, mix_of
from shelfbench.runs.levels import CATEGORY
from shelfbench.verdict.levels import BOUNDS


class RungEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench.decision.ladder.Rung`."""

    level: Annotated[str, Meta(pattern=r"\A(category|level[1-9][0-9]?)\Z")]
    target: Ratio
    threshold: float | None
    temperature: Annotated[float, Meta(ge=BOUNDS[0], le=BOUNDS[1])]
    groups: tuple[Text, ...]
    names: tuple[Text, ...]
    members: tuple[Annotated[int, Meta(ge=-1)], ...]
    evidence: tuple[EvidenceEntry, ...]
    mix: MixEntry | None


def check_rungs(rungs: Sequence[RungEntry], threshold: float | None, target: str, categories: int) -> None:
    """Validate what spans several fields.

    Parameters
    ----------
    rungs : sequence of RungEntry
    threshold : float or None
        Of the category.
    target : str
        Of the category.
    categories : int
        Number of categories.

    Raises
    ------
    ValueError
        If two fields contradict each other.
    """
    if len(rungs) < 2 or [rung.level for rung in rungs].index(CATEGORY) != 0:
        raise ValueError("the first of several rungs is not the category")
    if len({rung.level for rung in rungs}) != len(rungs):
        raise ValueError("a level is listed twice")
    first = rungs[0]
    if first.threshold != threshold or first.target != target or first.groups or first.names or first.members:
        raise ValueError("the first rung does not fit the categories")
    for rung in rungs:
        numerator, denominator = map(int, rung.target.split("/"))
        if not 0 < numerator < denominator:
            raise ValueError(f"the target of {rung.level} is not between 0 and 1")
    for rung in rungs[1:]:
        if len(rung.members) != categories or max(rung.members, default=-1) >= len(rung.groups):
            raise ValueError(f"the groups of {rung.level} do not fit the categories")
        if len(rung.names) != len(rung.groups) or len(set(rung.groups)) != len(rung.groups):
            raise ValueError(f"the groups of {rung.level} do not fit their names")


def rung_of(entry: RungEntry) -> Rung:
    """Read a rung.

    Parameters
    ----------
    entry : RungEntry

    Returns
    -------
    Rung
    """
    return Rung(
        level=entry.level,
        target=Fraction(entry.target),
        threshold=entry.threshold,
        temperature=entry.temperature,
        groups=entry.groups,
        names=entry.names,
        members=entry.members,
        evidence=tuple(map(evidence_of, entry.evidence)),
        mix=mix_of(entry.mix),
    )


def rung_entry(rung: Rung) -> dict[str, Any]:
    """Return a rung as JSON.

    Parameters
    ----------
    rung : Rung

    Returns
    -------
    dict
    """
    return {
        "level": rung.level,
        "target": str(rung.target),
        "threshold": rung.threshold,
        "temperature": rung.temperature,
        "groups": list(rung.groups),
        "names": list(rung.names),
        "members": list(rung.members),
        "evidence": [evidence_entry(part) for part in rung.evidence],
        "mix": asdict(rung.mix) if rung.mix else None,
    }
