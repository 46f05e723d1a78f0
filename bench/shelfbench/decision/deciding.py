"""From a run to a decision."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, first_line
from shelfbench.base.processor import cores
from shelfbench.base.public_arguments import path_argument
from shelfbench.base.storage import load_json
from shelfbench.base.version import __version__
from shelfbench.cost.timing import versions
from shelfbench.data.embedding_names import GivenEmbeddings
from shelfbench.data.embeddings import EmbeddingExtractor
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.view import view_for
from shelfbench.decision.bundle import write_decision
from shelfbench.decision.decision import Decision, Saving
from shelfbench.decision.guarding import watched
from shelfbench.decision.ladder import frame_of, judge_ladder
from shelfbench.decision.mixing import read_flow
from shelfbench.decision.model import Model, classifier_files, probe
from shelfbench.decision.money import price
from shelfbench.decision.record import (
    ESTIMATOR,
    INT8,
    LIMITS,
    MAX_SIDE,
    NETWORK,
    ONNX,
    ModelSpec,
)
from shelfbench.decision.rests_on import DatasetEntry, RestsOn, SplitEntry
from shelfbench.decision.rule import MEASURES, Requirement, Ruling, judge
from shelfbench.decision.rungs import named_targets, rung_targets, rungs_of
from shelfbench.decision.tries import Tries, questions, shared, stated
from shelfbench.plugins.backend import BackboneChoice, Backend
from shelfbench.plugins.finding import find_saved, split_name
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.guarding import GUARD
from shelfbench.runs.keeping import MODEL, SavedModel, read_model
from shelfbench.runs.levels import CATEGORY, level_answers
from shelfbench.runs.money import computing, prices_of
from shelfbench.runs.recorder import differences
from shelfbench.study.sections import build_section
from shelfbench.verdict.costs import Prices
from shelfbench.verdict.guard import Guard
from shelfbench.verdict.metrics import Target
from shelfbench.verdict.predictions import ProductRule
from shelfbench.verdict.walk import TUNED

# Settings of features that name software: other versions compute almost the same.
_SOFTWARE = ("pillow", "library", "engine", "engine_version", "keras_version")
_ELSEWHERE = "run the study again in another directory"


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A backend of a run, built as the run built it."""

    run: Run
    name: str
    folder: Path
    saved: SavedModel
    backend: Backend
    model: Model
    labelled: Mapping[str, Any] | None = None


