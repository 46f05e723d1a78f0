"""What choosing a rule and predicting products take besides a classifier's own scores."""

from __future__ import annotations

import numpy as np

from shelfbench.cost.sizes import Sizes
from shelfbench.cost.undisturbed import Undisturbed
from shelfbench.study.model import Study
from shelfbench.verdict.calibration import choose_calibrator, fit_calibrator
from shelfbench.verdict.predictions import ProductRule, aggregate, image_scores
from shelfbench.verdict.settings import AGGREGATIONS

# Scores (images x categories) of `tune` on which a rule is chosen at most, as in `shelfbench.runs.scoring`.
_CHOOSING = 1 << 25


def chosen_on(sizes: Sizes) -> int:
    """Return the number of images on which the rule of a study is chosen."""
    return min(sizes.tune, _CHOOSING // max(1, sizes.classes))


def choosing(scores: np.ndarray, labels: np.ndarray, study: Study) -> float:
    """Return the seconds per image of `tune` of choosing the rule, scores not included.

    Parameters
    ----------
    scores : ndarray of float64, shape (n, classes)
    labels : ndarray of int64, shape (at least n,)
    study : Study

    Returns
    -------
    float
    """
    settings, label = study.verdict, labels[: len(scores)]
    with Undisturbed() as watch:
        if settings.aggregation == "choose":
            for method in AGGREGATIONS:
                aggregate(scores, np.arange(len(scores)), method)
        if settings.calibrate and settings.calibration == "choose":
            choose_calibrator(scores, label, 0)
        elif settings.calibrate:
            fit_calibrator(settings.calibration, scores, label)
    return watch.seconds / len(scores)


def predicting(scores: np.ndarray, sizes: Sizes) -> float:
    """Return the seconds per image of turning scores into predictions and into what is kept of them.

    Parameters
    ----------
    scores : ndarray of float64, shape (n, classes)
    sizes : Sizes

    Returns
    -------
    float
    """
    classes = np.arange(scores.shape[1]).astype(str).astype(object)
    with Undisturbed() as of_products:
        ProductRule("mean", 1.0, 1).rows(scores, np.arange(len(scores)), classes)
    with Undisturbed() as of_images:
        image_scores(scores)
        for method in AGGREGATIONS:
            aggregate(scores, np.arange(len(scores)), method)
    held = sizes.held_out / max(1, sizes.images)
    return (of_products.seconds * min(1.0, sizes.rows / sizes.images) + of_images.seconds * held) / len(scores)
