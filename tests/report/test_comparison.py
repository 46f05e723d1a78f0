"""Comparison, categories and kinds of errors in a run's report."""

import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.cli.main import main
from shelfbench.report.build import build_report
from shelfbench.report.categories import category_gain, figure7, kept_categories, precision_by_category, worst_of_chosen
from shelfbench.report.comparison import comparison, comparison_matrix, p_value
from shelfbench.report.data import held_out
from shelfbench.report.errors import confusions, departments, extreme_categories, surest
from shelfbench.report.photos import surest_photos
from shelfbench.runs.directory import open_run
from shelfbench.verdict.compare import holm, mcnemar_p
from shelfbench.verdict.metrics import acceptance
from tests.helpers.reports import write_sections
from tests.helpers.synthetic_run import BACKENDS

QUIET = Console(quiet=True)
TABLES = (
    "comparison",
    "comparison_matrix",
    "categories",
    "category_gain",
    "category_precision",
    "worst_categories",
    "departments",
    "confusions",
    "extreme_categories",
    "surest_errors",
)


def table(run, name):
    return pd.read_csv(run / "tables" / f"{name}.csv")


def predictions(run, backend, split="test"):
    return pd.read_parquet(run / "predictions" / f"{backend}.parquet").query("split == @split")


def open_run_keys(run):
    return open_run(run).products("hog-svm").keys


def the_chosen(run):
    return table(run, "departments").query("chosen")["backend"].iloc[0]


def test_every_table_is_there_in_three_forms(finished_run):
    for name, kind in itertools.product(TABLES, ("csv", "md", "tex")):
        assert (finished_run / "tables" / f"{name}.{kind}").stat().st_size > 100


def test_all_pairs_are_compared_with_the_numbers_of_table_4(finished_run):
    frame = table(finished_run, "comparison")
    assert list(zip(frame["first"], frame["second"], strict=True)) == list(itertools.combinations(BACKENDS, 2))
    table4 = table(finished_run, "table4").query("split == 'test'").set_index("backend")
    for side in ("first", "second"):
        np.testing.assert_allclose(frame[f"precision_{side}"], table4.loc[frame[side], "precision"])
        np.testing.assert_allclose(frame[f"acceptance_{side}"], table4.loc[frame[side], "acceptance_90"])
    for name in ("precision", "acceptance"):
        np.testing.assert_allclose(frame[f"{name}_difference"], frame[f"{name}_first"] - frame[f"{name}_second"])
        assert (frame[f"{name}_low"] <= frame[f"{name}_high"]).all()
    for name in ("precision", "acceptance", "right", "accepted_right"):
        np.testing.assert_allclose(frame[f"{name}_p_holm"], holm(frame[f"{name}_p"].to_numpy()))


def test_one_pair_equals_a_plain_count_over_the_predictions(finished_run):
    first, second = "hog-svm", "bottleneck-2nn-4096"
    row = table(finished_run, "comparison").query("first == @first and second == @second").iloc[0]
    sides = []
    for backend in (first, second):
        everything = pd.read_parquet(finished_run / "predictions" / f"{backend}.parquet")
        tune = everything.query("role == 'tune'")
        cut = acceptance(tune["confidence"].to_numpy(), (tune["category"] == tune["predicted"]).to_numpy()).threshold
        test = everything.query("split == 'test'").set_index("product_id")
        right = test["category"] == test["predicted"]
        sides.append((right, right & (test["confidence"] >= cut)))
    for place, name in ((0, "right"), (1, "accepted_right")):
        only = [int((sides[i][place] & ~sides[1 - i][place]).sum()) for i in (0, 1)]
        assert [row[f"{name}_first_only"], row[f"{name}_second_only"]] == only
        assert row[f"{name}_p"] == pytest.approx(float(mcnemar_p(*map(np.array, only))))


def test_the_matrix_holds_acceptance_above_and_precision_below(finished_run):
    matrix = table(finished_run, "comparison_matrix").set_index("backend")
    assert list(matrix) == list(matrix.index) == list(BACKENDS)
    for row in table(finished_run, "comparison").to_dict("records"):
        assert matrix.loc[row["first"], row["second"]] == pytest.approx(row["acceptance_difference"])
        assert matrix.loc[row["second"], row["first"]] == pytest.approx(-row["precision_difference"])
    shown = (finished_run / "tables" / "comparison_matrix.md").read_text(encoding="utf-8")
    frame = table(finished_run, "comparison")
    stars = (frame["acceptance_p_holm"] <= 0.05).sum() + (frame["right_p_holm"] <= 0.05).sum()
    assert shown.count(r"\*") == stars > 3
    assert "plain" in shown