def decide(
    run: Run | Path | str,
    backend: str,
    *,
    precision: Target | Mapping[str, Target] = 0.9,
    confidence: float | str = 0.95,
    measure: str = "probability",
    all_categories: bool = False,
    prices: Prices | None = None,
    walk: str = TUNED,
    mix: str | Path | None = None,
    joint: Sequence[tuple[str, str]] = (),
    levels: bool = False,
) -> Decision:
    """Decide whether a backend of a run may be deployed.

    Parameters
    ----------
    run : Run, Path or str
        A run, or its directory.
    backend : str
        One of its backends.
    precision : float, str, Fraction, or mapping of str to these
        Share of the accepted products that must be right. Read by its decimal digits: 0.9 is exactly 9/10. With
        `levels`, it may differ by rung: ``{"category": 0.9, "level1": 0.97}``, and a level may be ``"off"``.
    confidence : float or str
        Probability, over the drawing of the labelled products, with which that share is kept.
    measure : {'probability', 'margin', 'entropy'}
        Which number serves as the confidence in a product.
    all_categories : bool
        Leave every category on, however weak it is.
    prices : Prices, optional
        What a review, an error and an hour of the machine cost (`Prices.of`); by default what the run was told.
    walk : {'tuned', 'first'}
        Where the walk that certifies begins: where tune promises the most, or, as before version 0.2, where 100
        products or a fifth are accepted.
    mix : str or path, optional
        The mix of categories that the promise is for: ``catalogue`` for the catalogue's own counts, or a CSV of
        category and share of the flow; by default, that of the products that certify.
    joint : sequence of (str, str)
        Backends and measures that are tested together, this one among them, at equal parts of what one test may miss;
        see `shelfbench.decide_family`.
    levels : bool
        Answer a product at a level above its category where the category is not sure enough, with one promise for all
        rungs (docs/ladder.md).

    Returns
    -------
    Decision

    Raises
    ------
    InputError
        If the run lacks the backend, its model or its products, a value is not valid, or the backend's features would
        now be computed differently.
    """
    opened = open_run(run if isinstance(run, Run) else path_argument(run, "run"))
    if backend not in opened.backends:
        raise InputError(
            f"{opened.path} has no predictions of {backend!r}", f"choose from: {', '.join(opened.backends)}"
        )
    if backend in (homes := opened.record.homes):
        where, own = homes[backend]
        raise InputError(f"{opened.path} contains merged runs without their models", f"decide on {where} {own}")
    if levels and (mix is not None or prices is not None or walk != TUNED):
        raise InputError(
            "a ladder has a walk of its own, and knows neither another mix nor prices",
            "leave out --mix, --walk and the prices, or --levels",
        )
    rungs = rungs_of(opened, precision) if levels else []
    names = [CATEGORY, *(level.name for level in rungs)]
    targets = rung_targets(precision, names)
    required = shared(Requirement.of(targets[0], confidence, measure, all_categories, walk=walk), len(joint))
    folder = opened.model(backend)
    saved = read_model(folder)
    opened.products(backend)  # refuses a file that lacks a product, or repeats one
    everything = predictions = _predictions(opened.file("predictions", backend), measure)
    guard = watched(opened, backend, folder)
    if guard is not None:  # from here on, what lies outside is rejected
        predictions, cut = guard.applied(predictions, required)
    if mix is not None:
        required = replace(required, flow=read_flow(str(mix), predictions))
    rule = ProductRule(saved.aggregation, saved.temperature, calibrator=saved.calibrator)
    if levels:
        said = level_answers(opened.file("scores", backend), frame_of(predictions), saved.classes, rungs)
        pairs = list(zip(rungs, said, strict=True))
        ruling: Ruling = judge_ladder(predictions, saved.classes, required, rule, levels=pairs, targets=targets)
    else:
        ruling = judge(predictions, saved.classes, required, rule)
    if guard is not None:
        ruling = guard.noted(ruling, everything, cut)
    asked = questions(required, joint or [(backend, measure)], named_targets(names, targets) if levels else ())
    told = None if levels else prices or prices_of(opened.record)
    spent = computing(opened, backend, told) if told is not None else None

    def promised() -> Ruling:
        """Count the test, and state the promise at what all tests leave."""
        found = stated(ruling, Tries.of(opened.path).also(asked).save(Console(quiet=True)))
        if told is None or spent is None:
            return found
        money = price(predictions, MEASURES[measure], (found.threshold, found.off), told, spent)
        return replace(found, money=money)

    return decision_on(opened, backend, saved, promised, guard=guard.guard if guard is not None else None)


