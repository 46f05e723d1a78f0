"""The verb ``features``, and the options that say who computes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shelfbench.base.processor import cores
from shelfbench.base.screen import printable, show
from shelfbench.cli.others import given_settings

if TYPE_CHECKING:
    from shelfbench.base.console import Console


def add_workers(one: argparse.ArgumentParser, positive: Callable[[str], int]) -> None:
    """Add ``--workers`` and ``--dask``, of which a command takes one.

    Parameters
    ----------
    one : ArgumentParser
        Of a verb.
    positive : callable
        Reads a whole number of at least 1.
    """
    either = one.add_mutually_exclusive_group()
    either.add_argument(
        "--workers",
        type=positive,
        default=cores(),
        metavar="N",
        help="processes for decoding and HOG; default: cores (fewer for all else: docs/command-line.md)",
    )
    either.add_argument(
        "--dask",
        metavar="ADDRESS|local:N",
        help="let workers of Dask compute features: those of the scheduler at an address (tcp://host:8786), or N that "
        "are started on this machine (docs/dask.md)",
    )


def add_features(
    verb: Callable[[str, str, str], argparse.ArgumentParser],
    folder: Callable[[str], Any],
    positive: Callable[[str], int],
) -> None:
    """Add the verb ``features``.

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
        "features",
        "compute the features that a run will look for, all or one part of several, and leave them in the cache",
        "shelfbench features fashion --shard 3/64",
    )
    one.add_argument("study", nargs="?", metavar="STUDY", help="as for run")
    one.add_argument("--dataset", metavar="NAME|PATH", help="as for run")
    one.add_argument("--data", type=folder, metavar="DIR", help="folder with the named dataset")
    one.add_argument("--backend", action="append", metavar="NAME", help="for these instead of the study's (repeatable)")
    one.add_argument("--seed", type=int, metavar="N", help="as for run: it decides which products are kept")
    one.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the study (repeatable)"
    )
    one.add_argument(
        "--shard",
        metavar="I/N",
        help="only the I-th of N parts, as one task of a job array computes it; default: all",
    )
    add_workers(one, positive)


def features(options: argparse.Namespace, console: Console) -> None:
    """Compute features, and say what was done for each kind."""
    import shelfbench

    found = shelfbench.features(
        options.study,
        dataset=options.dataset,
        backends=options.backend,
        shard=options.shard,
        dask=options.dask,
        seed=options.seed,
        settings=given_settings(options.set),
        workers=options.workers,
        data=options.data,
        quiet=options.quiet,
        verbose=options.verbose,
    )
    for one in found:
        show(printable(str(one)))
        console.detail(f"features are kept in {one.folder}")
