"""Tables against numbers computed the long way round, and against damaged runs."""

import csv
import json
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import Grid
from shelfbench.report.aggregated import aggregation
from shelfbench.report.build import build_report
from shelfbench.report.certified import certified
from shelfbench.report.claims import load_claims, table4_claim
from shelfbench.report.data import open_data
from shelfbench.report.errors import confusions
from shelfbench.report.render import write_forms
from shelfbench.report.table4 import render_table4, table4
from shelfbench.report.tables import metrics
from shelfbench.runs.directory import open_run
from shelfbench.runs.frames import TABLE4_COLUMNS
from shelfbench.runs.reading_rows import read_images
from tests.helpers.exact_csv import read_exactly
from tests.helpers.reports import write_sections

QUIET = Console(quiet=True)


def record_of(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def change_record(run, change):
    record = record_of(run)
    change(record)
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")


def rewrite(path, **columns):
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, path)


def metric(run, backend, split, level, name):
    frame = read_exactly(run / "tables" / "metrics.csv")
    found = frame.query("backend == @backend and split == @split and level == @level and metric == @name")
    return float(found["value"].iloc[0])


def test_table4_has_the_columns_and_rows_that_others_rely_on(finished_run):
    table = pd.read_csv(finished_run / "tables" / "table4.csv")
    assert (tuple(table.columns), len(table)) == (TABLE4_COLUMNS, 5 * 3)
    assert table["precision"].between(table["precision_low"], table["precision_high"]).all()
    assert (table["acceptance_90_low"] <= table["acceptance_90_high"]).all()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_table4_equals_a_plain_count_over_the_predictions(finished_run, split):
    table = pd.read_csv(finished_run / "tables" / "table4.csv").set_index(["backend", "split"])
    for backend in ("hog-svm", "bottleneck-2nn-4096"):
        rows = pd.read_parquet(finished_run / "predictions" / f"{backend}.parquet").query("split == @split")
        right = rows["category"] == rows["predicted"]
        assert table.loc[(backend, split), "precision"] == pytest.approx(right.sum() / len(rows), rel=1e-15)
        best = 0
        for threshold in rows["confidence"].unique():
            taken = rows["confidence"] >= threshold
            if threshold > -np.inf and Fraction(int(right[taken].sum()), int(taken.sum())) >= Fraction(9, 10):
                best = max(best, int(taken.sum()))
        assert table.loc[(backend, split), "acceptance_90"] == pytest.approx(best / len(rows), rel=1e-15)


def test_seconds_are_extract_fit_and_predict_without_the_epochs_inside(finished_run):
    table = pd.read_csv(finished_run / "tables" / "table4.csv")
    table = table.drop_duplicates("backend").set_index("backend")
    assert table.loc["hog-svm", "seconds"] == pytest.approx(210)
    assert table.loc["bottleneck-2nn-4096", "seconds"] == pytest.approx(810)
    assert set(table.index[table["cached"]]) == {"bottleneck-2nn-512", "bottleneck-2nn-2048", "bottleneck-2nn-4096"}


def test_top_5_and_rejection_count_every_product(finished_run):
    rows = pd.read_parquet(finished_run / "predictions" / "hog-svm.parquet").query("split == 'test'")
    hits = sum(truth in set(best) for truth, best in zip(rows["category"], rows["top5"], strict=True))
    assert metric(finished_run, "hog-svm", "test", "product", "top_5") == hits / len(rows)
    assert metric(finished_run, "hog-svm", "test", "product", "rejected") == 3


def test_numbers_per_image_equal_a_plain_count_over_the_scores(finished_run):
    rows = pd.read_parquet(finished_run / "scores" / "bottleneck-svm.parquet").query("split == 'test'")
    total = record_of(finished_run)["split"]["test"]["images"]
    assert total > len(rows)  # the images of rejected products have no scores
    right = sum(
        keys[np.argmax(scores)] == truth
        for truth, keys, scores in zip(rows["category"], rows["categories"], rows["log_probabilities"], strict=True)
    )
    fifth = sum(
        truth in np.asarray(keys)[np.argsort(-scores)[:5]]
        for truth, keys, scores in zip(rows["category"], rows["categories"], rows["log_probabilities"], strict=True)
    )
    assert metric(finished_run, "bottleneck-svm", "test", "image", "precision") == right / total
    assert metric(finished_run, "bottleneck-svm", "test", "image", "top_5") == fifth / total


