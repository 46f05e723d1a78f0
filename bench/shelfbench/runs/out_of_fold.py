"""Scores of train products by classifiers that were not fitted on them, so that their labels can be looked at too.

A classifier is nearly always sure of the products that it was fitted on, wrong labels included. So train is cut into
parts by product, and each part is scored by a classifier fitted on the others.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from shelfbench.base.parquet_parts import parquet_in_parts
from shelfbench.base.storage import file_stem
from shelfbench.data.catalogue import chunks
from shelfbench.data.feature_store import Features
from shelfbench.data.material import Material
from shelfbench.data.rows import rows_of
from shelfbench.plugins.backend import Classifier, TrainingData
from shelfbench.runs.building import BuiltBackend, training_data
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.parquet import scores_table
from shelfbench.runs.scored import SCORES
from shelfbench.runs.scoring import PREDICT_IMAGES, log_probabilities
from shelfbench.verdict.predictions import image_scores

FOLDER = "out_of_fold"


def keep_out_of_fold(built: BuiltBackend, features: Features, experiment: Experiment) -> None:
    """Fit a backend's classifier on parts of train, and write ``out_of_fold/BACKEND.parquet``.

    A network that was itself trained on train has seen every label, so there is nothing to write.

    Parameters
    ----------
    built : BuiltBackend
    features : Features
        Of the images of the study's material.
    experiment : Experiment
    """
    study, material, console = experiment.study, experiment.material, experiment.console
    if built.trained is not None:
        console.warn(f"{built.name}: no scores out of fold, since its network was trained on all of train")
        return
    data = training_data(features, material)
    part = material.images_of("train")
    rows = np.arange(part.start, part.stop)[features.readable[part]]
    folds = folds_of(material, study.report.out_of_fold, study.seed)[material.owner[rows]]
    sizes = np.bincount(folds, minlength=study.report.out_of_fold)
    seen = [fold for fold in range(len(sizes)) if 0 < sizes[fold] < len(folds)]
    if not seen:
        return
    with parquet_in_parts(experiment.out / FOLDER / f"{file_stem(built.name)}.parquet", SCORES) as file:
        for fold in seen:
            held = folds == fold
            console.log(f"{built.name}: fitting without part {fold + 1} of {study.report.out_of_fold} of train")
            classifier = built.backend.classifier()
            classifier.fit(
                TrainingData(
                    features=rows_of(data.features, ~held),
                    labels=data.labels[~held],
                    classes=data.classes,
                    tune_features=data.tune_features,
                    tune_labels=data.tune_labels,
                ),
                seed=study.seed,
                console=console,
            )
            for images in chunks(rows[held], PREDICT_IMAGES):
                file.add(_scored(classifier, features, images, material))


def _scored(classifier: Classifier, features: Features, images: np.ndarray, material: Material) -> pa.Table:
    """Score some images."""
    products = material.frame.iloc[material.owner[images]]
    return scores_table(
        identifiers=products["product_id"],
        position=material.position[images],
        split=products["split"].to_numpy(),
        category=products["category"].to_numpy(),
        scores=image_scores(log_probabilities(classifier, features.matrix[images], len(material.classes))),
        classes=material.classes,
    )


def folds_of(material: Material, count: int, seed: int) -> np.ndarray:
    """Deal the products of each category into parts of equal size.

    Parameters
    ----------
    material : Material
    count : int
        Number of parts.
    seed : int

    Returns
    -------
    ndarray of int64, shape (products,)
        The part of each product of train; those of other roles are dealt too, which nothing reads.
    """
    dealt = np.random.default_rng([seed, 6]).permutation(len(material.label))
    order = dealt[np.argsort(material.label[dealt], kind="stable")]
    # on from one category to the next, so that small ones do not all land in the first part
    train = (material.frame["role"] == "train").to_numpy()[order]
    folds = np.zeros(len(order), np.int64)
    folds[order] = (np.cumsum(train) - 1) % count
    return folds
