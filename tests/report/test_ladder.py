"""The table of ladders on the page."""

import json

import numpy as np
import pytest

from shelfbench.report.data import open_data
from shelfbench.report.ladder import ladder
from shelfbench.runs.ladder import ladder_frame
from tests.helpers.synthetic_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run", products=1500, categories=12)


def changed(run, folder, change):
    """The same run with another record."""
    folder.mkdir()
    for path in run.iterdir():
        (folder / path.name).symlink_to(path)
    record = json.loads((run / "run.json").read_text())
    change(record["dataset"])
    (folder / "run.json").unlink()
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_every_backend_has_its_rungs_and_what_is_left_to_a_person(run, tmp_path):
    data = open_data(run)
    section = ladder(data)
    [table] = section.grids
    frame = table.frame
    assert frame["backend"].tolist() == np.repeat(data.run.backends, 2).tolist()
    assert set(frame["level"]) == {"category", "level1"}
    assert len(table.grid.rows) == 3 * len(data.run.backends)
    used = frame[frame["threshold"].notna()]
    assert len(used)
    assert (used["certify_answered"] > 0).all()
    assert (frame.loc[frame["threshold"].isna(), ["certify_answered", "test_answered"]] == 0).all(axis=None)
    for backend, rungs in frame.groupby("backend"):
        products = data.run.products(backend)
        assert rungs["test_products"].tolist() == [np.count_nonzero(products.role == "test")] * 2
        category = rungs.iloc[0]
        if category["test_answered"]:
            taken = (products.role == "test") & (products.confidence >= category["threshold"])
            assert category["test_answered"] == np.count_nonzero(taken)
            assert category["test_right"] == np.count_nonzero(taken & products.correct)
    text = " ".join(cell for row in table.grid.rows for cell in row)
    assert "a person" in text


def test_without_levels_or_scores_there_is_no_table(run, tmp_path):
    flat = changed(run, tmp_path / "flat", lambda dataset: dataset.update(category_level1={}))
    assert ladder(open_data(flat)) is None
    bare = changed(run, tmp_path / "bare", lambda dataset: None)
    (bare / "scores").unlink()
    assert ladder_frame(open_data(bare).run).empty
