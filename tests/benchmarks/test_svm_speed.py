"""The linear SVM against `LinearSVC`: the same problem, the same optimum, then the times.

Run with ``nox -s regress -- full``; without, only the equality is checked. At full size the features are bottlenecks
made by the library: of `fashion` (found through SHELFBENCH_DATA), and of a generated catalogue of 1,000 categories;
standardised, as a study has them, and `fashion`'s also as they come. `LinearSVC` chooses a solver by the shape of the
data, and takes the slower one on `fashion`'s standardised features: there ours is compared with both.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from shelfbench_baselines.descent import regularisation_path
from shelfbench_baselines.linear_svm import SVMSettings
from shelfbench_baselines.squared_hinge import SquaredHinge
from tests.benchmarks import inputs
from tests.benchmarks.pairs import Row

C = 1e-3
TOLERANCE = SVMSettings().tol
THEIRS = LinearSVC(C=C, tol=1e-2)
DUAL = LinearSVC(C=C, tol=1e-2, dual=True)
NAMES = ("raw", "fashion", "thousand")
# Categories that the opponent learns, its time being that of all in proportion: where all would take half an hour.
SAMPLE = {("fashion", THEIRS): 10, ("thousand", DUAL): 50}
KIND = ", not standardised"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Features and labels, to learn from and to test on."""

    features: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    kind: str = ""

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def __str__(self) -> str:
        return f"{len(self.features):,} x {self.features.shape[1]:,}, {self.classes:,} categories{self.kind}"


def made_up(rows, dimensions, classes):
    """Half of the rows to learn from, half to test on."""
    features, labels = inputs.correlated(2 * rows, dimensions, classes)
    return Data(features=features[:rows], labels=labels[:rows], test=features[rows:], test_labels=labels[rows:])


def bottlenecks(name, *overrides):
    """Material, and the bottleneck and the label of each of its images, of a study."""
    from shelfbench.base.console import Console
    from shelfbench.data.datasets import open_dataset
    from shelfbench.data.feature_store import FeatureStore, image_digests
    from shelfbench.data.material import gather
    from shelfbench.data.split import make_split
    from shelfbench.plugins.finding import find, split_name
    from shelfbench.study.overrides import parse_setting
    from shelfbench.study.read import read_study

    console, cores = Console(quiet=True), os.cpu_count() or 1
    study = read_study(name, [parse_setting(text) for text in overrides])
    catalogue, _ = open_dataset(study.dataset, study.generated, None, cores, console)
    digests = image_digests(catalogue, console)
    material = gather(catalogue, make_split(catalogue, study.split, study.seed, digests))
    base, backbone = split_name("bottleneck-svm", study.backbone)
    extractor = find(base).build(study.sections, backbone, cores).features
    store = FeatureStore(extractor, study.images, console, cores)
    return material, store.features(catalogue, np.arange(len(catalogue.images)), digests).matrix


@pytest.fixture(scope="module")
def raw(full_size):
    if not full_size:
        return replace(made_up(8000, 320, 20), kind=KIND)
    if not os.environ.get("SHELFBENCH_DATA"):
        pytest.skip("the full size takes the bottlenecks of `fashion`; SHELFBENCH_DATA is not set")
    material, matrix = bottlenecks("fashion")
    (features, labels), (test, test_labels) = (
        (matrix[material.image[rows]], material.label[material.owner[rows]])
        for rows in (material.images_of("train"), material.images_of("test"))
    )
    return Data(features=features, labels=labels, test=test, test_labels=test_labels, kind=KIND)


def standardised(data):
    scaler = StandardScaler().fit(data.features)
    return replace(data, features=scaler.transform(data.features), test=scaler.transform(data.test), kind="")


@pytest.fixture(scope="module")
def fashion(raw):
    return standardised(raw)


@pytest.fixture(scope="module")
def thousand(full_size):
    """50,000 images of a generated catalogue, at least one of each category among them."""
    if not full_size:
        return standardised(made_up(6000, 320, 100))
    material, matrix = bottlenecks("default", "generated.categories=1000", "generated.products=32000")
    catalogue = material.catalogue
    labels = catalogue.product_category[catalogue.image_product]
    order = np.random.default_rng(0).permutation(len(labels))
    first = np.isin(np.arange(len(order)), np.unique(labels[order], return_index=True)[1])
    order = np.concatenate([order[first], order[~first]])
    learn, test = order[:50_000], order[50_000:]
    assert len(np.unique(labels[learn])) == 1000
    return standardised(Data(features=matrix[learn], labels=labels[learn], test=matrix[test], test_labels=labels[test]))


