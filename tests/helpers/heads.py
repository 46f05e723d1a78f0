"""The heads that the documents show, and small data to fit them on."""

import re
import tomllib
import warnings

import numpy as np

from shelfbench.base.console import Console
from shelfbench.plugins.backend import TrainingData
from shelfbench.plugins.estimator_head import EstimatorHead
from shelfbench.plugins.estimators import recipe_of, recipe_of_head
from shelfbench.study.heads import read_heads
from tests.helpers.sources import ROOT

DOCUMENT = (ROOT / "docs" / "classifiers.md").read_text(encoding="utf-8")
SHOWN = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)]
FIVE = read_heads(SHOWN[1]["heads"], "docs/classifiers.md")
QUICK = {"forest": {"n_estimators": 10}, "xgboost": {"n_estimators": 5, "max_depth": 2, "colsample_bytree": 1.0}}


def recipe(name):
    """One of the five, with fewer trees."""
    made = recipe_of_head(name, FIVE[name])
    return recipe_of(FIVE[name].estimator, {**made.parameters, **QUICK.get(name, {})}, made.grid, made.where)


def clusters(classes=3, each=30, dimensions=20, spread=3.0, seed=0):
    """Clusters, with a `tune` of half the size."""
    rng = np.random.default_rng(seed)
    centres = spread * rng.normal(size=(classes, dimensions))
    labels, tune = np.tile(np.arange(classes), each), np.tile(np.arange(classes), each // 2)
    features, others = (centres[codes] + rng.normal(size=(len(codes), dimensions)) for codes in (labels, tune))
    return TrainingData(
        features=features.astype(np.float32),
        labels=labels,
        classes=classes,
        tune_features=others.astype(np.float32),
        tune_labels=tune,
    )


def fitted(made, data, seed=0, console=None, workers=1):
    head = EstimatorHead(made, workers)
    head.fit(data, seed=seed, console=console or Console(quiet=True))
    return head


QUICK_OF = {
    "AdaBoostClassifier": {"n_estimators": 3},
    "BaggingClassifier": {"n_estimators": 3},
    "ExtraTreesClassifier": {"n_estimators": 3},
    "HistGradientBoostingClassifier": {"max_iter": 3},
    "LogisticRegressionCV": {"Cs": 2, "cv": 2},
    "MLPClassifier": {"max_iter": 30, "hidden_layer_sizes": [8]},
    "RandomForestClassifier": {"n_estimators": 3},
    "XGBClassifier": {"n_estimators": 3, "max_depth": 2},
}


def kept(estimator, folder, parameters=None, classes=3):
    data = clusters(classes=classes)
    data.features[:] = np.abs(data.features)  # some of them take nothing negative
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = fitted(recipe_of(estimator, parameters or {}), data)
    folder.mkdir(exist_ok=True)
    head.save(folder)
    return head, data.features
