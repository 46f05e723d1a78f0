"""``shelfbench doctor``: what is here, what computes what, what is broken, and what would make it faster."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from typing import Any

from shelfbench.base.errors import explain
from shelfbench.base.grid import number_of
from shelfbench.base.screen import folded, padded, screen_width, width_of
from shelfbench.base.storage import cache_dir
from shelfbench.base.temporary import temporary_folder
from shelfbench.base.version import __version__
from shelfbench.doctor.advice import advice
from shelfbench.doctor.cache import size_text
from shelfbench.doctor.machine import Machine, Place, cache_size, look, place
from shelfbench.doctor.packages import ENGINES, PURPOSES, engines, extras, installed, needs, outdated_python
from shelfbench.doctor.trying import Tried, load

# The group of entry points whose functions say what would compute what (a dict of str to str).
GROUP = "shelfbench.doctor"
# Bytes below which a disk is full.
_FULL = 200 << 20
# Libraries that results depend on, besides the engines.
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "pillow")
_KNOWN = ("SHELFBENCH_CACHE", "SHELFBENCH_DATA", "KERAS_BACKEND", "KERAS_HOME", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What ``shelfbench doctor`` found.

    Attributes
    ----------
    machine : Machine
    cache, temporary : Place
    cached : tuple of int and bool
        Bytes in the cache, and whether that is all.
    engines, libraries, uses, variables : dict of str to str
        Versions; what computes what; variables of the environment that shelfbench reads.
    extras : dict of str to bool
        Whether each is installed.
    tried : dict of str to Tried
        What came of loading engines.
    broken : list of str
        What has to be mended.
    advice : list of str
        What would make it faster.
    """

    machine: Machine
    cache: Place
    temporary: Place
    cached: tuple[int, bool]
    engines: dict[str, str]
    libraries: dict[str, str]
    uses: dict[str, str]
    variables: dict[str, str]
    extras: dict[str, bool]
    tried: dict[str, Tried] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        found = asdict(self)
        for name in ("cache", "temporary"):
            found[name]["path"] = str(found[name]["path"])
        found["cache"] |= {"bytes": self.cached[0], "whole": self.cached[1]}
        del found["cached"]
        return {"shelfbench": __version__, "python": platform.python_version(), "system": _system(), **found}

    def __str__(self) -> str:
        """Sections of lines, the verdict at the end."""
        sections = [
            ("This machine", list(self._machine())),
            ("Installed", list(self._installed())),
            ("What computes", list(self.uses.items())),
        ]
        width = max(width_of(label) for _, rows in sections for label, _ in rows)
        lines = [f"shelfbench {__version__}, Python {platform.python_version()}, {_system()}"]
        for title, rows in sections:
            lines += ["", title, *(line for row in rows for line in _row(*row, width))]
        if self.broken:
            lines += ["", "Broken", *(f"  {line}" for line in self.broken)]
        if self.advice:
            lines += ["", "What would make it faster", *(f"  {line}" for line in self.advice)]
        return "\n".join([*lines, "", self._verdict()])

    def _verdict(self) -> str:
        if self.broken:
            return f"{number_of(len(self.broken), 'thing')} to mend, listed under Broken"
        tried = "" if self.tried else " (shelfbench doctor --deep also loads the engines)"
        return f"Nothing is broken{tried}."

    def _machine(self) -> Iterator[tuple[str, str]]:
        here = self.machine
        limit = "" if here.core_limit is None else f", with the time of {here.core_limit:.1f}"
        yield "processor", here.processor
        yield "cores", f"{here.cores} of {here.seen}{limit}"
        yield "instructions", ", ".join(here.instructions) or "not known on this system"
        yield "memory", f"{here.free / 2**30:.1f} GiB free of {here.memory / 2**30:.1f} GiB"
        yield "GPU", "; ".join(here.gpus) or ("one that NVIDIA's driver does not name" if here.accelerator else "none")
        size, whole = self.cached
        yield "cache", f"{self.cache.path}: {'' if whole else 'more than '}{size_text(size)}, {_free(self.cache)}"
        yield "temporary files", f"{self.temporary.path}: {_free(self.temporary)}"
        for name, value in self.variables.items():
            yield name, value or "(empty)"

    def _installed(self) -> Iterator[tuple[str, str]]:
        for name in ENGINES:
            if name not in self.engines:
                text = "not installed"
            elif (tried := self.tried.get(name)) is None:
                text = self.engines[name] or "damaged"
            else:
                text = f"{self.engines[name]}, {'loads' if tried.works else 'fails'} in {tried.seconds:.1f} s"
                text += f": {tried.said}" if tried.said else ""
            yield name, text
        yield "libraries", ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        yield "extras", ", ".join(name for name, there in self.extras.items() if there) or "none"
        missing = [f"{name} ({PURPOSES[name]})" if name in PURPOSES else name for name in self._missing()]
        yield "not installed", ", ".join(missing) or "none"
        if missing:
            yield "", "each comes with: python -m pip install 'shelfbench[NAME]'"

    def _missing(self) -> list[str]:
        return [name for name, there in self.extras.items() if not there]