PARTS = (
    *(comparison, comparison_matrix, kept_categories, category_gain, precision_by_category, worst_of_chosen, figure7),
    *(departments, confusions, extreme_categories, surest, surest_photos),
)


def trust_tables(path, photograph=None):
    """The tables and figures tested here, without the rest of the report."""
    return write_sections(path, *PARTS, photograph=photograph)


def test_nothing_here_reads_the_certifying_half(small_run):
    trust_tables(small_run)
    before = {name: (small_run / "tables" / f"{name}.csv").read_bytes() for name in TABLES}
    for backend in BACKENDS:
        path = small_run / "predictions" / f"{backend}.parquet"
        frame = pq.read_table(path)
        certify = np.array(frame["role"]) == "certify"
        assert certify.sum() > 10
        changed = np.where(certify, -9.0, frame["confidence"].to_numpy())
        frame = frame.set_column(frame.column_names.index("confidence"), "confidence", pa.array(changed))
        wrong = np.where(certify, "c00", np.array(frame["predicted"]))
        frame = frame.set_column(frame.column_names.index("predicted"), "predicted", pa.array(wrong))
        pq.write_table(frame, path)
    trust_tables(small_run)
    assert {name: (small_run / "tables" / f"{name}.csv").read_bytes() for name in TABLES} == before


def test_the_curve_of_categories_ends_at_all_products(finished_run):
    frame = table(finished_run, "categories")
    assert set(frame["backend"]) == set(BACKENDS)
    for backend, curve in frame.groupby("backend"):
        rows = predictions(finished_run, backend)
        seen = rows[rows["predicted"] != ""]
        assert curve["kept"].iloc[-1] == len(seen)
        assert curve["precision"].iloc[-1] == pytest.approx((seen["category"] == seen["predicted"]).mean())
        assert curve["share_of_categories"].iloc[-1] == 1
        taken = rows[rows["confidence"] >= curve["threshold"].iloc[-1]]
        assert curve["acceptance_90"].iloc[-1] == pytest.approx(len(taken) / len(rows))
    gain = table(finished_run, "category_gain").set_index("backend")
    own = frame[frame["backend"] == "hog-svm"].set_index("categories")
    kept = gain.loc["hog-svm", "kept_categories"]
    assert kept == 48  # 80% of 60
    assert gain.loc["hog-svm", "precision_gain"] == pytest.approx(own["precision"].loc[48] - own["precision"].iloc[-1])
    text = (finished_run / "tables" / "category_gain.md").read_text(encoding="utf-8")
    assert "+10.6 points" in text
    assert "other data" in text


