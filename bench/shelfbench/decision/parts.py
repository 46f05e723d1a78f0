"""Parts of ``decision.json`` that several of its objects have: counts, shares, texts and evidence."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from shelfbench.decision.evidence import Evidence
from shelfbench.verdict.mix import Mix

Text = Annotated[str, Meta(max_length=10_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Ratio = Annotated[str, Meta(pattern=r"\A[0-9]{1,10}/[0-9]{1,10}\Z")]


class EvidenceEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench.decision.evidence.Evidence`."""

    role: Literal["tune", "certify", "test"]
    products: Annotated[int, Meta(ge=1)]
    accepted: Count
    correct: Count
    precision_low: Share
    precision_high: Share
    acceptance_low: Share
    acceptance_high: Share
    precision: Share | None
    acceptance: Share


class MixEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench.verdict.mix.Mix`."""

    precision: Share
    precision_low: Share
    precision_high: Share
    acceptance: Share
    acceptance_low: Share
    acceptance_high: Share
    small: Count
    small_of_test: Share
    small_of_catalogue: Share
    unseen: Share


def mix_of(entry: MixEntry | None) -> Mix | None:
    """Read the results at the catalogue's mix.

    Parameters
    ----------
    entry : MixEntry or None

    Returns
    -------
    Mix or None
    """
    return Mix(**msgspec.structs.asdict(entry)) if entry else None


def evidence_of(entry: EvidenceEntry) -> Evidence:
    """Read evidence.

    Parameters
    ----------
    entry : EvidenceEntry

    Returns
    -------
    Evidence
    """
    values = msgspec.structs.asdict(entry)
    return Evidence(**{name: value for name, value in values.items() if name not in ("precision", "acceptance")})


def evidence_entry(evidence: Evidence) -> dict[str, Any]:
    """Return evidence as JSON.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    dict
    """
    return {**asdict(evidence), "precision": evidence.precision, "acceptance": evidence.acceptance}
