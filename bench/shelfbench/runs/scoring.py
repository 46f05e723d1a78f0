"""Scores of all images and predictions of all products of one backend, a few thousand images at a time.

First the products of `tune` are scored, to choose how the scores of a product's photos are combined, and the
calibration; then all products are scored.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shelfbench.base.console import Bar, Console
from shelfbench.base.errors import RunError
from shelfbench.data.feature_store import Features
from shelfbench.data.material import Material
from shelfbench.plugins.backend import Classifier
from shelfbench.runs.building import readable_rows
from shelfbench.runs.scored import Scored, ScoredBlock
from shelfbench.verdict.calibration import choose_calibrator, fit_calibrator
from shelfbench.verdict.metrics import REQUIRED, acceptance
from shelfbench.verdict.predictions import ProductRule, aggregate, image_scores, rejected_rows
from shelfbench.verdict.settings import AGGREGATIONS, VerdictSettings
from shelfbench.verdict.temperature import log_normaliser

PREDICT_IMAGES = 8192
# Scores (images x categories) of `tune` held in memory at once: 256 MiB. If there are more, products are sampled.
CHOOSING_SCORES = 1 << 25
# How far the log of a row's summed probabilities may be from 0: it shifts a confidence by a tenth of a percent at most,
# and a softmax in float32 over thousands of categories stays a hundred times closer.
NORMALISED = 1e-3
_CONFORM = "correct the backend: shelfbench.plugins.conformance finds what is wrong with it"


def _blocks(owner: np.ndarray, products: int) -> Iterator[tuple[slice, slice]]:
    """Cut products, and their images, into blocks of about `PREDICT_IMAGES` images."""
    bounds = np.searchsorted(owner, np.arange(products + 1))
    first = 0
    while first < products:
        last = max(first + 1, int(np.searchsorted(bounds, bounds[first] + PREDICT_IMAGES, side="right")) - 1)
        yield slice(first, last), slice(int(bounds[first]), int(bounds[last]))
        first = last


def log_probabilities(classifier: Classifier, features: np.ndarray, classes: int) -> np.ndarray:
    """Score some images, and make sure that the results are log-probabilities.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    features : ndarray of float32, shape (n, d)
    classes : int

    Returns
    -------
    ndarray of float64, shape (n, classes)

    Raises
    ------
    RunError
        If they have the wrong shape, contain NaN, rule out every category of an image, or are not normalised.
    """
    scores = classifier.log_probabilities(features)
    if not isinstance(scores, np.ndarray) or not np.issubdtype(scores.dtype, np.floating):
        kind = getattr(scores, "dtype", type(scores).__name__)
        raise RunError(f"the scores are not an array of floating-point numbers, but of {kind}", _CONFORM)
    if scores.shape != (len(features), classes):
        raise RunError(f"the scores have the shape {scores.shape}, not {(len(features), classes)}", _CONFORM)
    with np.errstate(invalid="ignore"):  # from rows of -inf
        total = log_normaliser(scores, 1.0)
    wrong: np.ndarray = np.logical_not(np.abs(total) <= NORMALISED)  # true for NaN too
    if not wrong.any():
        return scores
    for rows, what in (
        (np.isnan(scores).any(axis=1), "contain NaN"),
        (np.isneginf(scores).all(axis=1), "rule out every category (all -inf)"),
    ):
        if np.any(rows):
            raise RunError(f"the scores of {np.count_nonzero(rows)} of {len(scores)} images {what}", _CONFORM)
    worst = float(total[wrong][np.abs(total[wrong]).argmax()])
    count = f"{np.count_nonzero(wrong)} of {len(scores)} images"
    raise RunError(
        f"the scores of {count} are not log-probabilities (the log of a row's sum is {worst:.3g}, not 0)", _CONFORM
    )


def choose_rule(
    classifier: Classifier,
    features: Features,
    material: Material,
    *,
    settings: VerdictSettings,
    seed: int,
    console: Console,
) -> ProductRule:
    """Choose aggregation and calibration on `tune` (docs/papers.md, "Acceptance, precisely").

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    features : Features
        Of the images of `material`.
    material : Material
    settings : VerdictSettings
    seed : int
        Draws the products if the scores of all of `tune` would not fit in memory.
    console : Console
        Informed if products are drawn.

    Returns
    -------
    ProductRule
        The aggregation with the largest acceptance at 0.9, by confidence before any temperature (in a tie, the first of
        mean, log_mean, maximum, vote), and the calibration that the settings ask for
        (`shelfbench.verdict.calibration.choose_calibrator`). If `tune` has no readable image: the mean, and 1.

    Raises
    ------
    RunError
        If the classifier does not return log-probabilities.
    """
    fixed = "" if settings.aggregation == "choose" else settings.aggregation
    rule = ProductRule(fixed or AGGREGATIONS[0])
    part = material.images_of("tune")
    rows = np.arange(part.start, part.stop)[features.readable[part]]
    products, counts = np.unique(material.owner[rows], return_counts=True)
    alone = bool(np.all(counts == 1))
    if not len(products) or (not settings.calibrate and (fixed or alone)):
        return rule
    drawn = np.random.default_rng([seed, 2]).permutation(len(products))
    held = np.cumsum(counts[drawn]) * len(material.classes) <= CHOOSING_SCORES
    held[0] = True
    if not held.all():
        products, counts = products[np.sort(drawn[held])], counts[np.sort(drawn[held])]
        rows = rows[np.isin(material.owner[rows], products)]
        console.log(f"aggregation and calibration are chosen on {len(products):,} of the {len(drawn):,} tune products")
    scores = np.empty((len(rows), len(material.classes)))
    for first in range(0, len(rows), PREDICT_IMAGES):
        block = slice(first, first + PREDICT_IMAGES)
        scores[block] = log_probabilities(classifier, features.matrix[rows[block]], len(material.classes))
    starts, label = np.cumsum(counts) - counts, material.label[products]
    chosen = rule.aggregation
    if not fixed and not alone:
        correct, confidence = compare_aggregations(scores, starts, label)
        reached = [
            acceptance(confidence[method], correct[method], REQUIRED).accepted for method in range(len(AGGREGATIONS))
        ]
        chosen = AGGREGATIONS[int(np.argmax(reached))]
    if not settings.calibrate:
        return ProductRule(chosen, 1.0, len(products))
    joined = aggregate(scores, starts, chosen)
    if settings.calibration == "choose":
        found = choose_calibrator(joined, label, seed)
    else:
        found = fit_calibrator(settings.calibration, joined, label)
    # an unbounded temperature leaves the record as it was before there was a choice
    return ProductRule(chosen, found.temperature, len(products), None if settings.calibration == "unbounded" else found)


def compare_aggregations(scores: np.ndarray, starts: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict products by every aggregation.

    Parameters
    ----------
    scores : ndarray of float64, shape (images, classes)
    starts : ndarray of int, shape (products,)
        See `aggregate`.
    label : ndarray of int, shape (products,)
        Code of the true category; -1 where train lacks it.

    Returns
    -------
    correct : ndarray of bool, shape (aggregations, products)
    confidence : ndarray of float64, same shape
        Log-probability of the predicted category, before any temperature.
    """
    correct = np.empty((len(AGGREGATIONS), len(starts)), bool)
    confidence = np.empty(correct.shape)
    counts = np.diff(np.append(starts, len(scores)))
    several = np.flatnonzero(counts > 1)
    alone = scores[starts[counts == 1]]
    correct[:, counts == 1] = alone.argmax(axis=1) == label[counts == 1]
    confidence[:, counts == 1] = alone.max(axis=1)
    if len(several):
        images = scores[np.repeat(counts > 1, counts)]
        first = np.cumsum(counts[several]) - counts[several]
        for number, method in enumerate(AGGREGATIONS):
            joined = aggregate(images, first, method)
            correct[number, several] = joined.argmax(axis=1) == label[several]
            confidence[number, several] = joined.max(axis=1)
    return correct, confidence


