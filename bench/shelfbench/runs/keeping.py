"""Everything a run keeps of a backend besides predictions: the model, its histories, and how long each stage took."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_stem, whole_folder, write_json, write_parquet
from shelfbench.cost.timing import Timing
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.feature_store import Features
from shelfbench.data.images import ImageSettings
from shelfbench.data.material import Material
from shelfbench.plugins.backend import (
    BackboneChoice,
    Classifier,
    TrainedNetwork,
)
from shelfbench.runs.building import BuiltBackend
from shelfbench.runs.record import as_json
from shelfbench.study.model import Study
from shelfbench.verdict.calibration import Calibrator
from shelfbench.verdict.predictions import ProductRule

MODEL = "backend.json"


class SavedModel(msgspec.Struct, kw_only=True):
    """The contents of ``models/BACKEND/backend.json``: from photos to features, and from their scores to a product's.

    Attributes
    ----------
    backend : str
    classes : list of str
        Keys of the categories, in the order of the classifier's columns.
    images : ImageSettings
    backbone : BackboneChoice
    features : dict
        Key of the feature store: everything that determines the features (``images``, ``settings``).
    aggregation : str
    temperature : float
    calibrator : Calibrator or None
        None for the temperature alone, as in runs of earlier versions.
    sections : dict of str to dict
        The sections of the study that the backend was built from.
    """

    backend: str = ""
    classes: list[str]
    images: ImageSettings
    backbone: BackboneChoice
    features: dict[str, Any]
    aggregation: str = "mean"
    temperature: float = 1.0
    calibrator: Calibrator | None = None
    sections: dict[str, dict[str, Any]]


def read_model(folder: Path) -> SavedModel:
    """Read ``backend.json`` of a saved model.

    Parameters
    ----------
    folder : Path
        ``models/BACKEND`` of a run directory.

    Returns
    -------
    SavedModel

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    path = folder / MODEL
    try:
        return msgspec.json.decode(path.read_bytes(), type=SavedModel)
    except FileNotFoundError:
        raise InputError(f"{path} is missing", "run the study again: this run's models are not here") from None
    # settings raise InputError, and what is nested without end RecursionError
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InputError) as error:
        raise InputError(f"{path} cannot be read ({error})", "run the study again in a new directory") from error


def save_model(
    built: BuiltBackend, classifier: Classifier, rule: ProductRule, *, material: Material, study: Study, out: Path
) -> None:
    """Write ``models/BACKEND``, whole or not at all: everything needed to classify products with it.

    Parameters
    ----------
    built : BuiltBackend
    classifier : Classifier
        Fitted.
    rule : ProductRule
    material : Material
    study : Study
    out : Path
        The run directory.
    """
    target = out / "models" / file_stem(built.name)
    with whole_folder(target) as aside:
        classifier.save(aside)
        if built.trained is not None:
            built.trained.save(aside)
        elif built.calibrated and built.backend.save_features is not None:
            built.backend.save_features(aside)
        saved = SavedModel(
            backend=built.name,
            classes=material.classes.tolist(),
            images=study.images,
            backbone=dataclasses.replace(
                built.backbone, name=getattr(built.backend.features, "address", built.backbone.name)
            ),
            features=built.store.key,
            aggregation=rule.aggregation,
            temperature=rule.temperature,
            calibrator=rule.calibrator,
            sections={name: dataclasses.asdict(study.sections[name]) for name in built.spec.sections},
        )
        write_json(aside / MODEL, as_json(saved))


def write_histories(built: BuiltBackend, classifier: Classifier, out: Path) -> None:
    """Write how the classifier and the network below it learnt, epoch by epoch; nothing if there are no epochs.

    Parameters
    ----------
    built : BuiltBackend
    classifier : Classifier
        Fitted.
    out : Path
        The run directory.
    """
    if classifier.history is not None:
        write_parquet(out / "history" / f"{file_stem(built.name)}.parquet", classifier.history)
    if built.trained is not None:
        # a network trained end to end has only this history
        suffix = "tuning.parquet" if built.trained.classifier is None else "parquet"
        write_parquet(out / "history" / f"{file_stem(built.name)}.{suffix}", built.trained.history)


