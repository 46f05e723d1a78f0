"""A decision on disk: one folder with everything that classifying needs, and nothing that executes code.

It may come from anyone, so loading it trusts nothing: see `load_model`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.grid import promise
from shelfbench.base.storage import file_sha256, whole_folder, write_json, write_text
from shelfbench.decision.guarding import guard_of
from shelfbench.decision.hostile import check_safetensors, copy_known, refuse, strict_json, typed
from shelfbench.decision.model import Model, build_model, classifier_files
from shelfbench.decision.record import (
    CLASSIFIER,
    DECISION,
    DIGEST,
    ESTIMATOR,
    FORMAT,
    LIMITS,
    PROBES,
    DecisionRecord,
    ModelSpec,
    decision_record,
)
from shelfbench.decision.rests_on import RestsOn
from shelfbench.decision.rule import Ruling

# How far log-probabilities of the probes may differ between machines and versions.
_TOLERANCE = 0.01


def write_decision(
    out: Path, ruling: Ruling, spec: ModelSpec, rests_on: RestsOn, fill: Callable[[Path], Mapping[str, Any]]
) -> str:
    """Write the folder of a decision, whole or not at all.

    Parameters
    ----------
    out : Path
        A folder that does not exist, is empty, or contains an earlier decision, which is replaced.
    ruling : Ruling
    spec : ModelSpec
    rests_on : RestsOn
    fill : callable
        Writes the model's files into a folder, and returns the parts of ``decision.json`` found on the way: ``probe``
        and ``onnx`` of `shelfbench.decision.record.ModelEntry`.

    Returns
    -------
    str
        SHA-256 of ``decision.json``.

    Raises
    ------
    InputError
        If something else is at `out`, or `load_model` would refuse a value.
    ValueError
        If the backend wrote a file that a decision may not contain.
    """
    check_place(out)
    with whole_folder(out) as aside:
        found = fill(aside)
        hashes = {path.name: file_sha256(path) for path in sorted(aside.iterdir())}
        if strangers := set(hashes) - set(LIMITS):
            raise ValueError(f"{spec.backend} wrote {', '.join(sorted(strangers))}, which a decision may not contain")
        record = decision_record(ruling, spec, found, rests_on, hashes)
        write_json(aside / DECISION, msgspec.to_builtins(record))
        digest = file_sha256(aside / DECISION)
        write_text(aside / DIGEST, f"{digest}  {DECISION}\n")
    return digest


def copy_decision(folder: Path, out: Path, files: Mapping[str, str]) -> str:
    """Copy a decision that was loaded, whole or not at all.

    Parameters
    ----------
    folder : Path
        Where it was loaded from.
    out : Path
        See `write_decision`.
    files : mapping of str to str
        SHA-256 of the files that were loaded, by name.

    Returns
    -------
    str
        SHA-256 of ``decision.json``.

    Raises
    ------
    InputError
        If something else is at `out`, or the folder has changed since it was loaded.
    """
    check_place(out)
    with whole_folder(out) as aside:
        if copy_known(folder, aside, LIMITS) != files:
            raise InputError(f"{folder} has changed since it was loaded", "load it again")
    return files[DECISION]


def check_place(out: Path) -> None:
    """Refuse to write a decision where something else is.

    Parameters
    ----------
    out : Path

    Raises
    ------
    InputError
        If a decision must not be written there.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is not a folder", "name a new folder")
    if Path.cwd().is_relative_to(out.resolve()):  # the current folder cannot be replaced
        raise InputError(f"{out} is the current folder, or one above it", "name a new folder")
    if (out.resolve().parent / DECISION).exists():
        raise InputError(f"{out} is inside a decision, which may contain nothing else", "name a new folder")
    names = {path.name for path in out.iterdir() if not path.name.startswith("._")} if out.exists() else set()
    names.discard(".DS_Store")
    if names and (DECISION not in names or names - set(LIMITS)):
        raise InputError(f"{out} contains something other than a decision", "name a new folder")


def replaced(out: Path) -> str:
    """Describe the decision that another one will replace.

    Parameters
    ----------
    out : Path

    Returns
    -------
    str
        Its backend, precision and probability; an empty string where `out` holds none.
    """
    if not (out / DECISION).is_file():
        return ""
    try:
        record = load_record(out)[0]
    except InputError:
        return "replaces a decision that cannot be read"
    precision = f"{float(100 * Fraction(record.target)):.9g}%"
    return f"replaces the decision on {record.model.backend} ({precision}, probability {promise(record.level)})"


