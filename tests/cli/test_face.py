"""The public face: the names in `shelfbench`, loaded only when used, and what a Run shows."""

import inspect
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shelfbench
from shelfbench.cli.main import main
from tests.helpers.photos import noise_picture
from tests.helpers.synthetic_run import make_run

SMALL = {"hog.pixels": 48, "hog.cells": 8, "svm.C": [0.01], "report.near_duplicates": "off"}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """A run of five backends, opened."""
    return shelfbench.load_run(make_run(tmp_path_factory.mktemp("face") / "run", products=3000, categories=20))


def test_importing_shelfbench_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time\n"
        "started = time.perf_counter()\n"
        "import shelfbench\n"
        "taken = time.perf_counter() - started\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'keras', 'tensorflow', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(taken)"
    )
    answers = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(5)]
    assert not any(answer.returncode for answer in answers), answers[0].stderr
    assert min(float(answer.stdout) for answer in answers) < 0.1


def test_every_public_name_is_there_and_documented():
    for name in shelfbench.__all__:
        value = getattr(shelfbench, name)
        assert name in dir(shelfbench)
        if name != "__version__":
            assert inspect.getdoc(value)
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        _ = shelfbench.walk


def test_type_checkers_see_the_names_that_are_loaded_when_used():
    source = inspect.getsource(shelfbench)
    declared = source.partition("if TYPE_CHECKING:\n")[2].partition("\n\n")[0]
    for name, home in shelfbench._HOMES.items():
        assert f"from {home} import " in declared
        assert name in declared
    assert {*shelfbench._HOMES, "__version__"} == set(shelfbench.__all__)


