"""What a plan says: arithmetic, what is kept, what cannot be told, and that a run then takes about as long."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import shelfbench
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cli.arguments import cores
from shelfbench.cli.main import main
from shelfbench.cost import planning
from shelfbench.cost.fitting import NO_FITTING, Fitting, random_features
from shelfbench.cost.photos import Asked
from shelfbench.cost.plan import Plan, Tried
from shelfbench.cost.planning import plan_study
from shelfbench.cost.trial import (
    Extraction,
    NetworkTraining,
    Sizes,
    Trial,
    Trials,
)
from shelfbench.plugins.experiment import ExperimentSpec
from shelfbench.plugins.planned import PlannedJob
from shelfbench.study.read import read_study, study_names

QUIET = Console(quiet=True)
SMALL_HOG = [(["hog", "pixels"], 48), (["hog", "cells"], 8), (["svm", "C"], [0.01])]


FITTING = Fitting(base=1.0, per_image=0.002, predict=0.001, mib=400.0, model_mib=8.0)
SIZES = Sizes(images=1000, train=800, tune=50, held_out=200, classes=10)


def known(name, features="same", training=None, **job):
    trial = Trial(
        name=name,
        features=features,
        dimensions=1024,
        training=training,
        extraction=Extraction(2.0, 0.01, 500.0),
        fitting=FITTING,
    )
    return Tried(PlannedJob(name=name, **job), trial, SIZES)


def plan_of(*tried, problems=None, experiment=""):
    return Plan(study="mine", experiment=experiment, sizes=SIZES, tried=tried, problems=problems or {})


def small_study(folder, backends=("hog-svm",)):
    settings = [
        (["dataset", "name"], str(folder)),
        (["backends"], list(backends)),
        *SMALL_HOG,
        (["report", "near_duplicates"], "off"),
    ]
    return read_study("default", settings)


def test_seconds_are_the_rates_times_the_images():
    plan = plan_of(known("a"))
    [found] = plan.estimates()
    assert found.extract == pytest.approx(2 + 0.01 * 1000)
    assert found.fit == pytest.approx(1 + 0.002 * 800)
    assert found.predict == pytest.approx(0.001 * 1000)
    assert found.seconds == pytest.approx(12 + 2.6 + 1)
    assert found.memory_mib == pytest.approx(500 + 1000 * 1024 * 4 / 2**20)
    assert found.disk_mib == pytest.approx(
        1000 * 1024 * 4 / 2**20 + 8 + (200 * 60 * 0.8 + 1000 * 90 + 200 * 30) / 2**20
    )


def test_the_size_of_the_papers_catalogue_is_shown_where_it_matters():
    shown = str(replace(plan_of(known("a")), at_scale=True))
    assert "20,000,000 images in" in shown
    assert "20,000,000" not in str(plan_of(known("a")))


def test_more_images_cost_as_many_times_more_but_for_what_is_paid_once():
    plan = plan_of(known("a"))
    [few], [many] = plan.estimates(), plan.estimates(20_000_000)
    assert many.extract - 2 == pytest.approx(20_000 * (few.extract - 2))
    assert many.fit - 1 == pytest.approx(20_000 * (few.fit - 1))


def test_features_and_the_training_of_a_network_are_paid_once_by_those_that_share_them():
    training = NetworkTraining(0.5)
    tried = (known("a", "one", training), known("b", "one", training), known("c", "two", training))
    first, second, third = plan_of(*tried).estimates()
    assert (first.shared, second.shared, third.shared) == ("", "a", "")
    assert second.extract == second.tune == 0
    assert first.tune == third.tune == 400
    assert second.disk_mib < first.disk_mib


def test_a_network_whose_training_cannot_be_told_is_not_given_a_time():
    tried = (known("a"), known("tuned", "other", NetworkTraining(math.nan)))
    text = str(plan_of(*tried, problems={"gone": "no such weights"}))
    line = next(line for line in text.splitlines() if line.startswith("tuned"))
    assert line.count("not known") == 2  # the training, and the sum
    assert next(line for line in text.splitlines() if line.startswith("all")).count("not known") == 1
    assert "gone: no such weights" in text


class Telling:
    """A trainer that tells what it costs."""

    asked = 0

    def trial(self, classes):
        self.asked += 1
        return {"seconds_per_image": 0.01 * classes, "epochs": 4, "share": 0.05}


def test_a_tuner_may_tell_what_it_costs_and_is_asked_once(image_folder, fresh_cache):
    trials = Trials(study=small_study(image_folder), catalogue=None, workers=1, again=False, console=QUIET)
    trainer = Telling()
    for _ in range(2):
        found = trials._training(trainer, {"kind": "telling"}, 3)
        assert (found.per_image, found.epochs) == (pytest.approx(0.03 * 4 * 0.05), 4)
    assert trainer.asked == 1
    assert math.isnan(trials._training(object(), {"kind": "silent"}, 3).per_image)


def test_a_second_plan_measures_nothing_and_again_does(image_folder, fresh_cache, monkeypatch):
    study = small_study(image_folder)
    first = plan_study(study, None, 1, QUIET)
    kept = sorted((fresh_cache / "plans").glob("*.json"))
    assert len(kept) == 3, "of features, of a classifier, and of a guard"

    def refuse(*_):
        raise KeyboardInterrupt("measured")  # every other error is that of a job

    with monkeypatch.context() as patched:
        patched.setattr(Trials, "_extraction", refuse)
        patched.setattr(Trials, "_fitting", refuse)
        assert plan_study(study, None, 1, QUIET).estimates() == first.estimates()
        with pytest.raises(KeyboardInterrupt, match="measured"):
            plan_study(study, None, 1, QUIET, again=True)
    kept[0].write_text("{", encoding="utf-8")  # damaged: found anew
    assert len(plan_study(study, None, 1, QUIET).tried) == 1


def test_a_plug_in_that_breaks_is_a_problem_of_its_own_job(image_folder, fresh_cache, monkeypatch):
    def broken(*_):
        raise ValueError("boom\nand more")

    monkeypatch.delenv("SHELFBENCH_DEBUG", raising=False)
    monkeypatch.setattr(Trials, "_fitting", broken)
    study = small_study(image_folder)
    found = plan_study(study, None, 1, QUIET)
    said = "unexpected ValueError: boom; correct the plug-in, or report the bug: SHELFBENCH_DEBUG=1 shows where"
    assert found.problems == dict.fromkeys(study.backends, said)


def test_images_scale_the_dataset(image_folder):
    study = small_study(image_folder)
    small, large = (plan_study(study, None, 1, QUIET, asked=Asked(images)).sizes for images in (0, 7200))
    assert small.images == 72
    assert small.classes == large.classes == 3
    assert (large.images, large.train) == (7200, 100 * small.train)


def test_nothing_is_downloaded_for_a_plan(tmp_path, fresh_cache, monkeypatch):
    monkeypatch.delenv("SHELFBENCH_DATA", raising=False)
    study = read_study("default", [(["dataset", "name"], "cdiscount"), (["backends"], ["hog-svm"])])
    with pytest.raises(InputError, match="cdiscount is not here; shelfbench fetch cdiscount, or --images N"):
        plan_study(study, None, 1, QUIET)


@pytest.mark.slow
def test_a_dataset_that_is_elsewhere_is_planned_with_generated_photos(fresh_cache, monkeypatch):
    monkeypatch.delenv("SHELFBENCH_DATA", raising=False)
    settings = [(["dataset", "name"], "cdiscount"), (["backends"], ["hog-svm"]), (["split", "categories"], 30)]
    found = plan_study(read_study("default", [*settings, *SMALL_HOG]), None, 1, QUIET, asked=Asked(5000))
    assert (found.sizes.images, found.sizes.train, found.sizes.classes) == (5000, 4000, 30)
    assert "cdiscount is not here: photos are generated, 30 categories are assumed." in str(found)
    assert found.estimates()[0].seconds > 0


def test_a_backend_that_cannot_be_built_fails_alone(image_folder):
    settings = [(["dataset", "name"], str(image_folder)), (["weights"], "none"), *SMALL_HOG]
    study = read_study("default", [*settings, (["backends"], ["bottleneck-svm@nothing", "hog-svm"])])
    found = plan_study(study, None, 1, QUIET)
    assert [tried.job.name for tried in found.tried] == ["hog-svm"]
    assert "unknown backbone" in found.problems["bottleneck-svm@nothing"]


@pytest.mark.parametrize("name", study_names())
def test_every_study_says_what_it_will_do(name):
    planned = planning._planned(read_study(name), 1)
    assert planned.jobs
    for job in planned.jobs:
        assert job.backend or job.features or job.seconds, "a trial or the settings say what it takes"


def test_a_plan_says_at_which_size_photos_are_seen_and_why(image_folder, capsys):
    words = ["--dataset", str(image_folder), "--set", "split.min_products=5", "--set", "svm.C=0.01"]
    assert main(["plan", *words, "--backend", "bottleneck-svm"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "efficientnet_lite0 at 96 px: the photos have 24 px (median of a sample of 72), and this is" in shown
    assert "20,000,000 images" not in shown, "that is the size of the first paper's catalogue"
    assert main(["plan", *words, "--backend", "bottleneck-svm", "--set", "pixels=64"]) == 0
    assert "median of a sample" not in capsys.readouterr().out


PROFILES = """
experiment = "profiles"
pixels = 32
[two_layer]
epochs = 3
[profiles]
seeds = [0, 1]
products = 30
[variants.one]
backend = "bottleneck-2nn-512"
two_layer = { batch_norm = "one" }
[variants.several]
backend = "bottleneck-2nn-512"
profiles = { seeds = [0, 1, 2], products = 0 }
[variants.broken]
backend = "bottleneck-2nn-512@nothing"
"""


def test_profiles_are_variants_times_seeds_times_epochs(image_folder, tmp_path, fresh_cache):
    (tmp_path / "mine.toml").write_text(PROFILES)
    settings = [(["dataset", "name"], str(image_folder)), (["split", "min_products"], 5)]
    found = plan_study(read_study(str(tmp_path / "mine.toml"), settings), None, 1, QUIET)
    one, several = found.estimates()
    assert (one.name, one.trainings, one.epochs) == ("one", 2, 3)
    assert (several.trainings, several.epochs) == (3, 3)
    assert found.tried[0].sizes.train == 30
    assert found.tried[1].sizes.train > 30
    assert several.extract > 0
    assert several.shared == "", "it takes other products, and so other features"
    fitting = found.tried[1].trial.fitting
    assert several.fit == pytest.approx(3 * fitting.seconds(found.tried[1].sizes))
    assert one.predict == several.predict == 0, "profiles score nothing"
    assert "unknown backbone" in found.problems["broken"]
    text = str(found)
    assert "broken: " in text
    assert "20,000,000" not in text


def test_a_network_that_is_only_trained_takes_no_features(image_folder, tmp_path):
    job = PlannedJob(name="mine", trainings=2, ends_with_training=True)
    trial = Trial(
        name="mine",
        features="f",
        dimensions=8,
        training=NetworkTraining(0.5, 4),
        extraction=None,
        fitting=NO_FITTING,
    )
    [found] = plan_of(Tried(job, trial, SIZES), experiment="profiles").estimates()
    assert (found.tune, found.extract, found.fit, found.epochs) == (2 * 0.5 * 800, 0, 0, 4)
    assert found.seconds == 800
    assert math.isnan(found.memory_mib), "no trial measures what training a network needs"


def test_the_experiment_timing_takes_at_least_its_repetitions(capsys):
    assert main(["plan", "timing", "--quiet", "--set", "timing.repetitions=3", "--set", "timing.seconds=4"]) == 0
    shown = capsys.readouterr().out
    assert next(line for line in shown.splitlines() if line.startswith("decode")).count("at least 12.0 s") == 1
    assert "Loading and compiling, which this plan does not know, are extra" in shown


@pytest.mark.slow
def test_imagenet_is_planned_without_its_photos_or_weights(fresh_cache):
    settings = [(["imagenet", "networks"], ["xception"]), (["pixels"], 71)]
    found = plan_study(read_study("imagenet", settings), None, 1, QUIET)
    assert (found.sizes.images, found.sizes.classes) == (50_000, 1000)
    [network] = found.estimates()
    assert network.seconds == network.extract > 0
    assert "photos are generated" in str(found)


def test_what_no_trial_can_tell_is_said(image_folder, fresh_cache):
    settings = [(["dataset", "name"], str(image_folder)), (["dataset", "labels"], []), (["pixels"], 32)]
    found = plan_study(read_study("multilabel", [*settings, (["split", "min_products"], 5)]), None, 1, QUIET)
    [heads] = found.estimates()
    assert heads.extract > 0
    assert math.isnan(heads.fit)
    assert "Not known: what training the two heads of each backbone takes." in str(found)


def test_an_experiment_that_says_nothing_is_planned_with_a_note(tmp_path, monkeypatch):
    silent = ExperimentSpec(summary="", run=print, report=print)
    monkeypatch.setattr(planning, "find_experiment", lambda name: silent)
    found = plan_study(read_study("timing"), None, 1, QUIET)
    assert found.estimates() == []
    assert "does not say what it will do" in str(found)


def test_a_plan_from_python_is_a_frame_and_a_page(image_folder):
    settings = {"hog.pixels": 48, "hog.cells": 8, "svm.C": [0.01]}
    found = shelfbench.plan(
        "default", dataset=image_folder, backends=["hog-svm"], settings=settings, workers=1, quiet=True
    )
    [row] = found.table.to_dict("records")
    assert row["name"] == "hog-svm"
    assert row["seconds"] == row["tune"] + row["extract"] + row["fit"] + row["predict"] > 0
    assert "<table" in found._repr_html_()


@pytest.mark.slow
def test_a_run_takes_about_as_long_as_planned(tmp_path, fresh_cache):
    """Within a factor of three, for every backend and stage that takes a second or more; each in a fresh process."""
    if os.getloadavg()[0] > 2 * cores():
        pytest.skip("this machine is at work on other things: no two timings on it can be compared")
    small = ["--set", "generated.products=700", "--set", "generated.categories=12", "--workers", "2", "--quiet"]
    for words in (["plan", "default"], ["run", "default", "--out", str(tmp_path / "run")]):
        done = subprocess.run(
            [sys.executable, "-m", "shelfbench.cli.main", *words, *small], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    # what the first process has found is kept
    overrides = [(["generated", "products"], 700), (["generated", "categories"], 12)]
    planned = plan_study(read_study("default", overrides), None, 2, QUIET).estimates()
    taken = pd.read_parquet(tmp_path / "run" / "timings.parquet")
    compared = []
    for found in planned:
        rows = taken[taken["backend"] == found.backend].set_index("stage")
        stages = {"fit": found.fit} | ({} if found.shared else {"extract": found.extract})
        for stage, foretold in stages.items():
            seconds = float(rows.loc[stage, "seconds"])
            if max(seconds, foretold) >= 1:
                compared.append((found.backend, stage, round(foretold, 2), round(seconds, 2)))
    assert len(compared) >= 4, compared
    assert all(1 / 3 < foretold / seconds < 3 for *_, foretold, seconds in compared), compared


def test_random_features_are_told_apart_mostly():
    features, labels = random_features(600, 256, 5)
    centres = np.stack([features[labels == code].mean(axis=0) for code in range(5)])
    nearest = ((features[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert 0.8 < (nearest == labels).mean() <= 1
    assert features.dtype == np.float32
