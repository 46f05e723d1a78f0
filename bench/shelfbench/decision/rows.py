"""The answer for one product: a row of what ``classify`` writes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

REVIEW = "review"


@dataclass(frozen=True, kw_only=True)
class Row:
    """The answer for one product.

    Attributes
    ----------
    product : str
        Its id, or the path of its only photo.
    category : str
        Key of its category, or `REVIEW`.
    name : str
        Display name of the suggestion, accepted or not; empty without one.
    confidence : float or None
        Probability of the suggestion; None if no photo can be read.
    suggestion : str or None
        Key of the most likely category, accepted or not.
    reason : str or None
        Why it goes to review; None if it is accepted, even into a category named `REVIEW`.
    """

    product: str
    category: str
    name: str
    confidence: float | None
    suggestion: str | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class LadderRow(Row):
    """The answer of a ladder for one product.

    Answered at a level above the category, `category` is the code of the group there, `name` its display name, and
    `confidence` its summed probability; `suggestion` remains the most likely category.

    Attributes
    ----------
    level : str
        The rung on which it is answered: ``category``, ``level1`` ...; `REVIEW` for a product that goes to review.
    """

    level: str


def schema(kind: type[Row] = Row) -> pa.Schema:
    """Return the columns of a row as Arrow types.

    Parameters
    ----------
    kind : type
        `Row` or `LadderRow`.

    Returns
    -------
    Schema
    """
    import pyarrow as pa

    return pa.schema(
        [(field.name, pa.float64() if field.name == "confidence" else pa.string()) for field in fields(kind)]
    )
