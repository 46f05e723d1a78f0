"""Several draws of a study: means and tiers, what is resumed, and a draw that fails alone."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

import shelfbench
from shelfbench.base.errors import InputError, RunError
from shelfbench.cli.main import main
from shelfbench.report.draws import draws_grid, sentences
from shelfbench.runs.draws import draw_path, open_draws, read_draws
from shelfbench.verdict.compare import Contestant, compare
from tests.helpers.redrawn import draws_of, redraw
from tests.helpers.small_studies import SETTINGS
from tests.helpers.synthetic_run import BACKENDS, make_run

THREE = {name: BACKENDS[name] for name in ("hog-svm", "bottleneck-svm", "bottleneck-2nn-4096")}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run", products=3000, categories=12, backends=THREE, own=True)


@pytest.fixture(scope="module")
def draws(source, tmp_path_factory):
    return open_draws(draws_of(source, tmp_path_factory.mktemp("draws"), range(4)))


def test_the_table_holds_means_and_deviations_of_what_each_run_says(draws):
    for backend, row in draws.table.set_index("backend").iterrows():
        rows = [run.table4.set_index(["backend", "split"]).loc[(backend, "test")] for run in draws.runs.values()]
        for name, column in (("precision", "precision"), ("acceptance", "acceptance_90"), ("seconds", "seconds")):
            values = [found[column] for found in rows]
            assert row[f"{name}_mean"] == pytest.approx(np.mean(values))
            assert row[f"{name}_sd"] == pytest.approx(np.std(values, ddof=1))
        certified = [run.certified.set_index("backend").loc[backend, "certified"] for run in draws.runs.values()]
        assert row["certified_draws"] == sum(certified)


def test_the_best_is_in_the_first_tier_and_far_behind_is_not(draws):
    table = draws.table.set_index("backend")
    best = table["acceptance_mean"].idxmax()
    assert table.loc[best, "tier"] == 1
    assert np.isnan(table.loc[best, "behind"])
    assert table.loc["hog-svm", "tier"] > 1
    assert table.loc["hog-svm", "behind_low"] > 0
    shown = draws_grid(draws, draws.table)
    assert [row[1] for row in shown.rows] == sorted(row[1] for row in shown.rows)
    assert "Each draw has a test part of its own" in shown.notes[1]
    assert sentences(draws)[0].startswith("bottleneck-")


def test_draws_that_share_their_test_products_are_compared_on_resamples_of_these(source, tmp_path):
    shared = open_draws(draws_of(source, tmp_path, range(2), own_test=False))
    assert shared.shares_test
    # every draw has the same predictions of test: the interval is that of one run, by its bootstrap
    run = shared.runs[0]
    tests = {name: run.products(name).where(run.products(name).split == "test") for name in shared.backends}
    contestants = [
        Contestant(name=name, product_id=one.product_id, confidence=one.confidence, correct=one.correct, threshold=0)
        for name, one in tests.items()
    ]
    pairs = compare(contestants)
    assert [gap.value for gap in shared.gaps] == pytest.approx([pair.acceptance.value for pair in pairs])
    first, reference = shared.gaps[0], pairs[0].acceptance
    assert first.high - first.low == pytest.approx(reference.high - reference.low, rel=0.25)
    assert "All draws share their test products" in draws_grid(shared, shared.table).notes[1]


def test_a_draw_without_a_backend_is_counted(source, tmp_path):
    folder = draws_of(source, tmp_path, range(3))
    (draw_path(folder, 2) / "predictions" / "hog-svm.parquet").unlink()
    found = open_draws(folder)
    assert found.table.set_index("backend")["draws"].to_dict() == {name: 2 + (name != "hog-svm") for name in THREE}


def test_draws_without_a_test_part_have_no_tiers(source, tmp_path):
    folder = draws_of(source, tmp_path, range(2))
    for seed in range(2):
        for path in [draw_path(folder, seed) / "split.parquet", *(draw_path(folder, seed) / "predictions").iterdir()]:
            frame = pd.read_parquet(path)
            frame.loc[frame["split"] == "test", ["split", "role"]] = "train"
            frame.to_parquet(path)
    found = open_draws(folder)
    assert found.table["tier"].tolist() == [0, 0, 0]
    assert "without test products" in sentences(found)[0]


def test_draws_on_other_data_are_refused(source, tmp_path):
    folder = draws_of(source, tmp_path, range(2))
    path = draw_path(folder, 1) / "run.json"
    values = json.loads(path.read_text())
    values["dataset"]["hash"] = "other"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="were run on different data"):
        open_draws(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"command": "x", "draws": {"one": 2}}', '{"draws": 3, "command": ""}']
)
def test_a_damaged_list_of_draws_is_named(tmp_path, text):
    (tmp_path / "draws.json").write_text(text)
    with pytest.raises(InputError, match=r"draws\.json cannot be read"):
        open_draws(tmp_path)


def test_a_folder_that_is_not_of_draws_is_named(tmp_path):
    with pytest.raises(InputError, match="is not a folder of draws"):
        open_draws(tmp_path)


@pytest.fixture
def drawn(source, monkeypatch):
    """Let draws be copies of a run; seeds in the returned dict fail, and the list says which were run."""
    fails, ran = {}, []

    def run_study(study, *, out, **_):
        ran.append(study.seed)
        if study.seed in fails:
            raise fails[study.seed]
        if not out.exists():
            redraw(source, out, study.seed)
        return ""

    monkeypatch.setattr("shelfbench.experiments.run_study", run_study)
    monkeypatch.setattr("shelfbench.report.draws.build_draws", lambda folder, console: "the table")
    monkeypatch.setattr("shelfbench.runs.recorder.Recorder.open", lambda *_: None)
    return fails, ran


def test_a_draw_that_fails_fails_alone_and_is_said(drawn, tmp_path):
    fails, ran = drawn
    fails[4] = RunError("no space left", "free some")
    with pytest.raises(
        RunError, match=r"1 of 3 draws failed \(seed 4: no space left\); the others are in .*; free some"
    ):
        shelfbench.run_seeds("default", seeds=3, seed=3, out=tmp_path / "d", quiet=True)
    found = open_draws(tmp_path / "d")
    assert (list(found.runs), found.failures) == ([3, 5], {4: "no space left; free some"})
    # the same command again, with space: nothing has failed any more
    fails.clear()
    again = shelfbench.run_seeds("default", seeds=3, seed=3, out=tmp_path / "d", quiet=True)
    assert (list(again.runs), again.failures, again.summary) == ([3, 4, 5], {}, "the table")
    # fewer seeds: those that are there stay
    assert list(shelfbench.run_seeds("default", seeds=1, seed=3, out=tmp_path / "d", quiet=True).runs) == [3, 4, 5]
    assert ran == [3, 4, 5, 3, 4, 5, 3]


def test_what_is_wrong_for_every_draw_is_said_once_and_leaves_nothing(drawn, tmp_path):
    fails, _ = drawn
    fails.update(dict.fromkeys(range(3), InputError("no backend 'hog'", "did you mean hog-svm?")))
    with pytest.raises(InputError, match=r"^no backend 'hog'; did you mean hog-svm\?$"):
        shelfbench.run_seeds("default", seeds=3, out=tmp_path / "d", quiet=True)
    assert not (tmp_path / "d").exists()


def test_draws_need_a_comparison_and_a_folder_of_their_own(source):
    with pytest.raises(InputError, match="the study heads is the experiment profiles"):
        shelfbench.run_seeds("heads", seeds=2)
    with pytest.raises(InputError, match="is a run directory, not a folder for draws"):
        shelfbench.run_seeds("default", seeds=2, out=source)
    for wrong in (0, -1, 2.5, "three", True):
        with pytest.raises(InputError, match="seeds is"):
            shelfbench.run_seeds("default", seeds=wrong)


def test_the_verb_refuses_numbers_that_are_none(capsys):
    assert main(["run", "default", "--seeds", "0"]) == 2
    assert "is not a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_draws_of_a_real_study_have_pages_and_are_resumed(image_folder, tmp_path, capsys):
    words = list(itertools.chain.from_iterable(("--set", text) for text in SETTINGS))
    command = ["run", "--dataset", str(image_folder), "--seeds", "2", "--backend", "hog-svm", "--workers", "1", *words]
    command += ["--set", "split.min_products=10", "--out", str(tmp_path / "draws")]
    assert main([*command, "--quiet"]) == 0
    assert "over 2 draws" in capsys.readouterr().out
    page = (tmp_path / "draws" / "report.html").read_text()
    assert 'href="seed-1/report.html"' in page
    assert (tmp_path / "draws" / "seed-1" / "report.html").exists()
    splits = [pd.read_parquet(tmp_path / "draws" / f"seed-{seed}" / "split.parquet") for seed in (0, 1)]
    assert not splits[0].equals(splits[1])
    assert main(command) == 0
    assert "hog-svm: already done" in capsys.readouterr().err
    assert read_draws(tmp_path / "draws")["draws"] == {0: ("done", ""), 1: ("done", "")}
    assert main(["report", str(tmp_path / "draws"), "--quiet"]) == 0
