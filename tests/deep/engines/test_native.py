"""Only one file knows TensorFlow, JAX and PyTorch by name; all others speak Keras 3."""

import ast
from pathlib import Path

import pytest

import shelfbench_deep
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.native import accelerator, device_memory, device_name, devices, engine

ENGINES = {"tensorflow", "jax", "torch"}
PACKAGE = Path(shelfbench_deep.__file__).parent


def imported(path):
    """Top-level names of all imports of a file, lazy ones too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def users_of(names):
    return {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if imported(path) & names}


def test_engines_are_imported_in_two_files_only():
    native = str(Path("engines", "native.py"))
    # several processes are the business of JAX alone
    assert users_of(ENGINES - {"torch"}) == {native, str(Path("engines", "processes.py"))}
    # networks of timm are PyTorch's, whatever engine Keras has
    others = users_of({"torch"}) - {native, str(Path("engines", "pytorch.py"))}
    assert all(Path(name).name.startswith("timm_") for name in others)


def test_keras_is_loaded_in_one_file_only():
    # layers that applications of Keras keep for themselves are imported once Keras is loaded
    assert users_of({"keras"}) == {str(Path("engines", "keras.py")), str(Path("networks", "keras_file.py"))}


def test_the_device_has_a_name():
    assert engine() == keras.backend.backend()
    assert device_name() == (accelerator() or "cpu")
    assert len(devices(1)) == 1


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX tells")
def test_memory_of_the_device_is_not_made_up():
    assert device_memory() is None
