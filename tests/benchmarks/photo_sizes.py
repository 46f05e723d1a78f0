"""What the size of the images brings: 128 pixels against ``pixels = "auto"``, and HOG at several sizes.

``python tests/benchmarks/photo_sizes.py FILE.csv`` draws catalogues of photos of 300, 500 and 800 pixels, runs them
with three seeds each, writes a row for each run and backend, and prints medians and ranges. About half an hour on two
cores. It measures precision and acceptance, and no time, so the machine may be busy. A file that is there is continued.
"""

import csv
import sys
import tempfile
from pathlib import Path

import pandas as pd

import shelfbench

SEEDS = (0, 1, 2)
PHOTOS = (300, 500, 800)
NETWORKS = ("bottleneck-svm", "bottleneck-2nn-2048", "bottleneck-2nn-4096")
# 40 equal categories of 60 products, without wrong labels, so that precision can rise to 1
CATALOGUE = {"products": 2400, "categories": 40, "skew": False, "label_noise": 0.0, "max_photos": 1}
COLUMNS = ("photos", "seed", "backend", "pixels", "tune", "test", "acceptance_90")


def measure(photos, seed, pixels, hog, backends):
    """Run backends on a generated catalogue, and return a row for each."""
    generated = {f"generated.{key}": value for key, value in {**CATALOGUE, "pixels": photos}.items()}
    plain = {"report.near_duplicates": "off", "report.pictures": False}
    settings = {**generated, **plain, "pixels": pixels, "hog.pixels": hog}
    with tempfile.TemporaryDirectory() as folder:
        run = shelfbench.run(
            "default", backends=backends, settings=settings, seed=seed, out=f"{folder}/run", quiet=True
        )
        test = run.table4[run.table4["split"] == "test"].set_index("backend")
        for backend in backends:
            made = run.predictions(backend)
            tune = made[made["role"] == "tune"]
            yield {
                "photos": photos,
                "seed": seed,
                "backend": backend,
                "pixels": hog if backend == "hog-svm" else pixels,
                "tune": round(float((tune["category"] == tune["predicted"]).mean()), 4),
                "test": round(float(test.loc[backend, "precision"]), 4),
                "acceptance_90": round(float(test.loc[backend, "acceptance_90"]), 4),
            }


def plan():
    """List what to measure: photos, seed, pixels of the networks, those of HOG, and backends."""
    for seed in SEEDS:
        for photos in PHOTOS:
            yield photos, seed, 128, 128, ["hog-svm", *NETWORKS]
            yield photos, seed, "auto", 180, ["hog-svm", *NETWORKS]
        for hog in (64, 96, 256):
            yield 500, seed, 128, hog, ["hog-svm"]


def summary(rows):
    """Medians over the seeds, with the least and the most."""
    frame = pd.DataFrame(rows)
    frame["pixels"] = frame["pixels"].astype(str)
    grouped = frame.groupby(["backend", "photos", "pixels"])[["tune", "test", "acceptance_90"]]
    return grouped.agg(lambda values: f"{values.median():.3f} [{values.min():.3f}, {values.max():.3f}]")


def main(path):
    """Measure what the file lacks, and print the summary."""
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    known = {(int(row["photos"]), int(row["seed"]), row["backend"], row["pixels"]) for row in rows}
    for photos, seed, pixels, hog, backends in plan():
        wanted = {(photos, seed, name, str(hog if name == "hog-svm" else pixels)) for name in backends}
        if wanted <= known:
            continue
        rows += measure(photos, seed, pixels, hog, backends)
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    print(summary(pd.read_csv(path)).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
