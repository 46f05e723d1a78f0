"""A run directory as the harness would leave it: five backends of known quality on simulated products."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.data.material import BY_PATH
from shelfbench.runs.parquet import aggregations_table
from shelfbench.runs.scoring import compare_aggregations
from shelfbench.verdict.predictions import aggregate
from shelfbench.verdict.temperature import fit_temperature

BACKENDS = {
    "hog-svm": ("HOG", "SVM", 1.35, 0.3, 210.0),
    "bottleneck-svm": ("Bottlenecks", "SVM", 1.95, 0.3, 640.0),
    "bottleneck-2nn-512": ("Bottlenecks", "2NN-512", 1.9, 0.2, 655.0),
    "bottleneck-2nn-2048": ("Bottlenecks", "2NN-2048", 2.1, 0.5, 720.0),
    "bottleneck-2nn-4096": ("Bottlenecks", "2NN-4096", 2.15, 0.8, 810.0),
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The products of a drawn run; one entry a product in each array, and `keys` of the categories."""

    ids: np.ndarray
    split: np.ndarray
    role: np.ndarray
    keys: np.ndarray
    truth: np.ndarray
    images: np.ndarray
    rejected: np.ndarray


def _log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def make_run(
    path: Path,
    *,
    products: int = 6000,
    categories: int = 60,
    names: dict[str, str] | None = None,
    own: bool = False,
    backends: dict[str, tuple[str, str, float, float, float]] = BACKENDS,
) -> Path:
    """Write a whole run directory, with five backends by default: feature, classifier, strength, overfit, seconds.

    `names` replaces display names by key; every category's key is ``c00``, ``c01`` ... An `own` run is one of a shop's
    own photos: its study is not one of the papers', and its categories have no levels.
    """
    rng = np.random.default_rng(0)
    sizes = rng.zipf(1.5, categories * 4)[:categories].clip(2, 60) + 2
    truth = rng.choice(categories, products, p=sizes / sizes.sum())
    keys = np.array([f"c{number:02d}" for number in range(categories)])
    split = rng.choice(["train", "validation", "test"], products, p=[0.7, 0.15, 0.15])
    role = np.where(split == "validation", np.where(rng.random(products) < 0.5, "tune", "certify"), split)
    images = rng.integers(1, 5, products)
    ids = np.arange(products, dtype=np.int64) + 1000
    rejected = np.isin(np.arange(products), np.flatnonzero(split == "test")[:3])
    drawn = Drawn(ids=ids, split=split, role=role, keys=keys, truth=truth, images=images, rejected=rejected)
    for folder in ("predictions", "scores", "history", "aggregations"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({"product_id": ids, "category": keys[truth], "split": split, "role": role}), path / "split.parquet"
    )
    timings, temperatures = [], {}
    hardness = rng.normal(0, 1.6, products)
    for order, (name, (_, _, strength, overfit, seconds)) in enumerate(backends.items()):
        owner = np.repeat(np.arange(products), images)
        logits = rng.gumbel(0, 1.0, (len(owner), categories)).astype(np.float64)
        logits[np.arange(len(owner)), truth[owner]] += (3 * strength - 1 + hardness + overfit * 3 * (split == "train"))[
            owner
        ]
        by_image = _log_softmax(logits)
        _write_scores(path / "scores" / f"{name}.parquet", by_image, owner, drawn)
        starts = np.cumsum(images) - images
        raw = aggregate(by_image, starts)
        temperatures[name] = fit_temperature(raw[role == "tune"], truth[role == "tune"])
        _write_aggregations(path / "aggregations" / f"{name}.parquet", by_image, starts, drawn)
        _write_predictions(path / "predictions" / f"{name}.parquet", raw, temperatures[name], drawn)
        timings += [
            {
                "backend": name,
                "stage": stage,
                "epoch": None,
                "seconds": seconds * part,
                "images": int(images.sum()),
                "cached": stage == "extract" and order > 1,
            }
            for stage, part in (("extract", 0.8), ("fit", 0.18), ("predict", 0.02))
        ]
        if "2nn" in name:
            epochs = np.arange(1, 21)
            steps = epochs * 110
            timings += [
                {
                    "backend": name,
                    "stage": "epoch",
                    "epoch": int(epoch),
                    "seconds": seconds * 0.009,
                    "images": 28_000,
                    "cached": False,
                }
                for epoch in epochs
            ]
            history = pd.DataFrame(
                {
                    "epoch": epochs,
                    "step": steps,
                    "loss": 3 / epochs,
                    "accuracy": 1 - 1 / (epochs + 1),
                    "val_loss": 3.2 / epochs,
                    "val_accuracy": 1 - 1.1 / (epochs + 1),
                    "lr": 0.1 / (1 + 7e-5 * steps),
                    "seconds": seconds * 0.009,
                }
            )
            history.to_parquet(path / "history" / f"{name}.parquet")
    pd.DataFrame(timings).to_parquet(path / "timings.parquet")
    parts = {
        part: {
            "products": int((split == part).sum()),
            "images": int(images[split == part].sum()),
            "categories": len(np.unique(truth[split == part])),
        }
        for part in ("train", "validation", "test")
    }
    record = {
        "shelfbench": "0.1.0",
        "command": "shelfbench run default --seed 0",
        "seed": 0,
        "status": "complete",
        "study": {"name": "default", "dataset": {"name": "generated"}},
        "started": "2026-01-01T10:00:00+00:00",
        "finished": "2026-01-01T10:08:12+00:00",
        "machine": {
            "cpu": "AMD EPYC 7B13",
            "cores": 2,
            "memory_gib": 23.4,
            "gpus": [],
            "system": "Linux 6.1",
            "python": "3.11.9",
        },
        "versions": {"numpy": "2.4.6", "keras": "3.15.1", "tensorflow": "2.21.0", "scikit-image": "0.26.0"},
        "dataset": {
            "name": "generated",
            "title": "Generated product catalogue",
            "source": "procedural, seed 0",
            "licence": "CC0",
            "hash": "5f1d0c3a9b",
            "products": products + 12,
            "images": int(images.sum()) + 20,
            "categories": categories + 2,
            "levels": ["department", "family"],
            "category_names": {key: f"Category {key}" for key in keys} | (names or {}),
            "category_level1": {key: f"Department {int(key[1:]) % 8}" for key in keys},
            "excluded": {"products": 12, "categories": 2, "reason": "fewer than 20 products"},
            "unlabelled": 1,
            "unreadable_images": 4,
            "unreadable": [
                {"record": "offset 18231", "reason": "truncated JPEG"},
                {"record": "offset 90112", "reason": "20000 x 20000 pixels"},
            ],
            "duplicates": {"groups": 17, "images": 36, "across_splits": 5},
        },
        "split": {"hash": "a1b2c3d4", "rule": "the paper's, by product", **parts},
        "backends": {
            name: {
                "status": "done",
                "reason": "",
                "peak_rss_mib": 1400.0 + 10 * len(name),
                "columns": {"Feature": feature, "Classifier": classifier, "Fine-tuning": "no"},
                "chosen": {
                    **({"C": 0.001} if classifier == "SVM" else {"epoch": 18}),
                    "aggregation": "mean",
                    "temperature": temperatures[name],
                },
                "settings": {"pixels": 128},
            }
            for name, (feature, classifier, *_) in backends.items()
        },
    }
    if own:
        record["command"] = "shelfbench run --dataset photos/shop --out results/mine"
        record["study"] = {"name": "own", "dataset": {"name": "photos/shop"}, "report": {"papers": False}}
        record["dataset"] |= {"name": "photos/shop", "title": "shop", "source": BY_PATH, "licence": "not known"}
        record["dataset"] |= {"levels": [], "category_level1": {}}
        record["split"]["rule"] = "by product"
    (path / "run.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    return path


def _write_scores(path, by_image, owner, drawn):
    kept = np.isin(drawn.split, ["validation", "test"])[owner] & ~drawn.rejected[owner]
    scores, owner = by_image[kept], owner[kept]
    best = np.argsort(-scores, axis=1)[:, :100]
    width = best.shape[1]
    values = np.take_along_axis(scores, best, axis=1).astype(np.float32)
    offsets = pa.array(np.arange(len(owner) + 1, dtype=np.int32) * width)
    dictionary = pa.DictionaryArray.from_arrays(pa.array(best.ravel().astype(np.int32)), pa.array(drawn.keys))
    ordinal = np.arange(len(owner)) - np.searchsorted(owner, owner)
    pq.write_table(
        pa.table(
            {
                "product_id": drawn.ids[owner],
                "image": ordinal,
                "split": drawn.split[owner],
                "category": drawn.keys[drawn.truth[owner]],
                "categories": pa.ListArray.from_arrays(offsets, dictionary),
                "log_probabilities": pa.ListArray.from_arrays(offsets, pa.array(values.ravel())),
                "log_rest": np.full(len(owner), -np.inf, dtype=np.float32),
            }
        ),
        path,
    )


def _write_aggregations(path, by_image, starts, drawn):
    correct, confidence = compare_aggregations(by_image, starts, drawn.truth)
    correct, confidence = correct & ~drawn.rejected, np.where(drawn.rejected, -np.inf, confidence)
    kept = np.isin(drawn.role, ["tune", "test"])
    frame = pd.DataFrame({"product_id": drawn.ids, "role": drawn.role})[kept]
    pq.write_table(aggregations_table(frame, drawn.images[kept], correct[:, kept], confidence[:, kept]), path)


def _write_predictions(path, raw, temperature, drawn):
    best = np.argsort(-raw, axis=1)[:, :5]
    scores = _log_softmax(raw / temperature)
    values = np.take_along_axis(scores, best, axis=1)
    empty: list = []
    pq.write_table(
        pa.table(
            {
                "product_id": drawn.ids,
                "split": drawn.split,
                "role": drawn.role,
                "category": drawn.keys[drawn.truth],
                "predicted": np.where(drawn.rejected, "", drawn.keys[best[:, 0]]),
                "confidence": np.where(drawn.rejected, -np.inf, values[:, 0]),
                "margin": np.where(drawn.rejected, -np.inf, values[:, 0] - values[:, 1]),
                "entropy": np.where(drawn.rejected, np.inf, -(np.exp(scores) * scores).sum(axis=1)),
                "raw_confidence": np.where(drawn.rejected, -np.inf, np.take_along_axis(raw, best, axis=1)[:, 0]),
                "top5": pa.array(
                    [empty if out else list(drawn.keys[row]) for row, out in zip(best, drawn.rejected, strict=True)],
                    pa.list_(pa.string()),
                ),
                "top5_confidence": pa.array(
                    [empty if out else list(row) for row, out in zip(values, drawn.rejected, strict=True)],
                    pa.list_(pa.float64()),
                ),
                "images": drawn.images,
                "rejected": pa.array(np.where(drawn.rejected, "no readable image", None), pa.string()),
            }
        ),
        path,
    )
