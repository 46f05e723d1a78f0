"""A decision on disk: one folder with all that classifying needs, which can execute nothing.

Whoever loads one treats it as hostile: see `load_decision`.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.base.storage import file_sha256, storage_errors, write_json, write_text
from shelfbench.data.images import ImageSettings
from shelfbench.decision.hostile import check_safetensors, copy_known, refuse, shown, strict_json
from shelfbench.decision.rule import EXIT_CODES, MEASURES, PASS, Decision, to_record
from shelfbench.plugins.backend import BackboneChoice, Backend, Classifier, FeatureExtractor, find
from shelfbench.study.read import build_section
from shelfbench.verdict.settings import AGGREGATIONS
from shelfbench.verdict.temperature import BOUNDS as TEMPERATURES

FORMAT = 1
DECISION, DIGEST = "decision.json", "decision.sha256"
CLASSIFIER = ("classifier.json", "weights.safetensors")
NETWORK = ("network.json", "network.safetensors")
ONNX = "model.onnx"
_MIB = 1 << 20
# Every file that a decision may hold, and the most bytes of each.
LIMITS = {
    DECISION: 64 * _MIB,
    DIGEST: 256,
    "classifier.json": 4 * _MIB,
    "network.json": 4 * _MIB,
    "weights.safetensors": 2048 * _MIB,
    "network.safetensors": 2048 * _MIB,
    ONNX: 2048 * _MIB,
}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}(@[A-Za-z0-9_]{1,100})?")
_PROBES = 4
# A square and a vector of features that no backend of ours exceeds; what a stranger may ask us to compute.
MAX_SIDE, MAX_DIMENSIONS = 1024, 5_000_000
# What log-probabilities of the probes may differ by between machines and versions.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Recipe:
    """How the classifier of a decision is built and what it is fed.

    Attributes
    ----------
    backend : str
        Its name in the run.
    fit : str
        How a photo becomes a square (see `shelfbench.data.images.ImageSettings`).
    pixels : int
        Side of it.
    sections : dict
        Settings that features are computed with; empty where the folder holds the network.
    names : tuple of str
        Display names of the categories, in the order of their codes.
    """

    backend: str
    fit: str
    pixels: int
    sections: dict[str, Any]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A decision that was loaded, ready to classify.

    Attributes
    ----------
    decision : Decision
    recipe : Recipe
    features : FeatureExtractor
    classifier : Classifier
    sha256 : str
        Hash of its ``decision.json``.
    warning : str
        Says where it computes other numbers here than where the decision was made; empty where it does not.
    """

    decision: Decision
    recipe: Recipe
    features: FeatureExtractor
    classifier: Classifier
    sha256: str
    warning: str


def probe_images(pixels: int) -> np.ndarray:
    """Give a few squares that are the same everywhere, uint8, shape (4, pixels, pixels, 3)."""
    number, row, column, channel = np.ogrid[:_PROBES, :pixels, :pixels, :3]
    wave = np.sin(2 * np.pi * ((number + 1) * row + (channel + 2) * column) / pixels)
    return np.rint(127.5 + 120 * wave).astype(np.uint8)


def probe(features: FeatureExtractor, classifier: Classifier) -> list[dict[str, Any]]:
    """Say what a classifier makes of `probe_images`: code and log-probability of the best."""
    scores = classifier.log_probabilities(features.extract(probe_images(features.pixels)))
    best = scores.argmax(axis=1)
    return [{"code": int(code), "log_probability": float(row[code])} for code, row in zip(best, scores, strict=True)]