def _row(label: str, text: str, width: int) -> Iterator[str]:
    """Lay out a row; on a terminal its text folds beside its label."""
    screen = screen_width()
    lines = [text] if screen is None else folded(text, max(20, screen - width - 4))
    for number, line in enumerate(lines):
        yield f"  {padded(label if number == 0 else '', width)}  {line}"


def _system() -> str:
    return platform.platform(terse=True)


def _free(place: Place) -> str:
    return f"{size_text(place.free)} free"


def checkup(*, deep: bool = False) -> Checkup:
    """Look at this machine and what is installed.

    Parameters
    ----------
    deep : bool
        Load each engine, each in a process of its own.

    Returns
    -------
    Checkup
    """
    machine, found, there = look(), engines(), extras()
    cache, temporary = place(cache_dir()), place(temporary_folder())
    tried = {name: load(name) for name in found if found[name]} if deep else {}
    uses, failed = _uses()
    broken = [*_broken(cache, temporary, found, tried), *failed]
    return Checkup(
        machine=machine,
        cache=cache,
        temporary=temporary,
        cached=cache_size(),
        engines=found,
        libraries={name: installed(name) for name in _LIBRARIES if installed(name)},
        uses=uses,
        variables={name: os.environ[name] for name in _KNOWN if name in os.environ},
        extras=there,
        tried=tried,
        broken=broken,
        advice=advice(machine, found, cache, there),
    )


def _broken(cache: Place, temporary: Place, found: Mapping[str, str], tried: Mapping[str, Tried]) -> Iterator[str]:
    if old := outdated_python(platform.python_version()):
        yield f"{old}: make an environment with such a Python"
    for need in needs():
        yield f"{need}: python -m pip install '{need.requirement}'"
    for extra, need in _unfit_extras():
        yield f"{need}, for shelfbench[{extra}]: python -m pip install '{need.requirement}'"
    for one, remedy in (
        (cache, "choose another folder with SHELFBENCH_CACHE"),
        (temporary, "choose another folder with TMPDIR"),
    ):
        if one.problem:
            yield f"{one.path}: {one.problem}; {remedy}"
        elif one.free < _FULL:
            yield f"{one.path}: the disk is full ({size_text(one.free)} free); {remedy}"
    for name, version in found.items():
        package = ENGINES[name][0]
        again = f"python -m pip install --force-reinstall {package}"
        if not version:
            yield f"{name} is installed without its module {ENGINES[name][1]}: {again}"
        elif name in tried and not tried[name].works:
            yield f"{name} {version} cannot be loaded ({tried[name].said}): {again}"


def _unfit_extras() -> Iterator[tuple[str, Any]]:
    """Yield packages that are not in the version that their extra needs, each once.

    Of an extra all of whose packages are installed: else nobody asked for it, and they came with something else, as
    NVIDIA's do with PyTorch.
    """
    told: set[str] = set()
    for extra in extras():
        unmet = needs(extra)
        for need in unmet if all(one.installed for one in unmet) else ():
            if need.requirement not in told:
                told.add(need.requirement)
                yield extra, need


def _uses() -> tuple[dict[str, str], list[str]]:
    """Ask each package of backends what would compute here; and say which do not answer."""
    uses: dict[str, str] = {}
    failed = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            uses |= {str(task): str(what) for task, what in point.load()().items()}
        except Exception as error:  # of a package that may be anyone's
            failed.append(f"the plug-in {point.value} does not answer ({explain(error).message})")
    return uses, failed
