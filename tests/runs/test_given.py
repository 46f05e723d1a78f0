"""A study on embeddings that are there already, from the table to the decision; no photo is opened."""

import builtins
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shelfbench
from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.cli.main import main
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study
from tests.helpers.decisions import edit
from tests.helpers.photos import noise_picture

CATEGORIES = ("red", "green", "blue")
COLOURS = ((210, 40, 40), (40, 190, 60), (50, 60, 200))
COUNT = 240
SETTINGS = {"report.pictures": False, "svm.C": [0.01, 1.0], "two_layer.epochs": 2, "hog.pixels": 32, "hog.cells": 8}


def values_of(count=COUNT, dimensions=12, seed=0):
    """Three well separated clusters."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(3, dimensions)) * 2
    return (centres[np.arange(count) % 3] + rng.normal(size=(count, dimensions))).astype(np.float32)


def columns_of(count=COUNT, name="p"):
    return {
        "product_id": [f"{name}{number}" for number in range(count)],
        "category": [CATEGORIES[number % 3] for number in range(count)],
    }


def run(dataset, out, *backends, **settings):
    given = {**SETTINGS, **{key.replace("__", "."): value for key, value in settings.items()}}
    return shelfbench.run(dataset=dataset, out=out, backends=backends, settings=given, quiet=True)


def record(out):
    return json.loads((out / "run.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def no_photo(monkeypatch):
    """Fail if a photo is opened, by whatever function."""

    def watched(function):
        def opened(path, *args, **kwargs):
            assert not re.search(r"/(red|green|blue|gone)/\d+\.png$", str(path)), f"{path} was opened"
            return function(path, *args, **kwargs)

        return opened

    monkeypatch.setattr(builtins, "open", watched(builtins.open))
    monkeypatch.setattr(os, "open", watched(os.open))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of ids, categories and embeddings, of which three are missing."""
    cells = [None if number in (5, 6, 100) else row.tolist() for number, row in enumerate(values_of())]
    path = tmp_path_factory.mktemp("table") / "shop.parquet"
    pq.write_table(pa.table({**columns_of(), "clip": pa.array(cells, pa.list_(pa.float32()))}), path)
    return path


