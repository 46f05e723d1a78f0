"""Packages that are installed only in part, or do not fit one another: which one it is, and how it is mended.

An error of loading says little of that: TensorFlow wraps a whole traceback, and the module that is missing may belong
to the package that asked for it or to another one.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from importlib.util import find_spec
from types import ModuleType

_OURS = ("shelfbench", "shelfbench_baselines", "shelfbench_deep", "__main__", "")
_INSTALL = "python -m pip install {}"
# What the loader of the system says of a library that is missing.
_SYSTEM = re.compile(r"(\S+\.so[.\d]*): cannot open shared object file")
_LIBRARY = re.compile(r"cannot open shared object file|dlopen\(")


def why_not_loaded(error: BaseException) -> tuple[str, str] | None:
    """Say which package an error of loading comes from, and how to mend it.

    Parameters
    ----------
    error : BaseException
        With its traceback.

    Returns
    -------
    tuple of str and str, or None
        What is wrong, and the remedy; None if it is another error, or comes from code that belongs to no package.
    """
    if not _of_loading(error):
        return None
    error = _first(error)
    offered = packages_distributions()
    asking, lacking = _asking(error, offered), _top(_lacking(error))
    if lacking and lacking in _OURS:
        return None
    if lacking in sys.stdlib_module_names:
        lacking = ""
    if not asking and (not lacking or not _there(lacking)):  # a module of one's own, who knows what it needs
        return None
    blamed = lacking or asking
    if blamed in _OURS:
        return None
    name = offered.get(blamed, [blamed])[0]
    if not _there(blamed):
        needs = "" if asking in _OURS else f", and {_called(asking, offered)} cannot be loaded without it"
        return f"{name} is not installed{needs}", _INSTALL.format(name)
    remedy = f"reinstall it: {_INSTALL.format(f'--force-reinstall {name}')}"
    if system := _SYSTEM.search(str(error)):
        remedy = f"install {system[1]} on this system, or {remedy}"
    return f"{_called(blamed, offered)} is installed, but cannot be loaded ({_line(error)})", remedy


def _of_loading(error: BaseException) -> bool:
    """Tell whether loading failed: also of a library of the system, or of a package of which only folders are left."""
    if isinstance(error, AttributeError):
        rest = error.obj
        return isinstance(rest, ModuleType) and hasattr(rest, "__path__") and getattr(rest, "__file__", None) is None
    if isinstance(error, OSError):
        return error.errno is None and _LIBRARY.search(str(error)) is not None
    return isinstance(error, ImportError)


def _lacking(error: BaseException) -> str:
    """Name the module that is not there, or lacks something; empty where the error does not say."""
    if isinstance(error, AttributeError):
        return str(getattr(error.obj, "__name__", ""))
    return (error.name or "") if isinstance(error, ImportError) else ""


def _top(module: str) -> str:
    return module.partition(".")[0]


def _called(module: str, offered: Mapping[str, list[str]]) -> str:
    """Name the distribution of a module, with its version."""
    name = offered.get(module, [module])[0]
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # one that is half loaded
        return True


def _first(error: BaseException) -> BaseException:
    """Go back to the error that another one repeats, as those of TensorFlow and NumPy do."""
    while True:
        before = error.__cause__ or error.__context__
        if not isinstance(before, ImportError | OSError) or str(before) not in str(error):
            return error
        error = before


def _asking(error: BaseException, offered: Mapping[str, list[str]]) -> str:
    """Name the package whose code met the error; empty for a module of one's own, even of the same name."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        top = _top(str(frame.f_globals.get("__name__", "")))
        if top in sys.stdlib_module_names:
            continue
        packages = [] if top in _OURS else offered.get(top, [])
        places = [str(distribution(name).locate_file("")) for name in packages]
        return top if top in _OURS or frame.f_code.co_filename.startswith(tuple(places)) else ""
    return ""


def _line(error: BaseException) -> str:
    said = str(error).replace(" (most likely due to a circular import)", "")  # Python's guess
    lines = [line.strip() for line in said.splitlines()]
    return next(filter(None, lines), type(error).__name__)[:200]
