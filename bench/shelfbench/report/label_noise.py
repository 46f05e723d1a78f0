"""The table of label noise: what a measured precision says about the true one, checked if the truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, share
from shelfbench.report.data import DOUBTS, RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.directory import Run
from shelfbench.runs.reading import DELETE, Evaluated, reading
from shelfbench.verdict.metrics import REQUIRED, acceptance
from shelfbench.verdict.noise import against_truth, ceiling, true_precision

ASSUMED = (0.01, 0.02, 0.05, 0.1)
COLUMNS = (
    "backend",
    "noise",
    "noise_is",
    "ceiling",
    "precision",
    "acceptance_90",
    "true_precision_low",
    "true_precision_high",
    "truth_precision",
    "truth_acceptance_90",
    "predicted_precision",
    "agreement",
)


def label_noise(data: RunData) -> Section | None:
    """What wrong labels do to the measured precision; None without test products."""
    truth = data.once(known_truth)
    rows: list[dict[str, Any]] = []
    for backend in data.run.backends:
        rows += label_noise_rows(data.run, backend, data.run.products(backend), truth)
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return Section(title=DOUBTS, grids=(NamedTable(name="label_noise", grid=label_noise_grid(frame), frame=frame),))


def known_truth(data: RunData) -> pd.Series | None:
    """`read_truth` of the run."""
    return read_truth(data.run)


def label_noise_rows(run: Run, backend: str, products: Evaluated, known: pd.Series | None) -> list[dict[str, Any]]:
    """One backend's rows: the precision on test under assumed shares of wrong labels, and under the known share.

    Parameters
    ----------
    run : Run
    backend : str
    products : Evaluated
        Of all splits.
    known : Series or None
        From `read_truth`.

    Returns
    -------
    list of dict
        With the columns `COLUMNS`; empty without test products.

    Raises
    ------
    InputError
        If the truth of a product is missing.
    """
    test = products.where(products.split == "test")
    if not len(test.truth):
        return []
    common: dict[str, Any] = {
        "backend": backend,
        "precision": float(test.correct.mean()),
        "acceptance_90": acceptance(test.confidence, test.correct, REQUIRED).acceptance,
    }
    rows = [] if known is None else [common | row for row in _known(run, products, known)]
    for noise in ASSUMED:
        # the agreement c is not known: from never (0) to always (1)
        low, high = (_bounded(common["precision"], noise, agreement) for agreement in (1.0, 0.0))
        rows.append(
            common
            | {
                "noise": noise,
                "noise_is": "assumed",
                "ceiling": ceiling(noise),
                "true_precision_low": low,
                "true_precision_high": high,
            }
        )
    return rows


def _bounded(measured: float, noise: float, agreement: float) -> float:
    """The true precision; 1 if the measured one is above the ceiling, 0 if it is below chance level."""
    found = true_precision(measured, noise, agreement)
    return found if not np.isnan(found) else float(measured >= ceiling(noise))


def read_truth(run: Run) -> pd.Series | None:
    """Read the true category of every product.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Series or None
        By product_id; None if the truth is not known.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    path = run.path / "truth.parquet"
    if not path.is_file():
        return None
    with reading(path):
        frame = pq.read_table(path, columns=["product_id", "true_category"]).to_pandas()
    if frame["product_id"].duplicated().any():
        raise InputError(f"{path} contains a product twice", DELETE)
    found: pd.Series = frame.set_index("product_id")["true_category"]
    return found


def _known(run: Run, products: Evaluated, known: pd.Series) -> list[dict[str, Any]]:
    """Check the formula against the truth; empty if no test label is wrong."""
    true = known.reindex(products.product_id)
    if true.isna().any():
        raise InputError(f"{run.path / 'truth.parquet'} lacks products of the split", DELETE)
    truth = pd.Index(list(products.keys)).get_indexer(pd.Index(true))
    # a true category that is never a label is never predicted, and must not match rejected products
    truth = np.where(truth < 0, -2, truth)
    of_test, held_out = products.split == "test", products.split != "train"
    test, together = (
        against_truth(products.predicted[rows], products.truth[rows], truth[rows]) for rows in (of_test, held_out)
    )
    if test.noise == 0:
        return []
    right = (products.predicted == truth)[of_test]
    return [
        {
            "noise": test.noise,
            "noise_is": "known",
            "ceiling": ceiling(test.noise),
            "truth_precision": test.true,
            "truth_acceptance_90": acceptance(products.confidence[of_test], right, REQUIRED).acceptance,
            "predicted_precision": test.predicted(0.0 if np.isnan(together.agreement) else together.agreement),
            "agreement": together.agreement,
        }
    ]


def label_noise_grid(frame: pd.DataFrame) -> Grid:
    """Measured precision next to the true one, known or assumed."""
    known = frame[frame["noise_is"] == "known"].set_index("backend")
    rows = []
    for backend, part in frame[frame["noise_is"] == "assumed"].groupby("backend", sort=False):
        cells = [str(backend), share(float(part["precision"].iloc[0]))]
        if len(known):
            own = known.loc[str(backend)].to_dict()
            cells += [share(float(own[name])) for name in ("predicted_precision", "truth_precision")]
            cells += [share(float(own[name])) for name in ("acceptance_90", "truth_acceptance_90")]
        cells += [_range(row["true_precision_low"], row["true_precision_high"]) for row in part.to_dict("records")]
        rows.append(tuple(cells))
    middle = [share(ceiling(float(known["noise"].iloc[0])))] if len(known) else []
    middle += [MISSING] * 4 if len(known) else [MISSING]
    rows.append(("A perfect model would measure", *middle, *(share(ceiling(noise)) for noise in ASSUMED)))
    needed = (_range(*(_bounded(float(REQUIRED), noise, agreement) for agreement in (1.0, 0.0))) for noise in ASSUMED)
    rows.append(
        (f"To measure {share(float(REQUIRED), 1)}, a model must be right on", *[MISSING] * len(middle), *needed)
    )
    heads = ["Backend", "Measured prec."]
    heads += ["By the formula", "Against truth", "Acc. at 0.9", "Acc. at 0.9, truth"] if len(known) else []
    heads += [f"True prec. at {share(noise, 2)} wrong" for noise in ASSUMED]
    notes = [
        "Test. A share η of wrong labels turns a true precision p into a measured q = p(1 − η) + (1 − p)ηc, where c is "
        "the chance that a wrong label equals the wrong prediction. True precision: the p that would be measured as q "
        "at an assumed η, from c = 1 to c = 0 (0 and 1 where there is no such p). Labels are assumed to be wrong on "
        "easy and hard products alike.",
        "At a target above what a perfect model would measure, nothing can be accepted except by chance.",
    ]
    if len(known):
        noise, agreement = float(known["noise"].iloc[0]), known["agreement"]
        notes.append(
            f"The truth of this catalogue is known: {share(noise)} of the test labels are wrong. By the formula: the "
            "precision that should be measured, given the true one, with c counted on validation and test "
            f"({_range(agreement.min(), agreement.max())} over the backends). Acceptance: plain, the best threshold on "
            "test itself."
        )
    return Grid(
        title="Label noise: measured and true precision",
        headers=tuple(heads),
        rows=tuple(rows),
        numeric=frozenset(range(1, len(heads))),
        notes=tuple(notes),
    )


def _range(low: float, high: float) -> str:
    if np.isnan(low) or np.isnan(high):
        return MISSING
    return share(low) if share(low) == share(high) else f"{share(low)} to {share(high)}"