def test_the_errors_are_one_hierarchy():
    assert issubclass(shelfbench.InputError, shelfbench.ShelfbenchError)
    assert issubclass(shelfbench.RunError, shelfbench.ShelfbenchError)
    with pytest.raises(shelfbench.InputError, match="no study 'fashon'"):
        shelfbench.run("fashon")
    with pytest.raises(shelfbench.InputError, match="min_products is 'many'; give a whole number"):
        shelfbench.run("default", settings={"split.min_products": "many"})
    with pytest.raises(shelfbench.InputError, match="is not a run directory"):
        shelfbench.load_run("/nowhere")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of one backend on few photos, made from Python, and its arguments."""
    folder = tmp_path_factory.mktemp("small")
    for number, name in enumerate(("red", "green", "blue")):
        (folder / "shop" / name).mkdir(parents=True)
        for i in range(24):
            picture = noise_picture(1000 * number + i, base=tuple(200 * (number == channel) for channel in range(3)))
            (folder / "shop" / name / f"{i:02}.png").write_bytes(picture)
    options = {"dataset": folder / "shop", "backends": ["hog-svm"], "out": folder / "run", "seed": 3, "settings": SMALL}
    return shelfbench.run("default", workers=1, quiet=True, **options), options


def test_a_run_from_python_is_that_of_the_command_line(tmp_path, small, capsys):
    run, options = small
    words = [word for key, value in SMALL.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    words += ["--dataset", str(options["dataset"]), "--backend", "hog-svm", "--workers", "1", "--seed", "3"]
    assert main(["run", "default", "--out", str(tmp_path / "words"), *words]) == 0
    printed = capsys.readouterr()
    assert "hog-svm" in printed.out
    assert f"study default on {options['dataset']}" in printed.err
    assert "hog-svm" in run.summary
    other = shelfbench.load_run(tmp_path / "words")
    pd.testing.assert_frame_equal(run.predictions("hog-svm"), other.predictions("hog-svm"))
    columns = [name for name in run.table4.columns if name not in ("seconds", "cached")]
    pd.testing.assert_frame_equal(run.table4[columns], other.table4[columns])
    records = [json.loads((found.path / "run.json").read_text()) for found in (run, other)]
    assert records[0]["results_hash"] == records[1]["results_hash"]
    assert records[1]["command"] == shlex.join(
        ["shelfbench", "run", "default", "--out", str(tmp_path / "words"), *words]
    )


def test_the_record_of_a_run_from_python_holds_the_call_that_repeats_it(small):
    run, options = small

    class Recorded:
        @staticmethod
        def run(*positional, **named):
            assert positional == ("default",)
            return named

    command = json.loads((run.path / "run.json").read_text())["command"]
    asked = eval(command, {"shelfbench": Recorded})
    assert asked == {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}


def test_a_function_prints_nothing_but_logs_and_warnings(capsys):
    assert shelfbench.load_study("default", seed=4, backends="hog-svm").backends == ("hog-svm",)
    assert capsys.readouterr() == ("", "")


def test_frames_are_the_tables_that_the_report_writes(small):
    run, _ = small
    for name in ("table4", "metrics", "deciles", "certified"):
        written = pd.read_csv(run.path / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])
        found = getattr(run, name)
        assert list(found.columns) == list(written.columns)
        for column in found.columns:
            if pd.api.types.is_numeric_dtype(written[column]):
                np.testing.assert_allclose(found[column].astype(float), written[column].astype(float), rtol=1e-12)
            else:
                assert list(found[column].fillna("")) == list(written[column].fillna(""))
    assert list(run.timings["stage"])[:2] == ["extract", "fit"]


def test_frames_hold_every_product_and_image(synthetic):
    split = synthetic.split
    for backend in synthetic.backends:
        predictions, scores = synthetic.predictions(backend), synthetic.scores(backend)
        assert list(predictions["product_id"]) == list(split["product_id"])
        assert set(scores["split"]) == {"validation", "test"}
    assert {"backend", "stage", "seconds"} <= set(synthetic.timings.columns)
    assert set(synthetic.certified["backend"]) == set(synthetic.backends)


def test_a_curve_counts_what_every_threshold_accepts(synthetic):
    backend = synthetic.backends[0]
    for split in ("test", "validation"):
        curve = synthetic.curve(backend, split)
        rows = synthetic.predictions(backend)
        rows = rows[rows["split"] == split]
        right = (rows["category"].astype(str) == rows["predicted"].astype(str)) & rows["rejected"].isna()
        assert curve["threshold"].is_monotonic_decreasing
        for row in curve.iloc[:: max(1, len(curve) // 7)].to_dict("records"):
            accepted = (rows["confidence"] >= row["threshold"]) & rows["rejected"].isna()
            assert row["accepted"] == accepted.sum()
            assert row["correct"] == (accepted & right).sum()
            assert row["precision"] == pytest.approx(row["correct"] / row["accepted"])
            assert row["acceptance"] == pytest.approx(row["accepted"] / len(rows))
    found = synthetic.table4.set_index(["backend", "split"]).loc[(backend, "test"), "acceptance_90"]
    curve = synthetic.curve(backend)
    assert found == curve.loc[10 * curve["correct"] >= 9 * curve["accepted"], "acceptance"].max()
    with pytest.raises(shelfbench.InputError, match="no split 'tests'; choose from: train, validation, test"):
        synthetic.curve(backend, "tests")
    with pytest.raises(shelfbench.InputError, match="no predictions of 'nobody'; choose from: hog-svm"):
        synthetic.predictions("nobody")


def test_the_verdict_is_chosen_on_validation(synthetic):
    chosen = synthetic.verdict
    metrics = synthetic.metrics
    tune = metrics[(metrics["split"] == "tune") & (metrics["metric"] == "acceptance_90")]
    assert chosen.backend == tune.loc[tune["value"].idxmax(), "backend"]
    assert chosen.basis == "tune"


def test_a_run_in_a_notebook_is_a_table_and_its_text_is_escaped(tmp_path, synthetic):
    path = make_run(tmp_path / "<script>run", products=1500, categories=12)
    shown = shelfbench.load_run(path)._repr_html_()
    assert shown.count("<table") == 1
    assert "bottleneck-2nn-4096" in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert repr(shelfbench.load_run(path)) == f"<Run {path}: {', '.join(synthetic.backends)}>"


def test_signatures_are_those_that_others_rely_on():
    parameters = inspect.signature(shelfbench.run).parameters
    assert list(parameters)[:7] == ["study", "dataset", "backends", "out", "seed", "settings", "workers"]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in list(parameters.values())[1:])
    frames = {"table4", "metrics", "timings", "split", "predictions", "scores", "curve", "certified", "verdict"}
    assert frames <= set(dir(shelfbench.Run))


def test_frames_leave_out_a_backend_with_a_damaged_file_and_say_so_once(tmp_path, capsys):
    whole = shelfbench.load_run(make_run(tmp_path / "run", products=900, categories=9))
    before = {name: getattr(whole, name) for name in ("table4", "metrics", "certified")}
    (tmp_path / "run" / "predictions" / "hog-svm.parquet").write_bytes(b"damaged")
    run = shelfbench.load_run(tmp_path / "run")
    for name, frame in before.items():
        others = frame[frame["backend"] != "hog-svm"].reset_index(drop=True)
        pd.testing.assert_frame_equal(getattr(run, name), others)
    assert run.verdict == whole.verdict
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: hog-svm is left out: ")
    assert "predictions/hog-svm.parquet cannot be read" in warning
    with pytest.raises(shelfbench.InputError, match=r"hog-svm\.parquet cannot be read"):
        run.curve("hog-svm")
    for path in (tmp_path / "run" / "predictions").glob("*.parquet"):
        path.write_bytes(b"damaged")
    with pytest.raises(shelfbench.InputError, match=r"hog-svm\.parquet cannot be read"):
        shelfbench.load_run(tmp_path / "run").table4  # noqa: B018


def _strings(table):
    return pa.table({name: ["x"] * table.num_rows for name in table.column_names})


def _twice(table):
    return pa.concat_tables([table, table])


def _sure(table):
    return table.set_column(table.column_names.index("confidence"), "confidence", [np.full(table.num_rows, 7.5)])


@pytest.mark.parametrize(
    ("change", "message"),
    [(_strings, "cannot be read"), (_twice, "contains a product twice"), (_sure, "a log-probability is at most 0")],
)
def test_predictions_that_are_parquet_but_wrong_are_refused_by_every_reader(tmp_path, change, message):
    path = make_run(tmp_path / "run", products=900, categories=9) / "predictions" / "hog-svm.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    run = shelfbench.load_run(tmp_path / "run")
    with pytest.raises(shelfbench.InputError, match=rf"hog-svm\.parquet.*{message}"):
        run.curve("hog-svm")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shelfbench.run(5), "study is 5; give the path"),
        (lambda: shelfbench.run("default", dataset=["a"]), r"dataset is \['a'\]; give the path"),
        (lambda: shelfbench.run("default", backends=5), r"backends is \[5\]; give texts"),
        (lambda: shelfbench.run("default", out=""), "out is ''; give the path"),
        (lambda: shelfbench.run("default", out="a\0b"), "out is .*; give the path"),
        (lambda: shelfbench.run("default", out="a" * 300), "out 'a+' ... contains a name too long"),
        (lambda: shelfbench.run("default", workers=-1), "workers is -1; give a whole number of at least 1"),
        (lambda: shelfbench.run("default", workers="2"), "workers is '2'; give a whole number"),
        (lambda: shelfbench.run("default", settings=["a=1"]), "settings is .*; write for example"),
        (lambda: shelfbench.plan("default", images=-5), "images is -5; give a whole number"),
        (lambda: shelfbench.load_run(None), "path is None; give the path"),
        (lambda: shelfbench.decide(5, "hog-svm"), "run is 5; give the path"),
        (lambda: shelfbench.load_decision(b"x"), "path is b'x'; give the path"),
        (lambda: shelfbench.generate("new", settings={5: 1}), "unknown key generated.5"),
    ],
)
def test_an_argument_of_the_wrong_type_is_named_and_nothing_is_written(tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(shelfbench.InputError, match=message):
        call()
    assert not list(tmp_path.iterdir())
