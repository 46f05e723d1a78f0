"""Tables of certified thresholds, calibration and aggregation, against numbers computed the long way round."""

import itertools
import json
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.text import Text

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.report.aggregated import aggregation, aggregation_rows
from shelfbench.report.build import build_report
from shelfbench.report.calibrated import calibration, reliability_diagram
from shelfbench.report.certified import certified, measures
from shelfbench.report.data import open_data
from shelfbench.runs.directory import open_run
from shelfbench.verdict.certify import certify, coverage_grid
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.settings import AGGREGATIONS
from tests.helpers.exact_csv import read_exactly
from tests.helpers.reports import write_sections

QUIET = Console(quiet=True)
TRUST = (certified, measures, calibration, reliability_diagram, aggregation)


def table(run, name):
    return read_exactly(run / "tables" / f"{name}.csv")


def predictions(run, backend, role):
    rows = pd.read_parquet(run / "predictions" / f"{backend}.parquet")
    return rows[rows["role"] == role]


def right(rows):
    return (rows["category"] == rows["predicted"]).to_numpy()


def rewrite(path, change):
    pq.write_table(change(pq.read_table(path)), path)


def ask_for(run, *targets):
    """Set the required precisions of a run's report."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record.setdefault("study", {})["report"] = {"targets": list(targets)}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return run


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """A run with two targets, and its tables of trust."""
    from tests.helpers.synthetic_run import make_run

    path = make_run(tmp_path_factory.mktemp("trusted"), products=6000, categories=20)
    write_sections(ask_for(path, 0.8), *TRUST)
    return path


@pytest.mark.parametrize("backend", ["bottleneck-2nn-2048", "bottleneck-2nn-4096"])
@pytest.mark.parametrize("target", [0.8, 0.9])
def test_the_certified_threshold_comes_from_tune_and_certify_and_is_measured_on_test(trusted, backend, target):
    row = table(trusted, "certified").query("backend == @backend and target == @target").iloc[0]
    tune, labelled, test = (predictions(trusted, backend, role) for role in ("tune", "certify", "test"))
    found = certify(
        labelled["confidence"], right(labelled), coverage_grid(tune["confidence"].to_numpy()), str(target), 0.95
    )
    assert found.certified
    assert row["certified"]
    assert row["certified_threshold"] == found.threshold
    assert row["certified_acceptance"] == found.accepted / len(labelled)
    assert row["certified_acceptance_low"] == pytest.approx(found.acceptance_low)
    taken = test["confidence"] >= found.threshold
    assert row["certified_acceptance_test"] == taken.sum() / len(test)
    assert row["certified_precision_test"] == right(test)[taken].mean()
    ends = [float(end) for end in exact_interval(int(right(test)[taken].sum()), int(taken.sum()))]
    assert [row["certified_precision_test_low"], row["certified_precision_test_high"]] == pytest.approx(ends)
    assert row["oracle_bound_test"] >= row["plain_acceptance_test"] > 0
    assert pd.isna(row["why"])


def test_beside_test_as_drawn_stands_test_at_the_catalogues_mix(trusted):
    for row in table(trusted, "certified").query("certified").to_dict("records"):
        rows = pd.read_parquet(trusted / "predictions" / f"{row['backend']}.parquet")
        test = rows[rows["role"] == "test"]
        shares = rows["category"].value_counts(normalize=True) / test["category"].value_counts(normalize=True)
        weight = test["category"].map(shares)
        taken = test["confidence"] >= row["certified_threshold"]
        assert row["mix_precision"] == pytest.approx(np.average(right(test)[taken], weights=weight[taken]))
        assert row["mix_acceptance"] == pytest.approx(np.average(taken, weights=weight))
    written = (trusted / "tables" / "certified.md").read_text(encoding="utf-8")
    assert "At the catalogue's mix: precision on test, each category weighted to its share" in written
    assert "‡" not in written


@pytest.mark.parametrize("only", ["c00", ""], ids=["in one category", "everywhere"])
def test_a_certified_row_that_falls_short_on_test_is_marked_with_the_likely_reason(tmp_path, only):
    """Errors on test: all in one category, of which test has most of the products; or in all categories."""
    from tests.helpers.synthetic_run import make_run

    run = make_run(tmp_path, products=9000, categories=10)
    split = pd.read_parquet(run / "split.parquet")
    counts = split["category"].value_counts()
    for path in [run / "split.parquet", *(run / "predictions").iterdir()]:
        frame = pq.read_table(path).to_pandas()
        test = (frame["split"] == "test").to_numpy()
        wrong = test & (frame["category"] == counts.index[-1] if only else np.arange(len(frame)) % 4 == 0)
        # test keeps few products of the other categories, so that the rarest one weighs much there
        kept = ~test | (frame["category"] == counts.index[-1]).to_numpy() | (np.arange(len(frame)) % 8 == 0)
        if "predicted" in frame:
            frame.loc[wrong, "predicted"] = "c99"
        kinds = pq.read_schema(path)
        pq.write_table(pa.Table.from_pandas(frame[kept] if only else frame, schema=kinds, preserve_index=False), path)
    write_sections(run, certified)
    rows = table(run, "certified").query("certified and target == 0.9").to_dict("records")
    short = [row for row in rows if row["certified_precision_test_high"] < 0.9]
    written = (run / "tables" / "certified.md").read_text(encoding="utf-8")
    assert short
    assert written.count("] ‡ |") == len(short)
    reason = "At the catalogue's mix they are not short" if only else "the mix of categories is not the reason"
    assert reason in written
    assert ("Small categories (at most" in written) == bool(only)


def test_plain_and_tuned_numbers_are_those_of_the_metrics(finished_run):
    metrics = table(finished_run, "metrics").query("split == 'test' and level == 'product'")
    for row in table(finished_run, "certified").query("target == 0.9").to_dict("records"):
        values = metrics[metrics["backend"] == row["backend"]].set_index("metric")["value"]
        assert row["plain_acceptance_test"] == values["acceptance_90"]
        assert row["oracle_bound_test"] == values["oracle_bound_90"]
        assert row["tuned_acceptance_test"] == values["tuned_acceptance_90"]
        assert row["tuned_precision_test"] == pytest.approx(values["tuned_precision_90"])


def test_every_measure_stands_in_its_table_and_the_default_in_the_first(trusted):
    by_measure = table(trusted, "measures")
    assert set(by_measure["measure"]) == {"confidence", "margin", "entropy"}
    assert set(by_measure["target"]) == {0.9}
    default = table(trusted, "certified")
    assert set(default["measure"]) == {"confidence"}
    assert set(default["target"]) == {0.8, 0.9}
    row = by_measure.query("backend == 'bottleneck-svm' and measure == 'entropy'").iloc[0]
    tune, test = (predictions(trusted, "bottleneck-svm", role) for role in ("tune", "test"))
    best = 0
    for threshold in test["entropy"][np.isfinite(test["entropy"])].unique():
        taken = test["entropy"] <= threshold
        if 10 * right(test)[taken].sum() >= 9 * taken.sum():
            best = max(best, int(taken.sum()))
    assert row["plain_acceptance_test"] == best / len(test)
    assert row["tune_products"] == len(tune)


def test_what_cannot_be_certified_says_so_and_shows_no_number(small_run):
    write_sections(ask_for(small_run, 0.99, 1), *TRUST)
    found = table(small_run, "certified")
    for row in found.to_dict("records"):
        if row["certified"]:
            continue
        assert row["why"].startswith("not certifiable")
        assert "What would change it: " in row["why"] or "allows no error" in row["why"]
        for key in ("certified_threshold", "certified_acceptance", "certified_acceptance_test"):
            assert np.isnan(row[key])
        if not np.isnan(row["more_labels"]):
            assert f"about {int(row['more_labels']):,} more labelled products for certification, about " in row["why"]
    assert not found.query("target == 1")["certified"].any()
    text = (small_run / "tables" / "certified.md").read_text(encoding="utf-8")
    assert "more labelled products" in text
    assert "how many cannot be told from" in text
    # why is said once for all rows below the table, not in each of them
    assert max(len(cell) for line in text.splitlines() if line.startswith("| ") for cell in line.split(" | ")) < 40
    assert "| not yet |" in text
    assert len(re.findall(r"^Not yet at 0\.99:", text, re.MULTILINE)) == 1
    assert "No at 1: the target allows no error." in text
    for words in ("Plain acc., test", "Tuned acc., test", "Certified acc., certify", "Oracle acc., test"):
        assert words in text


def test_a_run_without_a_certifying_half_promises_nothing(small_run):
    for path in (small_run / "predictions").iterdir():
        rewrite(
            path,
            lambda found: found.set_column(
                found.column_names.index("role"),
                "role",
                [["" if role in ("tune", "certify") else role for role in found["role"].to_pylist()]],
            ),
        )
    write_sections(small_run, *TRUST)
    found = table(small_run, "certified")
    assert not found["certified"].any()
    assert found["tuned_acceptance_test"].isna().all()
    assert found["why"].str.contains("no products to certify on").all()


def test_calibration_error_by_hand_before_and_after(trusted):
    found = table(trusted, "calibration").set_index(["backend", "part"])
    for part in ("tune", "test"):
        rows = predictions(trusted, "bottleneck-svm", part)
        rows = rows[rows["rejected"].isna()]
        for column, name in (("raw_confidence", "before"), ("confidence", "after")):
            order = np.argsort(rows[column].to_numpy())
            claimed, correct = np.exp(rows[column].to_numpy()[order]), right(rows)[order]
            ends = [int(np.ceil(number * len(rows) / 15)) for number in range(16)]
            total = sum(
                abs(claimed[low:high].mean() - correct[low:high].mean()) * (high - low)
                for low, high in itertools.pairwise(ends)
            )
            assert found.loc[("bottleneck-svm", part), f"error_{name}"] == pytest.approx(total / len(rows))
        assert found.loc[("bottleneck-svm", part), "products"] == len(rows)
    # the photos as drawn make every backend underconfident; a temperature corrects most of that, on test too
    test = found.xs("test", level="part")
    assert (test["error_after"] < test["error_before"]).all()
    assert (test["temperature"] < 1).all()


def test_ways_of_aggregating_are_left_to_the_files_where_every_product_has_one_photo(trusted, monkeypatch):
    data = open_data(trusted)
    assert aggregation(data).grids[0].on_page
    alone = lambda *given: [row for row in aggregation_rows(*given) if row["photos"] in ("all", "1")]  # noqa: E731
    monkeypatch.setattr("shelfbench.report.aggregated.aggregation_rows", alone)
    assert not aggregation(data).grids[0].on_page


def test_aggregations_by_number_of_photos(trusted):
    found = table(trusted, "aggregation")
    own = found.query("backend == 'hog-svm' and part == 'test'")
    compared = pd.read_parquet(trusted / "aggregations" / "hog-svm.parquet").query("role == 'test'")
    for photos, rows in (
        ("2", compared.query("images == 2")),
        ("4+", compared.query("images >= 4")),
    ):
        for method in AGGREGATIONS:
            row = own[(own["photos"] == photos) & (own["aggregation"] == method)].iloc[0]
            assert row["products"] == len(rows)
            assert row["precision"] == rows[f"{method}_correct"].mean()
            best = 0
            for threshold in rows[f"{method}_confidence"].unique():
                taken = rows[f"{method}_confidence"] >= threshold
                if np.isfinite(threshold) and 10 * rows[f"{method}_correct"][taken].sum() >= 9 * taken.sum():
                    best = max(best, int(taken.sum()))
            assert row["acceptance_90"] == best / len(rows)
    alone = found.query("photos == '1'").groupby(["backend", "part"])[["precision", "acceptance_90"]].nunique()
    assert (alone == 1).all(axis=None)
    assert set(found[found["chosen"]]["aggregation"]) == {"mean"}
    assert set(found["part"]) == {"tune", "test"}


@pytest.mark.parametrize("backend", ["hog-svm", "bottleneck-2nn-4096"])
@pytest.mark.parametrize("role", ["tune", "test"])
def test_the_chosen_aggregation_is_as_precise_as_the_predictions(trusted, backend, role):
    rows = aggregation_rows(open_data(trusted), backend)
    [chosen] = [row for row in rows if row["chosen"] and (row["part"], row["photos"]) == (role, "all")]
    known = predictions(trusted, backend, role)
    assert (chosen["products"], chosen["precision"]) == (len(known), right(known).mean())
    parts = [row for row in rows if row["chosen"] and row["part"] == role and row["photos"] != "all"]
    assert sum(row["products"] for row in parts) == len(known)
    assert sum(row["products"] * row["precision"] for row in parts) == pytest.approx(right(known).sum())


def test_a_run_of_an_earlier_version_shows_what_it_has(small_run):
    for path in (small_run / "predictions").iterdir():
        rewrite(path, lambda found: found.drop_columns(["entropy", "raw_confidence"]))
    for path in (small_run / "aggregations").iterdir():
        path.unlink()
    record = json.loads((small_run / "run.json").read_text(encoding="utf-8"))
    for entry in record["backends"].values():
        entry["chosen"] = {"C": 0.1, "temperature": 7.0}  # the margins' own, as it was called
    del record["study"]
    (small_run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    text = build_report(small_run, None, QUIET)
    assert "\n\nNo threshold can be promised yet: the " in text
    assert "What would change it: more labelled products" in text
    assert set(table(small_run, "measures")["measure"]) == {"confidence", "margin"}
    calibration = table(small_run, "calibration")
    assert calibration[["temperature", "error_before"]].isna().all(axis=None)
    assert calibration["error_after"].notna().all()
    assert table(small_run, "aggregation").empty
    products = open_run(small_run).products("hog-svm")
    assert products.raw_confidence is None
    assert "earlier version" in (small_run / "tables" / "aggregation.md").read_text(encoding="utf-8")


def test_a_comparison_that_lacks_a_column_is_named(small_run):
    rewrite(small_run / "aggregations" / "hog-svm.parquet", lambda found: found.drop_columns(["vote_correct"]))
    with pytest.raises(InputError, match=re.escape("aggregations/hog-svm.parquet")):
        write_sections(small_run, *TRUST)


def test_the_reliability_diagram_is_drawn_for_one_and_for_eleven_backends(small_run):
    figure = small_run / "figures" / "reliability.png"
    write_sections(small_run, *TRUST)
    five = figure.read_bytes()
    record = json.loads((small_run / "run.json").read_text(encoding="utf-8"))
    for number in range(6):
        name = f"more-{number}"
        for folder in ("predictions", "aggregations"):
            (small_run / folder / f"{name}.parquet").write_bytes((small_run / folder / "hog-svm.parquet").read_bytes())
        record["backends"][name] = record["backends"]["hog-svm"]
    (small_run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    write_sections(small_run, *TRUST)
    assert figure.read_bytes() != five
    assert figure.with_suffix(".svg").stat().st_size > 1000


def test_titles_of_long_names_do_not_run_into_each_other():
    from shelfbench.report.calibrated import Calibration, _diagram
    from shelfbench.report.style import STYLE
    from shelfbench.verdict.temperature import reliability

    found = reliability(np.linspace(0.3, 1, 40), np.arange(40) % 3 > 0)
    for label in (
        "bottleneck-logistic@dinov2-small/onnx/model.onnx",
        "bottleneck-svm@timm:vit_base_patch16_siglip_224",
    ):
        shown = [Calibration(backend=label, part="test", before=None, after=found, temperature=1.0)] * 4
        with mpl.rc_context(STYLE):
            figure = _diagram(shown)
            figure.draw_without_rendering()
        titles = figure.findobj(lambda one: isinstance(one, Text) and one.get_text().startswith("bottleneck"))
        places = sorted((title.get_window_extent() for title in titles), key=lambda place: (round(place.y0), place.x0))
        beside = [pair for pair in itertools.pairwise(places) if abs(pair[0].y0 - pair[1].y0) < 2]
        assert len(titles) == 4
        assert beside
        assert all(left.x1 < right.x0 for left, right in beside)


def test_what_was_asked_for_is_not_rounded_to_certainty(tmp_path):
    from tests.helpers.synthetic_run import make_run

    run = make_run(tmp_path, products=9000, categories=10)
    record = json.loads((run / "run.json").read_text())
    record.setdefault("study", {})["verdict"] = {"confidence_level": 0.9999}
    record["study"]["report"] = {"targets": [0.9, 0.9999]}
    (run / "run.json").write_text(json.dumps(record))
    build_report(run, console=QUIET)
    written = (run / "tables" / "certified.md").read_text()
    assert "| 0.9999 |" in written
    assert "| 1.000 |" not in {f"| {line.split(' | ')[1]} |" for line in written.splitlines() if line.startswith("| ")}
    assert "Probability: 0.9999. " in written
    found = open_run(run).certified
    chosen = found[(found["backend"] == open_run(run).verdict.backend) & (found["target"] == 0.9)]
    assert chosen["certified"].all()
    assert "(certified with 99.99% probability)" in open_run(run).headline.verdict
    assert "probability of 99.99%" in (run / "report.html").read_text()
