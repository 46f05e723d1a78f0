"""What would compute on this machine, for ``shelfbench doctor``: found out without loading any library."""

from __future__ import annotations

from importlib.util import find_spec

from shelfbench.base.processor import has_accelerator
from shelfbench_baselines.device import LIBRARIES


def uses() -> dict[str, str]:
    """Say what would compute each thing with the default settings.

    Returns
    -------
    dict of str to str
        From a task to a library.
    """
    there = [library for library in LIBRARIES if find_spec(library) is not None] if has_accelerator() else []
    svm = f"the first of {', '.join(there)} that sees the GPU; else NumPy" if there else "NumPy"
    return {"linear SVM": svm}
