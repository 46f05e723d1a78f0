"""The public function `features`, which the verb calls too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base.console import Console
from shelfbench.base.processor import cores
from shelfbench.base.public_arguments import count_argument, path_argument
from shelfbench.face import AnyPath, load_study

if TYPE_CHECKING:
    from shelfbench.runs.precomputing import Precomputed
    from shelfbench.study.model import Study


def features(
    study: str | Path | Study | None = None,
    *,
    dataset: AnyPath | None = None,
    backends: Sequence[str] | None = None,
    shard: str | None = None,
    dask: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    data: AnyPath | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> list[Precomputed]:
    """Compute the features that a run of a study will look for, and leave them in the cache.

    Parameters
    ----------
    study : str, Path or Study, optional
        As in `shelfbench.run`.
    dataset : str or path, optional
        As in `shelfbench.run`.
    backends : sequence of str, optional
        As in `shelfbench.run`.
    shard : str, optional
        Only one part of the work, like ``3/64``: the third of 64. Parts may be computed at the same time on machines
        that share the data and the cache, and again after a failure.
    dask : str, optional
        As in `shelfbench.run`.
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
    list of Precomputed
        What was done for each kind of features; `print` shows one in a line.

    Raises
    ------
    InputError
        If the study, the data, a setting or the shard is wrong, or the study is not a comparison.
    """
    from shelfbench.base.errors import InputError
    from shelfbench.data.shards import Part
    from shelfbench.runs.precomputing import precompute
    from shelfbench.spread.dask_spread import spread_over

    part = None if shard is None else Part.read(shard)
    if part is not None and dask is not None:
        raise InputError("--shard is for processes that do not know of each other", "omit it, or --dask")
    chosen = load_study(study, dataset=dataset, backends=backends, seed=seed, settings=settings)
    console = Console(quiet, verbose)
    with spread_over(dask, console):
        return precompute(
            chosen,
            data=None if data is None else path_argument(data, "data"),
            workers=cores() if workers is None else count_argument(workers, "workers"),
            console=console,
            part=part,
        )
