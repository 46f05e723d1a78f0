"""Small decisions for tests: stripes that HOG tells apart, and folders sealed again after someone changed them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.cli.main import main
from shelfbench.decision.bundle import write_decision
from shelfbench.decision.ladder import LadderRuling
from shelfbench.decision.model import probe
from shelfbench.decision.record import ModelSpec
from shelfbench.decision.rests_on import RestsOn
from shelfbench.decision.rule import Ruling, Verdict
from shelfbench.experiments import run_study
from shelfbench.plugins.backend import TrainingData
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study
from shelfbench_baselines.hog import HogExtractor, HogSettings
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings

STRIPES = {"lying": (0, 1), "standing": (1, 0), "slanting": (1, 1)}


def striped(name: str, seed: int, pixels: int = 32) -> np.ndarray:
    """One photo of a category: stripes of its direction, in a different place for each seed."""
    rng = np.random.default_rng(seed)
    across, down = STRIPES[name]
    row, column = np.mgrid[:pixels, :pixels]
    wave = np.sin((across * column + down * row) * 0.8 + rng.uniform(0, 6))
    noise = rng.normal(0, 12, (pixels, pixels, 3))
    return np.clip(128 + 90 * wave[..., None] + noise, 0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def make_decision(folder: Path, **changes) -> Path:
    """Write a decision of `hog-svm` that knows three kinds of stripes."""
    extractor = HogExtractor(HogSettings(pixels=32, cells=8))
    images = np.stack([striped(name, seed) for name in STRIPES for seed in range(12)])
    labels = np.repeat(np.arange(3), 12)
    features = extractor.extract(images)
    svm = LinearSVM(SVMSettings(C=(0.01,)))
    svm.fit(
        TrainingData(features=features, labels=labels, classes=3, tune_features=features, tune_labels=labels),
        seed=0,
        console=Console(quiet=True),
    )
    values = {
        "verdict": Verdict.PASS,
        "reason": "made by hand",
        "remedy": "",
        "target": Fraction(9, 10),
        "level": 0.95,
        "measure": "probability",
        "threshold": -2.0,
        "missing": 0,
        "aggregation": "mean",
        "temperature": 1.0,
        "categories": tuple(STRIPES),
        "off": (),
        **changes,
    }

    def fill(aside: Path) -> dict:
        svm.save(aside)
        return {"probe": probe(extractor, svm)}

    sections = {"hog": {"pixels": 32, "cells": 8}, "svm": {"C": [0.01]}}
    names = tuple(name.title() for name in STRIPES)
    spec = ModelSpec(backend="hog-svm", fit="pad", pixels=32, sections=sections, names=names)
    ruling = (LadderRuling if "rungs" in values else Ruling)(**values)
    write_decision(folder, ruling, spec, RestsOn(), fill)
    return folder


def seal(folder: Path) -> None:
    """Make the hashes match again, as someone who tampers would."""
    path = folder / "decision.json"
    values = json.loads(path.read_text())
    others = [file for file in folder.iterdir() if file.name not in ("decision.json", "decision.sha256")]
    values["files"] = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in others if file.is_file()}
    path.write_text(json.dumps(values))
    stamp(folder)


def stamp(folder: Path) -> None:
    """Make the hash of ``decision.json`` match again."""
    digest = hashlib.sha256((folder / "decision.json").read_bytes()).hexdigest()
    (folder / "decision.sha256").write_text(f"{digest}  decision.json\n")


def edit(folder: Path, change) -> None:
    """Change the values of ``decision.json`` and seal it."""
    path = folder / "decision.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    stamp(folder)


def make_shop(root: Path, seed: int = 0) -> Path:
    """Write three kinds of stripes, 70 products of 1 to 3 photos each, some of them broken, with ``metadata.csv``."""
    root.mkdir(exist_ok=True)
    rows = []
    for number, name in enumerate(STRIPES):
        for product in range(70):
            for photo in range(1 + product % 3):
                file = f"{name}-{product:02}-{photo}.png"
                data = png(striped(name, seed + 10_000 * number + 10 * product + photo))
                if product in (20, 21) or (product == 23 and photo == 1):
                    data = data[:80]
                (root / file).write_bytes(data)
                rows.append({"file_name": file, "category": name, "product_id": f"{name}-{product:02}"})
    pd.DataFrame(rows).to_csv(root / "metadata.csv", index=False)
    return root


def run_shop(shop: Path, out: Path, backend: str = "hog-svm", more: Sequence[str] = ()) -> Path:
    """Run a backend on it."""
    settings = ["hog.pixels=32", "hog.cells=8", "svm.C=[0.01]", "report.pictures=false", "split.min_products=10"]
    overrides = [parse_setting(text) for text in (*settings, *more)]
    study = read_study("default", [*overrides, (["dataset", "name"], str(shop)), (["backends"], [backend])])
    console = Console(quiet=True)
    run_study(study, data=None, out=out, workers=1, console=console, command="shelfbench run test")
    return out


COLUMNS = ["product", "category", "name", "confidence", "suggestion", "reason"]


def classified(capsys, *words):
    """Run classify; return the rows that it prints, and its stderr."""
    capsys.readouterr()
    assert main(["classify", *map(str, words), "--workers", "1"]) == 0
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert not rows or list(rows[0]) in (COLUMNS, [*COLUMNS, "level"])
    return rows, said.err
