"""The public functions, which the verbs call too, with the same keywords; each loads the heavy modules it needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.processor import cores
from shelfbench.base.public_arguments import count_argument, path_argument, settings_argument

if TYPE_CHECKING:
    import pandas as pd

    from shelfbench.cost.plan import Plan
    from shelfbench.decision.decision import Decision
    from shelfbench.runs.directory import Run
    from shelfbench.study.model import Study

AnyPath = str | os.PathLike[str]


def run(
    study: str | Path | Study | None = None,
    *,
    dataset: AnyPath | None = None,
    backends: Sequence[str] | None = None,
    out: AnyPath | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    data: AnyPath | None = None,
    quiet: bool = False,
    verbose: bool = False,
    command: str | None = None,
    repair: bool = False,
) -> Run:
    """Run a study: from a catalogue to predictions, tables, figures and a page.

    Repeat the call to resume an interrupted run: finished work is not repeated.

    Parameters
    ----------
    study : str, Path or Study, optional
        The name of a study that comes with shelfbench, the path of a TOML file, or a study from `load_study`. By
        default ``own`` if there is a dataset, and ``default`` otherwise.
    dataset : str or path, optional
        A named dataset, or the path of a folder of images, a table of paths or links, ``*.parquet``, ``*.tar`` or
        ``*.bson``, instead of the study's.
    backends : sequence of str, optional
        Run these instead of the study's.
    out : str or path, optional
        The run directory; by default ``results/NAME``, by the name of the study.
    seed : int, optional
        Seed of the split and of training, instead of the study's.
    settings : mapping of str to object, optional
        Settings that replace the study's, like ``{"split.min_products": 10}``; checked as those of ``--set`` are.
    workers : int, optional
        Processes or threads for decoding and classical features; by default, the cores of this machine.
    dask : str, optional
        Workers of Dask that compute features: ``local:4`` starts four here, ``tcp://host:8786`` is a scheduler.
    data : str or path, optional
        Where to look for a named dataset first.
    quiet : bool
        Show neither logs nor progress; warnings are shown.
    verbose : bool
        Also say how long each stage took, and which files and caches are used.
    command : str, optional
        The command, as noted in the record; by default, this call.
    repair : bool
        First look at every file of a run that is there already, and make anew what has changed since it was made.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        If the study, the data or a setting is wrong, or `out` contains another run.
    RunError
        If a backend failed. The others are finished and reported first; `load_run` opens the run.

    Examples
    --------
    >>> found = shelfbench.run("default", backends=["hog-svm"], settings={"generated.products": 300})  # doctest: +SKIP
    >>> found.table4[["split", "precision", "acceptance_90"]]  # doctest: +SKIP
    """
    from shelfbench.experiments import run_study
    from shelfbench.spread.dask_spread import spread_over
    from shelfbench.study.fixed_size import fixed_for_other_data

    given = {"dataset": dataset, "backends": backends, "out": out, "seed": seed, "settings": settings, "data": data}
    chosen = load_study(study, dataset=dataset, backends=backends, seed=seed, settings=settings)
    place = Path("results") / chosen.name if out is None else path_argument(out, "out")
    console = Console(quiet, verbose)
    console.log(f"study {chosen.name}: {chosen.title}" if dataset is None else f"study {chosen.name} on {dataset}")
    if "pixels" not in settings_argument(settings) and (pixels := fixed_for_other_data(study, chosen)):
        console.warn(
            f"networks see the photos at {pixels} px, which study {chosen.name} fixes for its own data; "
            "--set pixels=auto lets these photos decide"
        )
    if repair:
        from shelfbench.runs.repairing import note_damage

        note_damage(place, console)
    with spread_over(dask, console):
        text = run_study(
            chosen,
            out=place,
            data=None if data is None else path_argument(data, "data"),
            workers=cores() if workers is None else count_argument(workers, "workers"),
            console=console,
            command=command or _call(study, given),
        )
    return load_run(place, summary=text)


def _call(study: str | Path | Study | None, given: Mapping[str, Any]) -> str:
    """Return the call of `run` that repeats a run."""
    named = [] if study is None else [repr(str(study if isinstance(study, (str, Path)) else study.name))]
    words = [*named, *(f"{key}={_plain(value)!r}" for key, value in given.items() if value is not None)]
    return f"shelfbench.run({', '.join(words)})"


def _plain(value: Any) -> Any:
    """Write paths as text, so that the record contains no ``PosixPath``."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def load_run(path: AnyPath, *, summary: str = "") -> Run:
    """Open a run directory.

    Parameters
    ----------
    path : str or path
        The ``--out`` of a run.
    summary : str
        The text of `Run.summary`.

    Returns
    -------
    Run
        For an experiment, which leaves no predictions, only the record, `Run.path` and `Run.timings`.

    Raises
    ------
    InputError
        If it is not a run directory, its record is damaged, or a comparison has no predictions yet.
    """
    import dataclasses

    from shelfbench.runs.directory import open_run

    return dataclasses.replace(open_run(path_argument(path, "path"), experiments=True), summary=summary)


