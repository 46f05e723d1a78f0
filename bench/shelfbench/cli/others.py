"""Verbs that no run passes through: what is installed and known, what is fetched, and a package to start with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shelfbench.base.errors import ShelfbenchError
from shelfbench.base.screen import printable, show

if TYPE_CHECKING:
    from shelfbench.base.console import Console


def datasets(options: argparse.Namespace, console: Console) -> None:
    """List the named datasets and where they are."""
    from shelfbench.data.named import find_named, named_datasets

    for name, dataset in named_datasets().items():
        where = None if dataset.method == "generate" else find_named(name, None)
        place = (
            "made on this machine when a run needs it"
            if dataset.method == "generate"
            else (f"at {where}" if where else f"not here; shelfbench fetch {name} downloads {dataset.size}")
        )
        show(f"{name}\n  {dataset.title}: {dataset.about}\n  licence: {dataset.licence}\n  {place}")


def backends(options: argparse.Namespace, console: Console) -> None:
    """List the installed backends, and what is missing for those that cannot be used here."""
    from shelfbench.plugins.finding import FEATURES, HEADS, available, find

    names = available()
    width = max(map(len, names), default=0)
    missing: dict[str, list[str]] = {}
    for name in names:
        line = name
        try:
            spec = find(name)
            line = f"{name:{width}}  {printable(spec.summary)}"
            if spec.check is not None:
                spec.check()
        except ShelfbenchError as error:
            missing.setdefault(str(error), []).append(line)
        else:
            show(line)
    for why, lines in missing.items():
        show(f"not usable here: {printable(why)}")
        for line in lines:
            show(f"  {line}")
    made = ", ".join(f"{features}-NAME" for features in available(FEATURES))
    heads = ", ".join([*available(HEADS), "or any classifier of scikit-learn that a study names as [heads.NAME]"])
    show(
        "the network is --set backbone=keras:NAME, timm:NAME or a file, or stands after @ in a name (docs/networks.md)"
    )
    show(printable(f"{made}: NAME is a head, {heads} (docs/classifiers.md)"))


def new_backend(options: argparse.Namespace, console: Console) -> None:
    """Write a package with a backend."""
    from shelfbench.plugins.package import write_package

    folder = write_package(options.name, options.out)
    show(printable(str(folder)))
    console.log(f"next: cd {folder} && python -m pip install -e '.[test]' && python -m pytest")


def fetch(options: argparse.Namespace, console: Console) -> None:
    """Download a named dataset."""
    from shelfbench.data.fetch import fetch as fetch_dataset

    show(printable(str(fetch_dataset(options.name, console))))


def generate(options: argparse.Namespace, console: Console) -> None:
    """Write a generated catalogue into a folder."""
    import shelfbench

    given = {name: getattr(options, name) for name in ("products", "counts", "seed")}
    settings = given_settings(options.set) | {name: value for name, value in given.items() if value is not None}
    made = shelfbench.generate(
        options.directory,
        settings=settings,
        workers=options.workers,
        quiet=options.quiet,
        verbose=options.verbose,
    )
    show(printable(str(made)))


def watch(options: argparse.Namespace, console: Console) -> int:
    """Say whether a decision that is in use still keeps its promise."""
    import shelfbench

    found = shelfbench.watch(options.decision, options.labelled, state=options.state, quiet=options.quiet)
    show(str(found))
    return found.status.exit_code


def given_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Read the settings given by ``--set``; a later one replaces an earlier one."""
    if not texts:
        return {}
    from shelfbench.study.overrides import parse_setting

    return {".".join(path): value for path, value in map(parse_setting, texts)}
