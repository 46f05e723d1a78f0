"""The sweeps through the Array API: with any library, the same descent as with NumPy."""

from types import SimpleNamespace

import array_api_strict
import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice, TrainingData
from shelfbench_baselines import device as module
from shelfbench_baselines.backends import hog_svm
from shelfbench_baselines.descent import regularisation_path
from shelfbench_baselines.device import Device, DeviceBlocks, find_device, margins_for
from shelfbench_baselines.estimator import BatchedLinearSVC
from shelfbench_baselines.hog import HogSettings
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings
from shelfbench_baselines.margins import LANES, Margins
from shelfbench_baselines.squared_hinge import SquaredHinge

STRICT = Device(library="array_api_strict", xp=array_api_strict, device=None, name="cpu")


def no_device(library, name):
    """A device that is never used."""
    return Device(library=library, xp=None, device=None, name=name)


def data(count=900, dimensions=24, classes=37, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=count - classes)])
    centres = rng.normal(size=(classes, dimensions))
    features = (centres[labels] + 1.2 * rng.normal(size=(count, dimensions))) * np.linspace(0.2, 3, dimensions) + 2
    return features.astype(np.float32), labels


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("name", ["strict", "jax", "torch"])
def test_the_path_equals_that_of_numpy(name, standardise):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    device = STRICT if name == "strict" else find_device(name)
    features, labels = data()
    problem = SquaredHinge(features, labels, 37, standardise)
    grid = (1e-3, 3e-2)
    expected = regularisation_path(problem, grid, 1e-6, 300)
    found = regularisation_path(problem, grid, 1e-6, 300, margins=device.margins(problem))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.objective, theirs.objective, rtol=1e-5)
        np.testing.assert_allclose(ours.weights, theirs.weights, atol=2e-3 * np.abs(theirs.weights).max())
        assert ours.gap.max() <= 1e-5


def test_the_study_and_the_estimator_take_the_engine():
    features, labels = data()
    training = TrainingData(
        features=features, labels=labels, classes=37, tune_features=features[::3], tune_labels=labels[::3]
    )
    scores = []
    for engine in ("numpy", "jax"):
        svm = LinearSVM(SVMSettings(C=(1e-3, 1e-2), extend=False, tol=1e-6, engine=engine))
        svm.fit(training, seed=0, console=Console(quiet=True))
        expected = (
            ("numpy", "cpu") if engine == "numpy" else ("jax (training), numpy (scores)", find_device("jax").name)
        )
        assert (svm.framework, svm.device) == expected
        scores.append(svm.log_probabilities(features))
    np.testing.assert_allclose(scores[1], scores[0], atol=0.05)
    ours, theirs = (
        BatchedLinearSVC(0.01, tol=1e-6, engine=engine).fit(features, labels) for engine in ("jax", "numpy")
    )
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=0.01)


def test_no_library_is_loaded_where_there_is_no_accelerator(monkeypatch):
    def load(library):
        raise AssertionError(f"{library} was loaded")

    monkeypatch.setattr(module, "_device", load)
    monkeypatch.setattr(module, "has_accelerator", lambda: False)
    assert find_device("auto") is None
    assert find_device("numpy") is None


def test_auto_takes_the_first_library_that_sees_the_accelerator(monkeypatch):
    names = {"cupy": "a GPU", "torch": "cpu", "jax": "a GPU"}
    monkeypatch.setattr(module, "has_accelerator", lambda: True)
    monkeypatch.setattr(module, "_device", lambda library: no_device(library, names[library]))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda library: None if library == "cupy" else library)
    assert find_device("auto").library == "jax"
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda library: library)
    for library in module.LIBRARIES:
        monkeypatch.delitem(module.sys.modules, library, raising=False)
    assert find_device("auto").library == "cupy"
    monkeypatch.setitem(module.sys.modules, "jax", None)  # its memory is taken already
    assert find_device("auto").library == "jax"


def test_auto_skips_a_library_that_does_not_load(monkeypatch):
    def load(library):
        if library == "cupy":
            raise RuntimeError("no driver")
        return no_device(library, "a GPU")

    monkeypatch.setattr(module, "has_accelerator", lambda: True)
    monkeypatch.setattr(module, "_device", load)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda library: library)
    assert find_device("auto").library == "torch"


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_numpy_takes_over_if_the_device_is_full_unless_it_was_named(engine, monkeypatch, capsys):
    class Full(Device):
        def put(self, array):
            raise MemoryError("2 GiB wanted, 1 GiB left\nand much more to say")

    features, labels = data()
    problem = SquaredHinge(features, labels, 37, True)
    monkeypatch.setattr(module, "find_device", lambda engine: Full(library="torch", xp=None, device=None, name="a GPU"))
    if engine == "auto":
        assert margins_for(engine, problem, Console()) == (Margins, None)
        assert "not torch on a GPU: 2 GiB wanted, 1 GiB left" in capsys.readouterr().err
    else:
        with pytest.raises(MemoryError):
            margins_for(engine, problem, Console())


class Used:
    """A device of JAX, as far as its memory goes."""

    def __init__(self, free):
        self.free = free

    def memory_stats(self):
        return {"bytes_limit": 100 * 2**30, "bytes_in_use": 100 * 2**30 - self.free} if self.free else None


@pytest.mark.parametrize(
    ("free", "width"),
    [(None, 0), (2**30, 0), (16 * 2**30, 128), (40 * 2**30, 352), (90 * 2**30, 512)],
)
def test_blocks_fill_what_the_device_has_left(free, width):
    """A device that does not tell gets the smallest blocks."""
    device = Device(library="jax", xp=None, device=Used(free), name="a GPU")
    found = DeviceBlocks(device, []).widest(SimpleNamespace(count=1_900_000, classes=1_000))
    assert found == max(width, LANES)
    assert width == 0 or found * 8 * 4 * 1_900_000 <= free / 2


def test_wide_and_narrow_blocks_solve_the_same(monkeypatch):
    features, labels = data()
    problem = SquaredHinge(features, labels, 37, True)
    (whole,) = regularisation_path(problem, (1e-2,), 1e-6, 300, margins=STRICT.margins(problem))
    monkeypatch.setattr(DeviceBlocks, "widest", lambda self, problem: 16)
    (blocks,) = regularisation_path(problem, (1e-2,), 1e-6, 300, margins=STRICT.margins(problem))
    np.testing.assert_allclose(blocks.objective, whole.objective, rtol=1e-5)
    np.testing.assert_allclose(blocks.weights, whole.weights, atol=2e-3 * np.abs(whole.weights).max())


def test_missing_libraries_and_unknown_engines_are_refused(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda library: None)
    with pytest.raises(InputError, match=r"svm\.engine is 'torch', which is not installed"):
        find_device("torch")
    settings = {"hog": HogSettings(), "svm": SVMSettings(engine="torch")}
    with pytest.raises(InputError, match="not installed"):  # before any feature is computed
        hog_svm.build(settings, BackboneChoice("efficientnet_lite0", "imagenet", 128), 1)
    with pytest.raises(ValueError, match=r"^engine is 'cupy', which is not installed"):
        BatchedLinearSVC(engine="cupy").fit(*data())
    with pytest.raises(InputError, match=r"svm\.engine is 'gpu'"):
        SVMSettings(engine="gpu")
    with pytest.raises(ValueError, match=r"^engine is 'gpu'"):
        BatchedLinearSVC(engine="gpu").fit(*data())
