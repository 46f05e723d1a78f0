"""``shelfbench decide``: from a run directory to one folder with a decision and all that classifying needs."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench import __version__
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cost.timing import versions
from shelfbench.data.images import ImageSettings
from shelfbench.decision.bundle import CLASSIFIER, MAX_SIDE, NETWORK, ONNX, Recipe, check_place, probe, write_decision
from shelfbench.decision.rule import MEASURES, Decision, Evidence, decide
from shelfbench.plugins.backend import BackboneChoice, Backend, FeatureExtractor, find, split_name
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.recorder import differences
from shelfbench.study.read import build_section

# Settings of features that name software: another version computes almost the same.
_SOFTWARE = ("pillow", "library", "engine", "engine_version", "keras_version")


@dataclass(frozen=True)
class Choice:
    """What the user asks of a decision.

    Attributes
    ----------
    precision : str
        Required precision.
    confidence : float
        Probability with which it is kept.
    measure : str
        A key of `shelfbench.decision.rule.MEASURES`.
    all_categories : bool
        Whether all stay on, however weak.
    onnx : bool
        Whether ``model.onnx`` is written too.
    """

    precision: str
    confidence: float
    measure: str
    all_categories: bool
    onnx: bool


def choice(options: argparse.Namespace) -> Choice:
    """Take it from the command line.

    Raises
    ------
    InputError
        If a value means nothing.
    """
    if options.measure not in MEASURES:
        raise InputError(f"unknown measure {options.measure!r}", f"choose from: {', '.join(MEASURES)}")
    try:
        return Choice(
            options.precision, float(options.confidence), options.measure, options.all_categories, options.onnx
        )
    except ValueError:
        raise InputError(f"{options.confidence[:20]!r} is no number", "for example --confidence 0.95") from None


def decide_run(
    directory: Path, name: str, out: Path, wanted: Choice, command: str, console: Console
) -> tuple[str, int]:
    """Decide on one backend of a run, and write the decision's folder, whatever the verdict.

    Parameters
    ----------
    directory : Path
        A run directory.
    name : str
        One of its backends.
    out : Path
        The folder to write: new, empty, or one that holds an earlier decision.
    wanted : Choice
    command : str
        For the record.
    console : Console

    Returns
    -------
    str
        What to print.
    int
        Exit code: 0 for PASS, 3 for FAIL, 4 for INCONCLUSIVE.

    Raises
    ------
    InputError
        If the run lacks the backend, its model or its products, or its features would be computed otherwise now.
    """
    run = open_run(directory)
    if name not in run.backends:
        raise InputError(f"{directory} has no predictions of {name!r}", f"choose from: {', '.join(run.backends)}")
    check_place(out)
    model = directory / "models" / name
    saved = _saved(model)
    decision = decide(
        _predictions(run.file("predictions", name), wanted.measure),
        saved["classes"],
        wanted.precision,
        wanted.confidence,
        wanted.measure,
        saved.get("aggregation", "mean"),
        saved.get("temperature", 1.0),
        wanted.all_categories,
    )
    backend = _backend(name, model, saved)
    if wanted.onnx and backend.export_onnx is None:
        raise InputError(f"{name} has no network that ONNX can hold", "leave out --onnx")
    # a network that was trained in the run lies beside its classifier
    trained = backend.tuner is not None and backend.load_features is not None
    features = backend.load_features(model) if trained and backend.load_features else backend.features
    if features.pixels > MAX_SIDE:
        raise InputError(f"{name} takes {features.pixels} pixels, more than {MAX_SIDE}", "run it on smaller images")
    images = ImageSettings(**saved["images"])
    _compare(saved["features"], features, images, name, console)
    names = run.categories
    recipe = Recipe(
        name,
        images.fit,
        features.pixels,
        {} if backend.load_features else saved["sections"],
        tuple(names.get(key, key) for key in saved["classes"]),
    )
    console.log(f"writing {out}")
    digest = write_decision(
        out,
        decision,
        recipe,
        _rests_on(run, name, saved, command),
        lambda aside: _fill(aside, model, backend, features, wanted.onnx, console),
    )
    return _text(decision, name, out, digest), decision.exit_code


def _backend(name: str, model: Path, saved: Mapping[str, Any]) -> Backend:
    """Build the backend as the run did."""
    spec = find(split_name(name, BackboneChoice())[0])
    where = str(model / "backend.json")
    sections = {
        key: build_section(kind, saved["sections"].get(key, {}), key, where) for key, kind in spec.sections.items()
    }
    return spec.build(sections, BackboneChoice(**saved["backbone"]), 1)


def _saved(model: Path) -> dict[str, Any]:
    path = model / "backend.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        for key in ("classes", "images", "backbone", "features", "sections"):
            saved[key]
        return dict(saved)
    except FileNotFoundError:
        raise InputError(f"{path} is missing", "run the study again: the models of this run are not here") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error})", "run the study again in another directory") from error


def _predictions(path: Path, measure: str) -> pa.Table:
    wanted = {"role", "category", "predicted", "rejected", MEASURES[measure]}
    try:
        return pq.read_table(path, columns=sorted(wanted & set(pq.read_schema(path).names)))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read ({reason})", "run the study again in another directory") from None


def _compare(
    then: Mapping[str, Any], features: FeatureExtractor, images: ImageSettings, name: str, console: Console
) -> None:
    """Make sure that photos become the features that the run used."""
    now = json.loads(json.dumps({"images": images.describe(), "settings": features.describe()}))
    changed = differences({key: then[key] for key in now}, now)
    if other := [key for key in changed if key.rpartition(".")[2] not in _SOFTWARE]:
        raise InputError(
            f"{name}: features would be computed otherwise now than in the run ({', '.join(other)})",
            "restore what was there (weights, versions), or run the study again",
        )
    if changed:
        console.warn(f"{name}: other software than in the run ({', '.join(changed)}): confidences may differ a little")


def _fill(
    aside: Path, model: Path, backend: Backend, features: FeatureExtractor, onnx: bool, console: Console
) -> dict[str, Any]:
    """Copy or write the model's files; give the probe."""
    for name in (*CLASSIFIER, *(NETWORK if backend.tuner is not None else ())):
        try:
            shutil.copyfile(model / name, aside / name)
        except FileNotFoundError:
            raise InputError(f"{model / name} is missing", "run the study again in another directory") from None
    if backend.tuner is None and backend.save_features is not None:
        console.log("writing the network that the features come from")
        backend.save_features(aside)
    classifier = backend.load(aside)
    if onnx and backend.export_onnx is not None:
        console.log("writing ONNX")
        backend.export_onnx(features, classifier, aside / ONNX)
    found: dict[str, Any] = {"probe": probe(features, classifier)}
    if onnx:
        found["onnx"] = {
            "file": ONNX,
            "input": "pixels",
            "output": "log_probabilities",
            "says": "one row an image, uint8 RGB squares as images.fit makes them; aggregation over the photos of a "
            "product, temperature and threshold come after",
        }
    return found