def ours(data, tol=TOLERANCE):
    """Weights, the intercepts in the last row."""
    problem = SquaredHinge(data.features, data.labels, data.classes, standardise=False)
    (solution,) = regularisation_path(problem, (C,), tol, 1000)
    return solution.weights


def sample(data, number):
    """Categories in even steps of size, neither end among them; all where there are no more."""
    order = np.argsort(np.bincount(data.labels))
    number = min(number, len(order))
    return np.sort(order[((np.arange(number) + 0.5) * len(order) / number).astype(int)])


def planes(fitted):
    """Weights of fitted `LinearSVC`, the intercepts in the last row."""
    return np.vstack([np.vstack([one.coef_ for one in fitted]).T, np.hstack([one.intercept_ for one in fitted])])


def objective(data, weights, categories):
    """Of each category, float64, and half the squared gradient: no less than the distance to the optimum."""
    value, gradient = 0.5 * (weights**2).sum(axis=0), weights.copy()
    for rows in np.array_split(np.arange(len(data.labels)), 50):
        block = np.pad(data.features[rows].astype(np.float64), ((0, 0), (0, 1)), constant_values=1.0)
        signs = np.where(data.labels[rows, None] == categories, 1.0, -1.0)
        slack = np.maximum(0, 1 - signs * (block @ weights))
        value += C * (slack**2).sum(axis=0)
        gradient -= 2 * C * block.T @ (signs * slack)
    return value, 0.5 * (gradient**2).sum(axis=0)


def precision(data, weights):
    return np.mean((data.test @ weights[:-1] + weights[-1]).argmax(axis=1) == data.test_labels)


@pytest.mark.parametrize("name", NAMES)
def test_same_optimum(name, request):
    data = request.getfixturevalue(name)
    categories = sample(data, 50)
    tight, bound = objective(data, ours(data, 1e-7)[:, categories], categories)
    reached, _ = objective(data, ours(data)[:, categories], categories)
    least = tight - np.minimum(bound, 2e-4 * tight)
    assert (bound <= 2e-4 * tight).all()  # the optimum is that near, whoever looks for it
    assert (reached <= 1.001 * least).all()


@pytest.mark.parametrize(("jobs", "goal"), [(1, 60), (2, 30)])
@pytest.mark.parametrize(
    ("name", "machine"), [("fashion", THEIRS), ("fashion", DUAL), ("raw", THEIRS), ("thousand", DUAL)]
)
def test_speed(name, machine, jobs, goal, request, race):
    data = request.getfixturevalue(name)
    chosen = sample(data, SAMPLE.get((name, machine), data.classes))
    whole = len(chosen) == data.classes
    given = data.features.astype(np.float64)  # what liblinear would make of them first
    opponent = machine if whole and jobs == 1 else OneVsRestClassifier(machine, n_jobs=jobs)
    targets = data.labels if whole else (data.labels[:, None] == chosen).astype(int)
    found = {}

    def theirs():
        found["theirs"] = opponent.fit(given, targets)

    def mine():
        found["ours"] = ours(data)

    title = str(opponent).replace("estimator=", "").replace("0.001", "1e-3").replace("0.01", "1e-2")
    title += "" if whole else f", from {len(chosen)} of the categories"
    row = Row(f"linear SVM, {data}", title, goal)
    race(row, mine, theirs, theirs_share=len(chosen) / data.classes)
    weights = planes(getattr(found["theirs"], "estimators_", [found["theirs"]]))
    their_objective, _ = objective(data, weights, chosen)
    our_objective, _ = objective(data, found["ours"][:, chosen], chosen)
    print(f"its objective is {their_objective.sum() / our_objective.sum() - 1:.2%} above ours")
    assert our_objective.sum() <= 1.001 * their_objective.sum()
    if whole:
        assert precision(data, found["ours"]) == pytest.approx(precision(data, weights), abs=0.002)
