"""The verb ``errors``: why a category errs, and what to do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from shelfbench.base.screen import show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfbench.base.console import Console


def add_errors(verb: Callable[[str, str, str], argparse.ArgumentParser], folder: Callable[[str], Path]) -> None:
    """Add the verb to the command line.

    Parameters
    ----------
    verb : callable
        Makes the parser of a verb from its name, summary and example.
    folder : callable
        Reads a path.
    """
    one = verb(
        "errors",
        "say why a category errs and what to do: what it is taken for, what is taken for it, its surest errors",
        "shelfbench errors results/mine Sweater --out errors.html",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    one.add_argument(
        "category",
        nargs="?",
        metavar="CATEGORY",
        help="its key or its name; without it, those that err most are listed",
    )
    one.add_argument("--backend", metavar="NAME", help="default: the one that the run's page names")
    one.add_argument(
        "--out", type=folder, metavar="FILE", help="all of its errors: *.csv, or *.html, a page with their photos"
    )
    one.add_argument(
        "--data", type=folder, metavar="DIR", help="folder with the run's dataset, whose photos the page shows"
    )


def errors(options: argparse.Namespace, console: Console) -> None:
    """Say why a category errs, or which ones err most."""
    from shelfbench.report.category_page import errors_text

    show(
        errors_text(
            options.directory,
            options.category,
            backend=options.backend,
            out=options.out,
            data=options.data,
            console=console,
        )
    )
