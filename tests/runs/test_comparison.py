"""A study from start to end, on a small shop of noisy colours."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.material import gather
from shelfbench.data.split import make_split
from shelfbench.experiments import run_study
from shelfbench.runs.photos import Photos
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study
from tests.helpers.photos import noise_picture

BACKENDS = ["hog-svm", "bottleneck-svm", "bottleneck-2nn-512"]
SETTINGS = [
    "hog.pixels=48",
    "hog.cells=8",
    "svm.C=[0.001, 0.1]",
    "pixels=32",
    "two_layer.epochs=3",
    "report.pictures=true",
]


def study_of(path, *settings, backends=BACKENDS):
    overrides = [parse_setting(text) for text in (*SETTINGS, *settings)]
    return read_study("default", [*overrides, (["dataset", "name"], str(path)), (["backends"], list(backends))])


def run(path, out, *settings, backends=BACKENDS):
    if backends is not BACKENDS:  # drawing photos takes longest
        settings = ("report.pictures=false", *settings)
    return run_study(study_of(path, *settings, backends=backends), out=out, command="shelfbench run test")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Three colours, 30 products of 1 to 3 photos each, some of them broken."""
    root = tmp_path_factory.mktemp("shop")
    rows = []
    for number, (name, color) in enumerate(
        {"red": (210, 40, 40), "green": (40, 190, 60), "blue": (50, 60, 200)}.items()
    ):
        for product in range(30):
            for photo in range(1 + product % 3):
                file = f"{name}-{product:02}-{photo}.png"
                data = noise_picture(10000 * number + 10 * product + photo, base=color)
                if product % 10 == 0 or (product % 10 == 1 and photo == 1):
                    data = data[:60]
                (root / file).write_bytes(data)
                rows.append({"file_name": file, "category": name, "product_id": f"{name}-{product:02}"})
    pd.DataFrame(rows).to_csv(root / "metadata.csv", index=False)
    return root


@pytest.fixture(scope="module", autouse=True)
def cold_cache(tmp_path_factory):
    """Features that no other test has computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFBENCH_CACHE", str(tmp_path_factory.mktemp("cold")))
        yield


@pytest.fixture(scope="module")
def done(shop, tmp_path_factory):
    """A finished run, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "first"
    return out, run(shop, out)


def record(out):
    return json.loads((out / "run.json").read_text())


def test_everything_that_is_promised_is_there(done):
    out, text = done
    for name in BACKENDS:
        assert (out / "predictions" / f"{name}.parquet").exists()
        assert (out / "scores" / f"{name}.parquet").exists()
        files = sorted(path.name for path in (out / "models" / name).iterdir())
        assert files == ["backend.json", "classifier.json", "guard.safetensors", "weights.safetensors"]
        assert (out / "aggregations" / f"{name}.parquet").exists()
    for name in ("table1", "table2", "table4", "certified", "measures", "calibration", "aggregation"):
        for kind in ("csv", "md", "tex"):
            assert (out / "tables" / f"{name}.{kind}").stat().st_size > 50
    certified = (out / "tables" / "certified.md").read_text()
    assert "decide also sends products that are unlike anything learned" in certified
    assert "a better classifier, or a lower required precision, would do too." in certified
    for name in ("figure1", "figure2", "figure5"):
        for kind in ("png", "svg"):
            assert (out / "figures" / f"{name}.{kind}").stat().st_size > 1000
    assert (out / "report.html").exists()
    shown = pd.read_csv(out / "tables" / "surest_errors.csv")
    photos = list((out / "figures" / "confusions").glob("*.jpg"))
    assert len(photos) == len(shown)  # every error is of a product with a readable photo
    assert not list(out.rglob(".partial-*"))
    table = pd.read_csv(out / "tables" / "table4.csv")
    assert list(table.columns) == [
        "backend",
        "split",
        "precision",
        "precision_low",
        "precision_high",
        "acceptance_90",
        "acceptance_90_low",
        "acceptance_90_high",
        "seconds",
        "cached",
    ]
    assert len(table) == 9
    assert "hog-svm" in text
    values = record(out)
    assert values["status"] == "complete"
    assert {backend["status"] for backend in values["backends"].values()} == {"done"}
    timings = pd.read_parquet(out / "timings.parquet")
    assert set(timings["stage"]) == {"extract", "fit", "predict", "epoch"}
    assert (timings["seconds"] >= 0).all()
    assert list(pd.read_parquet(out / "history" / "bottleneck-2nn-512.parquet")["epoch"]) == [1, 2, 3]