def test_scores_are_read_the_same_in_any_order_and_as_plain_strings(small_run):
    run = open_run(small_run)
    keys = run.products("hog-svm").keys
    before = read_images(run.path, "hog-svm", keys)
    path = small_run / "scores" / "hog-svm.parquet"
    table = pq.read_table(path)
    names, values = table["categories"].to_pylist(), table["log_probabilities"].to_pylist()
    rewrite(path, categories=[row[::-1] for row in names], log_probabilities=[row[::-1] for row in values])
    after = read_images(run.path, "hog-svm", keys)
    for name in ("truth", "predicted", "confidence", "rank"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_a_threshold_fixed_on_tune_is_applied_to_test_as_it_is(finished_run):
    rows = pd.read_parquet(finished_run / "predictions" / "bottleneck-svm.parquet")
    threshold = metric(finished_run, "bottleneck-svm", "tune", "product", "threshold_90")
    test = rows[rows["split"] == "test"]
    taken = test[test["confidence"] >= threshold]
    assert metric(finished_run, "bottleneck-svm", "test", "product", "tuned_acceptance_90") == len(taken) / len(test)
    assert (
        metric(finished_run, "bottleneck-svm", "test", "product", "tuned_precision_90")
        == (taken["category"] == taken["predicted"]).mean()
    )


def test_nothing_of_the_certifying_half_is_reported_by_itself(finished_run):
    frame = pd.read_csv(finished_run / "tables" / "metrics.csv")
    assert set(frame["split"]) == {"train", "validation", "test", "tune"}


def test_deciles_hold_every_product_once(finished_run):
    frame = pd.read_csv(finished_run / "tables" / "deciles.csv")
    frame = frame.query("backend == 'hog-svm' and split == 'test'")
    sizes = record_of(finished_run)["split"]["test"]
    assert list(frame["decile"]) == list(range(1, 11))
    assert frame["products"].sum() == sizes["products"]
    weighted = (frame["precision"] * frame["products"]).sum() / sizes["products"]
    assert weighted == pytest.approx(metric(finished_run, "hog-svm", "test", "product", "precision"))


def test_further_targets_appear_in_metrics_and_ninety_always(small_run):
    change_record(small_run, lambda record: record.setdefault("study", {}).update(report={"targets": [0.925]}))
    write_sections(small_run, metrics)
    frame = pd.read_csv(small_run / "tables" / "metrics.csv")
    assert {"acceptance_90", "acceptance_92_5", "oracle_bound_92_5"} <= set(frame["metric"])
    asked = {metric for metric in frame["metric"] if metric.startswith("acceptance_")}
    assert asked == {"acceptance_90", "acceptance_92_5"}


def test_the_papers_numbers_stand_beside_ours_with_what_they_rest_on(finished_run):
    text = (finished_run / "tables" / "table4.md").read_text(encoding="utf-8")
    assert "0.716 / 0.598" in text
    assert "come from other data" in text
    line = next(line for line in text.splitlines() if "2NN-2048" in line)
    assert line.rstrip(" |").endswith("–")  # the paper has no such cell


def test_claims_are_those_of_the_ledger():
    rows = {name: claim.value for name, claim in load_claims().items() if claim.where == "C, Table 4"}
    assert {name: (row["train"], row["validation"]) for name, row in rows.items()} == {
        "C33": (0.266, 0.1),
        "C34": (0.608, 0.533),
        "C35": (0.544, 0.551),
        "C36": (0.716, 0.598),
        "C37": (0.725, 0.614),
        "C38": (0.773, 0.726),
    }
    assert table4_claim("Bottlenecks", "2NN-512", "yes") is None
    assert table4_claim("bottlenecks", "2NN-2048", "yes").id == "C38"
    assert all(claim.data and claim.meaning for claim in load_claims().values())


def test_the_terminal_table_is_narrow_and_marks_the_best(finished_run):
    text = render_table4(open_data(finished_run))
    assert max(map(len, text.splitlines())) <= 110
    assert "0.598" in text
    body = [line for line in text.splitlines() if line.startswith(("hog-", "bottleneck-"))]
    assert [line.split()[:2] for line in body if line.count("*") >= 3] == [["bottleneck-2nn-4096", "(chosen)"]]
    assert re.search(r"\s210\*", body[0])
    assert all(re.search(r"\d{3}c", line) for line in body[2:])


def test_the_terminal_table_never_cuts_a_long_name(small_run, monkeypatch):
    def change(record):
        name = "somebodys-network-of-great-depth@with-a-backbone-of-great-length"
        (small_run / "predictions" / "hog-svm.parquet").rename(small_run / "predictions" / f"{name}.parquet")
        record["backends"][name] = {"status": "done"}
        record["backends"].pop("hog-svm")

    change_record(small_run, change)
    assert "somebodys-network-of-great-depth@with-a-backbone-of-great-length" in render_table4(open_data(small_run))
    monkeypatch.setattr("shelfbench.base.grid.screen_width", lambda: 60)
    folded = render_table4(open_data(small_run))
    assert max(map(len, folded.splitlines())) <= 60
    assert "somebodys-network-of-great-depth@with-a-backbone-of-great-length" in "".join(folded.split())


def test_failed_and_unfinished_backends_are_named_not_shown(small_run):
    def change(record):
        record["backends"]["hog-svm"].update(status="failed", reason="out of memory_& <b>")
        record["backends"]["full-xception"] = {"status": "pending"}

    change_record(small_run, change)
    write_sections(small_run, table4)
    assert "hog-svm" not in set(pd.read_csv(small_run / "tables" / "table4.csv")["backend"])
    notes = (small_run / "tables" / "table4.md").read_text(encoding="utf-8")
    assert "Not in the table: hog-svm (failed: out of memory" in notes
    assert "Not in the table: full-xception (pending)." in notes


def test_a_bare_record_is_enough(small_run):
    (small_run / "run.json").write_text('{"backends": {}, "dataset": null}', encoding="utf-8")
    for name in ("timings.parquet", "split.parquet"):
        (small_run / name).unlink()
    for path in (*(small_run / "scores").iterdir(), *(small_run / "history").iterdir()):
        path.unlink()
    text = build_report(small_run, None, QUIET)
    assert "–" in text
    assert (small_run / "report.html").is_file()


@pytest.mark.parametrize(
    "name",
    ["timings.parquet", "split.parquet", "run.json"],
)
@pytest.mark.parametrize("content", [b"", b"not a table", "half"])
def test_a_damaged_file_is_named(small_run, name, content):
    path = small_run / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(InputError, match=re.escape(path.name)):
        build_report(small_run, None, QUIET)


def damage(path, content):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)


