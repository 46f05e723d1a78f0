"""The public function `choose`, which the verb calls too; it stands above `shelfbench.face`, whose studies it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.processor import cores
from shelfbench.base.public_arguments import count_argument, path_argument, settings_argument
from shelfbench.face import AnyPath, load_study

if TYPE_CHECKING:
    from shelfbench.runs.quick_choice import QuickChoice
    from shelfbench.study.model import Study


def choose(
    study: str | Path | Study | None = None,
    *,
    dataset: AnyPath | None = None,
    backends: Sequence[str] | None = None,
    budget: str = "15%",
    out: AnyPath | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    data: AnyPath | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> QuickChoice:
    """Choose among the backends of a study in a small share of its time.

    They learn from growing parts of train and are judged on `tune` alone; those that are behind for sure drop out. The
    features that are computed stay in the cache, where a run finds them.

    Parameters
    ----------
    study : str, Path or Study, optional
        As in `shelfbench.run`.
    dataset : str or path, optional
        As in `shelfbench.run`.
    backends : sequence of str, optional
        The candidates, instead of the study's; ``NAME@BACKBONE`` for several backbones.
    budget : str
        A share of the full study's estimated time (``15%``), or minutes (``10m``). Where there are too few products
        for a share of the time to say anything, only minutes will do.
    out : str or path, optional
        A new folder, or that of an earlier choice, for ``choose.json``, a table, a figure and a page.
    seed : int, optional
        As in `shelfbench.run`.
    settings : mapping of str to object, optional
        As in `shelfbench.run`.
    workers : int, optional
        As in `shelfbench.run`.
    data : str or path, optional
        As in `shelfbench.run`.
    quiet : bool
        Show neither logs nor progress; warnings are shown.
    verbose : bool
        As in `shelfbench.run`.

    Returns
    -------
    QuickChoice
        Its `QuickChoice.winner` is the backend to run, its `QuickChoice.ties` those that may be as good.

    Raises
    ------
    InputError
        If the study, the data, the budget or a setting is wrong, there are not two candidates to choose among, or
        there are so few products that running all of them is quicker and surer.

    Examples
    --------
    >>> found = shelfbench.choose("fashion", budget="15%")  # doctest: +SKIP
    >>> shelfbench.run("fashion", backends=[found.winner])  # doctest: +SKIP
    """
    from dataclasses import replace

    from shelfbench.runs.choosing import TooSmall, choose_quickly
    from shelfbench.runs.quick_choice import Budget, run_command

    allowed = Budget.read(budget)
    place = None if out is None else path_argument(out, "out")
    chosen = load_study(study, dataset=dataset, backends=backends, seed=seed, settings=settings)
    if place is not None:
        from shelfbench.report.choosing import check_place

        check_place(place)
    console = Console(quiet, verbose)
    console.log(f"study {chosen.name}: {chosen.title}" if dataset is None else f"study {chosen.name} on {dataset}")
    named = None if study is None else str(study if isinstance(study, (str, Path)) else study.name)
    words = {"dataset": dataset, "data": data, "seed": seed, "settings": settings_argument(settings)}
    try:
        found = choose_quickly(
            chosen,
            allowed,
            data=None if data is None else path_argument(data, "data"),
            workers=cores() if workers is None else count_argument(workers, "workers"),
            console=console,
        )
    except TooSmall as small:
        run_all = run_command(named, backends or (), words)
        raise InputError(
            small.message, f"run all: {run_all} (to choose all the same, give minutes: --budget 10m)"
        ) from None
    found = replace(found, command=run_command(named, [found.winner], words))
    if place is not None:
        from shelfbench.report.choosing import write_choice

        write_choice(place, found, chosen, console)
    return found