def load_study(
    study: str | Path | Study | None = None,
    *,
    dataset: AnyPath | None = None,
    backends: Sequence[str] | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Study:
    """Read and validate a study.

    Parameters
    ----------
    study : str, Path or Study, optional
        The name of a study that comes with shelfbench, the path of a TOML file, or a study to change; by default as in
        `run`.
    dataset : str or path, optional
        As in `run`.
    backends : sequence of str, optional
        As in `run`.
    seed : int, optional
        As in `run`.
    settings : mapping of str to object, optional
        As in `run`.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If it does not exist, or contains something unknown or wrong; the message names the key and a remedy. Also if
        the study is ``own`` and there is no dataset.
    """
    from shelfbench.data.named import title_of
    from shelfbench.data.sources.elsewhere import is_elsewhere
    from shelfbench.study.overrides import setting
    from shelfbench.study.read import OWN, read_study

    overrides = [setting(key, value) for key, value in settings_argument(settings).items()]
    if dataset is not None:
        given = str(dataset)  # a path would make one slash of the two of a link
        name = given if given == "" or is_elsewhere(given) else os.fspath(path_argument(dataset, "dataset"))
        overrides.append((["dataset", "name"], name.rstrip("/") or name))
    named = next((str(value) for keys, value in reversed(overrides) if keys == ["dataset", "name"]), None)
    if study is None:
        study = "default" if named is None else OWN
    if study == OWN:
        if named is None:
            raise InputError(f"the study {OWN} has no photos of its own", "give them with --dataset PATH")
        overrides.insert(0, (["title"], title_of(named)))
    if isinstance(backends, str) or (backends is not None and not isinstance(backends, Iterable)):
        backends = [backends]
    if backends is not None:
        overrides.append((["backends"], list(backends)))
    if seed is not None:
        overrides.append((["seed"], seed))
    return read_study(study, overrides)


def plan(
    study: str | Path | Study | None = None,
    *,
    dataset: AnyPath | None = None,
    backends: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    data: AnyPath | None = None,
    images: int | None = None,
    categories: int | None = None,
    machines: int | None = None,
    price: float | str | None = None,
    again: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> Plan:
    """Estimate what a study will take before it runs: time, memory, disk, what is read, and money.

    Parameters
    ----------
    study : str, Path or Study, optional
        As in `run`.
    dataset : str or path, optional
        As in `run`.
    backends : sequence of str, optional
        As in `run`.
    settings : mapping of str to object, optional
        As in `run`.
    workers : int, optional
        As in `run`.
    data : str or path, optional
        As in `run`.
    images : int, optional
        Number of images to plan for; by default, those of the dataset.
    categories : int, optional
        Number of categories to plan for; by default, those of the dataset.
    machines : int, optional
        Among how many machines like this one the work is divided that can be; by default, one.
    price : float or str, optional
        What an hour of a machine costs: the plan is also in money.
    again : bool
        Repeat trial measurements already made on this machine.
    quiet : bool
        Show neither logs nor progress; warnings are shown.
    verbose : bool
        As in `run`.

    Returns
    -------
    Plan
        ``print(plan)`` shows what ``shelfbench plan`` prints; `Plan.table` is a pandas frame.

    Raises
    ------
    InputError
        If the study or a setting is wrong, or its dataset is not here and `images` is not given.
    """
    from dataclasses import replace

    from shelfbench.cost.photos import Asked
    from shelfbench.cost.planning import plan_study
    from shelfbench.verdict.costs import amount

    hour = 0.0 if price is None else amount(price, "the price of an hour")
    chosen = load_study(study, dataset=dataset, backends=backends, settings=settings)
    place = None if data is None else path_argument(data, "data")
    count = cores() if workers is None else count_argument(workers, "workers")
    asked = Asked(
        0 if images is None else count_argument(images, "images"),
        0 if categories is None else count_argument(categories, "categories"),
    )
    shared = 1 if machines is None else count_argument(machines, "machines")
    found = plan_study(chosen, place, count, Console(quiet, verbose), asked=asked, again=again)
    return replace(found, price=hour, machines=shared)


def classify(
    decision: Decision | AnyPath,
    paths: AnyPath | Sequence[AnyPath],
    *,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    quiet: bool = False,
) -> pd.DataFrame:
    """Classify products with a decision; those that are not accepted go to review.

    Parameters
    ----------
    decision : Decision, str or path
        A decision from `decide` or `load_decision`, or the folder of a saved one.
    paths : str, path, or sequence of them
        Images, folders of images, tables, ``*.parquet``, ``*.tar`` or ``*.bson``.
    settings : mapping of str to object, optional
        Names of columns: ``dataset.product_id`` and ``dataset.image``.
    workers : int, optional
        Threads that decode, for a decision that is loaded here; by default, the cores of this machine.
    quiet : bool
        Show neither logs nor progress; warnings are shown.

    Returns
    -------
    DataFrame
        One row per product; see `Decision.classify`.

    Raises
    ------
    InputError
        If the decision is not as it was written, or a path does not exist or cannot be read.
    """
    from shelfbench.decision.decision import Decision, load_decision

    loaded = decision if isinstance(decision, Decision) else load_decision(decision, workers=workers)
    return loaded.classify(paths, settings=settings, console=Console(quiet))


def generate(
    directory: AnyPath,
    *,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> Path:
    """Write a generated catalogue, in Kaggle's BSON layout.

    Parameters
    ----------
    directory : str or path
        A folder that does not exist yet, or is empty.
    settings : mapping of str to object, optional
        The fields of `shelfbench.generator.GeneratorSettings`, like ``{"products": 300, "label_noise": 0.1}``.
    workers : int, optional
        Processes; by default, the cores of this machine.
    quiet : bool
        Show neither logs nor progress; warnings are shown.
    verbose : bool
        As in `run`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If a setting is wrong, or the folder is not empty.
    """
    from shelfbench.base.storage import storage_errors
    from shelfbench.generator import GeneratorSettings
    from shelfbench.generator.write import generate_whole
    from shelfbench.study.sections import build_section

    table = {str(key).removeprefix("generated."): value for key, value in settings_argument(settings).items()}
    made = build_section(GeneratorSettings, table, "generated", "generate")
    target = path_argument(directory, "directory")
    with storage_errors(target):
        count = cores() if workers is None else count_argument(workers, "workers")
        generate_whole(target, made, Console(quiet, verbose), count)
    return target