def backend_timings(
    built: BuiltBackend, features: Features, classifier: Classifier, material: Material, *, fit: float, predict: float
) -> list[Timing]:
    """List how long each stage and each epoch of a backend took.

    Parameters
    ----------
    built : BuiltBackend
    features : Features
    classifier : Classifier
    material : Material
    fit : float
        Seconds of fitting, with all choices.
    predict : float
        Seconds of scoring all products.

    Returns
    -------
    list of Timing
    """
    train = int(features.readable[material.images_of("train")].sum())
    rows = [] if built.trained is None else network_timings(built.name, built.trained)
    extractor = built.backend.features if built.trained is None else built.trained.features
    rows += feature_timings(built.name, extractor, features, len(material.image))
    fitting = fit_timings(built.name, extractor, classifier, fit, train)
    prediction = dataclasses.replace(fitting[0], stage="predict", seconds=predict, images=int(features.readable.sum()))
    return [*rows, *fitting, prediction]


def network_timings(name: str, trained: TrainedNetwork) -> list[Timing]:
    """List how long the training of a network took, and each of its epochs.

    Parameters
    ----------
    name : str
        Of the backend or variant.
    trained : TrainedNetwork

    Returns
    -------
    list of Timing
    """
    common: dict[str, Any] = {
        "backend": name,
        "backbone": trained.features.name,
        "pixels": trained.features.pixels,
        "device": trained.device,
        "precision": trained.precision,
        "framework": trained.framework,
        "batch": trained.batch,
        "cached": trained.cached,
    }
    whole = Timing(stage="tune", seconds=trained.seconds, images=trained.images * len(trained.history), **common)
    return [whole, *_epochs("tune_epoch", trained.history, trained.images, common)]


def feature_timings(name: str, extractor: FeatureExtractor, features: Features, images: int) -> list[Timing]:
    """List how long decoding and features took.

    Parameters
    ----------
    name : str
        Of the backend or variant.
    extractor : FeatureExtractor
    features : Features
    images : int
        Number of images, including unreadable ones.

    Returns
    -------
    list of Timing
    """
    return [
        Timing(
            backend=name,
            stage="extract",
            seconds=features.seconds,
            images=images,
            backbone=extractor.name,
            pixels=extractor.pixels,
            batch=extractor.batch,
            framework=extractor.framework,
            precision=str(extractor.describe().get("precision", "float32")),
            device=extractor.device,
            cached=features.cached,
        )
    ]


def fit_timings(
    name: str, extractor: FeatureExtractor, classifier: Classifier, seconds: float, images: int
) -> list[Timing]:
    """List how long fitting a classifier on features took, and each of its epochs.

    Parameters
    ----------
    name : str
        Of the backend or variant.
    extractor : FeatureExtractor
    classifier : Classifier
    seconds : float
    images : int
        Number of readable images.

    Returns
    -------
    list of Timing
    """
    common: dict[str, Any] = {
        "backend": name,
        "backbone": extractor.name,
        "pixels": extractor.pixels,
        "device": classifier.device,
        # few classifiers can do anything else
        "precision": getattr(classifier, "precision", "float32"),
        "framework": classifier.framework,
        "batch": classifier.batch,
    }
    whole = Timing(stage="fit", seconds=seconds, images=images, **common)
    return [whole, *([] if classifier.history is None else _epochs("epoch", classifier.history, images, common))]


def _epochs(stage: str, history: pd.DataFrame, images: int, common: dict[str, Any]) -> list[Timing]:
    return [
        Timing(
            stage=stage,
            epoch=int(row["epoch"]),
            seconds=float(row["seconds"]),
            images=images,
            warm_up=int(row["epoch"]) == 1,
            data_wait=float(row.get("data_wait", float("nan"))),
            **common,
        )
        for row in history.to_dict("records")
    ]
