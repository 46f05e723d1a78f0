"""The guard of a decision: fixed without `certify`, kept with the decision, and mistrusted when it is loaded."""

import dataclasses
import json
import shutil
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file

from shelfbench.base.errors import InputError
from shelfbench.decision.deciding import decide
from shelfbench.decision.decision import NO_GUARD, load_decision
from shelfbench.decision.guarding import Watched
from shelfbench.decision.rule import Requirement, judge
from shelfbench.verdict.guard import UNLIKE
from shelfbench.verdict.predictions import ProductRule
from tests.helpers.decisions import edit, make_shop, png, run_shop, seal
from tests.helpers.earlier import copied_without_hashes


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    return run_shop(shop, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def saved(done, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "decision"
    decide(done, "hog-svm", precision=0.7).save(folder)
    return folder


@pytest.fixture
def decision(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "decision")


@pytest.fixture
def run(done, tmp_path):
    return copied_without_hashes(done, tmp_path / "run")


def strangers(folder):
    """Write photos of rings and noise, which no stripe resembles."""
    folder.mkdir()
    row, column = np.mgrid[-16:16, -16:16]
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rings = 128 + 100 * np.sin(np.hypot(row - rng.uniform(-6, 6), column) * rng.uniform(0.5, 1.5))
        image = rings if seed % 2 else rng.uniform(0, 255, (32, 32))
        (folder / f"{seed}.png").write_bytes(png(np.repeat(image[..., None], 3, 2).astype(np.uint8)))
    return folder


def test_strangers_go_to_review_and_say_why(saved, tmp_path):
    loaded = load_decision(saved, workers=1)
    answers = loaded.classify(strangers(tmp_path / "odd"))
    assert set(answers["reason"]) == {UNLIKE}
    assert set(answers["category"]) == {"review"}
    assert answers["suggestion"].notna().all()
    # it is the guard that stops them, not only a low confidence
    model = dataclasses.replace(loaded.model, guard=None)
    without = dataclasses.replace(loaded, model=model).classify(tmp_path / "odd")
    pd.testing.assert_frame_equal(without[["confidence", "suggestion"]], answers[["confidence", "suggestion"]])
    assert UNLIKE not in set(without["reason"])


def test_a_product_is_as_far_when_it_is_classified_as_it_was_in_the_run(done, saved):
    loaded = load_decision(saved, workers=1)
    kept = pd.read_parquet(done / "guards" / "hog-svm.parquet")
    assert set(kept["role"]) == {"tune", "certify", "test"}
    shop = json.loads((done / "run.json").read_text())["study"]["dataset"]["name"]
    answers = loaded.classify(shop).set_index("product")["reason"]
    outside = kept["distance"] > loaded.ruling.guard.cut
    told = answers.reindex(kept["product_id"]).eq(UNLIKE).to_numpy()
    assert told.tolist() == outside.tolist()
    assert kept["distance"].isna().sum() == answers.reindex(kept["product_id"]).str.startswith("no readable").sum()


def test_the_record_says_what_the_guard_does(saved):
    guard = json.loads((saved / "decision.json").read_text())["guard"]
    assert guard["products"] >= guard["outside"] >= 0
    assert guard["sure"] >= guard["let_through"] > 0
    assert str(load_decision(saved, workers=1)).count("products unlike those it has learned go to review: ") == 1


@pytest.mark.parametrize("counts", [{"let_through": 500}, {"sure": 10**6}, {"outside": 10**6}])
def test_a_guard_that_counts_more_than_there_is_is_refused(decision, counts):
    edit(decision, lambda values: values["guard"].update(counts))
    with pytest.raises(InputError, match="the guard counts more products than there are"):
        load_decision(decision, workers=1)


def test_a_file_that_is_not_listed_is_not_blamed_for_its_hash(decision):
    edit(decision, lambda values: values["files"].pop("weights.safetensors"))
    with pytest.raises(InputError, match="is not one of the files that"):
        load_decision(decision, workers=1)


def drawn(seed, products=900):
    """A classifier of known quality, and distances that have to do with whether it is right."""
    rng = np.random.default_rng(seed)
    sure = rng.beta(3, 1, products)
    right = rng.random(products) < sure
    distance = rng.gamma(4, 1, products) * np.where(right, 1, 1.3)
    role = np.repeat(["tune", "certify", "test"], products // 3)
    table = pa.table(
        {
            "role": role,
            "category": np.where(right, "a", "b"),
            "predicted": np.full(products, "a"),
            "confidence": np.log(sure),
            "rejected": pa.nulls(products, pa.string()),
        }
    )
    return table, distance, sure


REQUIRED = Requirement.of("0.85", 0.95, all_categories=True)


def test_nothing_of_the_guard_depends_on_certify_or_test():
    table, distance, _ = drawn(0)
    cut = Watched(guard=None, distances=distance).applied(table, REQUIRED)[1]
    others = (table["role"].to_numpy() != "tune").nonzero()[0]
    shuffled = distance.copy()
    shuffled[others] = np.random.default_rng(1).permutation(shuffled[others]) * 7
    truth = np.where(table["role"].to_numpy() == "tune", table["category"].to_numpy(), "b")
    wrong = table.set_column(1, "category", pa.array(truth))
    assert Watched(guard=None, distances=shuffled).applied(wrong, REQUIRED)[1] == cut
    # 99% of what tune's own threshold accepts is let through there
    inside = Watched(guard=None, distances=distance).applied(table, REQUIRED)[0]["rejected"].to_numpy()[:300]
    assert 0 < np.sum(inside == UNLIKE) < 0.2 * 300


def misses(draws):
    """Return how often a certified threshold, with its guard, keeps less than the target on all products to come."""
    table, distance, sure = drawn(12345, 120_000)
    right = table["category"].to_numpy() == "a"
    missed = 0
    for seed in range(draws):
        few, far, _ = drawn(seed)
        guarded, cut = Watched(guard=None, distances=far).applied(few, REQUIRED)
        found = judge(guarded, ["a", "b"], REQUIRED, ProductRule())
        if found.passed:
            accepted = (np.log(sure) >= found.threshold) & (distance <= cut)
            missed += right[accepted].mean() < Fraction(85, 100)
    return missed / draws


def test_the_promise_holds_with_the_guard():
    assert misses(40) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)


@pytest.mark.slow
def test_the_promise_holds_with_the_guard_in_2000_draws():
    assert misses(2000) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_what_lies_outside_is_not_counted_as_accepted():
    table, distance, _ = drawn(2, 3000)
    watched = Watched(guard=type("", (), {"kind": "subspace"}), distances=distance)
    guarded, cut = watched.applied(table, REQUIRED)
    found = watched.noted(judge(guarded, ["a", "b"], REQUIRED, ProductRule()), table, cut)
    certified = next(part for part in found.evidence if part.role == "certify")
    assert certified.accepted == found.guard.let_through < found.guard.sure
    assert found.guard.outside == np.sum(distance[1000:2000] > cut)


def test_tune_without_anything_to_learn_from_lets_everything_through():
    table, distance, _ = drawn(3)
    nothing = np.where(table["role"].to_numpy() == "tune", np.nan, distance)
    guarded, cut = Watched(guard=None, distances=nothing).applied(table, REQUIRED)
    assert guarded["rejected"].null_count == len(distance)
    assert np.isfinite(cut)


def test_a_run_of_an_earlier_version_has_no_guard_and_says_so(run, tmp_path):
    shutil.rmtree(run / "guards")
    (run / "models" / "hog-svm" / "guard.safetensors").unlink()
    found = decide(run, "hog-svm", precision=0.7)
    assert found.ruling.guard is None
    assert str(found).count(NO_GUARD) == 1
    found.save(tmp_path / "old")
    assert not (tmp_path / "old" / "guard.safetensors").exists()
    answers = load_decision(tmp_path / "old", workers=1).classify(strangers(tmp_path / "odd"))
    assert UNLIKE not in set(answers["reason"])


def test_a_decision_written_before_there_were_guards_loads(decision):
    (decision / "guard.safetensors").unlink()
    edit(decision, lambda values: values.pop("guard"))
    seal(decision)
    assert load_decision(decision, workers=1).model.guard is None


@pytest.mark.parametrize("missing", ["guards/hog-svm.parquet", "models/hog-svm/guard.safetensors"])
def test_half_a_guard_is_not_silently_none(run, missing):
    (run / missing).unlink()
    with pytest.raises(InputError, match=r"hog-svm.parquet|guard.safetensors") as error:
        decide(run, "hog-svm", precision=0.7)
    assert "run the study again" in str(error.value)


def other_products(frame):
    return frame.assign(product_id=frame["product_id"] + "x")


def twice(frame):
    return pd.concat([frame, frame])


def words(frame):
    return frame.assign(distance="far")


@pytest.mark.parametrize("change", [other_products, twice, words, lambda frame: frame.drop(columns="distance")])
def test_damaged_distances_are_refused(run, change):
    path = run / "guards" / "hog-svm.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(InputError, match=r"guards.hog-svm.parquet cannot be read"):
        decide(run, "hog-svm", precision=0.7)


def arrays(**changes):
    def apply(folder):
        path = folder / "guard.safetensors"
        found = {**load_file(path), **{name: value(load_file(path)) for name, value in changes.items()}}
        save_file(found, path, metadata={"kind": "subspace"})

    return apply


def kind(name):
    return lambda folder: save_file(
        load_file(folder / "guard.safetensors"), folder / "guard.safetensors", metadata={"kind": name}
    )


def without_scale(folder):
    found = load_file(folder / "guard.safetensors")
    del found["scale"]
    save_file(found, folder / "guard.safetensors", metadata={"kind": "subspace"})


def shorter(name):
    return lambda found: np.ascontiguousarray(found[name][..., :-1])


@pytest.mark.parametrize(
    "change",
    [
        arrays(axes=lambda found: np.full_like(found["axes"], np.nan)),
        arrays(axes=lambda found: found["axes"].astype(np.float64)),
        arrays(axes=lambda found: found["axes"][:0]),
        arrays(scale=lambda found: found["scale"][None]),
        arrays(points=lambda found: np.zeros((3, len(found["axes"])), np.float32)),
        arrays(centre=shorter("centre"), axes=shorter("axes")),  # for another network
        arrays(centre=shorter("centre")),
        arrays(extra=lambda found: found["scale"]),
        kind("neighbours"),
        kind("os.system"),
        without_scale,
        lambda folder: (folder / "guard.safetensors").write_bytes(b"\x80\x04cos\nsystem"),
        lambda folder: (folder / "guard.safetensors").unlink(),
        lambda folder: edit(folder, lambda values: values.update(guard=None)),
        lambda folder: edit(folder, lambda values: values["guard"].update(cut=-1.0)),
        lambda folder: edit(folder, lambda values: values["guard"].update(kind="open")),
        lambda folder: edit(folder, lambda values: values["guard"].update(code="x")),
    ],
)
def test_a_stranger_s_guard_is_refused_in_one_line(decision, change):
    change(decision)
    seal(decision)
    with pytest.raises(InputError, match=r"guard|decision") as error:
        load_decision(decision, workers=1)
    assert "make it again with shelfbench decide" in str(error.value)
    assert "\n" not in str(error.value)
