"""The honest opponent of the study `fashion`: one script with scikit-image, scikit-learn and Keras, on all cores.

What a good engineer writes in an hour: the same products in the same parts (``split.parquet`` of a run of ours), the
same grid of C, the same networks and epochs, joblib wherever it helps; no report beyond a table and a figure.

    python tests/benchmarks/plain_script.py DATA SPLIT OUT

`DATA` is the folder of Parquet files, `SPLIT` the manifest, `OUT` where ``table.csv``, ``acceptance.png``,
``precision.json`` and ``stages.json`` (seconds and processor seconds of every stage) go. A stage that is done is not
done again.
"""

import json
import sys
import time
from io import BytesIO
from pathlib import Path

import joblib
import matplotlib as mpl
import numpy as np
import pandas as pd
import psutil
from joblib import Parallel, delayed
from PIL import Image
from skimage.feature import hog
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

C_GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
UNITS = (512, 2048, 4096)
EPOCHS, BATCH = 20, 256
HOG_PIXELS, NETWORK_PIXELS = 180, 128
CHUNK = 512


def cpu_seconds(process):
    """Processor seconds of a process and of those that it began, those that have ended included."""
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system
    return total


def written(path, value):
    """Write JSON, whole or not at all: this script may be stopped."""
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(value, indent=1))
    aside.replace(path)


class Stages:
    """Results of stages, kept in files, and what they took."""

    def __init__(self, out):
        self.out, self.path = out, out / "stages.json"
        self.taken = json.loads(self.path.read_text()) if self.path.exists() else {}

    def __call__(self, name, work):
        kept = self.out / f"{name}.joblib"
        if name in self.taken and kept.exists():
            return joblib.load(kept)
        wall, cpu = time.perf_counter(), cpu_seconds(psutil.Process())
        result = work()
        self.taken[name] = {"seconds": time.perf_counter() - wall, "cpu_seconds": cpu_seconds(psutil.Process()) - cpu}
        joblib.dump(result, kept)  # not part of the seconds
        written(self.path, self.taken)
        print(name, self.taken[name], flush=True)
        return result


