"""The solver compared with scikit-learn's LinearSVC, and what must not change its answer."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

import shelfbench_baselines.descent as descent
import shelfbench_baselines.margins as margins
import shelfbench_baselines.squared_hinge as module
from shelfbench.base.errors import RunError
from shelfbench_baselines.squared_hinge import SquaredHinge


def correlated(count, dimensions, classes, seed=0, apart=0.6):
    """Make correlated features away from zero, and categories as unequal as a shop's, with at least one row each."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, classes + 1) ** 1.5
    labels = rng.choice(classes, count, p=share / share.sum())
    labels[:classes] = np.arange(classes)
    mix = rng.normal(size=(dimensions, dimensions)) * np.linspace(0.3, 2, dimensions)
    centres = rng.normal(size=(classes, dimensions)) * apart
    features = (centres[labels] + rng.normal(size=(count, dimensions))) @ mix + 3
    return features.astype(np.float32), labels


def objective(inputs, labels, weights, intercept, C, constant=1.0):
    """Compute |w|^2 / 2 + C * sum of squared hinges per category, float64; `intercept` is added to the margin."""
    signs = np.where(labels[:, None] == np.arange(weights.shape[1]), 1.0, -1.0)
    slack = np.maximum(0, 1 - signs * (inputs @ weights + intercept))
    return 0.5 * ((weights**2).sum(0) + (intercept / constant) ** 2) + C * (slack**2).sum(0)


def solved(features, labels, classes, C, scaling=(True, 1.0), tolerance=1e-4):
    """Solve one problem; `scaling` is whether features are standardised, and the constant of the intercept."""
    problem = SquaredHinge(features, labels, classes, *scaling)
    return problem, descent.regularisation_path(problem, (C,), tolerance, 300)[0]


@pytest.mark.parametrize(
    ("standardise", "constant", "C"),
    [
        (True, 1.0, 1e-4),
        (True, 1.0, 1e-2),
        (True, 1.0, 0.3),
        (True, 10.0, 1e-3),
        (False, 1.0, 1e-3),
        (False, 5.0, 1e-2),
    ],
)
def test_reaches_the_optimum_of_linear_svc(standardise, constant, C):
    features, labels = correlated(1500, 50, 12)
    _, solution = solved(features, labels, 12, C, (standardise, constant))
    inputs = features.astype(np.float64)
    if standardise:
        inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    best = LinearSVC(C=C, dual=False, tol=1e-7, max_iter=5000, intercept_scaling=constant).fit(inputs, labels)
    ours = objective(inputs, labels, solution.weights[:-1], constant * solution.weights[-1], C, constant)
    theirs = objective(inputs, labels, best.coef_.T, best.intercept_, C, constant)
    assert ours.sum() <= theirs.sum() * 1.001
    assert (ours <= theirs * 1.002).all()
    np.testing.assert_allclose(solution.objective, ours, rtol=1e-4)
    margins = inputs @ solution.weights[:-1] + constant * solution.weights[-1]
    assert np.mean(margins.argmax(1) == best.decision_function(inputs).argmax(1)) >= 0.995


def test_a_tighter_tolerance_comes_closer_than_a_millionth():
    features, labels = correlated(800, 30, 6)
    _, loose = solved(features, labels, 6, 1e-2, tolerance=1e-3)
    _, tight = solved(features, labels, 6, 1e-2, tolerance=1e-8)
    assert tight.objective.sum() < loose.objective.sum() <= tight.objective.sum() * 1.002
    assert tight.gap.max() < 1e-6


def test_the_next_c_is_solved_sooner_and_as_well():
    features, labels = correlated(1500, 50, 12)
    problem, cold = solved(features, labels, 12, 1e-2)
    _, warm = descent.regularisation_path(problem, (8e-3, 1e-2), 1e-4, 300)
    assert warm.sweeps.sum() < cold.sweeps.sum()
    np.testing.assert_allclose(warm.objective, cold.objective, rtol=1e-3)


@given(seed=st.integers(0, 1000), classes=st.integers(2, 9), C=st.sampled_from([1e-3, 1e-2, 0.1]))
@settings(max_examples=15, deadline=None)
def test_order_of_rows_and_of_categories_does_not_matter(seed, classes, C):
    features, labels = correlated(200, 12, classes, seed)
    rng = np.random.default_rng(seed)
    rows, names = rng.permutation(200), rng.permutation(classes)
    _, plain = solved(features, labels, classes, C, tolerance=1e-6)
    _, mixed = solved(features[rows], names[labels[rows]], classes, C, tolerance=1e-6)
    np.testing.assert_allclose(mixed.objective[names], plain.objective, rtol=1e-4)
    np.testing.assert_allclose(mixed.weights[:, names], plain.weights, atol=0.02)


