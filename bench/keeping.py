"""What a run keeps of a backend beside its predictions: the model, and how long each stage took."""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from pathlib import Path
from typing import Any

import pandas as pd

from bench.backend import Backend, BackendSpec, Classifier, Tuned, split_name
from bench.data.features import Features, FeatureStore
from bench.material import Material
from bench.storage import storage_errors, write_json
from bench.study import Study
from bench.timing import Timing


@dataclasses.dataclass(frozen=True)
class Job:
    """One backend of a run, built.

    Attributes
    ----------
    name : str
    spec : BackendSpec
    backend : Backend
    store : FeatureStore
        Of the network before its training, where it has one.
    tuned : Tuned or None
        The network after it.
    """

    name: str
    spec: BackendSpec
    backend: Backend
    store: FeatureStore
    tuned: Tuned | None = None


def save_model(job: Job, classifier: Classifier, material: Material, study: Study, out: Path) -> None:
    """Write models/BACKEND whole: the classifier's own files, and what leads from a photo to it."""
    target = out / "models" / job.name
    aside = target.with_name(f".partial-{uuid.uuid4().hex[:12]}-{job.name}")
    with storage_errors(target):
        try:
            aside.mkdir(parents=True)
            classifier.save(aside)
            if job.tuned is not None:
                job.tuned.save(aside)
            write_json(
                aside / "backend.json",
                {
                    "backend": job.name,
                    "classes": material.classes.tolist(),
                    "images": dataclasses.asdict(study.images),
                    "backbone": dataclasses.asdict(split_name(job.name, study.backbone)[1]),
                    "features": job.store.key,
                    "sections": {name: dataclasses.asdict(study.sections[name]) for name in job.spec.sections},
                },
            )
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def backend_timings(
    job: Job, features: Features, classifier: Classifier, fit: float, predict: float, material: Material
) -> list[Timing]:
    """One row a stage, and one an epoch."""
    extractor, tuned = job.backend.features, job.tuned
    common: dict[str, Any] = {
        "backend": job.name,
        "backbone": extractor.name,
        "pixels": extractor.pixels,
        "device": "cpu",
        "precision": "float32",
    }
    train = int(features.readable[material.images_of("train")].sum())
    rows = []
    if tuned is not None:
        training: dict[str, Any] = {
            **common,
            "device": tuned.device,
            "precision": tuned.precision,
            "framework": tuned.framework,
            "batch": tuned.batch,
            "cached": tuned.cached,
        }
        rows.append(Timing(stage="tune", seconds=tuned.seconds, images=tuned.images * len(tuned.history), **training))
        rows += _epochs("tune_epoch", tuned.history, tuned.images, training)
    rows.append(
        Timing(
            stage="extract",
            seconds=features.seconds,
            images=len(material.image),
            batch=extractor.batch,
            framework=extractor.framework,
            cached=features.cached,
            **common,
        )
    )
    head = {**common, "framework": classifier.framework, "batch": classifier.batch}
    rows.append(Timing(stage="fit", seconds=fit, images=train, **head))
    if classifier.history is not None:
        rows += _epochs("epoch", classifier.history, train, head)
    rows.append(Timing(stage="predict", seconds=predict, images=int(features.readable.sum()), **head))
    return rows


def _epochs(stage: str, history: pd.DataFrame, images: int, common: dict[str, Any]) -> list[Timing]:
    return [
        Timing(
            stage=stage,
            epoch=int(row["epoch"]),
            seconds=float(row["seconds"]),
            images=images,
            warm_up=int(row["epoch"]) == 1,
            data_wait=float(row.get("data_wait", float("nan"))),
            **common,
        )
        for row in history.to_dict("records")
    ]