def square(data, pixels):
    image = Image.open(BytesIO(data)).convert("RGB")
    scale = pixels / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new("RGB", (pixels, pixels), "white")
    canvas.paste(image.resize(size, Image.Resampling.BICUBIC), ((pixels - size[0]) // 2, (pixels - size[1]) // 2))
    return np.asarray(canvas)


def hog_of(chunk):
    return np.stack(
        [hog(square(data, HOG_PIXELS), 9, (16, 16), (2, 2), channel_axis=-1).astype(np.float32) for data in chunk]
    )


def squares_of(chunk):
    return np.stack([square(data, NETWORK_PIXELS) for data in chunk])


def in_chunks(work, images):
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    return np.concatenate(Parallel(n_jobs=-1)(delayed(work)(chunk) for chunk in chunks))


def bottlenecks(images):
    """Keras has no EfficientNet-Lite0: the network and its weights are those of the project, `predict` is Keras'."""
    from shelfbench.plugins.backend import BackboneChoice
    from shelfbench_deep.networks.backbones import load_backbone

    backbone = load_backbone(BackboneChoice("efficientnet_lite0", "imagenet", NETWORK_PIXELS))
    model = backbone.model()
    pixels = in_chunks(squares_of, images)
    parts = [
        model.predict(backbone.network.preprocess(pixels[start : start + 4096].astype(np.float32)), verbose=0)
        for start in range(0, len(pixels), 4096)  # the whole as float32 would need 8 GiB
    ]
    return np.concatenate(parts)


def svm(stage, name, features, rows, labels):
    """Choose C on `tune`; the categories of a fit share the cores, which `LinearSVC` by itself would not."""
    scaler = StandardScaler().fit(features[rows["train"]])
    scaled = {role: scaler.transform(features[rows[role]].astype(float)) for role in rows}  # as liblinear takes them

    def fit(C):
        return OneVsRestClassifier(LinearSVC(C=C, tol=1e-2, dual=True), n_jobs=-1).fit(
            scaled["train"], labels[rows["train"]]
        )

    fitted = [stage(f"{name}, C={C:g}", lambda C=C: fit(C)) for C in C_GRID]
    best = max(fitted, key=lambda model: np.mean(model.predict(scaled["tune"]) == labels[rows["tune"]]))
    return {role: best.decision_function(scaled[role]) for role in rows}


def two_layer(units, features, rows, labels):
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((features.shape[1],)),
            layers.Dense(units // 2),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Dense(units // 2),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Dense(int(labels.max()) + 1),
        ]
    )
    model.compile(
        keras.optimizers.SGD(keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 7e-5)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    best = keras.callbacks.EarlyStopping("val_accuracy", patience=EPOCHS, mode="max", restore_best_weights=True)
    # whole batches: a last one of a few images would spoil the running statistics just before they are used
    train = rows["train"][: len(rows["train"]) // BATCH * BATCH]
    known = labels[rows["tune"]] >= 0
    tune = (features[rows["tune"]][known], labels[rows["tune"]][known])
    model.fit(
        features[train],
        labels[train],
        BATCH,
        EPOCHS,
        verbose=0,
        validation_data=tune,
        callbacks=[best],
    )
    return {role: model.predict(features[rows[role]], BATCH, verbose=0) for role in rows}


def softmax(scores):
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def report(scores, labels, out):
    """Precision, acceptance at .9 and the curve of acceptance against precision, on test."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    table = []
    for name, score in scores.items():
        probability = softmax(score)
        right = probability.argmax(axis=1) == labels
        order = np.argsort(-probability.max(axis=1), kind="stable")
        precision = np.cumsum(right[order]) / np.arange(1, len(right) + 1)
        enough = np.flatnonzero(precision >= 0.9)
        acceptance = (enough[-1] + 1) / len(right) if len(enough) else 0.0
        table.append({"backend": name, "precision": right.mean(), "acceptance_90": acceptance})
        plt.plot(np.arange(1, len(right) + 1) / len(right), precision, label=name)
    plt.xlabel("acceptance")
    plt.ylabel("precision")
    plt.legend()
    plt.savefig(out / "acceptance.png", dpi=150)
    frame = pd.DataFrame(table)
    frame.to_csv(out / "table.csv", index=False)
    return frame


def main(data, split, out):
    out.mkdir(parents=True, exist_ok=True)
    stage = Stages(out)

    def read():
        frame = pd.concat([pd.read_parquet(path, columns=["id", "image"]) for path in sorted(data.glob("*.parquet"))])
        manifest = pd.read_parquet(split)
        frame = frame.set_index(frame["id"].astype(str)).loc[manifest["product_id"].astype(str)]
        return [image["bytes"] for image in frame["image"]], manifest[["category", "role"]]

    images, manifest = stage("read", read)
    rows = {role: np.flatnonzero(manifest["role"] == role) for role in ("train", "tune", "test")}
    categories = np.unique(manifest["category"].to_numpy(str)[rows["train"]])
    number = {category: code for code, category in enumerate(categories)}
    labels = np.array([number.get(category, -1) for category in manifest["category"]])
    networks = stage("bottlenecks", lambda: bottlenecks(images))
    scores, precision = {}, {}

    def keep(name, score):
        scores[name] = score
        precision[name] = np.mean(score["test"].argmax(axis=1) == labels[rows["test"]])
        written(out / "precision.json", precision)

    for units in UNITS:
        name = f"bottleneck-2nn-{units}"
        keep(name, stage(name, lambda units=units: two_layer(units, networks, rows, labels)))
    histograms = stage("hog", lambda: in_chunks(hog_of, images))
    for name, features in (("bottleneck-svm", networks), ("hog-svm", histograms)):
        keep(name, svm(stage, name, features, rows, labels))
    test = {name: score["test"] for name, score in scores.items()}
    table = stage("report", lambda: report(test, labels[rows["test"]], out))
    print(table.to_string(index=False))
    print(f"{sum(taken['seconds'] for taken in stage.taken.values()):.0f} seconds")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
