"""Scores of all images and predictions of all products of one backend, a few thousand images at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.backend import Classifier
from bench.console import Bar
from bench.data.features import Features
from bench.material import Material
from bench.verdict.predictions import (
    ImageScores,
    aggregate,
    image_scores,
    predictions_table,
    product_rows,
    rejected_rows,
    scores_table,
)

PREDICT_IMAGES = 8192


def readable_rows(features: Features, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Features of a slice of images and which of them are readable; a view where all are."""
    readable = features.readable[part]
    matrix = features.matrix[part]
    return (matrix if readable.all() else matrix[readable]), readable


def _blocks(owner: np.ndarray, products: int) -> Iterator[slice]:
    """Cut images into runs of about `PREDICT_IMAGES` that hold whole products."""
    bounds = np.searchsorted(owner, np.arange(products + 1))
    first = 0
    while first < products:
        last = max(first + 1, int(np.searchsorted(bounds, bounds[first] + PREDICT_IMAGES, side="right")) - 1)
        yield slice(int(bounds[first]), int(bounds[last]))
        first = last


def score(classifier: Classifier, features: Features, material: Material, bar: Bar) -> tuple[pa.Table, pa.Table]:
    """Score every image and predict every product.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    features : Features
        Of the images of `material`.
    material : Material
    bar : Bar
        Told of every image.

    Returns
    -------
    predictions : Table
        One row a product (``predictions/BACKEND.parquet``); one without a readable image is rejected.
    scores : Table
        One row a readable image of validation and test (``scores/BACKEND.parquet``).
    """
    frame, owner = material.frame, material.owner
    held_out = (frame["split"] != "train").to_numpy()
    columns = rejected_rows(len(frame))
    nothing = image_scores(np.empty((0, len(material.classes))))
    kept: list[tuple[np.ndarray, ImageScores]] = [(np.array([], np.int64), nothing)]
    for part in _blocks(owner, len(frame)):
        rows, readable = readable_rows(features, part)
        where = np.arange(part.start, part.stop)[readable]
        if len(where):
            scores = classifier.log_probabilities(rows)
            products, starts = np.unique(owner[where], return_index=True)
            for name, values in product_rows(aggregate(scores, starts), material.classes).items():
                columns[name][products] = values
            held = held_out[owner[where]]
            kept.append((where[held], image_scores(scores[held])))
        bar.update(part.stop - part.start)
    rejected = columns["predicted"] == ""
    reason = np.full(len(frame), None, object)
    for row, why in sorted(features.reasons.items(), reverse=True):  # the first image's reason stays
        if rejected[owner[row]]:
            reason[owner[row]] = f"no readable image: {why}"
    table = frame.assign(
        **{name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()},
        images=np.bincount(owner, minlength=len(frame)),
        rejected=pd.Series(reason, dtype=object),
    )
    image_rows = np.concatenate([rows for rows, _ in kept])
    parts = [scores for _, scores in kept]
    merged = ImageScores(
        *(np.concatenate([getattr(part, item.name) for part in parts]) for item in dataclasses.fields(ImageScores))
    )
    products_of = frame.iloc[owner[image_rows]]
    return predictions_table(table), scores_table(
        products_of["product_id"],
        material.position[image_rows],
        products_of["split"].to_numpy(),
        products_of["category"].to_numpy(),
        merged,
        material.classes,
    )
