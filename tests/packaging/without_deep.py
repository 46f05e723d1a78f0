"""The command ``shelfbench`` as it is where the extra ``deep`` is not installed::

    python tests/packaging/without_deep.py run default --backend hog-svm

Packages of that extra, and others that not everyone has, cannot be found by this process.
"""

import sys
from importlib.machinery import PathFinder

ABSENT = {"keras", "tensorflow", "h5py", "jax", "torch", "skimage", "timm", "onnx", "onnxruntime", "nncf"}
_find = PathFinder.find_spec


def find(name, path=None, target=None):
    """Find a module, unless it is one of those that are missing."""
    return None if name.partition(".")[0] in ABSENT else _find(name, path, target)


PathFinder.find_spec = find

if __name__ == "__main__":
    from shelfbench.cli.start import main

    sys.exit(main())
