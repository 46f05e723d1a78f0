"""The guard of a decision: products unlike those that the classifier has learned go to a person.

The kind of the guard was chosen on `tune` when its features were at hand, its numbers come from train, and the distance
up to which it lets products through is fixed here on `tune`. Nothing of it depends on `certify`, whose products meet
the guard like those of tomorrow: what is certified is the precision of products that are let through *and* sure enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.errors import InputError, first_line
from shelfbench.decision.hostile import refuse, shown
from shelfbench.decision.rule import MEASURES, Requirement, Ruling
from shelfbench.runs.directory import Run
from shelfbench.runs.guarding import DISTANCES, GUARD, load_guard
from shelfbench.verdict.confidence import measure as confidence_of
from shelfbench.verdict.guard import UNLIKE, Guard, Guarding, by_product, cut_of
from shelfbench.verdict.metrics import acceptance

_ELSEWHERE = "run the study again in another directory"


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """The guard of a backend of a run, with the distances of its products.

    Attributes
    ----------
    guard : Guard
    distances : ndarray of float64, shape (n,)
        In the order of the predictions; NaN for products of train, and for those without a readable photo.
    """

    guard: Guard
    distances: np.ndarray

    def applied(self, predictions: pa.Table, required: Requirement) -> tuple[pa.Table, float]:
        """Fix the cut on `tune`, and reject what lies outside.

        Parameters
        ----------
        predictions : Table
            As for `shelfbench.decision.rule.judge`.
        required : Requirement

        Returns
        -------
        predictions : Table
            With the column ``rejected`` saying `UNLIKE` for products outside.
        cut : float
            Lets through 99% of the products of `tune` that its own threshold for the target accepts; of all of them, if
            none does.
        """
        confidence = confidence_of(predictions, MEASURES[required.measure])
        tune = (predictions["role"].to_numpy() == "tune") & np.isfinite(confidence) & ~np.isnan(self.distances)
        right = (predictions["predicted"].to_numpy() == predictions["category"].to_numpy())[tune]
        sure = (
            confidence[tune] >= acceptance(confidence[tune], right, required.target).threshold if tune.any() else right
        )
        kept = self.distances[tune][sure] if np.any(sure) else self.distances[tune]
        cut = cut_of(kept) if len(kept) else np.inf
        if not np.isfinite(cut):  # JSON has no infinity, and features without end are like no others
            cut = float(np.finfo(np.float64).max)
        rejected = predictions["rejected"].to_numpy(zero_copy_only=False).astype(object)
        rejected[self.distances > cut] = UNLIKE
        place = predictions.column_names.index("rejected")
        return predictions.set_column(place, "rejected", pa.array(rejected, pa.string())), cut

    def noted(self, ruling: Ruling, predictions: pa.Table, cut: float) -> Ruling:
        """Add to a ruling what the guard does to the products of certify.

        Parameters
        ----------
        ruling : Ruling
            On the predictions that `applied` returned.
        predictions : Table
            Those before.
        cut : float

        Returns
        -------
        Ruling
        """
        seen = (predictions["role"].to_numpy() == "certify") & ~np.isnan(self.distances)
        inside = self.distances[seen] <= cut
        sure = np.zeros(len(inside), bool)
        if ruling.threshold is not None:
            confidence = confidence_of(predictions, MEASURES[ruling.measure])[seen]
            off = np.isin(predictions["predicted"].to_numpy()[seen].astype(str), list(ruling.off))
            sure = (confidence >= ruling.threshold) & ~off
        found = Guarding(
            kind=self.guard.kind,
            cut=cut,
            products=len(inside),
            outside=int(np.count_nonzero(~inside)),
            sure=int(np.count_nonzero(sure)),
            let_through=int(np.count_nonzero(sure & inside)),
        )
        return replace(ruling, guard=found)


def watched(run: Run, backend: str, folder: Path) -> Watched | None:
    """Open the guard of a backend of a run.

    Parameters
    ----------
    run : Run
    backend : str
    folder : Path
        Its model.

    Returns
    -------
    Watched or None
        None for a run of an earlier version, which has no guard.

    Raises
    ------
    InputError
        If its files are damaged, or one of them is missing.
    """
    path, distances = folder / GUARD, run.file(DISTANCES, backend)
    if not path.is_file() and not distances.is_file():
        return None
    try:
        guard = load_guard(path)
    except Exception as error:  # safetensors raises errors of its own
        raise InputError(f"{path} cannot be read ({first_line(error)})", _ELSEWHERE) from None
    try:
        table = pq.read_table(distances, columns=["product_id", "distance"]).to_pandas().set_index("product_id")
        products = pq.read_table(run.file("predictions", backend), columns=["product_id"])["product_id"].to_pandas()
        if not table.index.is_unique or not table.index.isin(products).all():
            raise ValueError("its products are not those of the predictions")
        return Watched(guard=guard, distances=table["distance"].astype(np.float64).reindex(products).to_numpy())
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{distances} cannot be read ({first_line(error)})", _ELSEWHERE) from None


def guard_of(folder: Path, inside: Path, dimensions: int) -> Guard:
    """Load the guard of a decision that anyone may have written.

    Parameters
    ----------
    folder : Path
        The decision, for messages.
    inside : Path
        Our own copy of it, whose headers are checked.
    dimensions : int
        Of the features of its model.

    Returns
    -------
    Guard

    Raises
    ------
    InputError
        If the file is not a guard for these features.
    """
    where = folder / GUARD
    try:
        guard = load_guard(inside / GUARD)
    except Exception as error:  # whatever a library raises on unexpected values
        refuse(where, f"cannot be used ({shown(first_line(error), 200)})")
    if len(guard.centre) != dimensions:
        refuse(where, f"is for {len(guard.centre):,} features, and the model has {dimensions:,}")
    return guard


def outside(guard: Guard, cut: float, features: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Tell which products are unlike those learned.

    Parameters
    ----------
    guard : Guard
    cut : float
        The largest distance that is let through.
    features : ndarray of float32, shape (photos, dimensions)
        Of readable photos, in the order of their products.
    starts : ndarray of int, shape (products,)
        First photo of each product.

    Returns
    -------
    ndarray of bool, shape (products,)
    """
    return ~(by_product(guard.distances(features), starts) <= cut)
