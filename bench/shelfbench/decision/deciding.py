"""From a run to a decision."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.given import given_path
from shelfbench.base.processor import cores
from shelfbench.base.storage import file_stem, load_json
from shelfbench.base.version import __version__
from shelfbench.cost.timing import versions
from shelfbench.data.given_features import GivenExtractor
from shelfbench.data.given_names import Given
from shelfbench.data.view import view_for
from shelfbench.decision.bundle import write_decision
from shelfbench.decision.decision import Decision, Saving
from shelfbench.decision.model import Model, classifier_files, probe
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
from shelfbench.decision.rule import MEASURES, Requirement, judge
from shelfbench.plugins.backend import BackboneChoice, Backend, FeatureExtractor
from shelfbench.plugins.finding import find_kept, split_name
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.keeping import MODEL, SavedModel, read_model
from shelfbench.runs.recorder import differences
from shelfbench.study.read import build_section
from shelfbench.verdict.metrics import Target
from shelfbench.verdict.predictions import ProductRule

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


def decide(
    run: Run | Path | str,
    backend: str,
    *,
    precision: Target = 0.9,
    confidence: float | str = 0.95,
    measure: str = "probability",
    all_categories: bool = False,
) -> Decision:
    """Decide whether a backend of a run may be deployed.

    Parameters
    ----------
    run : Run, Path or str
        A run, or its directory.
    backend : str
        One of its backends.
    precision : float, str or Fraction
        Share of the accepted products that must be right. Read by its decimal digits: 0.9 is exactly 9/10.
    confidence : float or str
        Probability, over the drawing of the labelled products, with which that share is kept.
    measure : {'probability', 'margin', 'entropy'}
        Which number serves as the confidence in a product.
    all_categories : bool
        Leave every category on, however weak it is.

    Returns
    -------
    Decision

    Raises
    ------
    InputError
        If the run lacks the backend, its model or its products, a value is not valid, or the backend's features would
        now be computed differently.
    """
    opened = open_run(run if isinstance(run, Run) else given_path(run, "run"))
    if backend not in opened.backends:
        raise InputError(
            f"{opened.path} has no predictions of {backend!r}", f"choose from: {', '.join(opened.backends)}"
        )
    required = Requirement.of(precision, confidence, measure, all_categories)
    folder = opened.path / "models" / file_stem(backend)
    saved = read_model(folder)
    opened.products(backend)  # refuses a file that lacks a product, or repeats one
    ruling = judge(
        _predictions(opened.file("predictions", backend), measure),
        saved.classes,
        required,
        ProductRule(saved.aggregation, saved.temperature, calibrator=saved.calibrator),
    )
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
    given = _given(saved, folder / MODEL) if isinstance(features, GivenExtractor) else None
    if given is not None:
        features = GivenExtractor(given.source, given)
    if features.pixels > MAX_SIDE:
        raise InputError(f"{backend} takes {features.pixels} pixels, more than {MAX_SIDE}", "run it on smaller images")
    if given is None:
        _compare(saved, features, backend)
    names = opened.categories
    model = Model(
        ruling=ruling,
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
        classifier=built.load(folder),
        workers=cores(),
    )
    source = _Source(run=opened, name=backend, folder=folder, saved=saved, backend=built, model=model)
    return Decision(model=model, write=lambda saving: _write(source, saving))


def _kept_network(folder: Path, backend: Backend) -> tuple[str, ...]:
    """List the files of the network that the run kept next to a classifier: one that it trained, or calibrated."""
    if (folder / INT8).is_file():
        return (NETWORK[0], INT8)
    return NETWORK if backend.trainer is not None else ()


def _predictions(path: Path, measure: str) -> pa.Table:
    wanted = {"role", "category", "predicted", "rejected", MEASURES[measure]}
    try:
        return pq.read_table(path, columns=sorted(wanted & set(pq.read_schema(path).names)))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read ({reason})", _ELSEWHERE) from None


def _classifier(folder: Path) -> tuple[str, str]:
    """Tell in which files a run keeps a classifier."""
    try:
        estimator = load_json(folder / ESTIMATOR[0]).get("classifier") == "estimator"
    except (ValueError, OSError, AttributeError):  # told where the file is read
        estimator = False
    return ESTIMATOR if estimator else classifier_files([path.name for path in folder.iterdir()])


def _build(name: str, saved: SavedModel, where: str) -> Backend:
    """Build the backend as the run did."""
    spec = find_kept(split_name(name, BackboneChoice())[0])
    sections = {
        key: build_section(kind, saved.sections.get(key, {}), key, where) for key, kind in spec.sections.items()
    }
    return spec.build(sections, saved.backbone, cores())


def _given(saved: SavedModel, where: Path) -> Given:
    """Return what the run knew of the embeddings."""
    try:
        return Given(**{key: value for key, value in saved.features["settings"].items() if key != "kind"})
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
    for name in (*_classifier(source.folder), *kept):
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
            "product, temperature and threshold come after",
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
    }
    try:
        return msgspec.convert(values, RestsOn)
    except msgspec.ValidationError as error:
        raise InputError(f"{source.run.path / 'run.json'} is not a run's record ({error})", _ELSEWHERE) from error
