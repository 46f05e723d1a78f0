"""The table of leakage: what of test's numbers rests on products whose photo stands in train or validation too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from shelfbench.base.grid import Grid, count, share
from shelfbench.runs.directory import Run, labels
from shelfbench.runs.reading import Evaluated, reading
from shelfbench.verdict.metrics import REQUIRED, acceptance

COLUMNS = (
    "backend",
    "products",
    "products_exact",
    "products_near",
    "products_label_differs",
    "precision",
    "precision_without",
    "precision_exact",
    "precision_near",
    "acceptance_90",
    "acceptance_90_without",
    "accepted",
    "accepted_exact",
    "accepted_near",
    "accepted_share_exact",
    "accepted_share_near",
)


def read_twins(run: Run) -> pd.DataFrame | None:
    """Read what test products have a twin in train or validation, by product_id: kind, label_differs.

    Returns
    -------
    DataFrame or None
        ``kind`` is ``exact`` where any twin has equal bytes; None where near-duplicates were not sought.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    path = run.path / "near_duplicates.parquet"
    if not path.is_file():
        return None
    with reading(path):
        frame = pq.read_table(path, columns=["product_id", "split", "kind", "label_differs"]).to_pandas()
    # "exact" comes before "near"
    return frame[frame["split"] == "test"].groupby("product_id").agg({"kind": "min", "label_differs": "any"})


def leakage_row(backend: str, products: Evaluated, twins: pd.DataFrame) -> dict[str, Any] | None:
    """Measure one backend on test with twins and without.

    Parameters
    ----------
    backend : str
    products : Evaluated
        Of all splits.
    twins : DataFrame
        From `read_twins`.

    Returns
    -------
    dict or None
        A row of ``leakage.csv``; None without test products.
    """
    test = products.where(products.split == "test")
    if not len(test.truth):
        return None
    own = twins.reindex(test.product_id)
    exact, near = (own["kind"] == "exact").to_numpy(), (own["kind"] == "near").to_numpy()
    alone = ~exact & ~near
    correct = test.correct
    cut = acceptance(test.confidence, correct, REQUIRED)
    taken = (test.confidence >= cut.threshold) & (test.confidence > -np.inf)

    def mean(mask: np.ndarray) -> float:
        return float(correct[mask].mean()) if mask.any() else float("nan")

    return {
        "backend": backend,
        "products": len(correct),
        "products_exact": int(exact.sum()),
        "products_near": int(near.sum()),
        "products_label_differs": int((own["label_differs"] == True).sum()),  # noqa: E712  (NaN is no twin)
        "precision": float(correct.mean()),
        "precision_without": mean(alone),
        "precision_exact": mean(exact),
        "precision_near": mean(near),
        "acceptance_90": cut.acceptance,
        "acceptance_90_without": acceptance(test.confidence[alone], correct[alone], REQUIRED).acceptance
        if alone.any()
        else float("nan"),
        "accepted": cut.accepted,
        "accepted_exact": int((taken & exact).sum()),
        "accepted_near": int((taken & near).sum()),
        "accepted_share_exact": float((taken & exact).sum() / cut.accepted) if cut.accepted else float("nan"),
        "accepted_share_near": float((taken & near).sum() / cut.accepted) if cut.accepted else float("nan"),
    }


def leakage_grid(run: Run, frame: pd.DataFrame) -> Grid:
    """Precision and acceptance of every backend, with twins and without."""
    names = labels(run, run.backends)
    rows = tuple(
        (
            names[str(row["backend"])].short,
            share(row["precision"]),
            share(row["precision_without"]),
            share(row["precision_exact"]),
            share(row["precision_near"]),
            share(row["acceptance_90"]),
            share(row["acceptance_90_without"]),
            share(row["accepted_share_exact"]),
            share(row["accepted_share_near"]),
        )
        for row in frame.to_dict("records")
    )
    first = frame.iloc[0]
    heads = (
        "Backend",
        "Precision",
        "… without twins",
        "… exact twins",
        "… near twins",
        "Acc. at .9",
        "… without twins",
        "Accepted: exact",
        "Accepted: near",
    )
    found = run.record.get("split", {}).get("near_duplicates") or {}
    missed = found.get("images_not_compared")
    return Grid(
        "Leakage: test products that stand in train or validation too",
        heads,
        rows,
        frozenset(range(1, len(heads))),
        (
            f"Of {count(int(first['products']))} test products, {count(int(first['products_exact']))} share a photo "
            f"with a product of train or validation (exact: equal bytes) and {count(int(first['products_near']))} more "
            "nearly so (near: recompressed, resized, or the same thing in almost the same photo); "
            f"{count(int(first['products_label_differs']))} of them have a twin of another category there, which wrong "
            "or overlapping labels explain. The list: near_duplicates.parquet.",
            "Acc.: plain acceptance at a precision of .9, the best threshold on the very products it measures, set "
            "anew without twins. Accepted: the share of the accepted products that have a twin."
            + (f" Photos that could not be compared: {count(missed)}." if missed else ""),
        ),
    )
