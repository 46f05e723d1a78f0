"""The command ``shelfbench``: one function per verb, each importing what it needs, so that --help is instant."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shelfbench.base.errors import InputError, RunError, explain
from shelfbench.base.screen import printable, shortened, show
from shelfbench.base.stopping import asked, exit_code
from shelfbench.cli.arguments import parser
from shelfbench.cli.caring import cache, doctor
from shelfbench.cli.comparing import compare
from shelfbench.cli.deciding import classify, decide
from shelfbench.cli.errors import errors
from shelfbench.cli.labelling import label
from shelfbench.cli.money import given_prices, price_settings
from shelfbench.cli.moving import show_commands
from shelfbench.cli.others import backends, datasets, fetch, generate, given_settings, new_backend, watch
from shelfbench.cli.several import merge, run_seeds
from shelfbench.cli.spreading import features

if TYPE_CHECKING:
    from shelfbench.base.console import Console


def run(options: argparse.Namespace, console: Console) -> None:
    """Run a study and print Table 4; with --seeds, several draws of it, and print the table over them."""
    import shelfbench

    if options.seeds is not None:
        return run_seeds(options, console)
    found = shelfbench.run(
        options.study,
        dataset=options.dataset,
        backends=options.backend,
        out=options.out,
        seed=options.seed,
        settings=given_settings(options.set) | price_settings(options),
        workers=options.workers,
        dask=options.dask,
        data=options.data,
        quiet=options.quiet,
        verbose=options.verbose,
        command=_command(options),
        repair=options.repair,
    )
    show(found.summary)
    page = found.path / "report.html"
    console.log(f"results: {page if page.is_file() else found.path}")


def plan(options: argparse.Namespace, console: Console) -> None:
    """Estimate what a study will take before it runs."""
    import shelfbench

    found = shelfbench.plan(
        options.study,
        dataset=options.dataset,
        backends=options.backend,
        settings=given_settings(options.set),
        workers=options.workers,
        data=options.data,
        images=options.images,
        categories=options.categories,
        machines=options.machines,
        price=options.price,
        again=options.again,
        quiet=options.quiet,
        verbose=options.verbose,
    )
    show(str(found))
    if found.machines > 1:
        show_commands(options, found)


def choose(options: argparse.Namespace, console: Console) -> None:
    """Choose among backends in a small share of a study's time."""
    import shelfbench

    found = shelfbench.choose(
        options.study,
        dataset=options.dataset,
        backends=options.backend,
        budget=options.budget,
        out=options.out,
        seed=options.seed,
        settings=given_settings(options.set),
        workers=options.workers,
        data=options.data,
        quiet=options.quiet,
        verbose=options.verbose,
    )
    show(str(found))


def report(options: argparse.Namespace, console: Console) -> None:
    """Remake the tables, figures and page of a run."""
    from shelfbench.report.build import report_again

    show(report_again(options.directory, console, given_prices(options)))
    console.log(f"results: {options.directory}")


def claims(options: argparse.Namespace, console: Console) -> None:
    """Compare the papers' numbers with what runs measured."""
    from shelfbench.report.ledger_page import write_claims

    show(write_claims(options.directory, console))


def _command(options: argparse.Namespace) -> str:
    """Return the command as typed, for the record."""
    return shlex.join(["shelfbench", *options.arguments])


# each under its function's name
VERBS = {
    verb.__name__.replace("_", "-"): verb
    for verb in (
        *(run, features, plan, choose, report, errors, compare, merge, claims, decide, classify, watch, label),
        *(datasets, backends, new_backend, fetch, generate, doctor, cache),
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after ``shelfbench``; by default those of the process.

    Returns
    -------
    int
        0; 1 for a failed run; 2 for wrong input; 3 and 4 for a decision FAIL and INCONCLUSIVE, for one in use BROKEN
        and WARNING, or for a gate that measured nothing and that cannot compare; 130 for Ctrl-C, 143 for SIGTERM, 129
        for SIGHUP.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version``.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parsed(words)
        from shelfbench.base.console import Console

        if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a character must not stop the command
            sys.stdout.reconfigure(errors="backslashreplace")
        code = VERBS[options.verb](options, Console(options.quiet, options.verbose))
        if lost := _lost_output():
            raise RunError(lost, "send it to another place")
        return int(code or 0)
    except SystemExit:  # of --help and --version
        if lost := _lost_output():
            return _say(lost, 1)
        raise
    except KeyboardInterrupt as stop:
        return _stopped(words, stop)
    except BrokenPipeError:
        _close_stdout()
        return 0
    except Exception as error:
        lost = _lost_output() if isinstance(error, OSError) and error.filename is None else ""
        if asked():  # a library made an error of the signal
            return _stopped(words, None)
        said = RunError(lost, "send it to another place") if lost else explain(error)
        return _say(str(said), said.exit_code)


def _stopped(words: list[str], stop: KeyboardInterrupt | None) -> int:
    again = "resumes the run" if words[:1] == ["run"] else "starts again"
    return _say(f"stopped; the same command {again}", exit_code(stop))


def _lost_output() -> str:
    """Write what is left for stdout, and say why that fails; Python would try at the end, where nobody can say it."""
    if sys.stdout is None:  # it has been closed
        return ""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        _close_stdout()
    except (OSError, ValueError) as error:
        _close_stdout()
        return f"the output could not be written ({getattr(error, 'strerror', None) or error})"
    return ""


def _close_stdout() -> None:
    """Let what is still buffered for stdout go nowhere."""
    with contextlib.suppress(OSError, ValueError):  # it may not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parsed(words: list[str]) -> argparse.Namespace:
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise InputError(f"{word[:80]!r} is not UTF-8", "rename it, or choose another place")
    options, unknown = parser().parse_known_args(words)
    options.arguments = words
    if options.verb is None:
        raise InputError("name a verb, such as: shelfbench run --dataset PATH", "all verbs: shelfbench --help")
    if unknown:
        raise InputError(f"unrecognized arguments: {' '.join(unknown)}", f"see shelfbench {options.verb} --help")
    return options


def _say(message: str, code: int) -> int:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
            print(f"shelfbench: {shortened(printable(message))}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    from shelfbench.cli.start import main as start

    sys.exit(start())
