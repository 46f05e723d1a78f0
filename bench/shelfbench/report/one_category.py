"""Why a category errs: what its products are taken for, what else is put into it, its surest errors, and what to do.

Only products of `tune` and test are read: whoever looks at single errors of `certify` and mends them has no certificate
any more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from shelfbench.base.grid import MISSING, Grid, count, interval, percent, probability, share
from shelfbench.report.data import RunData, held_out
from shelfbench.report.which_category import UNREADABLE, shown_names
from shelfbench.runs.filed_scores import open_scores
from shelfbench.runs.reading import Evaluated
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import REQUIRED
from shelfbench.verdict.suspects import suspect_labels

_FEW_ERRORS = 5  # fewer show no pattern
_FEW_PRODUCTS = 50  # in train


@dataclass(frozen=True)
class Cut:
    """The threshold on the log-probability at the required precision, and whether it is certified; NaN for none."""

    threshold: float
    certified: bool

    @property
    def note(self) -> str:
        """Say what is accepted."""
        if not np.isfinite(self.threshold):
            return f"No threshold is known that keeps {REQUIRED}, so nothing is accepted."
        how = "certified" if self.certified else "fixed on tune, not certified"
        return (
            f"Accepted: at a probability of {probability(self.threshold)} or more, the threshold for a precision of "
            f"{REQUIRED} ({how}). Such errors pass without a person."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CategoryErrors:
    """The errors of one category, in both directions.

    Attributes
    ----------
    data : RunData
    backend, key : str
    train, tune, test : int
        Products of the category.
    right, given : int
        Of tune and test: products of the category that are recognised, and all that are put into it.
    frame : DataFrame
        The errors of tune and test, the surest first: backend, product_id, role, key, category (the label),
        predicted_key, predicted (empty without a readable photo), confidence (log-probability), probability, accepted,
        and check_label (whether the scores contradict the label) where scores are kept.
    usual : float
        Products of train that half of the categories have more than.
    contradicted : float
        Share of all errors on tune and test whose label the scores contradict; 1 where no scores are kept.
    cut : Cut
    """

    data: RunData
    backend: str
    key: str
    train: int
    tune: int
    test: int
    right: int
    given: int
    frame: pd.DataFrame
    usual: float
    contradicted: float
    cut: Cut

    @property
    def own(self) -> pd.DataFrame:
        """The errors on its products."""
        return self.frame[self.frame["key"] == self.key]

    @property
    def others(self) -> pd.DataFrame:
        """The errors on products of other categories, which are put into it."""
        return self.frame[self.frame["key"] != self.key]

    @cached_property
    def shown(self) -> dict[str, str]:
        """Display names by key, with the key where several categories share one; "" stands for no answer."""
        return {**shown_names(self.data), "": UNREADABLE}

    @property
    def name(self) -> str:
        """What the category is called, and its key where that is something else."""
        name = self.data.run.categories.get(self.key, self.key)
        return name if name == self.key else f"{name} ({self.key})"

    @property
    def head(self) -> tuple[str, ...]:
        """Say how large the category is, how much is recognised, and how much of what is put into it belongs there."""
        held, right = self.tune + self.test, self.right
        return (
            f"{self.name}, by {self.backend}: {self.train:,} products in train, {self.tune:,} in tune, {self.test:,} "
            "in test",
            f"Recognised: {right:,} of its {held:,} products in tune and test: {_share(right, held)}",
            f"Belong there: {right:,} of the {self.given:,} products put into it: {_share(right, self.given)}",
        )

    @property
    def tables(self) -> tuple[Grid, ...]:
        """The three tables, each with all of its rows; those without a row are left out."""
        held = self.tune + self.test
        grids = (
            self._sides("Taken for: where its products go", self.own, "predicted_key", "Share of its products", held),
            self._sides(
                "Taken for it: what else is put into it", self.others, "key", "Share of what is put there", self.given
            ),
            self._surest(),
        )
        return tuple(grid for grid in grids if grid.rows)

    def _sides(self, title: str, errors: pd.DataFrame, column: str, head: str, total: int) -> Grid:
        """Count errors by the other category."""
        checked = "check_label" in errors
        rows = []
        for key, products in _most_common(errors[column]):
            part = errors[errors[column] == key]
            row = (self.shown[key], count(products), share(products / total), count(int(part["accepted"].sum())))
            rows.append((*row, count(int(part["check_label"].sum()))) if checked else row)
        headers = ("Category", "Products", head, "Accepted", *(("Labels to check",) if checked else ()))
        return Grid(title=title, headers=headers, rows=tuple(rows), numeric=frozenset(range(1, len(headers))))

    def _surest(self) -> Grid:
        checked = "check_label" in self.frame
        rows = tuple(
            (
                str(row["product_id"]),
                str(row["role"]),
                self.shown[row["key"]],
                self.shown[row["predicted_key"]],
                f"{row['probability']:.4f}" if row["predicted_key"] else MISSING,
                _yes(row["accepted"]),
                *((_yes(row["check_label"]),) if checked else ()),
            )
            for row in self.frame.to_dict("records")
        )
        notes = [self.cut.note]
        if checked:
            notes.append(
                "Label to check: the scores contradict it. Mending only such labels in test would flatter the next "
                "measurement: check all labels of test, or none."
            )
        return Grid(
            title="The surest errors",
            headers=(
                "Product",
                "Part",
                "Label",
                "Answer",
                "Probability",
                "Accepted",
                *(("Label to check",) if checked else ()),
            ),
            rows=rows,
            numeric=frozenset({4}),
            notes=tuple(notes),
        )

    @property
    def advice(self) -> str:
        """Say what to do, by what is found; a few errors are no pattern."""
        frame, errors, held = self.frame, len(self.frame), self.tune + self.test
        if not self.train:
            return "Train has no product of this category, so none can be recognised: add some."
        if not held and not errors:
            return "Tune and test have no product of this category, and nothing is put into it: nothing can be said."
        if not errors:
            return f"No errors on {held:,} products in tune and test: nothing to do here."
        if 2 * (unreadable := int((frame["predicted_key"] == "").sum())) >= errors:
            return f"{unreadable:,} of {errors:,} errors: no photo can be read. Replace these photos first."
        if errors < _FEW_ERRORS:
            said = "1 error is" if errors == 1 else f"{errors} errors are"
            return f"{said} too few to see a pattern: look at {'it' if errors == 1 else 'each of them'}."
        labels = int(frame["check_label"].sum()) if "check_label" in frame else 0
        if float(exact_interval(labels, errors)[0]) > self.contradicted:
            return (
                f"{labels:,} of {errors:,} errors have a label that the scores contradict, more than elsewhere in this "
                f"run ({percent(self.contradicted)}): check these labels first. Not all of them are wrong; where the "
                f"label is right, the photo shows what confuses.{self._few}"
            )
        sides = frame["predicted_key"].where(frame["key"] == self.key, frame["key"])
        [(other, between), *_] = _most_common(sides[sides != ""])
        if between >= _FEW_ERRORS and 3 * between >= errors:
            there = int((frame["predicted_key"] == other).sum())
            return (
                f"{between:,} of {errors:,} errors lie between this category and {self.shown[other]} ({there:,} are "
                f"taken for it, {between - there:,} come from it). Photos may not show the border between the two: say "
                "what belongs where and mend the labels by it, merge the two, or let the decision switch the weaker "
                f"one off.{self._few}"
            )
        if self._few:
            return self._few.strip()
        return (
            f"{errors:,} errors, with no other category more than {between:,}: no single cause. Look at the photos: "
            "where the answer is right, mend the label; where the photo shows something else, mend the photo."
        )

    @property
    def _few(self) -> str:
        """Say that train has few products of it; empty if it has not."""
        if self.train >= _FEW_PRODUCTS or 2 * self.train > self.usual:
            return ""
        return (
            f" Train has only {self.train:,} products of it to learn from, where half of the categories have more than "
            f"{self.usual:,.0f}: add some."
        )


def category_errors(data: RunData, key: str, backend: str) -> CategoryErrors:
    """Collect the errors of one category.

    Parameters
    ----------
    data : RunData
    key : str
        Of the category.
    backend : str

    Returns
    -------
    CategoryErrors

    Raises
    ------
    InputError
        If a file of the run is damaged.
    """
    products = data.run.products(backend)
    held, code = held_out(products), products.keys.index(key)
    rows = np.flatnonzero(((held.truth == code) | (held.predicted == code)) & ~held.correct)
    rows = rows[np.argsort(-held.confidence[rows], kind="stable")]
    sizes = np.bincount(products.truth[products.split == "train"], minlength=len(products.keys))
    cut = _cut(data, backend)
    frame = _frame(data, backend, held, rows, cut.threshold)
    contradicted = 1.0
    if (suspects := _suspects(data, backend)) is not None and len(rows):
        frame["check_label"] = frame["product_id"].isin(suspects)
        contradicted = float(np.isin(held.product_id[~held.correct], suspects).mean())
    return CategoryErrors(
        data=data,
        backend=backend,
        key=key,
        train=int(sizes[code]),
        tune=int(np.sum((held.truth == code) & (held.role == "tune"))),
        test=int(np.sum((held.truth == code) & (held.split == "test"))),
        right=int(np.sum((held.truth == code) & held.correct)),
        given=int(np.sum((held.predicted == code) & (held.confidence > -np.inf))),
        frame=frame,
        usual=float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0,
        contradicted=contradicted,
        cut=cut,
    )


def _cut(data: RunData, backend: str) -> Cut:
    frame = data.run.certified
    row = frame[(frame["backend"] == backend) & (frame["target"] == float(REQUIRED))].iloc[0]
    certified = bool(row["certified"])
    return Cut(float(row["certified_threshold" if certified else "tuned_threshold"]), certified)


def _frame(data: RunData, backend: str, held: Evaluated, rows: np.ndarray, threshold: float) -> pd.DataFrame:
    names, confidence = data.run.categories, held.confidence[rows]
    labels = [held.keys[code] for code in held.truth[rows]]
    answers = [held.keys[code] if code >= 0 else "" for code in held.predicted[rows]]
    return pd.DataFrame(
        {
            "backend": backend,
            "product_id": held.product_id[rows],
            "role": np.asarray(held.role[rows], object),
            "key": labels,
            "category": [names.get(key, key) for key in labels],
            "predicted_key": answers,
            "predicted": [names.get(key, key) for key in answers],
            "confidence": confidence,
            "probability": np.exp(confidence),
            "accepted": (confidence >= threshold) & (confidence > -np.inf),
        }
    )


def _suspects(data: RunData, backend: str) -> np.ndarray | None:
    """Products whose label the scores contradict; None where no scores are kept."""
    if not data.run.file("scores", backend).is_file():
        return None
    scores = open_scores(data.run, backend)
    found: np.ndarray = scores.products["product_id"].to_numpy()[suspect_labels(scores).product]
    return found


def _most_common(keys: pd.Series[str]) -> list[tuple[str, int]]:
    """Count keys, the most frequent first; ties in order of the key."""
    return sorted(Counter(keys).items(), key=lambda item: (-item[1], item[0]))


def _share(right: int, total: int) -> str:
    return interval(right / total, *map(float, exact_interval(right, total))) if total else MISSING


def _yes(value: bool) -> str:
    return "yes" if value else "no"
