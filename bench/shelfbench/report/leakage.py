"""The table of leakage: how far test and the certificates depend on products whose photo is in an earlier part too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from shelfbench.base.grid import MISSING, Grid, count, share
from shelfbench.data.near_duplicates import CHANGES
from shelfbench.data.repeated import CONTRADICTING
from shelfbench.report.data import DOUBTS, RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.directory import Run
from shelfbench.runs.reading import Evaluated, reading
from shelfbench.verdict.certify import certify, coverage_grid, start_of
from shelfbench.verdict.metrics import REQUIRED, acceptance
from shelfbench.verdict.walk import TUNED

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
    "certify_products",
    "certify_exact",
    "certify_near",
    "certified_acceptance_90",
    "certified_acceptance_90_without",
)


@dataclass(frozen=True, eq=False)
class Twinned:
    """Products with a twin in an earlier part of the split.

    Attributes
    ----------
    test : DataFrame
        By product_id of test, the columns kind and label_differs; ``kind`` is ``exact`` if any twin has equal bytes.
    certify : DataFrame
        The same of the products that certify, whose twins are in train or tune.
    changed : dict of str to int, or None
        How many test products have a near twin that is changed: mirrored, cropped, or in its brightness. None if such
        twins were not looked for, as in earlier runs.
    """

    test: pd.DataFrame
    certify: pd.DataFrame
    changed: dict[str, int] | None = None


def leakage(data: RunData) -> Section | None:
    """Results with and without twins; None if near-duplicates were not searched for."""
    twins = read_twins(data.run)
    if twins is None:
        return None
    level, walk = data.run.confidence_level, data.run.record.settings.verdict.walk
    rows = [leakage_row(backend, data.run.products(backend), twins, level, walk) for backend in data.run.backends]
    frame = pd.DataFrame([row for row in rows if row is not None], columns=list(COLUMNS))
    if frame.empty:
        return None
    return Section(
        title=DOUBTS, grids=(NamedTable(name="leakage", grid=leakage_grid(data, frame, twins), frame=frame),)
    )


def read_twins(run: Run) -> Twinned | None:
    """Read which products of test and certify have a twin in an earlier part.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Twinned or None
        None if near-duplicates were not searched for.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    path = run.path / "near_duplicates.parquet"
    if not path.is_file():
        return None
    with reading(path):
        table = pq.read_table(path)
        frame = table.select(["product_id", "role", "kind", "label_differs"]).to_pandas()
        change = table["change"].to_pandas() if "change" in table.column_names else None
    changed = None
    if change is not None:
        # a product with several twins counts as its plainest one: "" comes first, and equal bytes have no change
        least = change[frame["role"] == "test"].groupby(frame["product_id"]).min()
        changed = {name: int((least == name).sum()) for name in CHANGES[1:]}
    # "exact" comes before "near"
    test, certify = (
        frame[frame["role"] == role].groupby("product_id").agg({"kind": "min", "label_differs": "any"})
        for role in ("test", "certify")
    )
    return Twinned(test, certify, changed)


def _certified_row(products: Evaluated, twins: pd.DataFrame, level: float, walk: str) -> dict[str, Any]:
    """Count the twins among the products that certify, and certify again without them."""
    tune, labelled = (products.where(products.role == role) for role in ("tune", "certify"))
    own = twins.reindex(labelled.product_id)["kind"].to_numpy()

    def promised(part: Evaluated) -> float:
        """Acceptance that is certified on a part; NaN if none is."""
        if not len(part.truth) or not len(tune.truth):
            return float("nan")
        grid = coverage_grid(tune.confidence)
        start = start_of(walk, tune.confidence, tune.correct, grid)
        found = certify(part.confidence, part.correct, grid, REQUIRED, level, start=start)
        return found.acceptance if found.certified else float("nan")

    return {
        "certify_products": len(own),
        "certify_exact": int((own == "exact").sum()),
        "certify_near": int((own == "near").sum()),
        "certified_acceptance_90": promised(labelled),
        "certified_acceptance_90_without": promised(labelled.where(pd.isna(own))),
    }


