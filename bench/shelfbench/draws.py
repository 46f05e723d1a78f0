"""The public function `run_seeds`, which ``shelfbench run --seeds`` calls too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, ShelfbenchError, explain
from shelfbench.base.processor import cores
from shelfbench.base.public_arguments import count_argument, path_argument
from shelfbench.face import AnyPath, load_study

if TYPE_CHECKING:
    from shelfbench.runs.draws import Draws
    from shelfbench.study.model import Study


def run_seeds(
    study: str | Path | Study | None = None,
    *,
    seeds: int = 5,
    dataset: AnyPath | None = None,
    backends: Sequence[str] | None = None,
    out: AnyPath | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    data: AnyPath | None = None,
    quiet: bool = False,
    verbose: bool = False,
    command: str | None = None,
    repair: bool = False,
) -> Draws:
    """Run a study several times, with a seed of its own for split and training each time, and set the draws together.

    Repeat the call to resume: finished draws are not repeated. A larger number adds draws.

    Parameters
    ----------
    study : str, Path or Study, optional
        As in `shelfbench.run`; a comparison of backends.
    seeds : int
        How many draws.
    dataset : str or path, optional
        As in `shelfbench.run`.
    backends : sequence of str, optional
        As in `shelfbench.run`.
    out : str or path, optional
        A folder for ``seed-0``, ``seed-1`` ..., which are run directories, and for tables, figure and page over all of
        them; by default ``results/NAME-seeds``.
    seed : int, optional
        The first seed, instead of the study's; the others follow it.
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
    command : str, optional
        The command, as noted in the records; by default, this call.
    repair : bool
        As in `shelfbench.run`.

    Returns
    -------
    Draws
        `Draws.table` has mean, standard deviation and tier of each backend.

    Raises
    ------
    InputError
        If the study, the data or a setting is wrong, or `out` contains something else.
    RunError
        If a draw failed. The others are finished and reported first; `shelfbench report` opens them.

    Examples
    --------
    >>> shelfbench.run_seeds("fashion", seeds=3, out="results/draws").table  # doctest: +SKIP
    """
    from shelfbench.report.draws import build_draws
    from shelfbench.runs.draws import open_draws

    number = count_argument(seeds, "seeds")
    chosen = load_study(study, dataset=dataset, backends=backends, seed=seed, settings=settings)
    if chosen.experiment:
        raise InputError(
            f"the study {chosen.name} is the experiment {chosen.experiment}, which draws are not made of",
            "use --seeds with a comparison of backends",
        )
    folder = Path("results") / f"{chosen.name}-seeds" if out is None else path_argument(out, "out")
    console = Console(quiet, verbose)
    studies = {one: dataclasses.replace(chosen, seed=one) for one in range(chosen.seed, chosen.seed + number)}
    given = {"dataset": dataset, "backends": backends, "seed": seed, "settings": settings, "data": data}
    words = [f"{key}={value!r}" for key, value in given.items() if value is not None]
    told = (
        command
        or ", ".join([f"shelfbench.run_seeds({chosen.name!r}", f"seeds={number}", f"out={str(folder)!r}", *words]) + ")"
    )
    _check_places(folder, studies, told)
    place = None if data is None else path_argument(data, "data")
    threads = cores() if workers is None else count_argument(workers, "workers")
    if repair:
        from shelfbench.runs.draws import draw_path
        from shelfbench.runs.repairing import note_damage

        for one in studies:
            note_damage(draw_path(folder, one), console)
    failed = _Draws(folder, told, console).run(studies, place, threads)
    if len(failed) == number and len({str(error) for error in failed.values()}) == 1 and _nothing(folder, studies):
        raise next(iter(failed.values()))
    text = build_draws(folder, console)
    if failed:
        (first, error), *_ = failed.items()
        summary = f"{len(failed)} of {number} draws failed (seed {first}: {error.message})"
        raise type(error)(f"{summary}; the others are in {folder}", error.remedy)
    return dataclasses.replace(open_draws(folder), summary=text)


def _check_places(folder: Path, studies: Mapping[int, Study], command: str) -> None:
    """Refuse, before anything is computed, a folder that holds something else."""
    from shelfbench.runs.draws import draw_path
    from shelfbench.runs.record import RECORD
    from shelfbench.runs.recorder import Recorder

    if (folder / RECORD).exists():
        raise InputError(f"{folder} is a run directory, not a folder for draws", "choose another --out")
    for seed, study in studies.items():
        if (draw_path(folder, seed) / RECORD).exists():
            Recorder.open(draw_path(folder, seed), study, command)


def _nothing(folder: Path, studies: Mapping[int, Study]) -> bool:
    from shelfbench.runs.draws import draw_path
    from shelfbench.runs.record import RECORD

    return not any((draw_path(folder, seed) / RECORD).exists() for seed in studies)


class _Draws:
    """Runs draws one after another, and notes how each ends."""

    def __init__(self, folder: Path, command: str, console: Console) -> None:
        from shelfbench.runs.draws import DRAWS, read_draws

        self._folder, self._command, self._console = folder, command, console
        self._states = read_draws(folder)["draws"] if (folder / DRAWS).exists() else {}

    def run(self, studies: Mapping[int, Study], data: Path | None, workers: int) -> dict[int, ShelfbenchError]:
        """Run every draw; return what failed."""
        from shelfbench.experiments import run_study
        from shelfbench.runs.draws import draw_path

        failed: dict[int, ShelfbenchError] = {}
        for number, (seed, study) in enumerate(studies.items(), 1):
            self._console.log(f"draw {number} of {len(studies)}: seed {seed}")
            out = draw_path(self._folder, seed)
            try:
                run_study(study, out=out, data=data, workers=workers, console=self._console, command=self._command)
                self._note(seed, "done")
            except Exception as found:  # the other draws go on
                failed[seed] = explain(found)
                self._console.log(f"seed {seed} failed: {failed[seed]}")
                self._note(seed, "failed", str(failed[seed]))
        return failed

    def _note(self, seed: int, status: str, reason: str = "") -> None:
        from shelfbench.runs.draws import draw_path, write_draws
        from shelfbench.runs.record import RECORD

        self._states[seed] = (status, reason)
        if any((draw_path(self._folder, one) / RECORD).exists() for one in self._states):
            write_draws(self._folder, self._command, self._states)
