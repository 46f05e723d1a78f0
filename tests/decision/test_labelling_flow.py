"""The flow that is labelled: from photos to a decision, behind the guard of the run, and apart from its products."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.decision.decision import UNGUARDED_SAMPLE, load_decision
from shelfbench.decision.labelling_flow import Flow
from shelfbench.decision.labelling_overlap import overlap
from shelfbench.runs.directory import open_run
from shelfbench.verdict.guard import UNLIKE
from tests.decision.test_guarding import strangers
from tests.helpers.decisions import classified, make_shop, run_shop
from tests.helpers.earlier import without_hashes
from tests.helpers.synthetic_run import make_run


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def done(shop, tmp_path_factory):
    return run_shop(shop, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def delivery(tmp_path_factory):
    """Other photos under the same ids, and six products of another kind."""
    folder = make_shop(tmp_path_factory.mktemp("delivery"), seed=500_000)
    odd = strangers(folder / "odd")
    with open(folder / "metadata.csv", "a", newline="") as file:
        csv.writer(file).writerows([f"odd/{path.name}", "", f"odd-{path.stem}"] for path in sorted(odd.iterdir()))
    return folder


@pytest.fixture
def run(done, tmp_path):
    return shutil.copytree(done, tmp_path / "run")


def fill(path):
    """Give every product of the table its category, which its id begins with."""
    table = pd.read_csv(path, dtype=str)
    table.assign(category=table["product_id"].str.rsplit("-", n=1).str[0].replace("odd", "?")).to_csv(path, index=False)


def test_from_photos_to_a_decision_on_the_command_line(run, delivery, tmp_path, monkeypatch, capsys):
    words = ["label", str(run), "hog-svm"]
    out = ["--out", str(tmp_path / "to.csv"), "--precision", "0.7"]
    assert main([*words, *out]) == 2
    assert "name their photos (PATH), or what classify wrote about them" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "nowhere"), *out]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main([*words, str(delivery), "--budget", "60", *out, "--quiet"]) == 0
    said = capsys.readouterr()
    assert f"{tmp_path / 'to.csv'}\n" in said.out
    assert "210 of the 216 products of the flow have the id of a product of the run: if they" in said.err
    table = pd.read_csv(tmp_path / "to.csv", dtype=str)
    assert len(table) == 60
    assert not table["product_id"].str.startswith("odd").any()
    # without a backend, the one that the page names; without --out, a table in the current folder
    monkeypatch.chdir(tmp_path)
    assert main(["label", str(run), str(delivery), "--budget", "60", "--precision", "0.7"]) == 0
    assert "hog-svm: the backend that the page names" in capsys.readouterr().err
    pd.testing.assert_frame_equal(
        pd.read_csv("to-label.csv", dtype=str).drop(columns="plan"), table.drop(columns="plan")
    )
    assert main(["label", str(run), "hog-svn", str(delivery)]) == 2
    assert "has no predictions of 'hog-svn'" in capsys.readouterr().err
    assert main([*words, str(delivery), *out]) == 2
    assert "may have been filled in" in capsys.readouterr().err
    fill(tmp_path / "to.csv")
    # as label says, without the precision that the sample was drawn for
    decided = ["decide", str(run), "hog-svm", "--labelled", str(tmp_path / "to.csv")]
    assert main([*decided, "--out", str(tmp_path / "decision"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "of the flow is accepted" in printed
    loaded = load_decision(tmp_path / "decision")
    kept = json.loads((tmp_path / "decision" / "decision.json").read_text())
    assert kept["rests_on"]["labelled"]["labelled"] == 60
    rows, _ = classified(capsys, tmp_path / "decision", delivery)
    accepted = sum(row["category"] != "review" for row in rows)
    assert accepted == kept["rests_on"]["labelled"]["accepted_of_flow"], "the flow is accepted as it was counted"
    assert loaded.ruling.evidence[-1].role == "test"
    # and the guard does in use what the sample was drawn behind
    guard = loaded.ruling.guard
    assert (guard.part, guard.outside) == ("the flow", sum(row["reason"] == UNLIKE for row in rows))
    assert {row["reason"] for row in rows if row["product"].startswith("odd")} == {UNLIKE}
    assert guard.let_through == accepted <= guard.sure
    assert f"{guard.outside} of {guard.products} (" in str(guard)
    assert str(guard) in printed
    assert str(guard) in str(loaded)


def test_a_sample_from_answers_has_no_guard_and_says_why(run, delivery, tmp_path, capsys):
    answers, to_label = tmp_path / "answers.csv", tmp_path / "to.csv"
    assert main(["decide", str(run), "hog-svm", "--precision", "0.7", "--out", str(tmp_path / "first"), "--quiet"]) == 0
    classify = ["classify", str(tmp_path / "first"), str(delivery), "--workers", "1", "--out", str(answers)]
    assert main(classify) == 0
    words = ["label", str(run), "hog-svm", "--answers", str(answers), "--precision", "0.7", "--out", str(to_label)]
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "the decision will have no guard, since answers do not tell how far" in said
    assert "1 test was made on this run before: what this sample certifies is stated with probability 0.9\n" in said
    fill(to_label)
    decided = ["decide", str(run), "hog-svm", "--labelled", str(to_label), "--out", str(tmp_path / "decision")]
    assert main(decided) == 0
    assert UNGUARDED_SAMPLE in capsys.readouterr().out
    loaded = load_decision(tmp_path / "decision")
    assert (loaded.ruling.guard, loaded.model.guard, loaded.ruling.level) == (None, None, 0.9)
    assert UNGUARDED_SAMPLE in str(loaded)


def test_another_guard_than_the_sample_was_drawn_behind_is_refused(run, delivery, tmp_path, capsys):
    to_label = tmp_path / "to.csv"
    assert main(["label", str(run), "hog-svm", str(delivery), "--precision", "0.7", "--out", str(to_label)]) == 0
    fill(to_label)
    path = run / "models" / "hog-svm" / "guard.safetensors"
    with safe_open(path, "numpy") as kept:
        said = kept.metadata()
    values = load_file(path)
    save_file({**values, "centre": values["centre"] + np.float32(1)}, path, said)
    without_hashes(run)  # which would name the file
    decided = ["decide", str(run), "hog-svm", "--labelled", str(to_label), "--out", str(tmp_path / "decision")]
    assert main(decided) == 2
    assert "no longer has the guard that the sample was drawn behind" in capsys.readouterr().err


def test_the_products_of_the_run_are_no_flow(run, shop, tmp_path, capsys):
    assert main(["label", str(run), "hog-svm", str(shop), "--out", str(tmp_path / "to.csv")]) == 2
    said = capsys.readouterr().err
    assert "210 of the 210 products of the flow have the id of a product of the run" in said
    assert f"and {shop} is where the run read its products" in said
    assert not (tmp_path / "to.csv").exists()


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return open_run(make_run(tmp_path_factory.mktemp("synthetic") / "run", products=800, categories=6))


@pytest.mark.parametrize(
    ("own", "others", "noise", "refused"),
    [(40, 40, 1e-4, True), (40, 2000, 0, False), (40, 40, 1, False), (5, 0, 0, False)],
)
def test_coinciding_ids_are_refused_only_with_the_same_answers(synthetic, own, others, noise, refused):
    rng = np.random.default_rng(0)
    known = pd.read_parquet(synthetic.path / "predictions" / "hog-svm.parquet")
    known = known[np.isfinite(known["confidence"])].sample(own, random_state=1)
    sure = np.minimum(known["confidence"] * np.exp(rng.normal(0, noise, own)), 0)
    flow = Flow(
        product=np.array([*known["product_id"].astype(str), *(f"new-{number}" for number in range(others))], object),
        predicted=np.array([*known["predicted"], *["c00"] * others], object),
        confidence=np.array([*sure, *np.log(rng.uniform(0.4, 1, others))]),
        outside=np.zeros(own + others, bool),
    )
    if refused:
        with pytest.raises(InputError, match=f"{own} of the {own + others} products .* name products that are not in"):
            overlap(synthetic, "hog-svm", flow)
    else:
        said = overlap(synthetic, "hog-svm", flow)
        assert f"{own} of the {own + others:,} products" in said
        assert ("most have other photos" in said) == (noise == 1)


def test_other_ids_are_not_warned_of(synthetic):
    flow = Flow(
        product=np.array(["a", "b"], object),
        predicted=np.array(["c00", ""], object),
        confidence=np.array([-0.1, -np.inf]),
        outside=np.zeros(2, bool),
    )
    assert overlap(synthetic, "hog-svm", flow) == ""
