"""Libraries are told to take a GPU's memory as they need it before they start, unless the user decides otherwise."""

import os
import subprocess
import sys

import pytest

from tests.helpers.sources import PYTHONPATH

NAMES = ("TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_PREALLOCATE")
# Keras looks at what the libraries would see, and then is as good as loaded.
LOADING = """
import os, sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

class Keras(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "keras" else None

    def exec_module(self, module):
        print(*(os.environ.get(name) for name in sys.argv[1:]))
        module.config = SimpleNamespace(set_floatx=print, set_dtype_policy=print)

sys.meta_path.insert(0, Keras())
import shelfbench_deep.engines.keras
"""


@pytest.mark.parametrize(("given", "seen"), [({}, "true false"), (dict(zip(NAMES, ("0", "1"), strict=True)), "0 1")])
def test_memory_is_taken_as_it_is_needed(given, seen):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment |= {"PYTHONPATH": PYTHONPATH, **given}
    words = [sys.executable, "-c", LOADING, *NAMES]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == seen