@pytest.mark.parametrize("folder", ["predictions", "scores", "aggregations", "history"])
@pytest.mark.parametrize("content", [b"", b"not a table", "half"])
def test_a_damaged_file_costs_its_backend_alone_and_is_named(small_run, capsys, folder, content):
    file, sections = f"{folder}/bottleneck-2nn-512.parquet", (table4, metrics, certified, confusions, aggregation)
    write_sections(small_run, *sections)
    before = {name: pd.read_csv(small_run / "tables" / f"{name}.csv") for name in ("table4", "metrics", "certified")}
    damage(small_run / file, content)
    write_sections(small_run, *sections)
    for name, frame in before.items():
        after = pd.read_csv(small_run / "tables" / f"{name}.csv")
        others = frame[frame["backend"] != "bottleneck-2nn-512"].reset_index(drop=True)
        pd.testing.assert_frame_equal(after, others)
    warned = capsys.readouterr().err
    assert re.search(rf"warning: the report leaves out bottleneck-2nn-512: .*{file} cannot be read", warned)
    written = (small_run / "tables" / "table4.md").read_text(encoding="utf-8")
    assert f"Not in the table: bottleneck-2nn-512 (damaged: {file} cannot be read" in written


def test_damaged_backends_are_named_on_the_page_and_on_the_terminal(small_run, capsys):
    damage(small_run / "predictions" / "hog-svm.parquet", "half")
    text = build_report(small_run, None, QUIET)
    assert "Not in the table: hog-svm (damaged: predictions/hog-svm.parquet cannot be read" in text
    page = (small_run / "report.html").read_text(encoding="utf-8")
    assert '<p class="warn">hog-svm: damaged (predictions/hog-svm.parquet cannot be read' in page
    assert "4 backends" in page
    for name in ("category_gain", "departments", "label_noise", "comparison_matrix"):
        assert "hog-svm" not in set(pd.read_csv(small_run / "tables" / f"{name}.csv")["backend"]), name
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_whose_only_backend_is_damaged_has_no_report(small_run, capsys):
    for path in (small_run / "predictions").iterdir():
        if path.stem != "hog-svm":
            path.unlink()
    damage(small_run / "predictions" / "hog-svm.parquet", "half")
    with pytest.raises(InputError, match=r"hog-svm\.parquet cannot be read"):
        build_report(small_run, None, QUIET)
    assert not (small_run / "report.html").exists()
    assert not capsys.readouterr().err


