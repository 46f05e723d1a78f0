"""Training Inception V3 or Xception end to end on all training images (C, §4.4; X, §4)."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from functools import partial

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice, TrainingImages
from shelfbench_deep.features.settings import DEFAULT, BottleneckSettings
from shelfbench_deep.networks.backbones import Backbone, load_backbone
from shelfbench_deep.networks.blueprint import Blueprint
from shelfbench_deep.networks.inception import InceptionSettings
from shelfbench_deep.networks.xception import XceptionSettings, count_parameters, equal_parameters
from shelfbench_deep.training.many_labels import ManyLabels
from shelfbench_deep.training.objective import OneLabel
from shelfbench_deep.training.prepared import Prepared, Sketch
from shelfbench_deep.training.recipes import set_weight_decay
from shelfbench_deep.training.settings import FullSettings, TrainingSettings
from shelfbench_deep.training.trainer import NetworkTrainer


def full_trainer(
    network: str,
    settings: FullSettings,
    training: TrainingSettings,
    own: XceptionSettings | InceptionSettings,
    bottleneck: BottleneckSettings = DEFAULT,
    labels: ManyLabels | None = None,
) -> NetworkTrainer:
    """Make the trainer of ``full-inception_v3`` or ``full-xception``.

    Parameters
    ----------
    network : {"inception_v3", "xception"}
    settings : FullSettings
    training : TrainingSettings
    own : XceptionSettings or InceptionSettings
        The network's own.
    bottleneck : BottleneckSettings
        Engine for the features of the trained network.
    labels : ManyLabels, optional
        The labels to learn; by default, the one category of each image.

    Returns
    -------
    NetworkTrainer

    Raises
    ------
    InputError
        If the weights to start from do not fit the settings of the network.
    """
    start = load_backbone(BackboneChoice(network, settings.start, settings.pixels_of(network)))
    if settings.start != "none" and (own.width != 1 or getattr(own, "port_2016", False)):
        raise InputError(
            f"full.start is {settings.start!r} and {network} is not of the published shape", 'set full.start="none"'
        )
    design = {"kind": "full", "start": start.describe(), "network": asdict(own), **asdict(settings)}
    for name in [key for key in design if key.endswith(("epochs", "patience", "_pixels"))]:
        del design[name]
    if labels is not None:
        design["labels"] = labels.identity
    return NetworkTrainer(
        name=f"full-{network}",
        design=design,
        epochs=settings.epochs_of(network),
        patience=settings.patience,
        training=training,
        prepare=partial(_prepare, start, settings, own, labels),
        sketch=partial(_sketch, start, settings, own, labels),
        bottleneck=bottleneck,
    )


def _prepare(
    start: Backbone,
    settings: FullSettings,
    own: XceptionSettings | InceptionSettings,
    labels: ManyLabels | None,
    data: TrainingImages,
    seed: int,
) -> Prepared:
    from shelfbench_deep.engines.keras import keras

    recipe = settings.recipe_of(start.name)
    objective = OneLabel(data) if labels is None else labels
    own, blueprint = _blueprint(start, settings, own, objective.outputs)
    keras.utils.set_random_seed(seed)
    model = blueprint.build()
    if start.weights != "none":
        loaded, new = start.model().get_weights(), model.get_weights()
        model.set_weights([*loaded, *new[len(loaded) :]])
    set_weight_decay(model, recipe.decay_for(start.name))
    return Prepared(
        model=model,
        blueprint=blueprint,
        recipe=recipe,
        rows=np.arange(len(data.train)),
        own_head=True,
        chosen={"recipe": recipe.name, "width": own.width},
        objective=objective,
    )


def _blueprint(
    start: Backbone, settings: FullSettings, own: XceptionSettings | InceptionSettings, outputs: int
) -> tuple[XceptionSettings | InceptionSettings, Blueprint]:
    """Work out the network's own settings, and how it is built."""
    recipe = settings.recipe_of(start.name)
    if recipe.dropout:
        own = dataclasses.replace(own, dropout=recipe.dropout)
    if settings.equal_parameters and isinstance(own, XceptionSettings):
        plain = XceptionSettings(width=own.width, dropout=own.dropout)
        own = equal_parameters(own, outputs, count_parameters(plain, outputs))
    return own, Blueprint(network=start.name, pixels=start.pixels, classes=outputs, settings=asdict(own))


def _sketch(
    start: Backbone,
    settings: FullSettings,
    own: XceptionSettings | InceptionSettings,
    labels: ManyLabels | None,
    data: TrainingImages,
    seed: int,
) -> Sketch:
    outputs = data.classes if labels is None else labels.outputs
    _, blueprint = _blueprint(start, settings, own, outputs)
    return Sketch(blueprint.build(), settings.recipe_of(start.name), len(data.train))
