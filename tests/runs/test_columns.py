"""Files of a run that are whole but hold values of other types: the backend is left out, in one line that says why."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.errors import InputError
from shelfbench.runs.columns import check_columns
from shelfbench.runs.directory import open_run
from tests.helpers.synthetic_run import make_run

VALUES = {"text": "x", "numbers": 7.5, "whole": 7, "true": True, "list": [1.0], "lists": ["x"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run; what a test changes in it, it puts back."""
    return make_run(tmp_path_factory.mktemp("columns") / "run", products=400, categories=12)


@pytest.fixture
def replaced(run):
    """Replace a column by one value."""
    kept = {}

    def replace(name, column, value):
        path = run / name
        kept.setdefault(path, path.read_bytes())
        table = pq.read_table(path)
        values = pa.array([value] * table.num_rows)
        pq.write_table(table.set_column(table.column_names.index(column), column, values), path)
        return path

    yield replace
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "column", "wrong"),
    [
        ("scores/hog-svm.parquet", "product_id", "numbers"),
        ("scores/hog-svm.parquet", "categories", "list"),
        ("scores/hog-svm.parquet", "log_probabilities", "lists"),
        ("scores/hog-svm.parquet", "log_rest", "text"),
        ("aggregations/hog-svm.parquet", "images", "text"),
        ("aggregations/hog-svm.parquet", "mean_correct", "text"),
        ("aggregations/hog-svm.parquet", "vote_confidence", "true"),
    ],
)
def test_a_backend_with_a_column_of_another_type_is_left_out(run, replaced, capsys, file, column, wrong):
    path = replaced(file, column, VALUES[wrong])
    opened = open_run(run)
    assert "hog-svm" not in opened.sound
    assert opened.sound
    [line] = [line for line in capsys.readouterr().err.splitlines() if "hog-svm is left out" in line]
    assert f"{path}: the column {column} is of type" in line


@pytest.mark.parametrize(
    ("column", "wrong"), [("backend", "whole"), ("stage", "true"), ("seconds", "text"), ("cached", "text")]
)
def test_times_of_another_type_are_said_not_left_blank(run, replaced, column, wrong):
    replaced("timings.parquet", column, VALUES[wrong])
    with pytest.raises(InputError, match=rf"timings.parquet: the column {column} is of type"):
        _ = open_run(run).costs


def test_what_a_run_writes_passes(run):
    files = [*run.glob("scores/*.parquet"), *run.glob("aggregations/*.parquet"), run / "timings.parquet"]
    assert len(files) > 2
    for path in files:
        check_columns(path)
