"""Products and scores read in parts, against the same files read at once."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.errors import InputError
from shelfbench.base.storage import write_parquet
from shelfbench.runs import filed_scores, reading_rows
from shelfbench.runs.directory import open_run
from shelfbench.runs.filed_scores import open_scores
from shelfbench.runs.reading_rows import read_products
from shelfbench.runs.scored import scored_files
from shelfbench.runs.scoring import score_blocks
from shelfbench.verdict.predictions import ProductRule
from tests.helpers.synthetic_run import BACKENDS, make_run
from tests.runs import test_scoring as shops

NAME = "hog-svm"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """Two backends and 500 products; not to be changed."""
    two = {name: BACKENDS[name] for name in (NAME, "bottleneck-svm")}
    return make_run(tmp_path_factory.mktemp("rows") / "run", products=500, categories=14, backends=two)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(reading_rows, "_PRODUCTS", 64)
    monkeypatch.setattr(filed_scores, "_IMAGES", 37)


def changed(run_dir, folder, **columns):
    """A copy of the run with other columns in the predictions of one backend."""
    (folder / "predictions").mkdir(parents=True)
    (folder / "split.parquet").write_bytes((run_dir / "split.parquet").read_bytes())
    table = pq.read_table(run_dir / "predictions" / f"{NAME}.parquet")
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, [values])
    pq.write_table(table, folder / "predictions" / f"{NAME}.parquet", use_dictionary=False)
    return folder


@pytest.mark.parametrize("dictionary", [True, False])
def test_products_are_those_of_the_file(run_dir, tmp_path, dictionary):
    found = read_products(run_dir if dictionary else changed(run_dir, tmp_path / "run"), NAME)
    frame = pd.read_parquet(run_dir / "predictions" / f"{NAME}.parquet")
    keys = sorted(set(frame["category"]))
    assert found.keys == tuple(keys)
    assert [keys[code] for code in found.truth] == frame["category"].tolist()
    out = frame["predicted"].eq("").to_numpy()
    assert [keys[code] if code >= 0 else "" for code in found.predicted] == frame["predicted"].tolist()
    both = zip(frame["top5"].map(list), frame["category"], strict=True)
    places = [best.index(own) if own in best else -1 for best, own in both]
    assert found.rank.tolist() == places
    for name in ("split", "role"):
        column = getattr(found, name)
        assert np.asarray(column).tolist() == frame[name].tolist()
        assert np.array_equal(column == "test", frame[name] == "test")
    assert np.array_equal(found.confidence == -np.inf, out)
    assert np.array_equal(found.confidence[~out], frame["confidence"][~out])
    assert np.array_equal(found.measures["entropy"][~out], -frame["entropy"][~out])
    assert np.array_equal(found.raw_confidence[~out], frame["raw_confidence"][~out])


def test_backends_share_what_is_equal(run_dir):
    run = open_run(run_dir)
    one, two = (run.products(name) for name in run.backends)
    assert two.product_id is one.product_id
    assert two.split is one.split
    assert two.role is one.role
    assert two.truth is one.truth
    assert not np.array_equal(one.predicted, two.predicted)


def test_products_in_another_order_are_read_all_the_same(run_dir, tmp_path):
    table = pq.read_table(run_dir / "predictions" / f"{NAME}.parquet")
    order = np.random.default_rng(0).permutation(len(table))
    folder = changed(run_dir, tmp_path / "run")
    pq.write_table(table.take(order), folder / "predictions" / f"{NAME}.parquet")
    before = read_products(run_dir, NAME)
    after = read_products(folder, NAME, before)
    assert np.array_equal(after.product_id, before.product_id[order])
    assert np.array_equal(after.correct, before.correct[order])


def test_a_product_without_a_category_is_refused(run_dir, tmp_path):
    values = pq.read_table(run_dir / "predictions" / f"{NAME}.parquet")["category"].to_pylist()
    values[70] = None
    with pytest.raises(InputError, match=r"hog-svm\.parquet.*row 70 has no category"):
        read_products(changed(run_dir, tmp_path / "run", category=pa.array(values)), NAME)


def test_many_different_splits_are_refused(run_dir, tmp_path):
    values = pa.array([f"part {row}" for row in range(500)])
    with pytest.raises(InputError, match="too many different splits"):
        read_products(changed(run_dir, tmp_path / "run", split=values), NAME)


@pytest.mark.parametrize("shuffled", [False, True])
def test_scores_in_files_are_means_over_the_photos_of_each_product(run_dir, tmp_path, shuffled):
    run = open_run(run_dir)
    frame = pq.read_table(run_dir / "scores" / f"{NAME}.parquet")
    if shuffled:
        folder = changed(run_dir, tmp_path / "run")
        (folder / "run.json").write_bytes((run_dir / "run.json").read_bytes())
        frame = frame.take(np.random.default_rng(1).permutation(len(frame)))
        write_parquet(folder / "scores" / f"{NAME}.parquet", frame)
        run = open_run(folder)
    scores, seen = open_scores(run, NAME), []
    photos = frame.to_pandas()
    keys = list(scores.keys)
    for products, probabilities in scores.blocks():
        for product, row in zip(products, probabilities, strict=True):
            seen.append(product)
            own = photos[photos["product_id"] == scores.products["product_id"][product]]
            expected = np.zeros(len(keys))
            for codes, values in zip(own["categories"], own["log_probabilities"], strict=True):
                expected[[keys.index(key) for key in codes]] += np.exp(values)
            np.testing.assert_allclose(row, expected / len(own), rtol=1e-4, atol=1e-6)
    assert sorted(seen) == list(range(len(scores.products)))
    assert set(scores.products["product_id"]) == set(photos["product_id"])
    assert [keys[code] for code in scores.labels] == scores.products["category"].tolist()


def test_files_written_in_parts_are_those_of_all_products_at_once(tmp_path, monkeypatch):
    material = shops.shop([2, 1, 3] * 60, classes=3)
    matrix = np.random.default_rng(1).normal(size=(len(material.image), 5))
    features, rule = shops.features_of(matrix, [0, 1, 17]), ProductRule("mean", 1.3, 9)
    whole = shops.scored(shops.Linear(5, 3), features, material, rule)
    with shops.QUIET.progress(len(material.image), "scores") as bar, scored_files(tmp_path, "a@b") as files:
        for rows in score_blocks(shops.Linear(5, 3), features, material, rule, bar):
            files.add(rows)
    for folder in ("predictions", "scores", "aggregations"):
        write_parquet(tmp_path / "whole.parquet", getattr(whole, folder))
        assert (tmp_path / folder / "a@b.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
