"""Problems that do not fit: the same optimum, whatever the blocks, from one reading of the features for each step."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

import shelfbench_baselines.linear_svm as linear_svm
import shelfbench_baselines.streamed as module
from shelfbench.base.console import Console
from shelfbench.base.errors import RunError
from shelfbench.data.rows import Rows
from shelfbench_baselines.descent import regularisation_path
from shelfbench_baselines.device import Device, find_device
from shelfbench_baselines.device_sweep import DeviceSweep
from shelfbench_baselines.estimator import BatchedLinearSVC
from shelfbench_baselines.footprint import fits, footprint
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings
from shelfbench_baselines.squared_hinge import SquaredHinge
from shelfbench_baselines.streamed import Streamed, StreamedHinge, problem_for
from tests.baselines.test_linear_svm import material
from tests.baselines.test_squared_hinge import correlated, objective

GIB = 2**30


def mapped(features, folder, kind=np.float32):
    """The features as a read-only view of a file, as a run has them."""
    np.save(folder / "features.npy", features.astype(kind))
    return np.load(folder / "features.npy", mmap_mode="r")


def streamed(features, labels, classes, grid, *, scaling=(True, 1.0), tolerance=1e-6):
    problem = StreamedHinge(features, labels, classes, *scaling)
    return problem, regularisation_path(problem, grid, tolerance, 300, margins=Streamed(problem.sweep))


@pytest.mark.parametrize(
    ("standardise", "constant", "C"), [(True, 1.0, 1e-4), (True, 10.0, 1e-2), (True, 1.0, 0.3), (False, 1.0, 1e-3)]
)
def test_reaches_the_optimum_of_linear_svc_from_a_mapped_file(standardise, constant, C, tmp_path):
    features, labels = correlated(1500, 50, 12)
    _, (solution,) = streamed(
        mapped(features, tmp_path), labels, 12, (C,), scaling=(standardise, constant), tolerance=1e-4
    )
    inputs = features.astype(np.float64)
    if standardise:
        inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    best = LinearSVC(C=C, dual=False, tol=1e-7, max_iter=5000, intercept_scaling=constant).fit(inputs, labels)
    ours = objective(inputs, labels, solution.weights[:-1], constant * solution.weights[-1], C, constant)
    theirs = objective(inputs, labels, best.coef_.T, best.intercept_, C, constant)
    assert (ours <= theirs * 1.001).all()
    np.testing.assert_allclose(solution.objective, ours, rtol=1e-4)


@given(
    seed=st.integers(0, 1000),
    classes=st.integers(2, 30),
    sample=st.sampled_from([16, 150]),
    dimensions=st.sampled_from([3, 12, 60]),
)
@example(seed=1, classes=19, sample=150, dimensions=3)  # steps fail just before a category goes on
@settings(max_examples=8, deadline=None)
def test_the_path_is_that_of_the_problem_in_memory(seed, classes, sample, dimensions):
    """Also where the sample lacks categories, and where there are more features than rows."""
    features, labels = correlated(120, dimensions, classes, seed)
    order = np.argsort(labels)  # a catalogue sorted by category
    features, labels = features[order], labels[order]
    grid = (1e-3, 1e-2, 0.1)
    expected = regularisation_path(SquaredHinge(features, labels, classes, True), grid, 1e-6, 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "sample_size", lambda count, dimensions: min(count, sample))
        patch.setattr(module, "SAMPLE", sample)
        patch.setattr(module, "GRAM_ROWS", 1)
        _, found = streamed(features, labels, classes, grid, tolerance=1e-5)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.objective, theirs.objective, rtol=1e-4)
        assert (mine.gap <= 1e-5).all()


def test_widths_of_blocks_do_not_matter(monkeypatch):
    features, labels = correlated(700, 20, 40)
    _, (whole,) = streamed(features, labels, 40, (1e-2,))
    monkeypatch.setattr(Streamed, "widest", lambda self, problem: 16)
    _, (pieces,) = streamed(features, labels, 40, (1e-2,))
    np.testing.assert_allclose(pieces.objective, whole.objective, rtol=1e-5)


def test_threads_change_nothing():
    features, labels = correlated(9000, 20, 8)
    with threadpool_limits(1):
        _, (one,) = streamed(features, labels, 8, (1e-2,))
    with threadpool_limits(3):
        _, (three,) = streamed(features, labels, 8, (1e-2,))
    np.testing.assert_array_equal(three.weights, one.weights)


def test_a_step_reads_the_features_once():
    features, labels = correlated(3000, 30, 20)
    problem, path = streamed(features, labels, 20, (1e-3, 1e-2), tolerance=1e-4)
    most = max(sum(one.sweeps[category] for one in path) for category in range(20))
    # moments, the gradient at the beginning, and a step each; the samples are taken on the way
    assert problem.blocks.read == (2 + most) * features.nbytes


@pytest.mark.parametrize("kind", ["float16", "rows"])
def test_features_as_they_are_on_disk(kind, tmp_path):
    features, labels = correlated(700, 20, 5)
    stored = features.astype(np.float16)
    same = stored.astype(np.float32)
    index = np.random.default_rng(0).permutation(700)[:600]
    given = Rows(mapped(stored, tmp_path, np.float16), index if kind == "rows" else None)
    same, labels = (same[index], labels[index]) if kind == "rows" else (same, labels)
    _, (found,) = streamed(given, labels, 5, (1e-2,))
    _, (expected,) = streamed(same, labels, 5, (1e-2,))
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_features_far_from_zero_lose_nothing():
    features, labels = correlated(700, 20, 5)
    _, (near,) = streamed(features, labels, 5, (1e-2,))
    _, (far,) = streamed(features + np.float32(8192), labels, 5, (1e-2,))
    np.testing.assert_allclose(far.objective, near.objective, rtol=2e-3)


def test_without_the_gram_matrix_the_optimum_is_the_same(monkeypatch):
    features, labels = correlated(700, 20, 5)
    _, (whole,) = streamed(features, labels, 5, (1e-2,))
    monkeypatch.setattr(module, "GRAM_LIMIT", 10)
    _, (diagonal,) = streamed(features, labels, 5, (1e-2,))
    np.testing.assert_allclose(diagonal.objective, whole.objective, rtol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_feature_that_is_not_finite_is_named(bad):
    features, labels = correlated(300, 10, 3)
    features[123, 4] = bad
    with pytest.raises(RunError, match="feature 4 of training image 123"):
        StreamedHinge(features, labels, 3, True)


def test_what_fits_is_solved_as_before():
    assert all(fits(*size) for size in [(34_884, 1280, 90), (34_884, 3600, 90), (60_000, 2048, 512)])
    assert not any(fits(*size) for size in [(1_900_000, 2048, 1000), (300_000, 3600, 16), (100_000, 512, 400)])
    features, labels = correlated(300, 10, 3)
    assert type(problem_for(features, labels, 3, True)) is SquaredHinge


@pytest.mark.parametrize("name", ["strict", "jax", "torch"])
def test_a_device_sweeps_the_same(name, monkeypatch, tmp_path):
    array_api_strict = pytest.importorskip("array_api_strict")
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    strict = Device(library="array_api_strict", xp=array_api_strict, device=None, name="cpu")
    device = strict if name == "strict" else find_device(name)
    features, labels = correlated(700, 20, 9)
    problem, (expected,) = streamed(mapped(features, tmp_path), labels, 9, (1e-2,))
    monkeypatch.setattr("shelfbench_baselines.device_sweep.ROWS", 100)
    sweep = DeviceSweep(device, problem)
    (found,) = regularisation_path(problem, (1e-2,), 1e-6, 300, margins=Streamed(sweep))
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-5)
    assert sweep.sent % features.nbytes == 0  # the features cross the bus once for each sweep
    assert sweep.sent / features.nbytes <= found.sweeps.max() + 1


def test_features_that_a_device_can_hold_go_there_once(monkeypatch):
    array_api_strict = pytest.importorskip("array_api_strict")
    device = Device(library="array_api_strict", xp=array_api_strict, device=None, name="a GPU")
    monkeypatch.setitem(module_free(), "array_api_strict", lambda device: GIB)
    features, labels = correlated(700, 20, 9)
    problem = StreamedHinge(features, labels, 9, True)
    sweep = DeviceSweep(device, problem)
    regularisation_path(problem, (1e-2,), 1e-6, 300, margins=Streamed(sweep))
    assert sweep.resident
    assert sweep.sent == features.nbytes
    monkeypatch.setitem(module_free(), "array_api_strict", lambda device: features.nbytes)
    assert not DeviceSweep(device, problem).resident


def module_free():
    from shelfbench_baselines import device

    return device._FREE


def test_the_classifier_is_the_same_where_nothing_fits(monkeypatch):
    data = material()
    scores = []
    for limit in (2**30, 0):
        monkeypatch.setattr(module, "fits", lambda *size: limit > 0)  # noqa: B023
        svm = LinearSVM(SVMSettings(C=(1e-3, 1e-2), tol=1e-6, engine="numpy"))
        svm.fit(data, seed=0, console=Console(quiet=True))
        scores.append((svm.chosen["C"], svm.log_probabilities(data.tune_features)))
    assert scores[0][0] == scores[1][0]
    np.testing.assert_allclose(scores[1][1], scores[0][1], atol=0.05)
    ours, theirs = (
        BatchedLinearSVC(0.01, tol=1e-6, engine=engine).fit(data.features, data.labels) for engine in ("numpy", "jax")
    )
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=0.01)


def test_a_fit_in_blocks_is_said_and_recorded(monkeypatch, capsys):
    data, settings = material(), SVMSettings(C=(1e-3, 1e-2), engine="numpy")
    for limit in (False, True):
        monkeypatch.setattr(module, "fits", lambda *size: limit)  # noqa: B023
        svm = LinearSVM(settings)
        svm.fit(data, seed=0, console=Console())
        said = capsys.readouterr().err
        assert ("in blocks of rows, 6 categories at a time" in said) == (not limit)
        if limit:
            assert set(svm.chosen) <= {"C", "margin_temperature", "tune_precision", "edge"}
        else:
            passes = svm.chosen["in_blocks_of_rows"]["passes"]
            assert svm.chosen["in_blocks_of_rows"] == {"categories": 6, "passes": passes}
            assert 6 <= passes < 100


def test_a_fit_in_blocks_that_stops_before_the_optimum_warns(monkeypatch, capsys):
    monkeypatch.setattr(module, "fits", lambda *size: False)
    LinearSVM(SVMSettings(C=1.0, max_iter=1, extend=False)).fit(material(), seed=0, console=Console(quiet=True))
    assert "above the optimum; raise svm.max_iter" in capsys.readouterr().err


def test_the_temperature_of_many_rows_is_found_on_some(monkeypatch):
    data = material(tune=3000)
    found = []
    for limit in (2**30, 8 * 6 * 1500):
        monkeypatch.setattr(linear_svm, "TEMPERATURE_BYTES", limit)
        svm = LinearSVM(SVMSettings(C=1e-2))
        svm.fit(data, seed=0, console=Console(quiet=True))
        found.append(svm.temperature)
    assert found[0] != found[1]
    assert found[1] == pytest.approx(found[0], rel=0.1)


PEAK = """
import sys, numpy as np
from pathlib import Path
from shelfbench.base.console import Console
from shelfbench.plugins.backend import TrainingData
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings

def peak():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

import scipy.linalg, scipy.optimize
features = np.load(sys.argv[1], mmap_mode="r")
labels = np.random.default_rng(0).integers(0, 20, len(features))
rows, tune = slice(0, len(features) * 3 // 4), slice(len(features) * 3 // 4, None)
data = TrainingData(
    features=features[rows], labels=labels[rows], classes=20, tune_features=features[tune], tune_labels=labels[tune]
)
before = peak()
svm = LinearSVM(SVMSettings(C=1e-5, engine="numpy", max_iter=5))
svm.fit(data, seed=0, console=Console(quiet=True))
print(before, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_a_mapped_file_larger_than_the_budget_stays_under_it(tmp_path):
    """1.6 GiB of features, of which the process holds a sample of 256 MiB and its blocks."""
    rows, dimensions = 420_000, 1024
    features = np.lib.format.open_memmap(tmp_path / "features.npy", "w+", np.float32, (rows, dimensions))
    rng = np.random.default_rng(0)
    for start in range(0, rows, 4096):
        features[start : start + 4096] = rng.standard_normal(features[start : start + 4096].shape, np.float32)
    features.flush()
    del features
    command = [sys.executable, "-c", PEAK, str(tmp_path / "features.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    supposed = footprint(rows * 3 // 4, dimensions, 20, values=1).memory / 2**20
    assert after - before <= 1.25 * supposed + 100 < 800