def test_flipped_bytes_anywhere_in_a_file_are_an_input_error(small_run):
    path = small_run / "predictions" / "hog-svm.parquet"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(25):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 200):
            damaged[place] ^= 0xFF
        path.write_bytes(bytes(damaged))
        with pytest.raises(InputError):
            open_run(small_run).products("hog-svm")


def test_scores_whose_lists_differ_in_length_are_refused(small_run):
    path = small_run / "scores" / "hog-svm.parquet"
    values = pq.read_table(path)["log_probabilities"].to_pylist()
    values[3] = values[3][1:]
    rewrite(path, log_probabilities=values)
    with pytest.raises(InputError, match=r"hog-svm\.parquet.*differ in length"):
        build_report(small_run, None, QUIET)


def test_products_may_be_named_by_strings(small_run):
    before = open_run(small_run).table4
    for path in (small_run / "split.parquet", *(small_run / "predictions").iterdir()):
        rewrite(path, product_id=[f"SKU-{number}" for number in pq.read_table(path)["product_id"].to_pylist()])
    pd.testing.assert_frame_equal(open_run(small_run).table4, before)


def test_a_missing_column_is_named(small_run):
    path = small_run / "predictions" / "hog-svm.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["confidence"]), path)
    with pytest.raises(InputError, match=r"hog-svm\.parquet.*confidence"):
        open_run(small_run).products("hog-svm")


def test_a_nan_confidence_is_named_by_its_product(small_run):
    path = small_run / "predictions" / "hog-svm.parquet"
    values = pq.read_table(path)["confidence"].to_numpy().copy()
    values[7] = np.nan
    rewrite(path, confidence=values)
    with pytest.raises(InputError, match="product 1007 is NaN"):
        open_run(small_run).products("hog-svm")


def test_predictions_that_lack_a_product_are_refused(small_run):
    path = small_run / "predictions" / "hog-svm.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    with pytest.raises(InputError, match=r"lacks 1 of \d+ \w+ products \(the first is 1000\)"):
        open_run(small_run).products("hog-svm")
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    with pytest.raises(InputError, match="twice"):
        open_run(small_run).products("hog-svm")


def test_what_is_no_run_or_has_no_predictions_is_refused(tmp_path, small_run):
    with pytest.raises(InputError, match="not a run directory"):
        build_report(tmp_path / "nowhere", None, QUIET)
    for path in (small_run / "predictions").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no predictions"):
        build_report(small_run, None, QUIET)


def test_a_folder_that_cannot_be_made_is_an_input_error(small_run):
    (small_run / "tables").write_text("in the way", encoding="utf-8")
    with pytest.raises(InputError, match="tables is in the way of a folder"):
        write_sections(small_run, table4)


def test_nothing_is_left_aside_and_a_second_report_is_the_same(small_run):
    build_report(small_run, None, QUIET)
    first = {path: path.read_bytes() for path in small_run.rglob("*") if path.is_file()}
    build_report(small_run, None, QUIET)
    assert {path: path.read_bytes() for path in small_run.rglob("*") if path.is_file()} == first
    assert not [path for path in first if ".partial" in path.name]


def test_all_latex_is_free_of_bare_specials(finished_run):
    for path in (finished_run / "tables").glob("*.tex"):
        for line in path.read_text(encoding="utf-8").splitlines():
            plain = line.replace(r"$^{\dagger}$", "")
            assert not re.search(r"(?<!\\)[%#_$^~]", plain), line


def test_every_row_of_table_4_finds_its_claim():
    from shelfbench.plugins.finding import find

    names = (
        "hog-svm",
        "bottleneck-svm",
        "bottleneck-2nn-512",
        "bottleneck-2nn-4096",
        "finetuned-2nn-2048",
        "finetuned-2nn-4096",
    )
    columns = [find(name).columns for name in names]
    found = [table4_claim(one["Feature"], one["Classifier"], one["Fine-tuning"]) for one in columns]
    assert [claim.id for claim in found if claim] == ["C33", "C34", "C35", "C36", "C38", "C37"]


def test_a_table_of_names_with_line_breaks_has_a_row_each(tmp_path):
    names = ["car\rret", "win\r\ndows", "new\nline", 'quo"te, and comma']
    frame = pd.DataFrame({"name": names, "value": [0.1, np.nan, 3, 1e-300]})
    write_forms(tmp_path, "odd", frame, Grid(title="t", headers=("name",), rows=((names[0],),)))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "odd.csv"), frame)
    with open(tmp_path / "odd.csv", newline="", encoding="utf-8") as handle:
        assert [row[0] for row in csv.reader(handle)] == ["name", *names]
    assert (tmp_path / "odd.csv").read_bytes().startswith(b"name,value\n")
