"""Leakage, label noise and suspected labels, in the tables of a run."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.experiments import run_study
from shelfbench.report.build import build_report
from shelfbench.report.data import open_data
from shelfbench.report.label_noise import label_noise
from shelfbench.report.leakage import leakage
from shelfbench.report.suspects import link_to_labels, suspects
from shelfbench.runs.directory import open_run
from shelfbench.runs.out_of_fold import folds_of
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study
from shelfbench.verdict.certify import certify, coverage_grid
from shelfbench.verdict.metrics import acceptance
from tests.helpers.exact_csv import read_exactly
from tests.helpers.reports import write_sections
from tests.helpers.synthetic_run import BACKENDS, make_run

QUIET = Console(quiet=True)
BEST = "bottleneck-2nn-4096"
DOUBTS = (leakage, label_noise, suspects)


def plain_acceptance(confidence, correct):
    return acceptance(confidence.to_numpy(), correct.to_numpy(), "0.9").acceptance


@pytest.fixture(scope="module")
def doubted(tmp_path_factory):
    """A run of simulated products with twins, and a truth from which every tenth label differs."""
    path = make_run(tmp_path_factory.mktemp("doubted"), products=2500, categories=20)
    rng = np.random.default_rng(1)
    split = pd.read_parquet(path / "split.parquet")
    test = split[split["split"] == "test"].sample(60, random_state=0)
    train = split[split["split"] == "train"].sample(60, random_state=0)
    twins = pd.DataFrame(
        {
            "product_id": test["product_id"].to_numpy(),
            "split": "test",
            "role": "test",
            "twin_product_id": train["product_id"].to_numpy(),
            "twin_split": "train",
            "twin_role": "train",
            "kind": np.repeat(["exact", "near"], [20, 40]),
            "distance": np.repeat([0.0, 1.5], [20, 40]),
            "label_differs": np.arange(60) % 3 == 0,
        }
    )
    # near in train, exact in tune: one product, and exact
    twins = pd.concat([twins, twins.iloc[59:].assign(twin_split="validation", twin_role="tune", kind="exact")])
    # in another part: irrelevant to test
    other = split[split["role"] == "tune"].iloc[:5]
    twins = pd.concat(
        [twins, twins.iloc[:5].assign(product_id=other["product_id"].to_numpy(), split="validation", role="tune")]
    )
    # certify: 50 near twins of tune, 10 of them exact in train
    sure = split[split["role"] == "certify"].sample(50, random_state=0)["product_id"].to_numpy()
    near = pd.DataFrame({"product_id": sure, "split": "validation", "role": "certify", "twin_split": "validation"})
    near = near.assign(twin_product_id=0, twin_role="tune", kind="near", distance=1.5, label_differs=False)
    exact = near.iloc[:10].assign(twin_split="train", twin_role="train", kind="exact", distance=0.0)
    twins = pd.concat([twins, near, exact])
    twins.to_parquet(path / "near_duplicates.parquet", index=False)
    keys = np.unique(split["category"])
    wrong = rng.random(len(split)) < 0.1
    true = np.where(wrong, rng.choice(keys, len(split)), split["category"])
    pd.DataFrame({"product_id": split["product_id"], "true_category": true}).sample(frac=1, random_state=2).to_parquet(
        path / "truth.parquet", index=False
    )
    write_sections(path, *DOUBTS)
    assert open_run(path).verdict.backend == BEST
    return path


def test_leakage_counts_what_rests_on_twins(doubted):
    table = pd.read_csv(doubted / "tables" / "leakage.csv").set_index("backend")
    assert list(table.index) == list(BACKENDS)
    twins = pd.read_parquet(doubted / "near_duplicates.parquet")
    twins = twins[twins["split"] == "test"]
    exact = set(twins.loc[twins["kind"] == "exact", "product_id"])
    near = set(twins["product_id"]) - exact
    assert (len(exact), len(near)) == (21, 39)
    for backend, row in table.iterrows():
        frame = pd.read_parquet(doubted / "predictions" / f"{backend}.parquet").query("split == 'test'")
        right = frame["predicted"] == frame["category"]
        with_exact, with_near = frame["product_id"].isin(exact), frame["product_id"].isin(near)
        alone = ~with_exact & ~with_near
        assert row["products_exact"] == 21
        assert row["products_near"] == 39
        assert row["products_label_differs"] == 20
        assert row["precision"] == pytest.approx(right.mean())
        assert row["precision_without"] == pytest.approx(right[alone].mean())
        assert row["precision_exact"] == pytest.approx(right[with_exact].mean())
        assert row["acceptance_90"] == pytest.approx(plain_acceptance(frame["confidence"], right))
        assert row["acceptance_90_without"] == pytest.approx(plain_acceptance(frame["confidence"][alone], right[alone]))
        cut = acceptance(frame["confidence"].to_numpy(), right.to_numpy(), "0.9")
        taken = frame["confidence"] >= cut.threshold
        assert row["accepted_near"] == (taken & with_near).sum()
        assert row["accepted_share_exact"] == pytest.approx((taken & with_exact).sum() / taken.sum())


def test_leakage_covers_the_products_that_certify(doubted):
    table = read_exactly(doubted / "tables" / "leakage.csv").set_index("backend")
    twins = set(pd.read_parquet(doubted / "near_duplicates.parquet").query("role == 'certify'")["product_id"])
    for backend, row in table.iterrows():
        frame = pd.read_parquet(doubted / "predictions" / f"{backend}.parquet")
        tune, sure = frame.query("role == 'tune'"), frame.query("role == 'certify'")
        assert (row["certify_products"], row["certify_exact"], row["certify_near"]) == (len(sure), 10, 40)
        for part, key in ((sure, ""), (sure[~sure["product_id"].isin(twins)], "_without")):
            grid = coverage_grid(tune["confidence"].to_numpy())
            found = certify(part["confidence"].to_numpy(), (part["predicted"] == part["category"]).to_numpy(), grid)
            expected = found.acceptance if found.certified else np.nan
            np.testing.assert_equal(row[f"certified_acceptance_90{key}"], expected)
    assert table["certified_acceptance_90_without"].notna().any()
    text = (doubted / "tables" / "leakage.md").read_text(encoding="utf-8")
    assert "products that certify, 10 share a photo with a product of train or tune, and 40 more" in text


def test_leakage_says_which_changed_copies_were_found(doubted):
    kept = doubted / "near_duplicates.parquet"
    twins = pd.read_parquet(kept)
    old = leakage(open_data(doubted)).grids[0].grid.notes[0]
    assert "Copies that are mirrored, cropped, brighter or darker are not found." in old
    near = np.flatnonzero((twins["kind"] == "near") & (twins["role"] == "test"))
    change = np.full(len(twins), "", object)
    change[near[:3]], change[near[3]], change[near[-1]] = "mirrored", "cropped", "brightness"
    try:
        twins.assign(change=change).to_parquet(kept, index=False)
        new = leakage(open_data(doubted)).grids[0].grid.notes[0]
    finally:
        twins.to_parquet(kept, index=False)
    # the last one also has an exact twin, which is what it counts as
    assert "39 more" in old
    assert "39 more" in new
    assert "; 3 of them mirrored; 1 of them cropped)" in new
    assert "of them brighter" not in new
    assert "are not found" not in new


def test_label_noise_against_the_truth(doubted):
    table = pd.read_csv(doubted / "tables" / "label_noise.csv")
    known = table[table["noise_is"] == "known"].set_index("backend")
    truth = pd.read_parquet(doubted / "truth.parquet").set_index("product_id")["true_category"]
    for backend, row in known.iterrows():
        frame = pd.read_parquet(doubted / "predictions" / f"{backend}.parquet").query("split == 'test'")
        true = truth.loc[frame["product_id"]].to_numpy()
        assert row["noise"] == pytest.approx((frame["category"] != true).mean())
        assert row["truth_precision"] == pytest.approx((frame["predicted"] == true).mean())
        assert row["precision"] == pytest.approx((frame["predicted"] == frame["category"]).mean())
    assumed = table[table["noise_is"] == "assumed"]
    assert len(assumed) == 4 * len(BACKENDS)
    assert (assumed["true_precision_low"] <= assumed["true_precision_high"]).all()
    assert assumed.groupby("noise")["ceiling"].first().tolist() == pytest.approx([0.99, 0.98, 0.95, 0.9])
    text = (doubted / "tables" / "label_noise.md").read_text(encoding="utf-8")
    assert "A perfect model would measure" in text
    assert "0.990 | 0.980 | 0.950 | 0.900 |" in text


def test_suspects_come_from_the_chosen_backend(doubted):
    table = pd.read_csv(doubted / "tables" / "suspects.csv")
    assert 0 < len(table) <= 1000
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert set(table["split"]) <= {"validation", "test"}
    assert (table["label"] != table["suggested"]).all()
    frame = pd.read_parquet(doubted / "predictions" / f"{BEST}.parquet").set_index("product_id")
    listed = frame.loc[table["product_id"]]
    assert table["label"].tolist() == listed["category"].tolist()
    # the mean of the stored scores is the prediction's own, before its calibration
    assert table["suggested"].tolist() == listed["predicted"].tolist()
    np.testing.assert_allclose(table["suggested_probability"], np.exp(listed["raw_confidence"]), rtol=1e-4)
    text = (doubted / "tables" / "suspects.md").read_text(encoding="utf-8")
    assert "would void every certificate" in text
    assert "about one in three" in text
    assert (f"The other {len(table) - 25}: tables/suspects.csv." in text) == (len(table) > 25)
    assert text.count("\n| ") <= 2 + 25


def test_labels_to_check_show_few_photos_if_any_may_be_shown(small_run):
    asked = []

    def photograph(product):
        asked.append(product)
        return Image.new("RGB", (300, 90), (len(asked) * 9, 90, 200))

    data = open_data(small_run, photograph=photograph)
    page = suspects(data).html
    assert page.count("<img") == len(asked) == len(list((small_run / "figures" / "suspects").glob("*.jpg"))) <= 8
    assert 'href="#labels-to-check"' in link_to_labels(data).html
    assert suspects(open_data(small_run)).html == page  # the thumbnails that the run left
    assert len(page) < 60_000


def test_what_a_run_lacks_gives_no_table(small_run):
    for path in (small_run / "scores").iterdir():
        path.unlink()
    write_sections(small_run, *DOUBTS)
    tables = {path.name for path in (small_run / "tables").iterdir()}
    assert tables == {"label_noise.csv", "label_noise.md", "label_noise.tex"}
    assert "Against truth" not in (small_run / "tables" / "label_noise.md").read_text(encoding="utf-8")


def test_damaged_files_are_named(small_run):
    (small_run / "near_duplicates.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"near_duplicates\.parquet cannot be read"):
        write_sections(small_run, *DOUBTS)
    (small_run / "near_duplicates.parquet").unlink()
    split = pd.read_parquet(small_run / "split.parquet").iloc[1:]
    split[["product_id"]].assign(true_category=split["category"]).to_parquet(small_run / "truth.parquet")
    with pytest.raises(InputError, match=r"truth\.parquet lacks products"):
        write_sections(small_run, *DOUBTS)


@pytest.fixture(scope="module")
def generated_run(tmp_path_factory):
    """A run on a generated catalogue with a tenth of the labels wrong."""
    overrides = [
        "generated.products=700",
        "generated.categories=6",
        "generated.departments=6",
        "generated.books=false",
        "generated.lookalikes=false",
        "generated.skew=false",
        "generated.pixels=64",
        "generated.max_photos=2",
        "generated.label_noise=0.1",
        "hog.pixels=64",
        "svm.C=[0.001]",
        "report.pictures=false",
        "report.out_of_fold=3",
    ]
    out = tmp_path_factory.mktemp("generated") / "run"
    study = read_study("label-noise", [*map(parse_setting, overrides), (["backends"], ["hog-svm"])])
    run_study(study, out=out, command="shelfbench run label-noise")
    return out


def test_formula_holds_on_the_generated_catalogue(generated_run):
    table = pd.read_csv(generated_run / "tables" / "label_noise.csv")
    row = table[table["noise_is"] == "known"].iloc[0]
    products = (pd.read_parquet(generated_run / "split.parquet")["split"] == "test").sum()
    assert 0.03 < row["noise"] < 0.2
    assert row["truth_precision"] > row["precision"] + 0.02, "wrong labels cost measured precision"
    # wrong labels are few: what their luck explains is two standard errors
    error = np.sqrt(0.9 * 0.1 / products)
    assert abs(row["predicted_precision"] - row["precision"]) < 2 * error
    assert row["precision"] <= row["ceiling"] + 2 * error


def test_planted_wrong_labels_lead_the_suspects(generated_run):
    truth = pd.read_parquet(generated_run / "truth.parquet").set_index("product_id")["true_category"]
    split = pd.read_parquet(generated_run / "split.parquet")
    chance = (split["category"] != truth.loc[split["product_id"]].to_numpy()).mean()
    table = pd.read_csv(generated_run / "tables" / "suspects.csv", dtype={"label": str, "suggested": str})
    first = table.head(8)
    wrong = (first["label"] != truth.loc[first["product_id"]].to_numpy()).mean()
    assert wrong >= 5 * chance, f"{wrong:.2f} of the first are wrong, against {chance:.2f} of all"
    marks = table["label"] != truth.loc[table["product_id"]].to_numpy()
    first, all_of_them = f"{marks[:20].sum()} of the first {len(marks[:20])}", f"{marks.sum()} of {len(marks)}"
    note = f"{first} labels are wrong, and {all_of_them} in all"
    text = (generated_run / "tables" / "suspects.md").read_text(encoding="utf-8")
    assert note in text
    assert f"Labels to look at: {marks.sum()} of {len(marks)} are wrong" in text


def test_labels_of_train_are_looked_at_by_classifiers_that_have_not_seen_them(generated_run):
    split = pd.read_parquet(generated_run / "split.parquet").set_index("product_id")
    scores = pd.read_parquet(generated_run / "out_of_fold" / "hog-svm.parquet")
    train = split.index[split["split"] == "train"]
    assert sorted(scores["product_id"].unique()) == sorted(train)
    assert not scores.duplicated(["product_id", "image"]).any()
    first = scores["categories"].str[0] == scores["category"]
    frame = pd.read_parquet(generated_run / "predictions" / "hog-svm.parquet").set_index("product_id").loc[train]
    seen = (frame["predicted"] == frame["category"]).mean()
    assert first.mean() < seen - 0.05, "it is less often right on products that it was not fitted on"
    table = pd.read_csv(generated_run / "tables" / "suspects.csv")
    assert {"train", "validation", "test"} <= set(table["split"])
    truth = pd.read_parquet(generated_run / "truth.parquet").set_index("product_id")["true_category"]
    of_train = table[table["split"] == "train"].head(20)
    wrong = of_train["label"].astype(str) != truth.loc[of_train["product_id"]].to_numpy().astype(str)
    assert wrong.mean() > 0.5
    text = (generated_run / "tables" / "suspects.md").read_text(encoding="utf-8")
    assert "train by classifiers that were fitted on other parts of it" in text


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 99))
def test_every_category_is_dealt_evenly(labels, count, seed):
    class Dealt:
        label = np.array(labels)
        frame = pd.DataFrame({"role": ["train"] * len(labels)})

    folds = folds_of(Dealt, count, seed)
    for rows in (np.ones(len(labels), bool), *(Dealt.label == label for label in set(labels))):
        sizes = np.bincount(folds[rows], minlength=count)
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("parts", ["1", "-2", "21"])
def test_so_many_parts_are_refused(parts):
    with pytest.raises(InputError, match="out_of_fold"):
        read_study("default", [parse_setting(f"report.out_of_fold={parts}")])


def test_run_keeps_its_twins_and_reports_again_from_its_directory_alone(generated_run):
    record = json.loads((generated_run / "run.json").read_text(encoding="utf-8"))
    assert record["split"]["near_duplicates"]["images_not_compared"] == 0
    kept = pd.read_parquet(generated_run / "near_duplicates.parquet")
    assert {"product_id", "split", "twin_product_id", "twin_split", "kind", "distance"} <= set(kept.columns)
    before = {path.name: path.read_bytes() for path in (generated_run / "tables").iterdir()}
    build_report(generated_run)
    assert before == {path.name: path.read_bytes() for path in (generated_run / "tables").iterdir()}
    assert {"leakage.csv", "label_noise.csv", "suspects.csv"} <= set(before)


def test_setting_leaves_predictions_alone():
    plain, off = (read_study("default", [parse_setting(f"report.near_duplicates={how}")]) for how in ("auto", "off"))
    assert plain.results_hash() == off.results_hash()
    assert plain.report.seeks_near_duplicates(10_000)
    assert not plain.report.seeks_near_duplicates(10_000_000)
    assert not off.report.seeks_near_duplicates(10)
    with pytest.raises(InputError, match=r"report\.near_duplicates is 'yes'; choose auto, report or off"):
        read_study("default", [parse_setting("report.near_duplicates=yes")])


def test_truth_that_repeats_a_product_is_refused(small_run):
    split = pd.read_parquet(small_run / "split.parquet")
    twice = pd.concat([split, split])
    twice[["product_id"]].assign(true_category=twice["category"]).to_parquet(small_run / "truth.parquet")
    with pytest.raises(InputError, match=r"truth\.parquet contains a product twice"):
        write_sections(small_run, label_noise)
