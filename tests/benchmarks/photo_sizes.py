"""What the size of the images brings: 128 pixels against ``pixels = "auto"``, and HOG at several sizes.

``python tests/benchmarks/photo_sizes.py FILE.csv`` draws catalogues of photos of 300, 500 and 800 pixels, takes 4,000
products of `fashion` (60 x 80) if ``$SHELFBENCH_DATA`` has them, runs each with three seeds, writes a row for each run
and backend, and prints medians and ranges. That takes about half an hour on two cores; the machine may be busy, since
no time is measured. A file that is already there is continued.
"""

import csv
import os
import sys
import tempfile
from pathlib import Path

import pandas as pd

import shelfbench

SEEDS = (0, 1, 2)
SVM, TWO_LAYER = "bottleneck-svm", ["bottleneck-2nn-2048", "bottleneck-2nn-4096"]
PLAIN = {"report.near_duplicates": "off", "report.pictures": False}
# 40 equal categories of 60 products, without wrong labels, so that precision can rise to 1
CATALOGUE = {"products": 2400, "categories": 40, "skew": False, "label_noise": 0.0, "max_photos": 1}
COLUMNS = ("data", "seed", "backend", "pixels", "tune", "test", "acceptance_90")


def fashion_sample(path):
    """Write a part of `fashion` as Parquet: up to 100 products of each of its 40 largest types."""
    files = sorted((Path(os.environ["SHELFBENCH_DATA"]) / "fashion").glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    frame = frame[frame["articleType"].isin(frame["articleType"].value_counts().index[:40])]
    frame = frame.sample(frac=1, random_state=0)
    frame[frame.groupby("articleType").cumcount() < 100].sort_values("id").to_parquet(path)


def options(data, folder):
    """Return the dataset and the settings of some data."""
    kind, _, size = data.partition(" ")
    if kind == "generated":
        return "generated", {f"generated.{key}": value for key, value in {**CATALOGUE, "pixels": int(size)}.items()}
    path = folder / "fashion.parquet"
    if not path.exists():
        fashion_sample(path)
    return path, {"dataset.category": "articleType", "dataset.product_id": "id"}


def measure(data, seed, pixels, hog, backends, folder):
    """Run backends on some data, and return a row for each."""
    dataset, settings = options(data, folder)
    settings |= {**PLAIN, "pixels": pixels, "hog.pixels": hog}
    with tempfile.TemporaryDirectory() as place:
        out = f"{place}/run"
        run = shelfbench.run(
            "default", dataset=dataset, backends=backends, settings=settings, seed=seed, out=out, quiet=True
        )
        test = run.table4[run.table4["split"] == "test"].set_index("backend")
        for backend in backends:
            made = run.predictions(backend)
            tune = made[made["role"] == "tune"]
            yield {
                "data": data,
                "seed": seed,
                "backend": backend,
                "pixels": hog if backend == "hog-svm" else pixels,
                "tune": round(float((tune["category"] == tune["predicted"]).mean()), 4),
                "test": round(float(test.loc[backend, "precision"]), 4),
                "acceptance_90": round(float(test.loc[backend, "acceptance_90"]), 4),
            }


def plan():
    """List what to measure: data, seed, pixels of the networks, those of HOG, and backends."""
    for seed in SEEDS:
        for data in ("generated 300", "generated 500", "generated 800"):
            yield data, seed, 128, 128, ["hog-svm", SVM, *TWO_LAYER]
            yield data, seed, "auto", 180, ["hog-svm", SVM, *TWO_LAYER]
        for hog in (64, 96, 256):
            yield "generated 500", seed, 128, hog, ["hog-svm"]
    if not os.environ.get("SHELFBENCH_DATA"):
        return
    for seed in SEEDS:
        for pixels in (96, 128, 160, 224):
            yield "fashion 80", seed, pixels, 180, [SVM, TWO_LAYER[0]]
        for hog in (96, 128, 180, 256):
            yield "fashion 80", seed, 128, hog, ["hog-svm"]


def summary(frame):
    """Medians over the seeds, with the least and the most."""
    frame["pixels"] = frame["pixels"].astype(str)
    grouped = frame.groupby(["data", "backend", "pixels"])[["tune", "test", "acceptance_90"]]
    return grouped.agg(lambda values: f"{values.median():.3f} [{values.min():.3f}, {values.max():.3f}]")


def main(path):
    """Measure what the file lacks, and print the summary."""
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    known = {(row["data"], int(row["seed"]), row["backend"], row["pixels"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        for data, seed, pixels, hog, backends in plan():
            wanted = {(data, seed, name, str(hog if name == "hog-svm" else pixels)) for name in backends}
            if wanted <= known:
                continue
            rows += measure(data, seed, pixels, hog, backends, Path(folder))
            with path.open("w", newline="") as handle:
                writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    print(summary(pd.read_csv(path)).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
