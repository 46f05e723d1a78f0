"""The verb ``compare``: backends of one run, or a newer run with an older one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base.errors import InputError
from shelfbench.base.screen import printable, show

if TYPE_CHECKING:
    from shelfbench.base.console import Console


def add_compare(verb: Callable[..., argparse.ArgumentParser], folder: Any, positive: Any) -> None:
    """Add the verb to the command line.

    Parameters
    ----------
    verb : callable
        Makes the parser of a verb from its name, summary and example.
    folder : callable
        Reads a path.
    positive : callable
        Reads a whole number of at least 1.
    """
    one = verb(
        "compare",
        "compare two backends of a run, product by product, or all of them; or a newer run with an older one",
        "shelfbench compare results/mine bottleneck-2nn-2048 bottleneck-svm\n"
        "         shelfbench compare results/old results/new --gate",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    one.add_argument("first", nargs="?", metavar="A|NEW", help="a backend of the run, or a newer run directory")
    one.add_argument(
        "others", nargs="*", metavar="B", help="another backend; of two runs, the backends to compare: default: all"
    )
    one.add_argument(
        "--gate",
        action="store_true",
        help="exit with 0 if the newer run is fine, 1 if it is worse by more than noise, 3 if nothing could be "
        "measured, 4 if the two cannot be compared (docs/ci.md)",
    )
    one.add_argument(
        "--precision", default="0.9", metavar="P", help="precision at which acceptance is compared; default: 0.9"
    )
    one.add_argument(
        "--tolerance",
        type=float,
        default=0.01,
        metavar="P",
        help="share of precision, and of acceptance, that a newer run may lose by the luck of training; default: 0.01",
    )
    one.add_argument("--resamples", type=positive, metavar="N", help="bootstrap resamples; default: 2000 or more")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the resampling; default: 0")


def compare(options: argparse.Namespace, console: Console) -> int:
    """Compare two backends of a run, all of them, or two runs."""
    newer = _newer_run(options)
    if newer is not None:
        from shelfbench.report.gate import compare_runs, gate_runs
        from shelfbench.verdict.gate import GateSettings

        settings = GateSettings(
            target=options.precision, tolerance=options.tolerance, resamples=options.resamples, seed=options.seed
        )
        asked = gate_runs if options.gate else compare_runs
        found = asked(options.directory, newer, options.others, settings)
        show(found.text)
        return found.exit_code if options.gate else 0
    from shelfbench.report.comparison import compare_text

    named = [name for name in (options.first, *options.others) if name is not None]
    if len(named) > 2:
        raise InputError(f"{len(named)} backends are named", "name two, or none to compare all")
    show(
        compare_text(options.directory, named, target=options.precision, resamples=options.resamples, seed=options.seed)
    )
    return 0


def _newer_run(options: argparse.Namespace) -> Path | None:
    """Return the newer run directory, or None where backends of one run are to be compared."""
    if options.first is None:
        if options.gate:
            raise InputError("--gate needs two run directories", "name the old one and the new one")
        return None
    try:
        path = Path(options.first).expanduser()
    except RuntimeError:  # somebody's home that is not there
        path = Path(options.first)
    if options.gate:
        return path
    from shelfbench.runs.directory import open_run
    from shelfbench.runs.record import RECORD

    if not (path / RECORD).is_file():
        if path.is_dir() and options.first not in open_run(options.directory).backends:
            raise InputError(
                f"{printable(options.first)} is neither a backend of {options.directory} nor a run directory "
                f"(it has no {RECORD})",
                "name the --out of a run",
            )
        return None
    if path.name == options.first and options.first in open_run(options.directory).backends:
        raise InputError(
            f"{printable(options.first)} is a backend of {options.directory}, and also a run directory",
            f"write ./{options.first} for the run directory, or go to another folder",
        )
    return path
