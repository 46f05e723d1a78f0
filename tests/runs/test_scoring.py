"""Scoring in blocks equals scoring at once; stages and memory are measured."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.base.errors import RunError
from shelfbench.cost.timing import PeakMemory, Stopwatch, machine, versions
from shelfbench.data.catalogue import Catalogue, Category
from shelfbench.data.feature_store import Features
from shelfbench.data.material import gather
from shelfbench.data.split import SplitSettings, make_split
from shelfbench.runs import scoring
from shelfbench.runs.scoring import choose_rule, log_probabilities, score
from shelfbench.verdict.calibration import choose_calibrator
from shelfbench.verdict.metrics import acceptance
from shelfbench.verdict.predictions import ProductRule, aggregate
from shelfbench.verdict.settings import AGGREGATIONS, VerdictSettings
from shelfbench.verdict.temperature import fit_temperature


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=40), st.integers(1, 9))
def test_blocks_hold_whole_products_and_every_image(photos, size):
    owner = np.repeat(np.arange(len(photos)), photos)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "PREDICT_IMAGES", size)
        products, parts = zip(*scoring._blocks(owner, len(photos)), strict=True)
    assert np.concatenate([np.arange(rows.start, rows.stop) for rows in products]).tolist() == list(range(len(photos)))
    assert np.concatenate([np.arange(part.start, part.stop) for part in parts]).tolist() == list(range(len(owner)))
    for part in parts:
        inside = set(owner[part])
        assert not inside & (set(owner[: part.start]) | set(owner[part.stop :]))
        assert part.stop - part.start <= max(size, photos[owner[part.start]])


FLOATS = ["confidence", "margin", "entropy", "raw_confidence", "top5_confidence", "log_probabilities", "log_rest"]
FLOATS += [f"{method}_confidence" for method in AGGREGATIONS]
QUIET = Console(quiet=True)


class Linear:
    """A classifier of fixed weights."""

    def __init__(self, dimensions, classes):
        self.weights = np.random.default_rng(0).normal(size=(dimensions, classes))

    def log_probabilities(self, features):
        values = features.astype(float) @ self.weights
        return values - np.logaddexp.reduce(values, axis=1, keepdims=True)


class Photos:
    """Images that nobody opens."""

    files = ()

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def shop(photos, classes=2):
    """Products with these numbers of photos, categories in turn, split as the paper splits."""
    owner = np.repeat(np.arange(len(photos)), photos).astype(np.int32)
    cat = Catalogue(
        name="shop",
        categories=tuple(Category(f"c{code}", f"c{code}") for code in range(classes)),
        product_id=np.arange(len(photos)),
        product_category=(np.arange(len(photos)) % classes).astype(np.int32),
        image_product=owner,
        images=Photos(len(owner)),
    )
    return gather(cat, make_split(cat, SplitSettings(), 0, np.arange(len(owner)).astype("V16")))


def features_of(matrix, broken=()):
    readable = np.ones(len(matrix), bool)
    readable[list(broken)] = False
    reasons = {int(row): "truncated" for row in broken}
    return Features(
        matrix=matrix.astype(np.float32),
        readable=readable,
        reasons=reasons,
        seconds=1.0,
        computed=len(matrix),
        cached=False,
    )


def scored(classifier, features, material, rule):
    with QUIET.progress(len(material.image), "scores") as bar:
        return score(classifier, features, material, rule, bar)


@pytest.mark.parametrize("rule", [ProductRule(), ProductRule("vote", 1.6, 9)])
def test_the_size_of_blocks_changes_nothing(monkeypatch, rule):
    material = shop([2] * 120)
    rng = np.random.default_rng(1)
    broken = np.flatnonzero(rng.random(240) > 0.6)
    features = features_of(rng.normal(size=(240, 5)), broken)
    whole = scored(Linear(5, 2), features, material, rule)
    monkeypatch.setattr(scoring, "PREDICT_IMAGES", 7)
    parts = scored(Linear(5, 2), features, material, rule)
    for name in ("predictions", "scores", "aggregations"):
        left, right = (getattr(found, name).to_pandas() for found in (whole, parts))
        assert (
            left.drop(columns=FLOATS, errors="ignore")
            .astype(str)
            .equals(right.drop(columns=FLOATS, errors="ignore").astype(str))
        )
        for column in set(left.columns) & set(FLOATS):
            found, expected = (np.hstack(frame[column].to_numpy()) for frame in (left, right))
            np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (whole.predictions.to_pandas()["rejected"].notna()).sum() == sum(
        not features.readable[material.owner == product].any() for product in range(120)
    )


@pytest.mark.parametrize("method", AGGREGATIONS)
def test_the_rule_decides_predictions_and_the_comparison_shows_every_aggregation(method):
    material = shop([1, 3, 2, 4] * 40, classes=4)
    rng = np.random.default_rng(2)
    images = len(material.image)
    features = features_of(rng.normal(size=(images, 6)), broken=[0, 1, 2, 3, images - 1])
    classifier, rule = Linear(6, 4), ProductRule(method, 1.4, 1)
    found = scored(classifier, features, material, rule)
    predictions, compared = found.predictions.to_pandas(), found.aggregations.to_pandas()
    assert set(compared["role"]) == {"tune", "test"}
    assert len(compared) == material.frame["role"].isin(["tune", "test"]).sum()
    scores = classifier.log_probabilities(features.matrix)
    for product in range(len(material.frame)):
        rows = np.flatnonzero((material.owner == product) & features.readable)
        if not len(rows):
            continue
        raw = aggregate(scores[rows], np.array([0]), method)[0]
        calibrated = raw / 1.4 - np.logaddexp.reduce(raw / 1.4)
        row = predictions.iloc[product]
        assert row["predicted"] == material.classes[raw.argmax()]
        assert row["raw_confidence"] == pytest.approx(raw.max())
        assert row["confidence"] == pytest.approx(calibrated.max())
        assert row["entropy"] == pytest.approx(-(np.exp(calibrated) * calibrated).sum())
    both = compared.merge(predictions, on="product_id")
    np.testing.assert_allclose(both[f"{method}_confidence"], both["raw_confidence"])
    assert (both[f"{method}_correct"] == (both["predicted"] == both["category"])).all()
    alone = both[both["images_x"] == 1]
    for other in AGGREGATIONS:
        assert (alone[f"{other}_confidence"] == alone["mean_confidence"]).all()
        assert (alone[f"{other}_correct"] == alone["mean_correct"]).all()


class Given:
    """A classifier whose features are the scores already."""

    def log_probabilities(self, features):
        values = features.astype(float)
        return values - np.logaddexp.reduce(values, axis=1, keepdims=True)


def loud_photo(seed=0, classes=3, products=600):
    """Every product has three photos: two that weakly tell the truth, and one that shouts something at random."""
    material = shop([3] * products, classes)
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(3 * products, classes))
    truth = material.label[material.owner]
    weak = material.position < 2
    scores[np.flatnonzero(weak), truth[weak]] += 2
    scores[np.flatnonzero(~weak), rng.integers(0, classes, products)] += 9
    return material, features_of(scores)


def test_the_aggregation_with_the_largest_acceptance_on_tune_is_chosen_and_calibrated():
    material, features = loud_photo()
    rule = choose_rule(Given(), features, material, settings=VerdictSettings(), seed=0, console=QUIET)
    tune = np.flatnonzero(material.frame["role"] == "tune")
    images = np.isin(material.owner, tune)
    scores = Given().log_probabilities(features.matrix[images])
    starts = np.arange(0, 3 * len(tune), 3)
    reached = {}
    for method in AGGREGATIONS:
        joined = aggregate(scores, starts, method)
        reached[method] = acceptance(joined.max(axis=1), joined.argmax(axis=1) == material.label[tune]).accepted
    best = max(reached.values())
    assert rule.aggregation == next(method for method in AGGREGATIONS if reached[method] == best)
    assert reached["vote"] != reached["maximum"]
    joined = aggregate(scores, starts, rule.aggregation)
    expected = choose_calibrator(joined, material.label[tune], 0)
    assert (rule.calibrator, rule.temperature) == (expected, expected.temperature)
    before = choose_rule(
        Given(), features, material, settings=VerdictSettings(calibration="unbounded"), seed=0, console=QUIET
    )
    assert before.temperature == fit_temperature(joined, material.label[tune]) != 1
    assert before.calibrator is None
    assert rule.tune_products == len(tune)


def test_equal_acceptances_go_to_the_mean_and_settings_are_kept():
    material = shop([1] * 300, classes=3)
    features = features_of(np.random.default_rng(0).normal(size=(300, 3)))
    modest = VerdictSettings(calibration="temperature")
    rule = choose_rule(Given(), features, material, settings=modest, seed=0, console=QUIET)
    assert rule.aggregation == "mean"
    assert rule.temperature > 1  # noise is sure of nothing
    fixed = choose_rule(
        Given(),
        features,
        material,
        settings=VerdictSettings(aggregation="vote", calibrate=False),
        seed=0,
        console=QUIET,
    )
    assert (fixed.aggregation, fixed.temperature) == ("vote", 1.0)
    material, features = loud_photo()
    rule = choose_rule(
        Given(), features, material, settings=VerdictSettings(aggregation="maximum"), seed=0, console=QUIET
    )
    assert rule.aggregation == "maximum"
    assert (
        choose_rule(
            Given(), features, material, settings=VerdictSettings(calibrate=False), seed=0, console=QUIET
        ).temperature
        == 1
    )


def test_without_a_readable_image_in_tune_nothing_is_chosen():
    material, features = loud_photo()
    part = material.images_of("tune")
    features.readable[part] = False
    assert choose_rule(Given(), features, material, settings=VerdictSettings(), seed=0, console=QUIET) == ProductRule(
        "mean", 1.0, 0
    )


def test_a_tune_too_large_to_hold_is_drawn_from_by_whole_products(monkeypatch, capsys):
    material, features = loud_photo()
    whole = choose_rule(Given(), features, material, settings=VerdictSettings(), seed=0, console=Console())
    assert "drawn" not in capsys.readouterr().err
    monkeypatch.setattr(scoring, "CHOOSING_SCORES", 3 * 3 * 20)
    held = []

    class Watched(Given):
        def log_probabilities(self, rows):
            held.append(len(rows))
            return super().log_probabilities(rows)

    first, again = (
        choose_rule(Watched(), features, material, settings=VerdictSettings(), seed=seed, console=Console())
        for seed in (1, 1)
    )
    assert held == [60, 60]
    assert first == again
    assert first.tune_products == 20 < whole.tune_products
    assert f"are chosen on 20 of the {whole.tune_products} tune products" in capsys.readouterr().err


def test_stages_and_memory_are_measured():
    with PeakMemory().watch() as before, Stopwatch() as watch:
        time.sleep(0.05)
    assert 0.04 < watch.seconds < 1
    with PeakMemory().watch() as memory:
        held = np.ones(25_000_000)
        time.sleep(0.5)
    assert held.nbytes / 2**20 * 0.5 < memory.mib - before.mib < held.nbytes / 2**20 + 200
    assert machine()["cores"] >= 1
    assert "numpy" in versions()


class Told:
    """A classifier that returns scores as they are."""

    def __init__(self, scores):
        self.scores = scores

    def log_probabilities(self, features):
        return self.scores


@pytest.mark.parametrize("off", [0.0, 9e-4, -9e-4])
def test_scores_that_are_normalised_enough_are_taken_as_they_are(off):
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(500), 40)) + off
    assert log_probabilities(Told(scores), np.zeros((40, 2)), 500) is scores


def test_a_softmax_in_single_precision_over_thousands_of_categories_is_normalised_enough():
    logits = np.random.default_rng(0).normal(0, 8, (50, 6000)).astype(np.float32)
    logits -= logits.max(axis=1, keepdims=True)
    scores = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float64)
    assert np.abs(np.log(np.exp(scores).sum(axis=1))).max() < scoring.NORMALISED / 100
    log_probabilities(Told(scores), np.zeros((50, 2)), 6000)


def test_a_category_without_any_probability_is_no_fault():
    scores = np.array([[0.0, -np.inf], [np.log(0.5), np.log(0.5)]])
    assert log_probabilities(Told(scores), np.zeros((2, 2)), 2) is scores
    assert log_probabilities(Told(scores[:0]), np.zeros((0, 2)), 2).shape == (0, 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([np.nan, 0.0, -np.inf], "1 of 3 images contain NaN"),
        ([-np.inf] * 3, "1 of 3 images rule out every category"),
        ([0.0, 0.0, 0.0], r"1 of 3 images are not log-probabilities \(the log of a row's sum is 1.1"),
        ([np.inf, 0.0, 0.0], "1 of 3 images are not log-probabilities"),
        ([0.0, np.log(2e-3), -np.inf], "1 of 3 images are not log-probabilities"),
    ],
)
def test_scores_that_are_no_log_probabilities_are_refused(row, message):
    scores = np.log(np.full((3, 3), 1 / 3))
    scores[1] = row
    with pytest.raises(RunError, match=message):
        log_probabilities(Told(scores), np.zeros((3, 2)), 3)
    with pytest.raises(RunError, match=r"shape \(3, 3\), not \(3, 4\)"):
        log_probabilities(Told(scores), np.zeros((3, 2)), 4)