def test_long_curves_are_thinned_to_100_lines_and_keep_their_end(tmp_path):
    from tests.helpers.synthetic_run import make_run

    run = make_run(tmp_path / "wide", products=1500, categories=130)
    trust_tables(run)
    lines = [
        line for line in (run / "tables" / "categories.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"
    ]
    assert len(lines) == 100 + 2
    assert lines[-1].startswith(f"| {len(open_run_keys(run))} |")
    # one of the 130 has no products of its own, yet products are predicted into it: they are in no kept category
    assert len(open_run_keys(run)) < 130


def test_worst_categories_are_the_most_surely_imprecise_of_the_chosen_backend(finished_run):
    chosen = the_chosen(finished_run)
    whole = table(finished_run, "category_precision")
    own = whole[whole["backend"] == chosen]
    rows = predictions(finished_run, chosen)
    taken = rows[rows["confidence"] >= own["threshold"].iloc[0]]
    for row in own.to_dict("records"):
        put = taken[taken["predicted"] == row["key"]]
        assert (row["accepted"], row["correct"]) == (len(put), (put["category"] == put["predicted"]).sum())
        assert row["products"] == (rows["category"] == row["key"]).sum()
    worst = table(finished_run, "worst_categories")
    assert len(worst) == 10
    assert set(worst["backend"]) == {chosen}
    assert (worst["correct"] < worst["accepted"]).all()
    others = own[(own["correct"] < own["accepted"]) & ~own["key"].isin(worst["key"])]
    assert worst["high"].max() <= others["high"].min()
    assert worst["high"].is_monotonic_increasing
    # no clearly imprecise category is left out in favour of one that may be precise
    assert worst["below_target"].sum() == min(10, own["below_target"].sum())


def test_departments_hold_every_product_and_error_once(finished_run):
    record = json.loads((finished_run / "run.json").read_text(encoding="utf-8"))
    level1 = record["dataset"]["category_level1"]
    for backend, own in table(finished_run, "departments").groupby("backend"):
        rows = predictions(finished_run, backend)
        department, wrong = rows["category"].map(level1), rows["category"] != rows["predicted"]
        assert dict(zip(own["department"], own["products"], strict=True)) == department.value_counts().to_dict()
        for row in own.to_dict("records"):
            mine = department == row["department"]
            assert row["errors"] == wrong[mine].sum()
            assert row["share_of_errors"] == pytest.approx(wrong[mine].sum() / wrong.sum())
            assert row["share_of_products"] == pytest.approx(mine.mean())


def test_a_category_without_a_department_stands_for_itself(small_run):
    path = small_run / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    keys = set(predictions(small_run, "hog-svm")["category"])
    record["dataset"]["category_level1"] = {min(keys): "Alone"}
    path.write_text(json.dumps(record), encoding="utf-8")
    trust_tables(small_run)
    own = table(small_run, "departments").query("backend == 'hog-svm'")
    assert set(own["department"]) == {"Alone", *(f"Category {key}" for key in keys - {min(keys)})}


def test_confusions_and_extremes_equal_a_plain_count(finished_run):
    rows = predictions(finished_run, "hog-svm")
    wrong = rows[(rows["category"] != rows["predicted"]) & (rows["predicted"] != "")]
    counts = wrong.groupby(["category", "predicted"]).size()
    own = table(finished_run, "confusions").query("backend == 'hog-svm'")
    assert own["products"].is_monotonic_decreasing
    assert own["products"].iloc[0] == counts.max()
    for row in own.head(20).to_dict("records"):
        assert row["products"] == counts[row["key"], row["predicted_key"]]
    ends = table(finished_run, "extreme_categories").query("backend == 'hog-svm'")
    assert ends["end"].tolist() == ["best"] * 10 + ["worst"] * 10
    assert not ends["key"].duplicated().any()
    for row in ends.to_dict("records"):
        mine = rows[rows["category"] == row["key"]]
        assert row["recall"] == pytest.approx((mine["category"] == mine["predicted"]).mean())


def test_surest_errors_are_errors_by_falling_confidence(finished_run):
    surest = table(finished_run, "surest_errors")
    rows = predictions(finished_run, the_chosen(finished_run)).set_index("product_id").loc[surest["product_id"]]
    assert (rows["category"].to_numpy() == surest["key"]).all()
    assert (rows["predicted"].to_numpy() == surest["predicted_key"]).all()
    assert (surest["key"] != surest["predicted_key"]).all()
    assert surest["confidence"].is_monotonic_decreasing
    assert surest.groupby(["key", "predicted_key"]).size().max() <= 2
    assert len(surest) == 24


def test_figure_6_shows_what_can_be_read_and_stays_without_photos(small_run):
    asked = []

    def photograph(product):
        asked.append(product)
        return None if len(asked) == 2 else Image.new("RGB", (300, 90 + len(asked)), (len(asked) * 9, 90, 200))

    trust_tables(small_run, photograph)
    surest = table(small_run, "surest_errors")
    assert asked == surest["product_id"].tolist()
    folder = small_run / "figures" / "confusions"
    listed = json.loads((folder / "confusions.json").read_text(encoding="utf-8"))
    assert [entry["product_id"] for entry in listed] == asked[:1] + asked[2:]
    assert sorted(path.name for path in folder.glob("*.jpg")) == [entry["file"] for entry in listed]
    for entry in listed:
        with Image.open(folder / entry["file"]) as image:
            assert max(image.size) == 128
        assert entry["key"] != entry["predicted_key"]
    before = {path: path.read_bytes() for path in small_run.glob("figures/**/*") if path.is_file()}
    assert small_run / "figures" / "figure6.svg" in before
    trust_tables(small_run)
    assert {path: path.read_bytes() for path in before} == before
    trust_tables(small_run, lambda product: Image.new("L", (9, 9)) if product == asked[0] else None)
    assert sorted(path.name for path in folder.iterdir()) == ["01.jpg", "confusions.json"]


def test_no_photo_is_left_where_none_may_be_shown(finished_run):
    assert not (finished_run / "figures" / "confusions").exists()
    assert not list(finished_run.glob("figures/figure6*"))


def test_one_backend_alone_or_no_test_part_is_no_reason_to_fail(small_run):
    for backend in list(BACKENDS)[1:]:
        (small_run / "predictions" / f"{backend}.parquet").unlink()
    build_report(small_run, None, QUIET)
    assert not (small_run / "tables" / "comparison.csv").exists()
    assert (small_run / "tables" / "categories.csv").exists()
    run = open_run(small_run)
    kept = held_out(run.products("hog-svm"))
    assert set(kept.role) == {"tune", "test"}


def test_compare_says_in_words_what_the_table_says(finished_run, capsys):
    row = table(finished_run, "comparison").query("first == 'hog-svm' and second == 'bottleneck-2nn-2048'").iloc[0]
    assert main(["compare", str(finished_run), "hog-svm", "bottleneck-2nn-2048", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert f"{100 * -row['precision_difference']:.1f} points less" in text
    assert f"{row['right_second_only']:,}" in text
    assert max(map(len, text.splitlines())) <= 120
    assert main(["compare", str(finished_run), "bottleneck-2nn-2048", "hog-svm", "--precision", "0.8"]) == 0
    turned = capsys.readouterr().out
    assert f"{100 * -row['precision_difference']:.1f} points more" in turned
    assert "at a precision of 0.8" in turned


def test_compare_without_two_names_prints_the_matrix(finished_run, capsys):
    assert main(["compare", str(finished_run), "--resamples", "200"]) == 0
    text = capsys.readouterr().out
    assert "5. bottleneck-2nn-4096" in text
    assert "200 resamples" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody", "hog-svm"], "has no backend 'nobody'; it has hog-svm, bottleneck-svm"),
        (["hog-svm", "hog-svm"], "named twice"),
        (["--precision", "2"], "is not between 0 and 1"),
        (["--precision", "0"], "requires nothing"),
        (["--precision", "much"], "is not a number"),
        (["--seed", "-1"], "is negative"),
        (["--resamples", "0"], "not a whole number"),
    ],
)
def test_compare_refuses_in_one_line(finished_run, capsys, words, message):
    assert main(["compare", str(finished_run), *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_compare_needs_two_backends_of_the_same_products(small_run, capsys, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(small_run, other)
    (other / "split.parquet").unlink()
    path = other / "predictions" / "hog-svm.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    frame = pq.read_table(path)
    first = int(np.flatnonzero(np.array(frame["split"]) == "test")[0])
    split = np.array(frame["split"])
    split[first] = "train"
    pq.write_table(frame.set_column(frame.column_names.index("split"), "split", pa.array(split)), path)
    assert main(["compare", str(other), "hog-svm", "bottleneck-svm"]) == 2
    assert "do not cover the same products" in capsys.readouterr().err
    for backend in list(BACKENDS)[1:]:
        (small_run / "predictions" / f"{backend}.parquet").unlink()
    assert main(["compare", str(small_run)]) == 2
    assert "a comparison needs two backends" in capsys.readouterr().err


def test_p_values_in_print():
    assert [p_value(p) for p in (0.00099, 0.001, 0.0344, 1.0, float("nan"))] == [
        "< 0.001",
        "0.001",
        "0.034",
        "1.000",
        "–",
    ]


def test_a_terminal_that_lacks_a_character_is_no_failure(small_run):
    words = [
        sys.executable,
        "-m",
        "shelfbench.cli.main",
        "compare",
        str(small_run),
        *list(BACKENDS)[:2],
        "--resamples",
        "20",
    ]
    found = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"A \\u2212 B" in found.stdout
