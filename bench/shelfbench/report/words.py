"""Small values of a record in words."""

from __future__ import annotations

from typing import Any

from shelfbench.base.grid import MISSING
from shelfbench.runs.entries import Entry


def status(entry: Entry) -> str:
    """Say how a job of a run ended, and why."""
    return f"{entry.status or MISSING} ({entry.reason})" if entry.reason else entry.status or MISSING


def flat(value: Any) -> str | None:
    """Write a small JSON value in words: groups 17, images 36; a long list is replaced by its length.

    What an object leaves open, as None or an empty text, is not mentioned.

    Parameters
    ----------
    value : JSON value

    Returns
    -------
    str or None
        None for None; empty for an empty object.
    """
    if isinstance(value, dict):
        return ", ".join(
            f"{str(key).replace('_', ' ')} " + (f"({flat(inner)})" if isinstance(inner, dict) else str(flat(inner)))
            for key, inner in value.items()
            if inner is not None and inner != ""
        )
    if isinstance(value, list):
        return ", ".join(str(flat(inner)) for inner in value) if len(value) <= 12 else f"{len(value)} entries"
    if isinstance(value, float):
        return f"{value:.4g}"
    return None if value is None else str(value)
