"""The levels of a run's categories, and what its scores say about them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.errors import InputError
from shelfbench.runs import levels
from shelfbench.runs.data_record import DatasetRecord
from shelfbench.runs.levels import level_answers, named_levels
from shelfbench.runs.parquet import scores_table
from shelfbench.verdict.predictions import image_scores

PLACES = {"a": ["Home", "Beds"], "b": ["Home", "Lamps"], "c": ["Garden", "Lamps"], "d": ["Garden"]}
KEYS = sorted(PLACES)


def test_groups_of_the_same_name_in_two_departments_are_two():
    fine, top = named_levels(DatasetRecord(category_levels=PLACES))
    assert (fine.name, fine.groups) == ("level2", (("Garden", "Lamps"), ("Home", "Beds"), ("Home", "Lamps")))
    assert fine.codes([*KEYS, "unknown"]).tolist() == [1, 2, 0, -1, -1]
    assert (top.name, top.groups) == ("level1", (("Garden",), ("Home",)))
    assert top.codes(KEYS).tolist() == [1, 1, 0, 0]


def test_an_earlier_record_knows_the_first_level_and_one_group_is_not_a_level():
    [only] = named_levels(DatasetRecord(category_level1={"a": "x", "b": "y"}))
    assert only.name == "level1"
    assert named_levels(DatasetRecord(category_level1={"a": "x", "b": "x"})) == []
    assert named_levels(DatasetRecord()) == []


@pytest.fixture
def run(tmp_path):
    """Scores of photos of four products, of which the second has none and the others one to five."""
    rng = np.random.default_rng(0)
    products = pd.DataFrame(
        {"product_id": [3, 5, 8, 9], "role": ["tune", "tune", "certify", "test"], "category": list("abca")}
    )
    owner = np.repeat([0, 2, 3], [5, 1, 3])
    values = rng.normal(0, 2, (len(owner), 4))
    values -= np.logaddexp.reduce(values, axis=1)[:, None]
    table = scores_table(
        products["product_id"].iloc[owner],
        np.arange(len(owner), dtype=np.int32),
        products["role"].to_numpy()[owner],
        products["category"].to_numpy()[owner],
        image_scores(values),
        np.array(KEYS, object),
    )
    pq.write_table(table, tmp_path / "scores.parquet")
    return tmp_path / "scores.parquet", products, owner, values


def test_every_product_has_the_mean_over_its_photos_however_the_file_is_read(run, monkeypatch):
    path, products, owner, values = run
    found = named_levels(DatasetRecord(category_levels=PLACES))
    whole = level_answers(path, products, KEYS, found)
    for rows in (1, 2, 4):
        monkeypatch.setattr(levels, "_ROWS", rows)
        for one, other in zip(whole, level_answers(path, products, KEYS[::-1], found), strict=True):
            assert one.temperature == pytest.approx(other.temperature)
            assert one.group.tolist() == other.group.tolist()
            np.testing.assert_allclose(one.confidence, other.confidence, rtol=1e-6)
    top = whole[1]
    chance = np.exp(values / top.temperature)
    chance /= chance.sum(axis=1, keepdims=True)
    for row in (0, 2, 3):
        garden = chance[owner == row][:, 2:].sum(axis=1).mean()
        assert top.group[row] == int(garden < 0.5)
        assert np.exp(top.confidence[row]) == pytest.approx(max(garden, 1 - garden), rel=1e-5)
    assert (top.group[1], top.confidence[1]) == (-1, -np.inf)


def test_scores_that_are_missing_or_damaged_are_named(run, tmp_path):
    path, products, _, _ = run
    found = named_levels(DatasetRecord(category_levels=PLACES))
    with pytest.raises(InputError, match="is missing"):
        level_answers(tmp_path / "none.parquet", products, KEYS, found)
    with pytest.raises(InputError, match="names a product or a category"):
        level_answers(path, products.iloc[:2], KEYS, found)
    with pytest.raises(InputError, match="names a product or a category"):
        level_answers(path, products, KEYS[:3], found)
    table = pq.read_table(path)
    nan = pa.array([np.nan] * table.num_rows, pa.float32())
    pq.write_table(table.set_column(table.schema.get_field_index("log_rest"), "log_rest", nan), path)
    with pytest.raises(InputError, match="does not hold the scores"):
        level_answers(path, products, KEYS, found)