def _rests_on(run: Run, name: str, saved: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Say which run, data and versions a decision rests on."""
    record = run.record
    dataset, study = record.get("dataset", {}), record.get("study", {})
    return {
        "study": study.get("name", ""),
        "seed": record.get("seed"),
        "run_command": record.get("command", ""),
        "run_finished": record.get("finished", ""),
        "run_versions": record.get("versions", {}),
        "results_hash": record.get("results_hash", ""),
        "dataset": {key: dataset.get(key, "") for key in ("name", "title", "source", "licence", "hash")},
        "split": {key: record.get("split", {}).get(key, "") for key in ("hash", "rule")},
        "chosen": record["backends"].get(name, {}).get("chosen", {}),
        "features": saved["features"],
        "decide_command": command,
        "decide_versions": {**versions(), "shelfbench": __version__},
    }


def _text(decision: Decision, name: str, out: Path, digest: str) -> str:
    """Say it to a person."""
    lines = [f"{decision.verdict}: {name}", f"  {decision.reason}"]
    if decision.threshold is not None and decision.measure == "probability":
        lines.append(f"  accepts from a confidence of {math.exp(decision.threshold):.4f} on")
    if decision.remedy:
        lines.append(f"  what would change it: {decision.remedy}")
    if decision.off:
        shown = ", ".join(decision.off[:10]) + (" ..." if len(decision.off) > 10 else "")
        lines.append(f"  categories switched off, chosen on tune ({len(decision.off)}): {shown}")
    lines += [f"  {_line(part)} (test decides nothing)" for part in decision.evidence if part.role == "test"]
    if not decision.passed:
        if decision.plain is not None:
            lines.append(f"  not certified, the plain threshold of tune: {_line(decision.plain)}")
        lines.append("  classify sends every product to review")
    return "\n".join([*lines, f"decision: {out} (sha256 of decision.json {digest})"])


def _line(part: Evidence) -> str:
    precision = "none accepted" if part.precision is None else f"precision {part.precision:.3f}"
    return (
        f"on {part.role}: {precision} [{part.precision_low:.3f}, {part.precision_high:.3f}], "
        f"acceptance {part.acceptance:.3f} [{part.acceptance_low:.3f}, {part.acceptance_high:.3f}] "
        f"({part.accepted:,} of {part.products:,})"
    )
