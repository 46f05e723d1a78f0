"""The verb ``label``, and ``decide --labelled``, which uses what it drew."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from shelfbench.base.errors import InputError
from shelfbench.base.screen import CODE, printable, printable_lines, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfbench.base.console import Console
    from shelfbench.decision.decision import Decision
    from shelfbench.runs.directory import Run

# The options of ``decide`` that go with --labelled.
_USED = ("directory", "backend", "precision", "confidence", "out", "measure", "all_categories", "onnx", "labelled")


def add_label(
    verb: Callable[[str, str, str], argparse.ArgumentParser],
    folder: Callable[[str], Path],
    positive: Callable[[str], int],
) -> None:
    """Declare the verb and its options.

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
        "label",
        "draw the products of an unlabelled flow that people should label for a certificate; writes a table to fill in",
        "shelfbench label results/mine bottleneck-2nn-4096 new-photos/ --budget 200 --out to-label.csv",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    one.add_argument(
        "backend", nargs="?", metavar="BACKEND", help="one of its backends; default: the one that its page names"
    )
    one.add_argument(
        "paths",
        type=folder,
        nargs="*",
        metavar="PATH",
        help="the flow: products as for classify, none of the run's",
    )
    one.add_argument(
        "--answers", type=folder, metavar="FILE", help="what classify wrote about the flow with this backend, not PATH"
    )
    one.add_argument("--budget", type=positive, default=200, metavar="N", help="products to label; default: 200")
    one.add_argument(
        "--out", type=folder, default="to-label.csv", metavar="FILE", help="the table to fill in; default: to-label.csv"
    )
    one.add_argument("--precision", default="0.9", metavar="P", help="as for decide; default: 0.9")
    one.add_argument("--confidence", default="0.95", metavar="P", help="as for decide; default: 0.95")
    one.add_argument("--all-categories", action="store_true", help="do not switch any category off")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the drawing; default: 0")
    one.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="dataset.file_name=photo, dataset.product_id=id"
    )


def label(options: argparse.Namespace, console: Console) -> None:
    """Draw the products to label."""
    from shelfbench.cli.others import given_settings
    from shelfbench.decision.classifying import columns
    from shelfbench.decision.labelling import Wanted, check_table
    from shelfbench.decision.labelling import label as draw
    from shelfbench.decision.labelling_flow import answered_flow, classified_flow
    from shelfbench.decision.labelling_overlap import overlap
    from shelfbench.decision.rule import Requirement
    from shelfbench.runs.directory import open_run
    from shelfbench.runs.keeping import read_model

    run = open_run(options.directory)
    backend, paths = _backend(run, options.backend, options.paths, console)
    if bool(paths) == (options.answers is not None):
        raise InputError(
            "label needs the flow: products that nobody has labelled, and that are not in the run",
            "name their photos (PATH), or what classify wrote about them (--answers FILE)",
        )
    check_table(options.out)
    wanted = Wanted(
        requirement=Requirement.of(options.precision, options.confidence, all_categories=options.all_categories),
        budget=options.budget,
        seed=options.seed,
        out=options.out,
    )
    if options.answers is not None:
        flow = answered_flow(options.answers, read_model(run.model(backend)).classes)
    else:
        settings = columns(given_settings(options.set))
        flow = classified_flow(run, backend, paths, settings, required=wanted.requirement, console=console)
    if warning := overlap(run, backend, flow, paths):
        console.warn(warning)
    show(printable_lines(draw(run, backend, flow, wanted)))


def _backend(run: Run, given: str | None, paths: list[Path], console: Console) -> tuple[str, list[Path]]:
    """Return the backend and the flow; without a backend, the one that the run's page names."""
    from pathlib import Path

    if given in run.backends:
        return given, paths
    if given is not None and not Path(given).exists():
        raise InputError(f"{run.path} has no predictions of {given!r}", f"choose from: {', '.join(run.backends)}")
    chosen = run.verdict.backend if run.verdict is not None else None
    if chosen is None:
        raise InputError(f"{run.path} names no backend to use", f"name one: {', '.join(run.backends)}")
    console.log(f"{chosen}: the backend that the page names")
    return chosen, paths if given is None else [Path(given), *paths]


def decide_labelled(options: argparse.Namespace, console: Console, command: str) -> int:
    """Decide on the products that people labelled, and write the decision.

    Parameters
    ----------
    options : Namespace
        Of ``decide``.
    console : Console
    command : str
        For the record.

    Returns
    -------
    int
        The exit code of the verdict.
    """
    from shelfbench.decision.labelled import Asked
    from shelfbench.decision.labelled import decide_labelled as decide

    _check_options(options)
    asked = Asked(
        precision=_single(options, "precision"),
        confidence=options.confidence,
        measure=_single(options, "measure") or Asked.measure,
        all_categories=options.all_categories,
    )
    decision = decide(options.directory, str(_single(options, "backend")), options.labelled, asked)
    return keep(decision, str(decision), options, command, console)


def keep(decision: Decision, text: str, options: argparse.Namespace, command: str, console: Console) -> int:
    """Write a decision, show it, what it replaces, and the command that uses it.

    Parameters
    ----------
    decision : Decision
    text : str
        Says what was decided.
    options : Namespace
        Of ``decide``.
    command : str
        For the record.
    console : Console

    Returns
    -------
    int
        The exit code of the verdict.
    """
    from shelfbench.decision.bundle import replaced

    earlier = replaced(options.out)
    digest = decision.save(options.out, onnx=options.onnx, command=command, console=console)
    lines = [text, f"decision: {printable(str(options.out))} (sha256 of decision.json {digest})"]
    if earlier:
        lines.append(f"  {printable(earlier)}")
    if decision.ruling.passed:
        flow = "photos/" if decision.model.spec.given is None else "products.parquet"
        words = ["shelfbench", "classify", str(options.out), flow]
        lines += ["to put new products into categories:", f"{CODE}{printable(shlex.join(words))}"]
    show("\n".join(lines))
    return decision.verdict.exit_code


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options of ``decide`` that a labelled sample has no use for, rather than leave them aside."""
    from shelfbench.cli.arguments import parser

    plain = vars(parser().parse_args(["decide", "DIR", "BACKEND", "--out", "FOLDER"]))
    for name, value in vars(options).items():
        if name not in (*_USED, "verb", "arguments", "quiet", "verbose") and value != plain.get(name):
            raise InputError(
                f"--{name.replace('_', '-')} does not go with --labelled",
                "leave it out: the sample was drawn for one promise",
            )


def _single(options: argparse.Namespace, name: str) -> str | None:
    """Return the value of an option that may be given several times, but not here; None if it was not given."""
    values = getattr(options, name) or []
    if len(values) > 1:
        raise InputError(f"--labelled certifies one {name}, not {len(values)}", f"give one {name}")
    return str(values[0]) if values else None
