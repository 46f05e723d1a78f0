"""The verbs ``decide`` and ``classify``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from shelfbench.cli.labelling import decide_labelled, keep
from shelfbench.cli.money import given_prices
from shelfbench.cli.others import given_settings

if TYPE_CHECKING:
    import argparse

    from shelfbench.base.console import Console


def decide(options: argparse.Namespace, console: Console) -> int:
    """Decide whether a backend of a run may be deployed, and write the decision."""
    import shelfbench
    from shelfbench.decision.bundle import check_place
    from shelfbench.decision.rungs import precisions
    from shelfbench.runs.directory import open_run

    check_place(options.out)
    command = shlex.join(["shelfbench", *options.arguments])  # as typed, for the record
    if options.labelled is not None:
        return decide_labelled(options, console, command)
    prices = given_prices(options)
    run = open_run(options.directory)
    measures = options.measure or ["probability"]
    asked = {name: getattr(options, name) for name in ("all_categories", "levels", "walk", "mix")}
    asked["confidence"] = "0.95" if options.confidence is None else options.confidence
    asked |= {"precision": precisions(options.precision), "prices": prices}
    if len(options.backend) == len(measures) == 1:
        decision = shelfbench.decide(run, options.backend[0], measure=measures[0], **asked)
        text = str(decision)
        if decision.ruling.passed and len(run.backends) > 1:
            console.log(
                f"the page shows the same test of all {len(run.backends)} backends; if that led you to this one, "
                "decide on all that you compared in one command, which tests them together"
            )
    else:
        family = shelfbench.decide_family(run, options.backend, measures, **asked)
        decision, text = family.best, str(family)
    return keep(decision, text, options, command, console)


def classify(options: argparse.Namespace, console: Console) -> None:
    """Classify products with a decision."""
    from shelfbench.decision.classifying import columns
    from shelfbench.decision.output import Output, classify_to

    classify_to(
        Output(options.out, options.format),
        options.decision,
        options.paths,
        settings=columns(given_settings(options.set)),
        workers=options.workers,
        console=console,
    )