def write_decision(
    out: Path, decision: Decision, recipe: Recipe, record: Mapping[str, Any], fill: Callable[[Path], Mapping[str, Any]]
) -> str:
    """Write the folder of a decision, whole or not at all.

    Parameters
    ----------
    out : Path
        A folder that is not there, is empty, or holds an earlier decision, which is replaced.
    decision : Decision
    recipe : Recipe
    record : mapping
        What it rests on (JSON): run, data, versions.
    fill : callable
        Writes the model's files into a folder; gives what of them is to stand in ``decision.json``.

    Returns
    -------
    str
        SHA-256 of ``decision.json``.

    Raises
    ------
    InputError
        If something else is at `out`.
    """
    check_place(out)
    aside = out.with_name(f".partial-{uuid.uuid4().hex[:12]}-{out.name}")
    with storage_errors(out):
        try:
            aside.mkdir(parents=True)
            found = fill(aside)
            hashes = {path.name: file_sha256(path) for path in sorted(aside.iterdir())}
            if strangers := set(hashes) - set(LIMITS):
                raise ValueError(f"{recipe.backend} wrote {', '.join(sorted(strangers))}, which no decision may hold")
            categories = [
                {"key": key, "name": name} for key, name in zip(decision.categories, recipe.names, strict=True)
            ]
            values = {
                "format": FORMAT,
                **to_record(decision),
                "categories": categories,
                "model": {
                    "backend": recipe.backend,
                    "images": {"fit": recipe.fit},
                    "pixels": recipe.pixels,
                    "sections": recipe.sections,
                    **found,
                },
                "rests_on": record,
                "files": hashes,
            }
            write_json(aside / DECISION, values)
            digest = file_sha256(aside / DECISION)
            write_text(aside / DIGEST, f"{digest}  {DECISION}\n")
            if out.exists():
                old = out.with_name(f".partial-{uuid.uuid4().hex[:12]}-{out.name}")
                out.rename(old)
                aside.rename(out)
                shutil.rmtree(old)
            else:
                aside.rename(out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return digest


def check_place(out: Path) -> None:
    """Refuse a place for a decision that holds something else (`InputError`)."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is no folder", "name a new one with --out")
    if Path.cwd().is_relative_to(out.resolve()):  # it would be replaced under whoever is in it
        raise InputError(f"{out} is the folder that you are in, or one above it", "name a new one with --out")
    if (out.resolve().parent / DECISION).exists():
        raise InputError(f"{out} lies in a decision, which may hold nothing else", "name a new one with --out")
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    if names and (DECISION not in names or names - set(LIMITS)):
        raise InputError(f"{out} holds something other than a decision", "name a new folder with --out")


def load_decision(folder: Path, workers: int) -> Model:
    """Load a decision that anyone may have written.

    Only files of known names are read, regular ones of bounded size; they are copied aside while they are hashed, and
    nothing is used before the hashes are checked. Then JSON and headers of arrays are checked, and every value. The
    backend comes from the installed packages alone, and its networks from a list; no code is in the folder, and none
    would be run.

    Parameters
    ----------
    folder : Path
    workers : int
        For decoding and classical features.

    Returns
    -------
    Model

    Raises
    ------
    InputError
        If anything is not as `write_decision` writes it; file and remedy are named.
    """
    with tempfile.TemporaryDirectory(prefix="shelfbench-") as temporary:
        inside = Path(temporary)
        hashes = copy_known(folder, inside, LIMITS)
        for name in (DECISION, DIGEST, *CLASSIFIER):
            if name not in hashes:
                refuse(folder / name, "is missing")
        if (inside / DIGEST).read_bytes() != f"{hashes[DECISION]}  {DECISION}\n".encode():
            refuse(folder / DECISION, f"has another hash than {DIGEST} says")
        values = strict_json((inside / DECISION).read_bytes(), folder / DECISION)
        found = {name: value for name, value in hashes.items() if name not in (DECISION, DIGEST)}
        try:
            decision, recipe, listed, probes = _parse(values)
        except (KeyError, TypeError, ValueError, OverflowError, ShelfbenchError) as error:
            what = error.message if isinstance(error, ShelfbenchError) else f"{type(error).__name__}: {error}"
            refuse(folder / DECISION, f"is no decision ({shown(what, 200)})")
        for name in sorted({**listed, **found}):
            if listed.get(name) != found.get(name):
                refuse(folder / name, f"has another hash than {DECISION} says" if name in found else "is missing")
        for name in found:
            if name.endswith(".json"):
                strict_json((inside / name).read_bytes(), folder / name)
            elif name.endswith(".safetensors"):
                check_safetensors(inside / name, folder / name)
        features, classifier, scores = _model(folder, inside, recipe, workers)
    weights = folder / CLASSIFIER[1]
    count = len(decision.categories)
    if scores.shape != (_PROBES, count) or not np.allclose(np.logaddexp.reduce(scores, axis=1), 0, atol=1e-6):
        refuse(weights, f"gives no log-probabilities of {count} categories")
    apart = max(abs(float(row[code]) - value) for row, (code, value) in zip(scores, probes, strict=True))
    warning = (
        f"the model computes other numbers here than where the decision was made (log-probabilities differ by "
        f"{apart:.2g}): what was certified there may not hold here"
    )
    return Model(decision, recipe, features, classifier, hashes[DECISION], warning if apart > _TOLERANCE else "")


def _model(folder: Path, inside: Path, recipe: Recipe, workers: int) -> tuple[FeatureExtractor, Classifier, np.ndarray]:
    """Build the model from checked files, and give its scores of `probe_images`."""
    where = folder / DECISION
    try:
        backend = _backend(recipe, workers)
        features = backend.features
        present = [name for name in NETWORK if (inside / name).exists()]
        if len(present) != (len(NETWORK) if backend.load_features else 0):
            refuse(folder / NETWORK[0], f"and {NETWORK[1]} do not fit the backend {recipe.backend}")
        if backend.load_features:
            where = folder / NETWORK[0]
            features = backend.load_features(inside)
        if features.pixels != recipe.pixels or not 0 < features.dimensions <= MAX_DIMENSIONS:
            refuse(where, f"asks for {features.pixels} pixels and {features.dimensions} features")
        where = folder / CLASSIFIER[0]
        classifier = backend.load(inside)
        where = folder / CLASSIFIER[1]
        scores = classifier.log_probabilities(features.extract(probe_images(recipe.pixels)))
    except ShelfbenchError as error:
        if str(folder) in str(error):
            raise
        message = error.message.replace(str(inside), str(folder))
        refuse(where, f"cannot be used ({shown(message, 300)})")
    except Exception as error:  # whatever a library makes of values that it did not expect
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        first = shown(first.replace(str(inside), str(folder)), 200)
        refuse(where, f"cannot be used ({type(error).__name__}: {first})")
    return features, classifier, scores


def _backend(recipe: Recipe, workers: int) -> Backend:
    """Build the backend by its entry point; settings count only where the folder holds no network."""
    spec = find(recipe.backend.partition("@")[0])
    none = BackboneChoice(weights="none")
    backend = spec.build({name: kind() for name, kind in spec.sections.items()}, none, workers)
    if not recipe.sections:
        return backend
    if backend.load_features or set(recipe.sections) - set(spec.sections):
        raise InputError("settings that the backend does not need")
    sections = {
        name: build_section(kind, recipe.sections.get(name, {}), name, DECISION) for name, kind in spec.sections.items()
    }
    return spec.build(sections, none, workers)


def _parse(values: Any) -> tuple[Decision, Recipe, dict[str, str], list[tuple[int, float]]]:
    """Check every value of ``decision.json`` that classifying uses."""
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError(f"not of the format {FORMAT}")
    keys = tuple(_text(entry["key"], "a key") for entry in _list(values["categories"], "categories"))
    names = tuple(_text(entry["name"], "a name") for entry in values["categories"])
    if not keys or len(set(keys)) != len(keys):
        raise ValueError("a category is there twice, or there is none")
    off = tuple(_text(key, "off") for key in _list(values["off"], "off"))
    if set(off) - set(keys):
        raise ValueError("a category is switched off that is not there")
    verdict = _choice(values["verdict"], tuple(EXIT_CODES), "verdict")
    threshold = values["threshold"]
    if (threshold is None) != (verdict != PASS):
        raise ValueError(f"the verdict {verdict} with the threshold {str(threshold)[:20]}")
    if threshold is not None:
        threshold = _number(threshold, -math.inf, math.inf, "threshold")
    target = _text(values["target"], "target")
    if not re.fullmatch(r"[0-9]{1,10}/[0-9]{1,10}", target) or not 0 < Fraction(target) < 1:
        raise ValueError("target is no share")
    decision = Decision(
        verdict=verdict,
        reason=_text(values["reason"], "reason"),
        remedy=_text(values["remedy"], "remedy"),
        target=Fraction(target),
        level=_number(values["level"], 0, 1, "level"),
        measure=_choice(values["measure"], tuple(MEASURES), "measure"),
        threshold=threshold,
        missing=None,
        aggregation=_choice(values["aggregation"], AGGREGATIONS, "aggregation"),
        temperature=_number(values["temperature"], *TEMPERATURES, "temperature"),
        categories=keys,
        off=off,
    )
    model = _object(values["model"], "model")
    backend = _text(model["backend"], "backend")
    if not _NAME.fullmatch(backend):
        raise ValueError(f"{backend[:40]!r} is no name of a backend")
    pixels = model["pixels"]
    if type(pixels) is not int or not 1 <= pixels <= MAX_SIDE:
        raise ValueError(f"pixels is no whole number from 1 to {MAX_SIDE}")
    fit = ImageSettings(_text(_object(model["images"], "images")["fit"], "fit")).fit
    recipe = Recipe(backend, fit, pixels, _object(model["sections"], "sections"), names)
    probes = [
        (_code(entry["code"], len(keys)), _number(entry["log_probability"], -math.inf, 1e-6, "log_probability"))
        for entry in _list(model["probe"], "probe")
    ]
    if len(probes) != _PROBES:
        raise ValueError(f"not {_PROBES} probes")
    files = _object(values["files"], "files")
    if strangers := set(files) - set(LIMITS):
        raise ValueError(f"it lists {sorted(strangers)[0][:60]!r}, which is no part of a decision")
    return decision, recipe, {name: _text(value, "files") for name, value in files.items()}, probes


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > 10_000:
        raise ValueError(f"{what} is no text")
    value.encode()  # half a character, which JSON can hold, is a ValueError too
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is no list")
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    return value


def _number(value: Any, low: float, high: float, what: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{what} is no number from {low:g} to {high:g}")
    return float(value)


def _choice(value: Any, allowed: tuple[str, ...], what: str) -> str:
    if value not in allowed:
        raise ValueError(f"{what} is {str(value)[:40]!r}")
    return str(value)


def _code(value: Any, classes: int) -> int:
    if type(value) is not int or not 0 <= value < classes:
        raise ValueError("a code of no category")
    return value