def leakage_row(
    backend: str, products: Evaluated, twins: Twinned, level: float, walk: str = TUNED
) -> dict[str, Any] | None:
    """Measure one backend on test, and certify it, with and without twins.

    Parameters
    ----------
    backend : str
    products : Evaluated
        Of all splits.
    twins : Twinned
        From `read_twins`.
    level : float
        Probability with which a certified threshold keeps its precision.
    walk : str
        Of `shelfbench.verdict.walk.WALKS`.

    Returns
    -------
    dict or None
        A row of ``leakage.csv``; None without test products.
    """
    test = products.where(products.split == "test")
    if not len(test.truth):
        return None
    own = twins.test.reindex(test.product_id)
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
        "products_label_differs": int((own["label_differs"] == True).sum()),  # noqa: E712  (NaN: not a twin)
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
        **_certified_row(products, twins.certify, level, walk),
    }


def _products(number: float, which: str = "") -> str:
    return " ".join(filter(None, [count(int(number)), which, "product" if number == 1 else "products"]))


_CHANGED = {"mirrored": "mirrored", "brightness": "brighter or darker", "cropped": "cropped"}


def _near(changed: dict[str, int] | None) -> str:
    """Say what counts as a near twin, how many are changed, and what is not found."""
    if changed is None:
        return (
            "(near: recompressed, resized, or the same thing in almost the same photo). Copies that are mirrored, "
            "cropped, brighter or darker are not found."
        )
    counted = [f"{count(number)} of them {_CHANGED[name]}" for name, number in changed.items() if number]
    return (
        "(near: recompressed, resized, mirrored, brighter or darker by up to 10%, cropped by about 5%, or the same "
        f"thing in almost the same photo{''.join(f'; {part}' for part in counted)}). Copies that are cropped by "
        "much more, rotated, recoloured, set on another background or changed in two of these ways are mostly missed."
    )


def _label_differs(number: int, data: RunData) -> str:
    """Count the twins of another category, and say how that differs from the count at the top of the page."""
    elsewhere = (
        " (the line at the top of the page counts equal photos in two categories within one part, too)"
        if data.record.dataset.duplicates.get(CONTRADICTING)
        else ""
    )
    return (
        f" {count(number)} of these test products {'has' if number == 1 else 'have'} a twin of another category in "
        f"train or validation, which points to wrong or overlapping labels{elsewhere}. near_duplicates.parquet lists "
        "all twins."
    )


def leakage_grid(data: RunData, frame: pd.DataFrame, twins: Twinned) -> Grid:
    """Precision and acceptance of every backend, with and without twins."""
    rows = tuple(
        (
            str(row["backend"]),
            share(row["precision"]),
            share(row["precision_without"]),
            share(row["precision_exact"]),
            share(row["precision_near"]),
            share(row["acceptance_90"]),
            share(row["acceptance_90_without"]),
            share(row["accepted_share_exact"]),
            share(row["accepted_share_near"]),
            share(row["certified_acceptance_90"]),
            share(row["certified_acceptance_90_without"]),
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
        "Acc. at 0.9",
        "… without twins",
        "Accepted: exact",
        "Accepted: near",
        "Certified acc., certify",
        "… without twins",
    )
    found = data.record.split.near_duplicates
    missed = found.images_not_compared if found else 0
    return Grid(
        title="Leakage: products of test and certify that are also in an earlier part",
        headers=heads,
        rows=rows,
        numeric=frozenset(range(1, len(heads))),
        notes=(
            f"Of {_products(first['products'], 'test')}, {count(int(first['products_exact']))} share a photo "
            f"with a product of train or validation (exact: equal bytes), and {count(int(first['products_near']))} "
            f"more have nearly the same one {_near(twins.changed)}"
            + (
                _label_differs(int(first["products_label_differs"]), data)
                if first["products_exact"] or first["products_near"]
                else ""
            ),
            "Acc.: plain acceptance at a precision of 0.9, with the best threshold on the very products it is measured "
            "on, set again without twins. Accepted: the share of the accepted products that have a twin."
            + (f" Photos that could not be compared: {count(missed)}." if missed else ""),
            f"Of {_products(first['certify_products'])} that certify, {count(int(first['certify_exact']))} "
            f"share a photo with a product of train or tune, and {count(int(first['certify_near']))} more have nearly "
            "the same one. Certified acc.: what is certified at 0.9 on certify, and certified again without them; "
            f"{MISSING} where nothing is. The promise is for products of which as many have been seen before.",
        ),
    )
