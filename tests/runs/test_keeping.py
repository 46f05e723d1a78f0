"""What a run keeps of a backend: stages and epochs, each with what it ran on."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from shelfbench.cost.timing import timings_frame
from shelfbench.data.feature_store import Features
from shelfbench.runs.building import BuiltBackend
from shelfbench.runs.keeping import backend_timings

HISTORY = pd.DataFrame({"epoch": [1, 2, 3], "seconds": [5.0, 2.0, 3.0], "data_wait": [0.5, 0.25, 0.0]})


def part(**values):
    return SimpleNamespace(**values)


def frame(trained, history, cached=False):
    extractor = part(name="net", pixels=64, batch=32, framework="tensorflow", device="A GPU", describe=lambda: {})
    old = part(features=part(name="old", pixels=8, batch=1, framework="x", device="x"))
    built = BuiltBackend(name="mine", spec=None, backend=old, backbone=None, store=None, trained=trained)
    if trained is None:
        built.backend.features = extractor
    else:
        trained.features = extractor
    readable = np.array([True] * 7 + [False] + [True] * 2)
    features = Features(
        matrix=np.zeros((10, 2), np.float32),
        readable=readable,
        reasons={7: "broken"},
        seconds=40.0,
        computed=0,
        cached=cached,
    )
    material = part(images_of=lambda role: slice(0, 8), image=np.arange(10))
    classifier = part(framework="numpy", device="cpu", batch=0, history=history)
    return timings_frame(backend_timings(built, features, classifier, material, fit=6.0, predict=1.5)).set_index(
        "stage"
    )


def test_every_stage_with_its_images_and_what_it_ran_on():
    rows = frame(None, None, cached=True)
    assert rows.index.tolist() == ["extract", "fit", "predict"]
    assert rows["seconds"].tolist() == [40.0, 6.0, 1.5]
    assert rows["images"].tolist() == [10, 7, 9]  # all; readable ones of train; readable ones
    assert rows["cached"].tolist() == [True, False, False]
    assert rows["device"].tolist() == ["A GPU", "cpu", "cpu"]
    assert rows["framework"].tolist() == ["tensorflow", "numpy", "numpy"]
    assert (rows["backbone"] == "net").all()


def test_epochs_of_a_head_and_of_the_network_below_it():
    trained = part(
        device="A GPU", precision="mixed_bfloat16", framework="jax", batch=128, cached=False, seconds=10.0, images=50,
        history=HISTORY,
    )  # fmt: skip
    rows = frame(trained, HISTORY.drop(columns="data_wait"))
    assert rows.index.tolist() == ["tune", *["tune_epoch"] * 3, "extract", "fit", *["epoch"] * 3, "predict"]
    assert rows.loc["tune", "images"] == 150
    network, head = rows.loc["tune_epoch"], rows.loc["epoch"]
    for epochs, images, device, precision in ((network, 50, "A GPU", "mixed_bfloat16"), (head, 7, "cpu", "float32")):
        assert epochs["epoch"].tolist() == [1, 2, 3]
        assert epochs["warm_up"].tolist() == [True, False, False]
        assert set(epochs["images"]) == {images}
        assert set(epochs["device"]) == {device}
        assert set(epochs["precision"]) == {precision}
    assert network["data_wait"].tolist() == [0.5, 0.25, 0.0]
    assert head["data_wait"].isna().all()
    # the network before its training has no part in it
    assert set(rows["pixels"]) == {64}
