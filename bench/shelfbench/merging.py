"""The public function `merge`, which the verb calls too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.public_arguments import path_argument
from shelfbench.face import AnyPath, load_run

if TYPE_CHECKING:
    from shelfbench.runs.directory import Run


def merge(
    directories: Sequence[AnyPath],
    *,
    out: AnyPath = Path("results", "merged"),
    command: str | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> Run:
    """Put the results of several run directories side by side: one table, one page, one comparison.

    Parameters
    ----------
    directories : sequence of str or path
        At least two run directories with predictions, on the same split of the same data; from any machine.
    out : str or path
        A new folder, or that of an earlier merge, which is replaced. It holds predictions, scores, tables, figures and
        page like a run directory, but no models: decide on the run directories themselves.
    command : str, optional
        The command, as noted in the record; by default, this call.
    quiet : bool
        Show neither logs nor progress; warnings are shown.
    verbose : bool
        As in `shelfbench.run`.

    Returns
    -------
    Run
        A backend that several directories have is called ``BACKEND (DIRECTORY)``.

    Raises
    ------
    InputError
        If a directory is not a run with predictions, data or split differ, or something else is at `out`.

    Examples
    --------
    >>> shelfbench.merge(["results/cpu", "results/gpu"], out="results/both").table4  # doctest: +SKIP
    """
    from shelfbench.report.build import build_report
    from shelfbench.runs.merging import merge_runs

    if isinstance(directories, (str, bytes)) or not isinstance(directories, Iterable):
        raise InputError(f"directories is {directories!r}", "give a list of run directories")
    paths = [path_argument(path, "a run directory") for path in directories]
    place, console = path_argument(out, "out"), Console(quiet, verbose)
    called = f"shelfbench.merge({[str(path) for path in paths]!r}, out={str(place)!r})"
    for line in merge_runs(paths, place, command or called):
        console.warn(line)
    console.log(f"merged {len(paths)} runs into {place}")
    return load_run(place, summary=build_report(place, None, console))