def test_every_product_is_in_the_predictions_and_the_broken_are_rejected(done, shop):
    out, _ = done
    manifest = pd.read_parquet(out / "split.parquet").set_index("product_id")
    assert len(manifest) == 90
    values = record(out)
    # product 0 of ten has 1, 2 or 3 photos, all broken; product 1 of ten one broken photo where it has more than one
    broken = [item["record"] for item in values["dataset"]["unreadable"]]
    assert values["dataset"]["unreadable_images"] == len(broken) == 3 * (1 + 2 + 3) + 3 * 2
    assert all(name.endswith(".png") for name in broken)
    assert "24 photos could not be read: 24 " in (out / "report.html").read_text(encoding="utf-8")
    for name in BACKENDS:
        predictions = pd.read_parquet(out / "predictions" / f"{name}.parquet").set_index("product_id")
        assert predictions.index.sort_values().equals(manifest.index.sort_values())
        assert (
            predictions.loc[manifest.index, ["split", "role", "category"]] == manifest[["split", "role", "category"]]
        ).all(axis=None)
        rejected = predictions[predictions["rejected"].notna()]
        assert sorted(rejected.index) == sorted(
            f"{color}-{i:02}" for color in ("red", "green", "blue") for i in (0, 10, 20)
        )
        assert (rejected["predicted"] == "").all()
        assert np.isneginf(rejected["confidence"]).all()
        assert (rejected["rejected"].str.startswith("no readable image: ")).all()
        assert np.isposinf(rejected["entropy"]).all()
        kept = predictions[predictions["rejected"].isna()]
        assert (kept["predicted"] == kept["top5"].str[0]).all()
        assert np.allclose(kept["confidence"], kept["top5_confidence"].str[0])
        assert np.allclose(kept["margin"], kept["top5_confidence"].str[0] - kept["top5_confidence"].str[1])


def test_predictions_are_the_mean_over_images_of_the_scores(shop, tmp_path):
    out = tmp_path / "mean"
    run(shop, out, "verdict.aggregation=mean", backends=BACKENDS[:1])
    for name in BACKENDS[:1]:
        scores = pq.read_table(out / "scores" / f"{name}.parquet").to_pandas()
        predictions = pd.read_parquet(out / "predictions" / f"{name}.parquet").set_index("product_id")
        assert set(scores["split"]) == {"validation", "test"}
        assert not scores.duplicated(["product_id", "image"]).any()
        for product, rows in scores.groupby("product_id"):
            total = {}
            for keys, values in zip(rows["categories"], rows["log_probabilities"], strict=True):
                for key, value in zip(keys, np.exp(values.astype(float)), strict=True):
                    total[key] = total.get(key, 0) + value / len(rows)
            assert predictions.loc[product, "predicted"] == max(total, key=total.get)
            assert np.exp(predictions.loc[product, "raw_confidence"]) == pytest.approx(max(total.values()), rel=1e-5)


def test_a_second_run_reuses_features_and_gives_the_same(done, shop, tmp_path, capsys):
    out, _ = done
    again = tmp_path / "second"
    run_study(study_of(shop), out=again, console=Console(), command="shelfbench run test")
    assert capsys.readouterr().err.count("features reused") == len(BACKENDS)
    for name in BACKENDS:
        for kind in ("scores", "predictions"):
            first, second = (pq.read_table(folder / kind / f"{name}.parquet") for folder in (out, again))
            assert first.equals(second), (name, kind)
    first, second = (
        pd.read_parquet(folder / "timings.parquet").query("stage == 'extract'").set_index("backend")
        for folder in (out, again)
    )
    assert second["cached"].all()
    assert not first.loc["hog-svm", "cached"]
    assert np.allclose(first["seconds"], second["seconds"])
    assert pd.read_csv(again / "tables" / "table4.csv")["cached"].all()