def load_model(folder: Path, workers: int) -> Model:
    """Load a decision that anyone may have written.

    Only regular files with known names and bounded sizes are read; they are copied aside while they are hashed, and
    nothing is used before the hashes are checked. Then JSON, headers of arrays and every value are checked. The backend
    comes only from installed packages, and its networks from a list; the folder contains no code, and none would be
    run.

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
        If anything is not as `write_decision` writes it; the message names the file and a remedy.
    """
    with tempfile.TemporaryDirectory(prefix="shelfbench-") as temporary:
        inside = Path(temporary)
        hashes = copy_known(folder, inside, LIMITS)
        record = _read(folder, inside, hashes)
        features, classifier, scores = build_model(folder, inside, record.spec, workers)
        guard = guard_of(folder, inside, features.dimensions) if record.guard else None
    weights = folder / classifier_files(hashes)[1]
    count = len(record.categories)
    if scores.shape != (PROBES, count) or not np.allclose(np.logaddexp.reduce(scores, axis=1), 0, atol=1e-6):
        refuse(weights, f"does not return log-probabilities of {count} categories")
    probes = record.model.probe
    apart = max(abs(float(row[known.code]) - known.log_probability) for row, known in zip(scores, probes, strict=True))
    warning = (
        f"the model computes different numbers here than where the decision was made (log-probabilities differ by "
        f"{apart:.2g}): the certificate may not hold here"
    )
    return Model(
        ruling=record.ruling,
        spec=record.spec,
        features=features,
        classifier=classifier,
        workers=workers,
        files=hashes,
        guard=guard,
        labelled=bool(record.rests_on.labelled),
        warning=warning if apart > _TOLERANCE else "",
    )


def load_record(folder: Path) -> tuple[DecisionRecord, str]:
    """Read what a decision says, as strictly as `load_model` does, and leave its model alone.

    Parameters
    ----------
    folder : Path
        Not trusted.

    Returns
    -------
    DecisionRecord
        Its rulings and settings.
    str
        SHA-256 of ``decision.json``.

    Raises
    ------
    InputError
        If it is not as `write_decision` writes it.
    """
    with tempfile.TemporaryDirectory(prefix="shelfbench-") as temporary:
        inside = Path(temporary)
        hashes = copy_known(folder, inside, LIMITS, (DECISION, DIGEST))
        return _record(folder, inside, hashes), hashes[DECISION]


def _record(folder: Path, inside: Path, hashes: Mapping[str, str]) -> DecisionRecord:
    """Read ``decision.json`` from the copy `inside`."""
    for name in (DECISION, DIGEST):
        if name not in hashes:
            refuse(folder / name, "is missing")
    if (inside / DIGEST).read_bytes() != f"{hashes[DECISION]}  {DECISION}\n".encode():
        refuse(folder / DECISION, f"does not have the hash given in {DIGEST}")
    values = strict_json((inside / DECISION).read_bytes(), folder / DECISION)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        refuse(folder / DECISION, f"is not a decision of format {FORMAT}")
    return typed(values, DecisionRecord, folder / DECISION, "a decision")


def _read(folder: Path, inside: Path, hashes: Mapping[str, str]) -> DecisionRecord:
    """Check all files of the copy `inside`, and read ``decision.json``."""
    if {CLASSIFIER[1], ESTIMATOR[1]} <= set(hashes):
        refuse(folder / ESTIMATOR[1], f"stands beside {CLASSIFIER[1]}, and a classifier is one of them")
    for name in (DECISION, DIGEST, *classifier_files(hashes)):
        if name not in hashes:
            refuse(folder / name, "is missing")
    record = _record(folder, inside, hashes)
    found = {name: value for name, value in hashes.items() if name not in (DECISION, DIGEST)}
    for name in sorted({**record.files, **found}):
        if name not in found:
            refuse(folder / name, "is missing")
        if name not in record.files:
            refuse(folder / name, f"is not one of the files that {DECISION} lists")
        if record.files[name] != found[name]:
            refuse(folder / name, f"does not have the hash given in {DECISION}")
    for name in found:
        if name.endswith(".json"):
            strict_json((inside / name).read_bytes(), folder / name)
        elif name.endswith(".safetensors"):
            check_safetensors(inside / name, folder / name)
    return record
