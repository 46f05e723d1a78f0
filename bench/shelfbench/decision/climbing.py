"""Answering products on the rungs of a ladder above the category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from shelfbench.decision.ladder import CLIMBS, LadderRuling
from shelfbench.decision.rows import REVIEW, LadderRow, Row
from shelfbench.runs.levels import CATEGORY
from shelfbench.verdict.levels import Photos, group_answers
from shelfbench.verdict.predictions import image_scores


def climbed(rows: Sequence[Row], ruling: LadderRuling, scores: np.ndarray | None, owner: np.ndarray) -> list[LadderRow]:
    """Answer the products that are not sure enough for their category at the first level above it that is.

    Parameters
    ----------
    rows : sequence of Row
        One for each product, as decided by the category alone.
    ruling : LadderRuling
    scores : ndarray of float64, shape (photos, classes), or None
        Log-probabilities of the readable photos; None if there are none.
    owner : ndarray of int64, shape (photos,)
        Product of each of them, rising.

    Returns
    -------
    list of LadderRow
    """
    found = [LadderRow(**asdict(row), level=REVIEW if row.reason is not None else CATEGORY) for row in rows]
    if scores is None or not ruling.passed:
        return found
    photos = Photos(image_scores(scores), owner)
    left = np.array([row.reason in CLIMBS for row in found])
    for rung in ruling.rungs[1:]:
        if rung.threshold is None:
            continue
        group, confidence = group_answers(photos, rung.summed, rung.temperature, len(found))
        taken = left & (confidence >= rung.threshold) & (confidence > -np.inf)
        for number in np.flatnonzero(taken):
            code = group[number]
            found[number] = replace(
                found[number],
                category=rung.groups[code],
                name=rung.names[code],
                confidence=float(np.exp(confidence[number])),
                reason=None,
                level=rung.level,
            )
        left &= ~taken
    return found