def test_blocks_of_rows_and_categories_do_not_matter(monkeypatch):
    features, labels = correlated(700, 20, 40)
    _, whole = solved(features, labels, 40, 1e-2, tolerance=1e-6)
    monkeypatch.setattr(module, "ROWS", 64)
    monkeypatch.setattr(margins, "WIDEST", 16)
    _, pieces = solved(features, labels, 40, 1e-2, tolerance=1e-6)
    np.testing.assert_allclose(pieces.objective, whole.objective, rtol=1e-4)


class Blocks:
    """Margins in blocks of a given number of categories."""

    def __init__(self, width):
        self.width = width

    def widest(self, problem):
        return self.width

    def __call__(self, problem, live):
        return margins.Margins(problem, live)


@given(seed=st.integers(0, 1000), classes=st.integers(2, 40), width=st.integers(1, 40), C=st.sampled_from([1e-3, 0.1]))
@settings(max_examples=25, deadline=None)
def test_the_solution_does_not_depend_on_the_size_of_the_blocks(seed, classes, width, C):
    """The objective curves at least as |w|^2 / 2, so that a gap bounds the distance of the weights to the optimum."""
    features, labels = correlated(200, 12, classes, seed)
    problem = SquaredHinge(features, labels, classes, True)
    (whole,) = descent.regularisation_path(problem, (C,), 1e-6, 300, margins=Blocks(classes))
    (blocks,) = descent.regularisation_path(problem, (C,), 1e-6, 300, margins=Blocks(width))
    np.testing.assert_allclose(blocks.objective, whole.objective, rtol=2e-6)
    bound = sum(np.sqrt(2 * (1e-6 + found.gap) * found.objective) for found in (whole, blocks))
    assert (np.linalg.norm(blocks.weights - whole.weights, axis=0) <= bound + 1e-6).all()


def test_blocks_are_as_wide_as_the_memory_allows(monkeypatch):
    def problem(count, classes):
        return SimpleNamespace(count=count, classes=classes)

    monkeypatch.setattr(margins, "free_memory", lambda: pytest.fail("asked for the memory"))
    assert margins.Margins.widest(problem(35_000, 90)) == 512
    for gibibytes, width in ((0.1, 16), (4, 64), (16, 272), (64, 512), (1024, 512)):
        monkeypatch.setattr(margins, "free_memory", lambda: gibibytes * 2**30)  # noqa: B023
        assert margins.Margins.widest(problem(1_900_000, 1_000)) == width
        assert width == 16 or width * 8 * 1_900_000 <= gibibytes / 4 * 2**30
    assert margins.Margins.widest(problem(10**9, 1_000)) >= 16


def test_without_the_gram_matrix_the_optimum_is_the_same(monkeypatch):
    features, labels = correlated(700, 20, 5)
    _, whole = solved(features, labels, 5, 1e-2)
    monkeypatch.setattr(module, "GRAM_LIMIT", 10)
    _, diagonal = solved(features, labels, 5, 1e-2)
    np.testing.assert_allclose(diagonal.objective, whole.objective, rtol=1e-3)


def test_features_far_from_zero_lose_nothing():
    features, labels = correlated(700, 20, 5)
    _, near = solved(features, labels, 5, 1e-2)
    moved = features + np.float32(8192)  # adding 8192 costs the features some digits of their own
    kept = moved.copy()
    _, far = solved(moved, labels, 5, 1e-2)
    np.testing.assert_allclose(far.objective, near.objective, rtol=2e-3)
    np.testing.assert_array_equal(moved, kept)


def test_the_data_are_neither_copied_nor_changed():
    features, labels = correlated(300, 10, 3)
    features.flags.writeable = False
    problem, _ = solved(features, labels, 3, 1e-2)
    assert problem.features is features


@pytest.mark.parametrize("dimensions", [30, 400])
def test_newton_takes_over_at_any_time(monkeypatch, dimensions):
    features, labels = correlated(600, dimensions, 6)  # more active rows than features, or fewer
    monkeypatch.setattr(descent, "NEWTON_AFTER", 1000)
    _, gradients = solved(features, labels, 6, 1e-2, tolerance=1e-6)
    monkeypatch.setattr(descent, "NEWTON_AFTER", 2)
    monkeypatch.setattr(descent, "NEWTON_COST", np.inf)
    _, newton = solved(features, labels, 6, 1e-2, tolerance=1e-6)
    assert newton.sweeps.max() < gradients.sweeps.max()
    np.testing.assert_allclose(newton.objective, gradients.objective, rtol=1e-4)