def test_a_run_goes_on_in_its_directory(shop, tmp_path, capsys):
    out = tmp_path / "run"
    run(shop, out, backends=BACKENDS[:1])
    before = (out / "predictions" / "hog-svm.parquet").stat().st_mtime_ns
    assert (out / "near_duplicates.parquet").exists()
    study = study_of(shop, "report.pictures=false", "report.near_duplicates=off", backends=BACKENDS[:2])
    run_study(study, out=out, console=Console(), command="shelfbench run test")
    assert not (out / "near_duplicates.parquet").exists()
    assert "hog-svm: already done" in capsys.readouterr().err
    assert (out / "predictions" / "hog-svm.parquet").stat().st_mtime_ns == before
    assert set(pd.read_csv(out / "tables" / "table4.csv")["backend"]) == set(BACKENDS[:2])
    assert set(pd.read_parquet(out / "timings.parquet")["backend"]) == set(BACKENDS[:2])
    with pytest.raises(InputError, match=r"other settings \(report\.out_of_fold\b"):
        run(shop, out, "report.out_of_fold=3", backends=BACKENDS[:1])
    with pytest.raises(InputError, match=r"other settings \(seed\b"):
        run(shop, out, "seed=5", backends=BACKENDS[:1])
    (shop / "extra.png").write_bytes(b"")
    (out / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        run(shop, out, backends=BACKENDS[:1])


def test_a_run_that_has_nothing_to_do_says_what_could_not_be_read(shop, tmp_path, capsys):
    out = tmp_path / "run"
    study = study_of(shop, "report.pictures=false", backends=BACKENDS[:1])
    for _ in range(2):
        run_study(study, out=out, console=Console(), command="shelfbench run test")
        assert capsys.readouterr().err.count("24 photos could not be read: 24 ") == 1


def test_the_unreadable_stay_on_record(shop, tmp_path):
    for _ in range(2):
        run(shop, tmp_path / "run", backends=BACKENDS[:1])
        assert record(tmp_path / "run")["dataset"]["unreadable_images"] == 24


def test_one_run_at_a_time_in_a_directory(shop, tmp_path):
    from shelfbench.base.locking import locked

    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"), pytest.raises(InputError, match="another run is working"):
        run(shop, tmp_path / "run", backends=BACKENDS[:1])


def test_results_do_not_go_into_the_data(image_folder):
    with pytest.raises(InputError, match="is inside the data"):
        run(image_folder, image_folder / "results", backends=BACKENDS[:1])


def test_changed_data_are_noticed(image_folder, tmp_path):
    out = tmp_path / "run"
    run(image_folder, out, backends=BACKENDS[:1])
    (image_folder / "red" / "03.png").write_bytes(noise_picture(4242))
    for _ in range(2):
        with pytest.raises(InputError, match="dataset has changed"):
            run(image_folder, out, backends=BACKENDS[:1])
        assert record(out)["dataset"]["products"] == 72


def test_a_slip_stops_the_run_before_anything_is_written(shop, tmp_path):
    out, backends = tmp_path / "run", ["hog-svm", "bottleneck-svm@inception_v3", "bottleneck-2nn-512@inception_v3"]
    with pytest.raises(InputError, match=r"^inception_v3 cannot take images of 32 pixels") as caught:
        run(shop, out, "weights=none", backends=backends)
    assert not out.exists()  # so that the corrected command may go there
    assert "others" not in str(caught.value)


def test_what_came_to_nothing_does_not_bind_its_directory(shop, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"^no file of embeddings at nowhere\.npz"):
        run(shop, out, "features=nowhere.npz", backends=["bottleneck-svm"])
    run(shop, out, backends=["hog-svm"])
    assert record(out)["status"] == "complete"


def test_a_network_with_random_weights_is_named(shop, tmp_path):
    out, said = tmp_path / "run", "efficientnet_lite0 has random weights (weights=none)"
    run(shop, out, "weights=none", backends=["bottleneck-svm"])
    assert said in (out / "report.html").read_text(encoding="utf-8")


def test_what_was_chosen_is_on_record_and_in_the_model(done):
    out, _ = done
    for name in BACKENDS:
        chosen = record(out)["backends"][name]["chosen"]
        saved = json.loads((out / "models" / name / "backend.json").read_text())
        assert (saved["aggregation"], saved["temperature"]) == (chosen["aggregation"], chosen["temperature"])
        assert chosen["rule_products"] > 0
        predictions = pd.read_parquet(out / "predictions" / f"{name}.parquet")
        kept = predictions[predictions["rejected"].isna()]
        assert chosen["temperature"] != 1
        assert not np.allclose(kept["confidence"], kept["raw_confidence"])
    svm = record(out)["backends"]["hog-svm"]["chosen"]
    classifier = json.loads((out / "models" / "hog-svm" / "classifier.json").read_text())
    assert svm["margin_temperature"] == classifier["chosen"]["margin_temperature"]


def test_without_calibration_the_scores_stay_as_they_are(shop, tmp_path):
    run(shop, tmp_path / "run", "verdict.calibrate=false", "verdict.aggregation=vote", backends=BACKENDS[:1])
    assert record(tmp_path / "run")["backends"]["hog-svm"]["chosen"]["aggregation"] == "vote"
    predictions = pd.read_parquet(tmp_path / "run" / "predictions" / "hog-svm.parquet")
    assert (predictions["confidence"] == predictions["raw_confidence"]).all()


AGAIN = """
import json, sys
from pathlib import Path
import numpy as np
from shelfbench.verdict.calibration import Calibrator
from shelfbench.verdict.predictions import ProductRule
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.plugins.finding import find
from shelfbench.data.images import decode
def answers(folder, files):
    saved = json.loads((folder / "backend.json").read_text())
    spec = find(folder.name)
    settings = {section: kind(**{key: tuple(value) if isinstance(value, list) else value
                                 for key, value in saved["sections"][section].items()})
                for section, kind in spec.sections.items()}
    backend = spec.build(settings, BackboneChoice(**saved["backbone"]), 1)
    fit, pixels = saved["images"]["fit"], backend.features.pixels
    images = np.stack([decode(Path(file).read_bytes(), pixels, fit) for file in files])
    scores = backend.load(folder).log_probabilities(backend.features.extract(images))
    further = Calibrator(**saved["calibrator"]) if saved["calibrator"] else None
    rule = ProductRule(saved["aggregation"], saved["temperature"], calibrator=further)
    rows = rule.rows(scores, np.arange(len(scores)), np.array(saved["classes"], object))
    return list(zip(rows["predicted"].tolist(), rows["confidence"].tolist()))
models, *files = sys.argv[1:]
print(json.dumps({folder.name: answers(folder, files) for folder in Path(models).iterdir()}))
"""


def test_saved_models_predict_the_same_in_another_process(done, shop):
    out, _ = done
    # products of one photo, that can be read
    single = [f"{color}-{i:02}" for color in ("red", "green") for i in (3, 6, 9, 12)]
    files = [str(shop / f"{product}-0.png") for product in single]
    command = [sys.executable, "-c", AGAIN, str(out / "models"), *files]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert set(answer) == set(BACKENDS)
    for name, rows in answer.items():
        predictions = pd.read_parquet(out / "predictions" / f"{name}.parquet").set_index("product_id")
        for product, (category, confidence) in zip(single, rows, strict=True):
            assert predictions.loc[product, "predicted"] == category
            assert predictions.loc[product, "confidence"] == pytest.approx(confidence, abs=1e-5)


def test_no_picture_is_kept_where_the_study_shows_none(shop, tmp_path):
    run(shop, tmp_path / "run", "report.pictures=false", backends=BACKENDS[:1])
    assert not list((tmp_path / "run" / "figures").glob("figure1.*"))
    assert not list((tmp_path / "run" / "figures").glob("figure6.*"))
    assert not (tmp_path / "run" / "figures" / "confusions").exists()


def test_a_product_is_shown_by_its_first_photo_that_can_be_read(shop):
    study, console = study_of(shop), Console(quiet=True)
    catalogue, _ = open_dataset(study.dataset, study.generated, None, 1, console)
    split = make_split(catalogue, study.split, study.seed, image_digests(catalogue, console))
    material = gather(catalogue, split)
    photograph = Photos(material, study.seed).of_product
    for product in ("red-02", "blue-11", "green-29"):
        with Image.open(shop / f"{product}-0.png") as image:
            np.testing.assert_array_equal(np.asarray(photograph(product)), np.asarray(image.convert("RGB")))
    assert photograph("red-10") is None  # its photos are broken