@pytest.fixture(scope="module")
def done(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "table"
    settings = {**SETTINGS, "features": "clip", "heads.lda.estimator": LDA}
    backends = ["bottleneck-svm", "bottleneck-2nn-512", "bottleneck-lda"]
    return shelfbench.run(dataset=table, out=out, backends=backends, settings=settings, quiet=True)


LDA = "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of photos by category, and embeddings keyed by their paths, in another order."""
    root = tmp_path_factory.mktemp("photos")
    names = []
    for number in range(90):
        category = CATEGORIES[number % 3]
        names.append(f"{category}/{number:02}.png")
        (root / "shop" / category).mkdir(parents=True, exist_ok=True)
        (root / "shop" / names[-1]).write_bytes(noise_picture(number, base=COLOURS[number % 3]))
    cells = pa.array(list(values_of(90)[::-1]), pa.list_(pa.float32()))
    pq.write_table(pa.table({"file_name": names[::-1], "clip": cells}), root / "vectors.parquet")
    return root


def test_a_table_without_photos_is_enough(done):
    table = done.table4[done.table4["split"] == "test"]
    assert list(table["backend"]) == ["bottleneck-svm", "bottleneck-2nn-512", "bottleneck-lda"]
    assert (table["precision"] > 0.8).all()
    values = record(done.path)
    assert values["backends"]["bottleneck-svm"]["columns"]["Feature"] == "Embeddings (clip)"
    assert "near_duplicates" not in values["split"]
    assert not (done.path / "figures" / "figure1.png").exists()


def test_what_has_no_embedding_is_counted_and_named(done):
    values = record(done.path)["dataset"]
    assert values["unreadable_images"] == 3
    assert {entry["reason"] for entry in values["unreadable"]} == {"no embedding is given"}
    assert {entry["record"] for entry in values["unreadable"]} == {f"shop.parquet, row {row}" for row in (5, 6, 100)}
    assert "3 rows have no embedding" in (done.path / "report.html").read_text()
    rejected = pd.concat(pq.read_table(path).to_pandas() for path in (done.path / "predictions").glob("*.parquet"))
    assert set(rejected[rejected["rejected"].notna()]["product_id"]) == {"p5", "p6", "p100"}


def test_extraction_takes_no_time(done):
    timings = done.timings
    assert (timings[timings["stage"] == "extract"]["seconds"] == 0).all()
    assert not timings["cached"].any()


def test_the_key_holds_the_hash_of_the_embeddings(done, table):
    saved = json.loads((done.path / "models" / "bottleneck-svm" / "backend.json").read_text())
    told = saved["features"]["settings"]
    assert (told["kind"], told["source"], told["by"], told["dimensions"]) == ("given", "clip", "row", 12)
    assert len(told["sha256"]) == 64


def test_a_run_that_is_repeated_does_nothing_again(done, table, capsys):
    before = record(done.path)["backends"]
    settings = {**SETTINGS, "features": "clip", "heads.lda.estimator": LDA}
    names = ["bottleneck-svm", "bottleneck-2nn-512", "bottleneck-lda"]
    shelfbench.run(dataset=table, out=done.path, backends=names, settings=settings)
    assert "bottleneck-svm: already done" in capsys.readouterr().err
    assert record(done.path)["backends"] == before


def test_photos_beside_a_file_of_embeddings_stay_closed(photos, tmp_path, no_photo):
    found = run(photos / "shop", tmp_path / "run", "bottleneck-svm", features=str(photos / "vectors.parquet"))
    assert found.table4["precision"].min() > 0.8
    assert record(found.path)["backends"]["bottleneck-svm"]["columns"]["Feature"] == "Embeddings (vectors.parquet)"


def test_a_table_may_name_photos_that_are_nowhere(tmp_path, no_photo):
    path = tmp_path / "shop.jsonl"
    rows = [
        {"file_name": f"gone/{number}.png", "category": CATEGORIES[number % 3], "clip": row.tolist()}
        for number, row in enumerate(values_of(90))
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = run(path, tmp_path / "run", "bottleneck-svm", features="clip")
    assert found.table4["precision"].min() > 0.8


def test_photos_are_read_for_the_backends_that_need_them(photos, tmp_path):
    backend = f"bottleneck-svm@features:{photos / 'vectors.parquet'}"
    found = run(photos / "shop", tmp_path / "run", "hog-svm", backend)
    assert set(found.table4["backend"]) == {"hog-svm", backend}
    assert found.timings.query("stage == 'extract' and backend == 'hog-svm'")["seconds"].iloc[0] > 0
    assert found.table4[found.table4["backend"] == backend]["precision"].min() > 0.8


def test_the_same_table_with_a_backend_of_photos_asks_for_them(table, tmp_path):
    with pytest.raises(InputError, match="no column 'image'"):
        run(table, tmp_path / "run", "hog-svm", "bottleneck-svm@features:clip")


def test_embeddings_cannot_be_fine_tuned(table, tmp_path):
    with pytest.raises(ShelfbenchError, match="features:clip are embeddings that are there already, and no network"):
        run(table, tmp_path / "run", "finetuned-svm", features="clip")


def test_a_plan_needs_no_photos_either(table, no_photo):
    planned = shelfbench.plan(
        dataset=table, backends=["bottleneck-svm"], settings={**SETTINGS, "features": "clip"}, quiet=True
    )
    assert "bottleneck-svm" in str(planned)
    assert not planned.problems


def test_given_features_and_a_backbone_replace_each_other():
    def backbone(*texts):
        return read_study("fashion", [parse_setting(text) for text in texts])

    assert backbone("features=clip").backbone.name == "features:clip"
    assert backbone("features=clip").given == ("clip",)
    assert not backbone("features=clip", 'backends=["bottleneck-svm"]').needs_photos
    assert backbone("features=clip").needs_photos  # hog-svm
    changed = read_study(backbone("features=clip"), [parse_setting("backbone=xception")])
    assert changed.backbone.name == "xception"
    assert read_study(changed, [parse_setting("features=dino")]).backbone.name == "features:dino"
    with pytest.raises(InputError, match="names no embeddings"):
        backbone("features=")
    with pytest.raises(InputError, match="both backbone and features"):
        backbone("features=clip", "backbone=xception")


# --- decisions


@pytest.fixture(scope="module", params=["bottleneck-svm", "bottleneck-lda"])
def decided(request, done, tmp_path_factory):
    out = tmp_path_factory.mktemp("decision") / "decision"
    code = main(["decide", str(done.path), request.param, "--precision", "0.6", "--out", str(out), "--quiet"])
    assert code == 0
    return out


def classified(decision, *paths):
    out = decision.parent / "rows.csv"
    assert main(["classify", str(decision), *map(str, paths), "--out", str(out), "--quiet"]) == 0
    return pd.read_csv(out, keep_default_na=False)


def test_a_decision_says_what_it_rests_on(decided):
    model = json.loads((decided / "decision.json").read_text())["model"]
    given = model["given"]
    assert (given["source"], given["column"], given["dimensions"]) == ("clip", "clip", 12)
    assert len(given["sha256"]) == 64


def test_new_products_are_classified_by_their_embeddings(decided, tmp_path):
    path = tmp_path / "new.parquet"
    new = values_of(60, seed=5)
    columns = {"product_id": columns_of(60, "n")["product_id"]}
    pq.write_table(pa.table({**columns, "clip": list(new)}), path)
    rows = classified(decided, path)
    assert rows["product"].tolist() == columns["product_id"]
    right = rows["suggestion"].to_numpy() == np.array(CATEGORIES)[np.arange(60) % 3]
    assert right.mean() > 0.8
    text = tmp_path / "new.jsonl"
    text.write_text("\n".join(json.dumps({"product_id": f"n{i}", "clip": row.tolist()}) for i, row in enumerate(new)))
    pd.testing.assert_frame_equal(rows, classified(decided, text))


def test_rows_of_a_product_are_one_product_wherever_they_stand(decided, tmp_path):
    new = values_of(3, seed=6)
    together, apart = tmp_path / "together.parquet", tmp_path / "apart.parquet"
    for path, order in ((together, [0, 0, 1, 2]), (apart, [0, 1, 2, 0])):
        cells = [list(map(float, new[row])) for row in order]
        pq.write_table(pa.table({"product_id": [f"n{row}" for row in order], "clip": cells}), path)
    one = classified(decided, together).sort_values("product", ignore_index=True)
    pd.testing.assert_frame_equal(one, classified(decided, apart).sort_values("product", ignore_index=True))
    assert len(one) == 3


def test_a_product_without_an_embedding_goes_to_review(decided, tmp_path):
    path = tmp_path / "new.parquet"
    cells = pa.array([None, values_of(1)[0].tolist()], pa.list_(pa.float32()))
    pq.write_table(pa.table({"product_id": ["a", "b"], "clip": cells}), path)
    rows = classified(decided, path).set_index("product")
    assert (rows["category"]["a"], rows["reason"]["a"]) == ("review", "no embedding is given")
    assert rows["suggestion"]["b"] == CATEGORIES[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "photo.png",
            "rests on embeddings of 12 numbers that were computed elsewhere .clip., and cannot look at",
        ),
        ("short.parquet", "the embedding has 5 numbers, but what the decision rests on has 12"),
        ("other.parquet", "no column 'clip' of embeddings"),
    ],
)
def test_what_a_decision_on_embeddings_cannot_classify_is_one_line(decided, tmp_path, capsys, name, message):
    (tmp_path / "photo.png").write_bytes(noise_picture(1))
    pq.write_table(pa.table({"product_id": ["a"], "clip": [[1.0] * 5]}), tmp_path / "short.parquet")
    pq.write_table(pa.table({"product_id": ["a"], "dino": [[1.0] * 12]}), tmp_path / "other.parquet")
    assert main(["classify", str(decided), str(tmp_path / name), "--quiet"]) == 2
    assert pd.Series([capsys.readouterr().err]).str.contains(message).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"given": {"dimensions": 0}}, r"model\.given\.dimensions"),
        ({"given": {"dimensions": 13}}, "cannot be used|does not return"),
        ({"given": {"sha256": "x"}}, r"model\.given\.sha256"),
        ({"given": {"by": "path"}}, r"model\.given\.by"),
        ({"given": {"more": 1}}, "unknown field"),
        ({"backend": "hog-svm"}, "it rests on embeddings, which the backend does not take"),
    ],
)
def test_a_decision_that_was_changed_is_refused(decided, tmp_path, capsys, changes, message):
    folder = shutil.copytree(decided, tmp_path / "decision")

    def change(values):
        for key, value in changes.items():
            values["model"][key] = {**values["model"][key], **value} if isinstance(value, dict) else value

    edit(folder, change)
    pq.write_table(pa.table({"product_id": ["a"], "clip": [[1.0] * 12]}), tmp_path / "new.parquet")
    assert main(["classify", str(folder), str(tmp_path / "new.parquet"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert said.count("\n") == 1