def test_threads_change_nothing():
    features, labels = correlated(5000, 20, 8)
    with threadpool_limits(1):
        _, one = solved(features, labels, 8, 1e-2)
    with threadpool_limits(3):
        _, three = solved(features, labels, 8, 1e-2)
    np.testing.assert_allclose(three.weights, one.weights, atol=1e-6)


def test_more_features_than_rows():
    features, labels = correlated(40, 120, 4)
    _, solution = solved(features, labels, 4, 1.0)
    inputs = features.astype(np.float64)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    best = LinearSVC(C=1.0, dual=False, tol=1e-7, max_iter=5000).fit(inputs, labels)
    theirs = objective(inputs, labels, best.coef_.T, best.intercept_, 1.0)
    assert solution.objective.sum() <= theirs.sum() * 1.001


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_is_named(bad):
    features, labels = correlated(300, 10, 3)
    features[123, 4] = bad
    with pytest.raises(RunError, match="feature 4 of training image 123"):
        SquaredHinge(features, labels, 3, True)


@pytest.mark.parametrize("power", [-9, -4, 12])
def test_the_preconditioner_is_the_inverse(power):
    features, labels = correlated(700, 300, 3)
    problem = SquaredHinge(features, labels, 3, True)
    inputs = np.pad((features - features.mean(0)) / features.std(0), ((0, 0), (0, 1)), constant_values=1.0)
    curvature = module.BASE**power
    hessian = np.eye(301) + curvature * inputs.T.astype(float) @ inputs
    right = np.random.default_rng(0).normal(size=(301, 70))
    expected = np.linalg.solve(hessian, right)
    found = problem.precondition(np.full(70, curvature), right)
    if power < 0:
        assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
    assert (np.einsum("ij,ij->j", found, right) > 0).all()  # downhill, even where float32 resolves nothing


def test_a_path_equals_solving_each_c_alone():
    features, labels = correlated(800, 40, 7)
    problem, grid = SquaredHinge(features, labels, 7, True), (1e-3, 1e-2, 3e-2, 0.1)
    finished = []
    path = descent.regularisation_path(problem, grid, 1e-6, 300, done=finished.append)
    assert sum(finished) == 7 * len(grid)
    for C, solution in zip(grid, path, strict=True):
        _, alone = solved(features, labels, 7, C, tolerance=1e-6)
        np.testing.assert_allclose(solution.objective, alone.objective, rtol=1e-4)
        np.testing.assert_allclose(solution.weights, alone.weights, atol=0.02)
    cold = sum(solved(features, labels, 7, C)[1].sweeps.sum() for C in grid)
    assert sum(one.sweeps.sum() for one in descent.regularisation_path(problem, grid, 1e-4, 300)) < cold


def test_rows_without_a_category_belong_to_the_rest():
    features, labels = correlated(300, 10, 3)
    _, all_three = solved(features, labels, 3, 1e-2, tolerance=1e-6)
    _, first = solved(features, np.where(labels == 0, 0, -1), 1, 1e-2, tolerance=1e-6)
    np.testing.assert_allclose(first.weights[:, 0], all_three.weights[:, 0], atol=1e-3)


def test_tiles_of_the_gram_matrix_do_not_matter(monkeypatch):
    features, labels = correlated(500, 70, 3)
    whole = SquaredHinge(features, labels, 3, True)._gram
    monkeypatch.setattr(module, "TILE", 32)
    np.testing.assert_allclose(SquaredHinge(features, labels, 3, True)._gram, whole, atol=1e-3)
    inputs = np.pad((features - features.mean(0)) / features.std(0), ((0, 0), (0, 1)), constant_values=1.0)
    np.testing.assert_allclose(whole, inputs.T.astype(float) @ inputs, atol=0.05)


def test_newton_takes_no_more_rows_than_its_memory_allows(monkeypatch):
    features, labels = correlated(1500, 30, 12)
    taken, step = [], SquaredHinge.newton_step

    def noted(self, C, active, gradient):
        taken.append(len(active))
        return step(self, C, active, gradient)

    monkeypatch.setattr(SquaredHinge, "newton_step", noted)
    monkeypatch.setattr(descent, "NEWTON_AFTER", 1)
    monkeypatch.setattr(descent, "NEWTON_NUMBERS", 10**9)
    _, without = solved(features, labels, 12, 0.1, tolerance=1e-6)
    limit = int(np.median(taken))
    taken.clear()
    monkeypatch.setattr(descent, "NEWTON_NUMBERS", limit * 31)
    _, within = solved(features, labels, 12, 0.1, tolerance=1e-6)
    assert 0 < max(taken) <= limit
    np.testing.assert_allclose(within.objective, without.objective, rtol=1e-4)
