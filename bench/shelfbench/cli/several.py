"""Verbs about several runs: draws of one study, and run directories side by side."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from shelfbench.base.screen import show
from shelfbench.cli.money import price_settings
from shelfbench.cli.others import given_settings

if TYPE_CHECKING:
    from shelfbench.base.console import Console


def run_seeds(options: argparse.Namespace, console: Console) -> None:
    """Run several draws of a study."""
    import shelfbench
    from shelfbench.spread.dask_spread import spread_over

    with spread_over(options.dask, console):
        found = shelfbench.run_seeds(
            options.study,
            seeds=options.seeds,
            dataset=options.dataset,
            backends=options.backend,
            out=options.out,
            seed=options.seed,
            settings=given_settings(options.set) | price_settings(options),
            workers=options.workers,
            data=options.data,
            quiet=options.quiet,
            verbose=options.verbose,
            command=shlex.join(["shelfbench", *options.arguments]),
            repair=options.repair,
        )
    show(found.summary)
    console.log(f"results: {found.path / 'report.html'}")


def merge(options: argparse.Namespace, console: Console) -> None:
    """Put the results of several run directories side by side."""
    import shelfbench

    found = shelfbench.merge(
        options.directories,
        out=options.out,
        command=shlex.join(["shelfbench", *options.arguments]),
        quiet=options.quiet,
        verbose=options.verbose,
    )
    show(found.summary)
    console.log(f"results: {found.path / 'report.html'}")
