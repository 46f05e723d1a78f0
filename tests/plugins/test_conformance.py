"""Everything of ours passes the suite that authors of backends run, and the suite notices what is wrong."""

import dataclasses

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.plugins.conformance import CHECKS, ConformanceError, saved_features_are_the_same
from shelfbench.plugins.finding import find
from shelfbench.plugins.template import ColourSettings, NearestMean, mean_colour
from shelfbench.study.read import build_section
from tests.helpers.sources import entry_points

SMALL = {"hog": {"pixels": 48, "cells": 8}, "svm": {"C": [0.01]}, "two_layer": {"epochs": 6, "batch": 15}}
# of the papers, by the names that others rely on
PAPERS = {
    "hog-svm",
    *(f"{features}-{head}" for features in ("bottleneck", "finetuned") for head in ("svm", "2nn-512", "2nn-2048")),
    *("bottleneck-2nn-4096", "finetuned-2nn-4096", "full-inception_v3", "full-xception"),
}
OF_FEATURES = [*CHECKS[:4], saved_features_are_the_same]


def build(name):
    spec = find(name)
    settings = {
        section: build_section(kind, SMALL.get(section, {}), section, "test") for section, kind in spec.sections.items()
    }
    return spec.build(settings, BackboneChoice(pixels=32), 1)


# each kind of features once, and each head; fine-tuned features are bottlenecks, and larger networks differ in units
FEATURES = [(f"{name}-svm", check) for name in entry_points("features") if name != "finetuned" for check in OF_FEATURES]
HEADS = [(f"hog-{name}", check) for name in entry_points("heads") for check in CHECKS if check not in OF_FEATURES]
LARGE = ("hog-2nn-2048", "hog-2nn-4096")
CASES = [
    pytest.param(name, check, id=f"{name}-{check.__name__}", marks=[pytest.mark.slow] if name in LARGE else [])
    for name, check in FEATURES + HEADS
]


def test_the_backends_of_the_papers_keep_their_names():
    assert set(entry_points("backends")) == PAPERS
    for name in PAPERS:
        assert find(name).columns.keys() == {"Feature", "Classifier", "Fine-tuning"}


@pytest.mark.parametrize(("name", "check"), CASES)
def test_ours_conform(name, check):
    check(lambda: build(name))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_template_conforms(check):
    check(lambda: mean_colour.build({"mean_colour": ColourSettings()}, BackboneChoice(), 1))


def test_the_template_refuses_what_it_did_not_write(tmp_path):
    with pytest.raises(InputError, match=r"mean_colour\.cells is 0; give 1 or more"):
        ColourSettings(cells=0)
    with pytest.raises(InputError, match="is not a saved nearest-mean classifier"):
        NearestMean.load(tmp_path)


class Wrong:
    """A fitted classifier with one thing wrong."""

    def __init__(self, inner, fault):
        self.inner, self.fault = inner, fault

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def fit(self, data, *, seed, console):
        if self.fault == "seed":
            seed = int(np.random.default_rng().integers(2**31))
        self.inner.fit(data, seed=seed, console=console)

    def log_probabilities(self, features):
        scores = self.inner.log_probabilities(features)
        faults = {
            "order": scores[:, ::-1],
            "type": scores.astype(np.float32),
            "sum": scores - 1,
            "nan": np.where(np.arange(len(scores))[:, None] == 0, np.nan, scores),
            "shape": scores[:, :-1],
        }
        return faults.get(self.fault, scores)


@pytest.mark.parametrize("fault", ["order", "type", "sum", "nan", "shape"])
def test_the_suite_notices_a_wrong_classifier(fault):
    def broken():
        backend = build("hog-svm")
        return dataclasses.replace(backend, classifier=lambda: Wrong(backend.classifier(), fault))

    failed = []
    for check in CHECKS:
        try:
            check(broken)
        except ConformanceError:
            failed.append(check.__name__)
    expected = "columns_follow_the_codes" if fault == "order" else "scores_are_log_probabilities"
    assert expected in failed


def test_the_suite_notices_chance():
    def random():
        backend = build("bottleneck-2nn-512")
        return dataclasses.replace(backend, classifier=lambda: Wrong(backend.classifier(), "seed"))

    [check] = [check for check in CHECKS if check.__name__ == "a_seed_decides_everything"]
    with pytest.raises(ConformanceError, match="same data and seed differ"):
        check(random)
