"""Several run directories side by side: what is merged, how it is named, and what is refused and why."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shelfbench
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.runs.directory import open_run
from shelfbench.runs.merging import distinct, merge_runs
from shelfbench.runs.recorder import Recorder
from shelfbench.study.read import read_study
from tests.helpers.synthetic_run import BACKENDS, make_run

TWO = {name: BACKENDS[name] for name in ("hog-svm", "bottleneck-2nn-512")}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "cpu", products=1500, categories=12, backends=TWO, own=True)


def edit(path, change):
    values = json.loads((path / "run.json").read_text())
    change(values)
    (path / "run.json").write_text(json.dumps(values))


@pytest.fixture
def pair(source, tmp_path):
    """The same study on two machines; the second lacks one backend and has one under another network."""
    first, second = tmp_path / "cpu", tmp_path / "gpu"
    shutil.copytree(source, first)
    shutil.copytree(source, second)
    for folder in ("predictions", "scores", "aggregations", "history"):
        (second / folder / "hog-svm.parquet").unlink(missing_ok=True)
        for path in (second / folder).glob("bottleneck-2nn-512.parquet"):
            shutil.copyfile(path, path.with_name("bottleneck-2nn-512@timm%3Ax.parquet"))

    def other(values):
        del values["backends"]["hog-svm"]
        values["backends"]["bottleneck-2nn-512@timm:x"] = values["backends"]["bottleneck-2nn-512"]
        values["machine"]["cpu"] = "Xeon"

    edit(second, other)
    return first, second


def test_results_stand_side_by_side_and_are_those_of_their_runs(pair, tmp_path):
    first, second = pair
    assert merge_runs(pair, tmp_path / "both") == []
    merged = open_run(tmp_path / "both")
    named = ("hog-svm", "bottleneck-2nn-512 (cpu)", "bottleneck-2nn-512 (gpu)", "bottleneck-2nn-512@timm:x")
    assert merged.backends == named
    for name, (home, own) in merged.record.homes.items():
        pd.testing.assert_frame_equal(merged.predictions(name), open_run(home).predictions(own))
    assert merged.record.homes["bottleneck-2nn-512 (gpu)"] == (second, "bottleneck-2nn-512")
    assert merged.costs["bottleneck-2nn-512 (cpu)"] == open_run(first).costs["bottleneck-2nn-512"]
    assert merged.record.machine.cpu.startswith("several")
    assert [label.feature for label in merged.labels.values()][1:3] == ["Bottlenecks (cpu)", "Bottlenecks (gpu)"]


@pytest.mark.slow
def test_the_verb_writes_tables_and_a_page_that_names_the_machines(pair, tmp_path, capsys):
    out = tmp_path / "both"
    assert main(["merge", *map(str, pair), "--out", str(out), "--quiet"]) == 0
    assert "bottleneck-2nn-512@timm:x" not in capsys.readouterr().err
    page = (out / "report.html").read_text()
    assert "Seconds come from 2 machines (AMD EPYC 7B13, 2 cores, 23.4 GiB; Xeon" in page
    rows = pd.read_csv(out / "tables" / "merged.csv")
    assert sorted(rows["backend"]) == sorted(open_run(out).backends)
    assert set(rows["machine"]) == {"AMD EPYC 7B13, 2 cores, 23.4 GiB", "Xeon, 2 cores, 23.4 GiB"}


def test_a_merge_has_no_models_and_is_no_run_to_go_on_with(pair, tmp_path):
    merge_runs(pair, tmp_path / "both")
    with pytest.raises(InputError, match=r"merged runs without their models; decide on .*cpu hog-svm"):
        shelfbench.decide(tmp_path / "both", "hog-svm")
    with pytest.raises(InputError, match="contains merged runs"):
        merge_runs([tmp_path / "both", pair[0]], tmp_path / "more")
    with pytest.raises(InputError, match="contains merged runs, which no run goes on with"):
        Recorder.open(tmp_path / "both", read_study("default"), "shelfbench run")


def test_an_earlier_merge_is_replaced(pair, tmp_path):
    merge_runs(pair, tmp_path / "both")
    (tmp_path / "both" / "old.txt").write_text("old")
    merge_runs(pair[::-1], tmp_path / "both")
    assert not (tmp_path / "both" / "old.txt").exists()
    assert [run.directory for run in open_run(tmp_path / "both").record.merged] == [str(path) for path in pair[::-1]]


def test_a_backend_that_failed_in_every_run_is_told(pair, tmp_path):
    edit(pair[1], lambda values: values["backends"].update(broken={"status": "failed", "reason": "no memory"}))
    merge_runs(pair, tmp_path / "both")
    assert open_run(tmp_path / "both").record.backends["broken"].reason == f"no memory (in {pair[1]})"


def test_an_unfinished_run_is_merged_and_told(pair, tmp_path):
    edit(pair[1], lambda values: values.update(status="interrupted"))
    assert merge_runs(pair, tmp_path / "both") == [f"{pair[1]} is interrupted: what it has is merged"]


def refused(pair, match, out):
    with pytest.raises(InputError, match=match):
        merge_runs(pair, out)
    assert not out.exists()
    assert not list(out.parent.glob(".partial*"))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda values: values["dataset"].update(hash="other", products=7),
            "on different data .*7 products, hash other",
        ),
        (
            lambda values: values["split"].update(hash="other"),
            "split the data differently .hash a1b2c3d4 and other",
        ),
        (lambda values: values.update(seed=1, split={"hash": "o"}), r"seed 0 and seed 1.*shelfbench run --seeds N"),
        (lambda values: values.update(split={}), "does not say which data and split"),
        (lambda values: values.update(split={"hash": 3}), "is not the record of a run"),
    ],
)
def test_other_data_or_another_split_is_refused_with_the_reason(pair, tmp_path, change, match):
    edit(pair[1], change)
    refused(pair, match, tmp_path / "both")


@pytest.mark.parametrize(("column", "what"), [("category", "categories"), ("role", "roles")])
def test_predictions_that_do_not_belong_to_their_record_are_refused(pair, tmp_path, column, what):
    path = pair[1] / "predictions" / "bottleneck-2nn-512.parquet"
    table = pq.read_table(path)
    values = np.roll(table[column].to_numpy(zero_copy_only=False), 1)
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), path)
    refused(pair, f"hold other {what} than", tmp_path / "both")


def test_what_cannot_be_merged_is_named_in_one_line(pair, tmp_path):
    first, second = pair
    refused([first], "needs two run directories", tmp_path / "both")
    refused([first, second / ".." / "cpu"], "is named twice", tmp_path / "both")
    refused([first, tmp_path / "nowhere"], "not a run directory", tmp_path / "both")
    with pytest.raises(InputError, match="written into the run directory"):
        merge_runs(pair, first / "both")
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "letters.txt").write_text("mine")
    with pytest.raises(InputError, match="something other than merged runs"):
        merge_runs(pair, tmp_path / "both")
    assert (tmp_path / "both" / "letters.txt").read_text() == "mine"
    with pytest.raises(InputError, match="give a list of run directories"):
        shelfbench.merge(str(first))


def test_paths_are_named_by_as_little_as_tells_them_apart(tmp_path):
    assert distinct([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert distinct([tmp_path / "x" / "run", tmp_path / "y" / "run"]) == ["x/run", "y/run"]
