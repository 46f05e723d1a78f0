"""Fine-tuning a backbone on a share of the products (C, §4.3, §4.4)."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.errors import InputError, RunError
from shelfbench.data.ahead import Decoding
from shelfbench.plugins.backend import BackboneChoice, TrainingImages
from shelfbench_deep.engines.processes import of_first
from shelfbench_deep.features.settings import DEFAULT, BottleneckSettings
from shelfbench_deep.networks.backbones import Backbone, load_backbone
from shelfbench_deep.networks.blueprint import Blueprint, features_of
from shelfbench_deep.networks.weights import put_arrays
from shelfbench_deep.training.forward import outputs
from shelfbench_deep.training.freezing import boundary, freeze
from shelfbench_deep.training.objective import OneLabel
from shelfbench_deep.training.prepared import Prepared, Sketch
from shelfbench_deep.training.recipes import RECIPES, Recipe
from shelfbench_deep.training.settings import FinetuningSettings, TrainingSettings
from shelfbench_deep.training.trainer import NetworkTrainer

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# C of the logistic regression that initialises the logits, on standardised features of a few images per category.
_HEAD_C = 0.01


def finetuning_trainer(
    choice: BackboneChoice,
    settings: FinetuningSettings,
    training: TrainingSettings,
    bottleneck: BottleneckSettings = DEFAULT,
) -> NetworkTrainer:
    """Make the trainer of the backends ``finetuned-*`` (C15, C25 to C28).

    Parameters
    ----------
    choice : BackboneChoice
    settings : FinetuningSettings
    training : TrainingSettings
    bottleneck : BottleneckSettings
        Engine for the features of the fine-tuned network.

    Returns
    -------
    NetworkTrainer
    """
    backbone = load_backbone(choice)
    design = {"kind": "finetuned", "backbone": backbone.describe(), **asdict(settings)}
    del design["epochs"], design["patience"]
    return NetworkTrainer(
        name=f"finetuned-{choice.name}",
        design=design,
        epochs=settings.epochs,
        patience=settings.patience,
        training=training,
        prepare=partial(_prepare, backbone, settings),
        sketch=partial(_sketch, backbone, settings),
        bottleneck=bottleneck,
    )


def _prepare(backbone: Backbone, settings: FinetuningSettings, data: TrainingImages, seed: int) -> Prepared:
    from shelfbench_deep.engines.keras import keras

    blueprint = Blueprint(network=backbone.name, pixels=backbone.pixels, classes=data.classes, dropout=settings.dropout)
    rows = stratified_share(data.train_labels, data.train_products, settings.share, seed)
    base = backbone.model()
    count = boundary(backbone.name, base, settings.frozen, settings.freeze)
    weights, last = base.get_weights(), base.layers[count - 1].name if count else ""
    keras.utils.set_random_seed(seed)
    model = blueprint.build()
    head = model.layers[-1]
    put_arrays(model, [*weights, *head.get_weights()])
    if settings.head == "fitted":
        head.set_weights(_fitted_head(model, blueprint, data, rows))
    freeze(model, count, batch_norm=settings.batch_norm == "frozen")
    chosen = {"frozen_layers": count, "layers": len(base.layers), "frozen_up_to": last}
    return Prepared(
        model=model,
        blueprint=blueprint,
        recipe=_recipe(settings),
        rows=rows,
        own_head=False,
        chosen=chosen,
        objective=OneLabel(data),
    )


def _recipe(settings: FinetuningSettings) -> Recipe:
    return dataclasses.replace(
        RECIPES["c-finetuning"],
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        decay_rate=settings.decay,
        momentum=settings.momentum,
    )


def _sketch(backbone: Backbone, settings: FinetuningSettings, data: TrainingImages, seed: int) -> Sketch:
    model = Backbone(backbone.name, "none", backbone.pixels).model()
    count = boundary(backbone.name, model, settings.frozen, settings.freeze)
    freeze(model, count, batch_norm=settings.batch_norm == "frozen")
    rows = stratified_share(data.train_labels, data.train_products, settings.share, seed)
    return Sketch(model, _recipe(settings), len(rows))


def _fitted_head(model: keras.Model, blueprint: Blueprint, data: TrainingImages, rows: np.ndarray) -> list[np.ndarray]:
    """Fit a logistic regression to the features before fine-tuning, so that first updates do not spoil the backbone."""
    from sklearn.linear_model import LogisticRegression

    network, found, labels = features_of(model), [], []
    decoding = Decoding(blueprint.pixels, data.fit, data.workers)
    for places, values in outputs(
        network, data.images, data.train[rows], size=64, decoding=decoding, preprocess=blueprint.preprocess
    ):
        found.append(values.astype(np.float64))
        labels.append(data.train_labels[rows[places]])
    features, codes = np.concatenate(found), np.concatenate(labels)
    if len(np.unique(codes)) < 2:
        raise RunError("fine-tuning needs readable images of at least two categories", "check the split")
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-6] = 1
    with warnings.catch_warnings():
        # a small share of many categories has few photos of each: scikit-learn suspects a regression
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        fitted = LogisticRegression(C=_HEAD_C, max_iter=200).fit((features - mean) / scale, codes)
    kernel = np.zeros((features.shape[1], data.classes))
    bias = np.full(data.classes, min(-10.0, float(np.min(fitted.intercept_))))
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn has one row for two classes
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    kernel[:, fitted.classes_] = (coefficients / scale).T
    bias[fitted.classes_] = intercept - (coefficients / scale) @ mean
    # of several processes, the first one's
    return [of_first(kernel.astype(np.float32)), of_first(bias.astype(np.float32))]


def stratified_share(labels: np.ndarray, products: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a share of the training products, the same share of every category, and at least one of each (C15).

    Parameters
    ----------
    labels : ndarray of int64, shape (images,)
        Category of each image; a product has one category.
    products : ndarray of int64, shape (images,)
        Product of each image.
    share : float
        Above 0 and up to 1.
    seed : int

    Returns
    -------
    ndarray of int64
        Rows of the images of the products drawn, ascending.

    Raises
    ------
    InputError
        If the share is out of range.
    """
    if not 0 < share <= 1:
        raise InputError(f"the share of the training products is {share}", "give a number above 0 and up to 1")
    drawn, first = np.unique(products, return_index=True)
    shuffled = np.random.default_rng([seed, 5]).permutation(len(drawn))
    category = labels[first][shuffled]
    by_category = shuffled[np.argsort(category, kind="stable")]
    sizes = np.bincount(category)
    keep = [
        by_category[start : start + max(1, round(share * size))]
        for start, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True)
        if size
    ]
    return np.flatnonzero(np.isin(products, drawn[np.concatenate(keep)]))
