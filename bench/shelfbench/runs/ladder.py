"""What a ladder reaches with every backend of a run, one row per rung."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from shelfbench.runs.directory import Run
from shelfbench.runs.levels import CATEGORY, level_answers, named_levels, rung_answers
from shelfbench.runs.promise import mix_columns
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.ladder import certify_ladder, stair
from shelfbench.verdict.metrics import REQUIRED, exact_target
from shelfbench.verdict.mix import weigh_back

COLUMNS = (
    "backend",
    "level",
    "target",
    "confidence_level",
    "threshold",
    "certify_products",
    "certify_answered",
    "certify_right",
    "test_products",
    "test_answered",
    "test_right",
    "test_precision",
    "test_precision_low",
    "test_precision_high",
)


def ladder_frame(run: Run) -> pd.DataFrame:
    """Certify a ladder for every backend, at 0.9 on each rung and with all categories on.

    Parameters
    ----------
    run : Run

    Returns
    -------
    DataFrame
        With `COLUMNS` and those of `shelfbench.runs.promise.mix_columns`, the finest rung of each backend first; the
        threshold is NaN for a rung that is not used. Empty if the categories have no levels, and without the backends
        of which the run keeps no scores.
    """
    levels = named_levels(run.record.dataset)
    rows: list[dict[str, Any]] = []
    for backend in run.sound if levels else ():
        path, products = run.file("scores", backend), run.products(backend)
        keys, sizes = np.array(products.keys, object), np.bincount(products.truth, minlength=len(products.keys))
        classes = keys[np.unique(products.truth[products.split == "train"])].tolist()
        products = products.where(products.split != "train")  # which has no scores
        roles = {name: products.role == name for name in ("tune", "certify", "test")}
        if not path.is_file() or not all(mask.any() for mask in roles.values()):
            continue
        truth = keys[products.truth]
        frame = pd.DataFrame({"product_id": products.product_id, "role": products.role, "category": truth})
        said = level_answers(path, frame, classes, levels)
        answers = rung_answers(
            products.confidence, products.correct, truth.tolist(), list(zip(levels, said, strict=True))
        )
        targets = [exact_target(REQUIRED)] * (1 + len(levels))
        sure = answers.where(roles["certify"])
        order = stair(answers.where(roles["tune"]), len(sure.correct), targets, run.confidence_level)
        found = certify_ladder(sure, order, targets, run.confidence_level)
        test = answers.where(roles["test"])
        rung = test.rung(found.thresholds)
        for number, name in enumerate([CATEGORY, *(level.name for level in levels)]):
            taken = rung == number
            answered, right = int(taken.sum()), int((taken & test.correct[:, number]).sum())
            low, high = exact_interval(right, answered)
            values = (
                backend,
                name,
                float(targets[number]),
                run.confidence_level,
                found.thresholds[number] if np.isfinite(found.thresholds[number]) else np.nan,
                found.total,
                found.accepted[number],
                found.correct[number],
                len(rung),
                answered,
                right,
                right / answered if answered else np.nan,
                float(low) if answered else np.nan,
                float(high) if answered else np.nan,
            )
            mix = weigh_back(products.truth[roles["test"]], taken, test.correct[:, number], sizes)
            rows.append(dict(zip(COLUMNS, values, strict=True)) | mix_columns(mix))
    return pd.DataFrame(rows)
