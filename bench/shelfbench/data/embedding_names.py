"""What embeddings that are there already are called, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass

from shelfbench.base.errors import InputError

PREFIX = "features:"
NO_EMBEDDING = "no embedding is given"
"""The reason, on record, of an image that cannot be used."""


def source_of(backbone: str) -> str:
    """Return the column or the file that a backbone's name gives; empty for that of a network.

    Parameters
    ----------
    backbone : str
        Such as ``features:embedding``.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If nothing follows ``features:``.
    """
    if not backbone.startswith(PREFIX):
        return ""
    if not (source := backbone.removeprefix(PREFIX)):
        raise InputError(f"{backbone} names no embeddings", "write features:COLUMN or features:PATH.parquet")
    return source


@dataclass(frozen=True, kw_only=True)
class GivenEmbeddings:
    """What is known of embeddings once they have been read.

    Attributes
    ----------
    source : str
        The column or the file, as the study names it.
    column : str
        The column that was read; empty for ``*.npy``.
    by : {'row', 'file_name', 'product_id'}
        Whether each row of the dataset's table has its own, or what they are keyed by.
    dimensions : int
    sha256 : str
        Of the embeddings of the whole catalogue, in its order.
    """

    source: str
    column: str
    by: str
    dimensions: int
    sha256: str