def decision_on(
    opened: Run,
    backend: str,
    saved: SavedModel,
    ruling: Ruling | Callable[[], Ruling],
    *,
    labelled: Mapping[str, Any] | None = None,
    guard: Guard | None = None,
) -> Decision:
    """Put a ruling and the model of a backend together.

    Parameters
    ----------
    opened : Run
    backend : str
    saved : SavedModel
        What the run kept of it.
    ruling : Ruling, or callable that returns it
        Called when nothing else can fail: a decision that could not be made is not counted.
    labelled : mapping, optional
        The labelled sample that the ruling rests on, if it does not rest on the products of `certify`.
    guard : Guard, optional
        What keeps strangers back; None for a run of an earlier version, and a sample that was drawn without one.

    Returns
    -------
    Decision

    Raises
    ------
    InputError
        If the run lacks a file of the model, or the backend's features would now be computed differently.
    """
    folder = opened.model(backend)
    built = _build(backend, saved, str(folder / MODEL))
    kept = _kept_network(folder, built)
    for name in (*_classifier(folder), *kept):
        if not (folder / name).is_file():
            if name == ESTIMATOR[1]:
                built.load(folder)  # says why
            raise InputError(f"{folder / name} is missing", _ELSEWHERE)
        if (size := (folder / name).stat().st_size) > LIMITS[name]:
            raise InputError(
                f"{folder / name} has {size:,} bytes, more than the {LIMITS[name]:,} of a decision",
                "choose a classifier that keeps less",
            )
        if name.endswith(".json"):  # before a plug-in's own code reads it
            try:
                load_json(folder / name)
            except (ValueError, OSError) as error:
                raise InputError(f"{folder / name} cannot be read ({str(error)[:160]})", _ELSEWHERE) from None
    features = built.load_features(folder) if kept and built.load_features else built.features
    given = _given(saved, folder / MODEL) if isinstance(features, EmbeddingExtractor) else None
    if given is not None:
        features = EmbeddingExtractor(given.source, given)
    if features.pixels > MAX_SIDE:
        raise InputError(f"{backend} takes {features.pixels} pixels, more than {MAX_SIDE}", "run it on smaller images")
    if given is None:
        _compare(saved, features, backend)
    names = opened.categories
    classifier = built.load(folder)
    model = Model(
        ruling=ruling() if callable(ruling) else ruling,
        spec=ModelSpec(
            backend=backend,
            fit=saved.images.fit,
            scaled=saved.images.scaled,
            pixels=features.pixels,
            sections={} if built.load_features or given else saved.sections,
            given=given,
            names=tuple(names.get(key, key) for key in saved.classes),
        ),
        features=features,
        classifier=classifier,
        workers=cores(),
        guard=guard,
        labelled=labelled is not None,
    )
    source = _Source(
        run=opened, name=backend, folder=folder, saved=saved, backend=built, model=model, labelled=labelled
    )
    return Decision(model=model, write=lambda saving: _write(source, saving))


def _kept_network(folder: Path, backend: Backend) -> tuple[str, ...]:
    """List the files of the network that the run kept next to a classifier: one that it trained, or calibrated."""
    if (folder / INT8).is_file():
        return (NETWORK[0], INT8)
    return NETWORK if backend.trainer is not None else ()


def _predictions(path: Path, measure: str) -> pa.Table:
    wanted = {"product_id", "role", "category", "predicted", "rejected", MEASURES[measure]}
    try:
        return pq.read_table(path, columns=sorted(wanted & set(pq.read_schema(path).names)))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)})", _ELSEWHERE) from None


def _classifier(folder: Path) -> tuple[str, str]:
    """Tell in which files a run keeps a classifier."""
    try:
        estimator = load_json(folder / ESTIMATOR[0]).get("classifier") == "estimator"
    except (ValueError, OSError, AttributeError):  # told where the file is read
        estimator = False
    return ESTIMATOR if estimator else classifier_files([path.name for path in folder.iterdir()])


def _build(name: str, saved: SavedModel, where: str) -> Backend:
    """Build the backend as the run did."""
    spec = find_saved(split_name(name, BackboneChoice())[0])
    sections = {
        key: build_section(kind, saved.sections.get(key, {}), key, where) for key, kind in spec.sections.items()
    }
    return spec.build(sections, saved.backbone, cores())


def _given(saved: SavedModel, where: Path) -> GivenEmbeddings:
    """Return what the run knew of the embeddings."""
    try:
        return GivenEmbeddings(**{key: value for key, value in saved.features["settings"].items() if key != "kind"})
    except (KeyError, TypeError) as error:
        raise InputError(f"{where} does not say which embeddings it rests on ({error})", _ELSEWHERE) from None


