"""Plans of large catalogues: memory, machines, the paper's week, and what the store has and why not."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import shelfbench
from shelfbench.base.console import Console
from shelfbench.base.storage import write_json
from shelfbench.cost import memory
from shelfbench.cost.around import Around, Twinning
from shelfbench.cost.estimate import Estimate, estimated
from shelfbench.cost.photos import Asked
from shelfbench.cost.products import counted_seconds, product_rate
from shelfbench.cost.sizes import Sizes
from shelfbench.cost.stored import Stored, look
from shelfbench.cost.undisturbed import Undisturbed
from shelfbench.cost.week import WEEK, verdict
from shelfbench.data.catalogue import DIGEST
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.images import ImageSettings
from shelfbench_baselines.footprint import footprint
from tests.cost.test_plan import FITTING, SIZES, known, plan_of

LARGE = Sizes(images=2_400_000, train=1_920_000, tune=60_000, held_out=480_000, classes=1000, photo_bytes=7000.0)


def made(name="net", **parts):
    given = {"tune": 0.0, "extract": 0.0, "fit": 0.0, "predict": 0.0}
    return Estimate(name=name, trainings=1, epochs=0, shared="", memory_mib=1.0, disk_mib=1.0, **{**given, **parts})


def test_a_week_is_met_or_a_stage_is_to_blame():
    assert verdict([], 10, 1) == ""
    assert "met by every backend" in verdict([made(fit=WEEK - 1)], 1000, 1)
    late = verdict([made(extract=2 * WEEK, fit=60.0, divides=True), made("other", fit=9.0)], 1000, 1)
    assert "is not met: net would take" in late
    assert "decoding and features (3 machines would do)" in late
    assert "The other meets it." in late


def test_predicting_is_not_part_of_the_papers_week():
    assert "met by every" in verdict([made(predict=9 * WEEK)], 1000, 1)


def test_no_number_of_machines_shortens_a_fit_that_is_not_divided():
    found = verdict([made(fit=2 * WEEK)], 1000, 4)
    assert "fitting the classifier, which no number of machines shortens" in found
    assert "on 4 machines is not met" in found
    divided = made(fit=2 * WEEK, divides=True, machines=4)
    assert "(8 machines would do)" in verdict([divided], 1000, 4), "8 weeks of work in all"


def test_a_backend_that_shares_features_is_judged_with_them():
    first, second = made("first", extract=2 * WEEK), replace(made("second", fit=1.0), shared="first")
    assert "first would take" in verdict([first, second], 10, 1)
    assert "second would take" in verdict([first, second], 10, 1)


def test_machines_divide_features_and_only_those_fits_that_can_be():
    tried = known("a")
    alone, together = estimated(tried, "a", SIZES), estimated(tried, "a", SIZES, 5)
    assert together.extract == pytest.approx(2 + (alone.extract - 2) / 5), "each loads its network"
    assert (together.fit, together.predict) == (alone.fit, alone.predict)
    able = replace(tried, trial=replace(tried.trial, fitting=replace(FITTING, divides=True)))
    assert estimated(able, "a", SIZES, 5).fit == pytest.approx(alone.fit / 5)
    plan = replace(plan_of(tried), machines=5, price=2.0)
    assert plan.money(3600) == pytest.approx(10), "all machines are paid for"
    assert "on 5 machines" in str(plan)


def test_features_that_are_there_cost_nothing_again():
    sizes = replace(SIZES, photo_bytes=7000.0)
    half = estimated(replace(known("a"), there=500), "a", sizes)
    assert half.extract == pytest.approx(2 + 0.01 * 500)
    every = estimated(replace(known("a"), there=1000), "a", sizes)
    assert every.extract == 0
    assert every.read_mib == pytest.approx(half.read_mib - 500 * 7000 / 2**20)
    assert every.disk_mib == pytest.approx(half.disk_mib - 500 * 1024 * 4 / 2**20)


def test_memory_does_not_grow_with_the_images_once_features_are_mapped():
    few, many = 1000, 2_400_000
    assert memory.held(few, 2048) == pytest.approx(few * 2048 * 4 / 2**20)
    assert memory.held(many, 2048) == 0
    assert memory.kept(many, 2048) == 2 * memory.features(many, 2048), "the store, and the file that is mapped"
    peaks = [memory.scoring(LARGE.scaled(images)) for images in (2_400_000, 20_000_000)]
    assert peaks[1] < 8 * 1024
    assert peaks[0] < peaks[1], "columns of products grow"


def test_what_is_read_is_photos_once_and_features_once_a_pass():
    tried = known("a")
    tried = replace(tried, sizes=LARGE, trial=replace(tried.trial, fitting=replace(FITTING, passes=40.0)))
    found = estimated(tried, "a", LARGE)
    photos = 2_400_000 * 7000 / 2**20
    features = 1024 * 4 / 2**20
    assert found.read_mib == pytest.approx(photos + 40 * 1_920_000 * features + 2_400_000 * features)


def test_categories_and_images_are_what_is_asked_for():
    assert Asked(0, 5263).of(SIZES) == replace(SIZES, classes=5263)
    assert Asked(5000).of(SIZES) == SIZES.scaled(5000)
    assert not Asked()


def test_stages_besides_the_backends_grow_with_the_images():
    twins = Twinning(per_image=0.001, seconds=2.0, count=1000, power=1.5, mib=300.0)
    around = Around(opening=1e-5, splitting=2e-5, hashing=1e-4, twins=twins, guard=3.0, base=200.0)
    found = {stage.name: stage for stage in around.stages(SIZES, groups=2, backends=3, seeks=True, there=400)}
    assert found["open, split"].seconds == pytest.approx(3e-5 * 1000)
    assert found["hash the photos"].seconds == pytest.approx(0.1)
    assert found["near-duplicates"].seconds == pytest.approx(0.6 + 2.0)
    assert found["guards"].seconds == pytest.approx(6.0)
    assert twins.of(4000, 0) == pytest.approx(16.0)
    unsought = around.stages(SIZES, groups=2, backends=3, seeks=False)
    assert "near-duplicates" not in [stage.name for stage in unsought]
    assert around.stages(SIZES, groups=0, backends=0, seeks=False)[-1].name == "hash the photos"
    plan = replace(plan_of(known("a")), around=around)
    assert plan.seconds() == pytest.approx(sum(s.seconds for s in plan.stages()) + plan.estimates()[0].seconds)


class Extractor:
    """Features that nobody computes."""

    name, dimensions, batch = "net", 4, 8

    def __init__(self, pixels=32, weights="a"):
        self.pixels, self.weights = pixels, weights

    def describe(self):
        return {"pixels": self.pixels, "weights": {"sha256": self.weights}}


def digests(*numbers):
    return np.array([(number, 0) for number in numbers], "u8,u8").view(DIGEST).ravel()


def filled(extractor, folder, *numbers, fit="pad"):
    """Return a store that has features of some photos, as far as can be told without reading them."""
    store = FeatureStore(extractor, ImageSettings(fit=fit), Console(quiet=True), 1, folder)
    store.folder.mkdir(parents=True, exist_ok=True)
    write_json(store.folder / "key.json", store.key)
    np.save(store.folder / "some.digests.npy", digests(*numbers))
    return store


def test_the_store_says_how_many_photos_are_there(tmp_path):
    store = filled(Extractor(), tmp_path, 1, 2, 3)
    assert look(store, digests(1, 2, 3), 3, whole=True) == Stored(there=3, images=3)
    assert "all 3 photos are there" in str(look(store, digests(3, 1, 2), 3, whole=True))
    assert str(look(store, digests(2, 9), 2, whole=True)) == "1 of 2 photos are there; the rest are new"
    sample = look(store, digests(1, 2, 7, 8), 1000, whole=False)
    assert (sample.there, sample.sampled) == (500, 4)
    assert str(sample) == "about 500 of 1,000 photos are there (of a sample of 4); the rest are new"
    assert "the photos themselves" in str(look(store, digests(7, 8), 2, whole=True))


def test_features_that_are_not_there_differ_in_what_is_named(tmp_path):
    filled(Extractor(pixels=64, weights="b"), tmp_path, 1, 2)
    filled(Extractor(pixels=48), tmp_path, 1, 2)
    wanted = FeatureStore(Extractor(), ImageSettings(), Console(quiet=True), 1, tmp_path)
    found = look(wanted, digests(1, 2), 2, whole=True)
    assert found.there == 0
    assert "the size of the photos (48 there, 32 here)" in str(found), "the nearest, with one difference"
    assert "weights" not in str(found)
    fit = filled(Extractor(), tmp_path / "other", 1, fit="crop").folder.parent
    again = look(FeatureStore(Extractor(), ImageSettings(), Console(quiet=True), 1, fit), digests(1), 1, whole=True)
    assert "images.fit" in str(again)


def test_an_empty_or_damaged_store_has_nothing(tmp_path):
    empty = FeatureStore(Extractor(), ImageSettings(), Console(quiet=True), 1, tmp_path / "none")
    assert "this cache has none of this network" in str(look(empty, digests(1), 1, whole=True))
    store = filled(Extractor(), tmp_path, 1)
    (store.folder / "some.digests.npy").write_bytes(b"damaged")
    assert look(store, digests(1), 1, whole=True).there == 0


def test_time_without_other_programs_is_at_most_the_wall_time():
    with Undisturbed() as watch:
        assert sum(number * number for number in range(200_000))
    assert 0 < watch.seconds <= watch.wall
    assert 0 <= watch.waited < 1
    assert not math.isnan(watch.seconds)


def test_a_fit_in_blocks_of_rows_is_planned_by_what_it_counts_near_what_was_measured():
    rows = pd.read_csv(Path(__file__).parents[2] / "results" / "scale" / "svm.csv")
    row = rows[rows["code"] == "this"].nlargest(1, "rows").iloc[0]
    counted = footprint(row["rows"], row["dimensions"], row["categories"], free=8 << 30)
    seconds = counted_seconds(replace(counted, reads=1, passes=row["passes"]), 1e9 * row["products"])
    assert 0.75 < seconds / row["seconds"] < 1.25


def test_a_large_linear_svm_is_planned_in_blocks_of_rows_and_a_small_one_as_it_was_tried():
    tried = known("a")
    tried = replace(tried, trial=replace(tried.trial, footprint=footprint, fitting=replace(FITTING, rate=1e11)))
    large, small = estimated(replace(tried, sizes=LARGE), "a", LARGE), estimated(tried, "a", SIZES)
    counted = footprint(LARGE.train, tried.trial.dimensions, LARGE.classes)
    assert counted.streamed
    assert large.fit == pytest.approx(counted_seconds(counted, 1e11))
    assert large.memory_fit == pytest.approx(FITTING.mib + counted.memory / 2**20)
    assert small.fit == FITTING.seconds(SIZES)


def test_the_rate_of_products_is_one_of_a_processor():
    assert 1e8 < product_rate(64) < 1e14


@pytest.mark.slow
def test_backends_that_share_features_are_planned_where_no_photo_is_there_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    small = {"generated.pixels": 32, "hog.pixels": 32, "hog.cells": 8, "svm.C": [0.01]}
    knn = {"heads.knn.estimator": "sklearn.neighbors.KNeighborsClassifier"}
    found = shelfbench.plan("default", backends=["hog-svm", "hog-knn"], images=30_000, machines=2, settings=small | knn)
    assert found.problems == {}
    own, shared = found.estimates()
    assert (own.shared, shared.shared) == ("", "hog-svm")
    assert own.divides
    assert not shared.divides
