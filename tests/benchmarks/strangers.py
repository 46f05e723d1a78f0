"""What a decision lets through of products that it has not learned, with its guard and without.

``python tests/benchmarks/strangers.py FILE.csv RUN NAME=PATH...`` decides on every backend of a finished run, at the
highest of three precisions that passes, classifies the photos of the other datasets with each decision, and writes a
row for each backend and dataset. The runs of the record:

    shelfbench run fashion --out results/local/fashion
    shelfbench run default --out results/local/default
    shelfbench generate generated --products 1500
    python tests/benchmarks/strangers.py results/decisions/strangers.csv results/local/fashion \\
        generated=generated cdiscount=$SHELFBENCH_DATA/cdiscount
    python tests/benchmarks/strangers.py --photos fashion-photos
    python tests/benchmarks/strangers.py results/decisions/strangers.csv results/local/default fashion=fashion-photos

``--photos FOLDER`` writes 1,000 photos of `fashion`, drawn from ``$SHELFBENCH_DATA/fashion``, with their categories.

A file that is already there is continued. No time is measured, so the machine may be busy. Nothing here chooses
anything: kinds and thresholds of guards are fixed on train and `tune` of the run.
"""

import csv
import dataclasses
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

import shelfbench
from shelfbench.base.console import Console
from shelfbench.data.datasets import open_dataset
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.decision.classifying import classify
from shelfbench.generator.settings import GeneratorSettings

PRECISIONS = (0.9, 0.8, 0.7)
COLUMNS = (
    *("run", "backend", "precision", "guard", "strangers", "products"),
    *("accepted_without", "accepted_with", "outside"),
    *("certify_accepted_without", "certify_accepted_with", "test_accepted_without", "test_accepted_with"),
    *("test_precision_without", "test_precision_with", "departments_with"),
)


def unguarded(decision):
    """Return the model with the same threshold and without its guard."""
    ruling = dataclasses.replace(decision.ruling, guard=None)
    return dataclasses.replace(decision.model, ruling=ruling, guard=None)


def on_the_run(run, decision, backend):
    """Count what its own products lose: acceptance and precision at the same threshold, without and with the guard."""
    products = run.predictions(backend)
    found = decision.ruling
    sure = products["confidence"].ge(found.threshold) & ~products["predicted"].isin(found.off)
    sure &= products["rejected"].isna()
    distance = read_distances(run, backend).reindex(products["product_id"]).to_numpy()
    inside = ~(distance > found.guard.cut)
    values = {}
    for role in ("certify", "test"):
        here = (products["role"] == role).to_numpy()
        for name, accepted in (("without", sure), ("with", sure & inside)):
            rows = products[here & accepted]
            values[f"{role}_accepted_{name}"] = round(len(rows) / int(here.sum()), 4)
            if role == "test":
                values[f"test_precision_{name}"] = round(float((rows["predicted"] == rows["category"]).mean()), 4)
    return values


def read_distances(run, backend):
    """Read the distances of a run's products."""
    return pd.read_parquet(run.file("guards", backend)).set_index("product_id")["distance"]


def departments(path, products):
    """Say what the products are that were let through: the first level of their categories, the most frequent first."""
    catalogue, _ = open_dataset(DatasetSettings(name=str(path)), GeneratorSettings(), None, 1, Console(quiet=True))
    names = [category.levels[0] if category.levels else category.key for category in catalogue.categories]
    codes = catalogue.product_category[[str(key) in products for key in catalogue.product_id]]
    return "; ".join(f"{name} {count}" for name, count in Counter(names[code] for code in codes).most_common())


def fashion_photos(folder):
    """Write some photos of `fashion`, with their categories and departments."""
    folder.mkdir(parents=True)
    files = sorted((Path(os.environ["SHELFBENCH_DATA"]) / "fashion").glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True).sample(1000, random_state=0)
    frame["file_name"] = frame["id"].astype(str) + ".jpg"
    for name, image in zip(frame["file_name"], frame["image"], strict=True):
        (folder / name).write_bytes(image["bytes"])
    table = frame.rename(columns={"id": "product_id", "articleType": "category", "masterCategory": "level1"})
    table[["file_name", "product_id", "category", "level1"]].to_csv(folder / "metadata.csv", index=False)


def measure(run, backend, others):
    """Return a row for each of the other datasets."""
    for precision in PRECISIONS:
        decision = shelfbench.decide(run, backend, precision=precision, all_categories=True)
        if decision.ruling.passed:
            break
    else:
        return
    same = {"run": Path(run.path).name, "backend": backend, "precision": precision}
    same |= {"guard": decision.ruling.guard.kind, **on_the_run(run, decision, backend)}
    for name, path in others.items():
        settings, console = DatasetSettings(), Console(quiet=True)
        free = classify(unguarded(decision), [path], settings, console)
        kept = classify(decision.model, [path], settings, console)
        yield {
            **same,
            "strangers": name,
            "products": len(kept),
            "accepted_without": int(free["reason"].isna().sum()),
            "accepted_with": int(kept["reason"].isna().sum()),
            "outside": int(np.sum(kept["reason"] == "unlike the products it has learned")),
            "departments_with": departments(path, set(kept["product"][kept["reason"].isna()])),
        }


def main(out, directory, *others):
    """Append the rows of a run."""
    run = shelfbench.load_run(directory)
    paths = {name: Path(path) for name, _, path in (word.partition("=") for word in others)}
    new = not Path(out).exists()
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with open(out, "a", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        if new:
            writer.writeheader()
        for backend in run.backends:
            for row in measure(run, backend, paths):
                writer.writerow(row)
                handle.flush()
                print(row)


if __name__ == "__main__":
    if sys.argv[1] == "--photos":
        fashion_photos(Path(sys.argv[2]))
    else:
        main(*sys.argv[1:])
