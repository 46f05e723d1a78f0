"""A large run directory with predictions only, whose confidence is the probability of being right."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

DEPARTMENTS = 20


def make_large_run(path: Path, *, backends: int = 20, test: int = 100_000, categories: int = 1000) -> Path:
    """Write ``run.json``, ``split.parquet``, ``timings.parquet`` and predictions.

    Confidence c is drawn from a Beta distribution, and a prediction is right with probability c, as in docs/papers.md
    ("Certifying a threshold").
    """
    rng = np.random.default_rng(0)
    products = 2 * test
    role = np.repeat(["train", "tune", "certify", "test"], [test // 2, test // 4, test // 4, test])
    split = np.where(np.isin(role, ["tune", "certify"]), "validation", role)
    keys = np.array([f"c{number:04d}" for number in range(categories)])
    truth = (categories * rng.random(products) ** 2).astype(int)
    ids = np.arange(products)
    (path / "predictions").mkdir(parents=True)
    pq.write_table(
        pa.table({"product_id": ids, "category": keys[truth], "split": split, "role": role}), path / "split.parquet"
    )
    names = [f"backend-{number:02d}" for number in range(backends)]
    offsets = pa.array(np.arange(products + 1, dtype=np.int32))
    for number, name in enumerate(names):
        claimed = rng.beta(1.6 + 0.2 * number, 1, products)
        right = rng.random(products) < claimed
        given = np.where(right, truth, (truth + rng.integers(1, categories, products)) % categories)
        confidence = np.log(claimed)
        pq.write_table(
            pa.table(
                {
                    "product_id": ids,
                    "split": split,
                    "role": role,
                    "category": keys[truth],
                    "predicted": keys[given],
                    "confidence": confidence,
                    "margin": confidence - np.log1p(-claimed),
                    "entropy": -claimed * confidence,
                    "raw_confidence": confidence,
                    "top5": pa.ListArray.from_arrays(offsets, pa.array(keys[given])),
                    "top5_confidence": pa.ListArray.from_arrays(offsets, pa.array(confidence)),
                    "images": pa.array(np.ones(products, np.int32)),
                    "rejected": pa.nulls(products, pa.string()),
                }
            ),
            path / "predictions" / f"{name}.parquet",
        )
    pd.DataFrame(
        [
            {
                "backend": name,
                "stage": "fit",
                "epoch": None,
                "seconds": 60.0 * (1 + number),
                "images": 1,
                "cached": False,
            }
            for number, name in enumerate(names)
        ]
    ).to_parquet(path / "timings.parquet")
    record = {
        "seed": 0,
        "status": "complete",
        "dataset": {
            "name": "large",
            "products": products,
            "category_names": {key: f"Category {key}" for key in keys},
            "category_level1": {key: f"Department {int(key[1:]) % DEPARTMENTS}" for key in keys},
        },
        "split": {part: {"products": int((split == part).sum())} for part in ("train", "validation", "test")},
        "backends": {
            name: {"status": "done", "columns": {"Feature": "F", "Classifier": name, "Fine-tuning": "no"}}
            for name in names
        },
    }
    (path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return path