def score(classifier: Classifier, features: Features, material: Material, rule: ProductRule, bar: Bar) -> Scored:
    """Score every image and predict every product; the parameters are those of `score_blocks`."""
    return Scored.joined(list(score_blocks(classifier, features, material, rule, bar)))


def score_blocks(
    classifier: Classifier, features: Features, material: Material, rule: ProductRule, bar: Bar
) -> Iterator[Scored]:
    """Score every image and predict every product, some products at a time.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    features : Features
        Of the images of `material`.
    material : Material
    rule : ProductRule
        How the scores of a product's images become its own.
    bar : Bar
        Counts the images.

    Yields
    ------
    Scored
        The rows of some products, in the order of the material.

    Raises
    ------
    RunError
        If the classifier does not return log-probabilities.
    """
    owner, count = material.owner, len(material.frame)
    held_out = (material.frame["split"] != "train").to_numpy()
    compared = material.frame["role"].isin(["tune", "test"]).to_numpy()
    # the first image's reason is kept
    reasons = {int(owner[row]): why for row, why in sorted(features.reasons.items(), reverse=True)}
    nothing = image_scores(np.empty((0, len(material.classes))))
    for products, part in _blocks(owner, count):
        rows, readable = readable_rows(features, part)
        where = np.arange(part.start, part.stop)[readable]
        columns = rejected_rows(products.stop - products.start)
        correct = np.zeros((len(AGGREGATIONS), products.stop - products.start), bool)
        confidence = np.full(correct.shape, -np.inf)
        held, kept = np.zeros(len(where), bool), nothing
        if len(where):
            scores = log_probabilities(classifier, rows, len(material.classes))
            seen, starts = np.unique(owner[where], return_index=True)
            for name, values in rule.rows(scores, starts, material.classes).items():
                columns[name][seen - products.start] = values
            held = held_out[owner[where]]
            kept = image_scores(scores[held])
            shown = compared[owner[where]]
            if shown.any():
                seen, starts = np.unique(owner[where[shown]], return_index=True)
                found = compare_aggregations(scores[shown], starts, material.label[seen])
                correct[:, seen - products.start], confidence[:, seen - products.start] = found
        block = ScoredBlock(
            products=products,
            images=part,
            columns=columns,
            held_out=where[held],
            scores=kept,
            correct=correct,
            confidence=confidence,
            reasons=reasons,
        )
        yield block.tables(material)
        bar.update(part.stop - part.start)