def _compare(saved: SavedModel, features: FeatureExtractor, name: str) -> None:
    """Make sure that photos yield the same features as in the run."""
    images = view_for(features, saved.images.view).describe(saved.images.describe())
    now = json.loads(json.dumps({"images": images, "settings": features.describe()}))
    changed = differences({key: saved.features.get(key) for key in now}, now)
    if "settings.sha256" in changed:
        raise InputError(
            f"{name}: the network or its weights are no longer those of the run", "restore them, or run the study again"
        )
    if other := [key for key in changed if key.rpartition(".")[2] not in _SOFTWARE]:
        raise InputError(
            f"{name}: features would now be computed differently than in the run ({', '.join(other)})",
            "restore the weights and versions of the run, or run the study again",
        )
    if changed:
        Console(quiet=True).warn(
            f"{name}: software differs from that of the run ({', '.join(changed)}); confidences may differ slightly"
        )


def _write(source: _Source, saving: Saving) -> str:
    """Write the folder of a decision."""
    if saving.onnx and source.backend.export_onnx is None:
        own = _classifier(source.folder) == ESTIMATOR
        why = "a classifier of scikit-learn, which cannot" if own else "no network that can"
        raise InputError(f"{source.name} has {why} be saved as ONNX", "save it without ONNX")
    saving.console.log(f"writing {saving.out}")
    return write_decision(
        saving.out,
        source.model.ruling,
        source.model.spec,
        _rests_on(source, saving.command),
        lambda aside: _fill(aside, source, saving),
    )


def _fill(aside: Path, source: _Source, saving: Saving) -> dict[str, Any]:
    """Copy or write the model's files; return the probe."""
    backend, features = source.backend, source.model.features
    kept = _kept_network(source.folder, backend)
    guard = (GUARD,) if source.model.guard is not None else ()
    for name in (*_classifier(source.folder), *kept, *guard):
        try:
            shutil.copyfile(source.folder / name, aside / name)
        except FileNotFoundError:
            raise InputError(f"{source.folder / name} is missing", _ELSEWHERE) from None
    if not kept and backend.save_features is not None:
        saving.console.log("writing the network that computes the features")
        backend.save_features(aside)
    classifier = source.model.classifier
    if saving.onnx and backend.export_onnx is not None:
        saving.console.log("writing ONNX")
        backend.export_onnx(features, classifier, aside / ONNX)
    found: dict[str, Any] = {"probe": probe(features, classifier)}
    if saving.onnx:
        found["onnx"] = {
            "file": ONNX,
            "input": "pixels",
            "output": "log_probabilities",
            "says": "one row per image, uint8 RGB squares as images.fit makes them; aggregation over the photos of a "
            "product, temperature and threshold come after"
            + ("; the guard needs the features, which this graph does not return" if guard else ""),
        }
    return found


def _rests_on(source: _Source, command: str) -> RestsOn:
    """Describe the run, data and versions that a decision is based on."""
    record = source.run.record
    entry = record.backends.get(source.name)
    values = {
        "study": record.settings.name,
        "seed": record.seed,
        "run_command": record.command,
        "run_finished": record.finished,
        "run_versions": record.versions,
        "results_hash": record.results_hash,
        "dataset": {key: getattr(record.dataset, key) for key in DatasetEntry.__struct_fields__},
        "split": {key: getattr(record.split, key) for key in SplitEntry.__struct_fields__},
        "chosen": entry.chosen if entry is not None else {},
        "features": source.saved.features,
        "decide_command": command,
        "decide_versions": {**versions(), "shelfbench": __version__},
        **({"labelled": dict(source.labelled)} if source.labelled else {}),
    }
    try:
        return msgspec.convert(values, RestsOn)
    except msgspec.ValidationError as error:
        raise InputError(f"{source.run.path / 'run.json'} is not a run's record ({error})", _ELSEWHERE) from error
