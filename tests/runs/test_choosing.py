"""Quick choices from end to end: rounds, budgets, what is never looked at, and what is refused."""

import json
import re
import shlex
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import shelfbench
from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.cli.main import main
from shelfbench.data.feature_store import FeatureStore
from shelfbench.plugins import finding
from shelfbench.plugins.backend import Backend, BackendSpec
from shelfbench.plugins.template import ColourSettings, MeanColours, NearestMean
from shelfbench.runs import choosing
from shelfbench.runs.choosing import choose_quickly
from shelfbench.runs.parts import growing_order
from shelfbench.runs.quick_choice import Budget
from shelfbench.verdict.halving import LEAST_JUDGES, Judged, judge
from tests.helpers.photos import noise_picture

COLOURS = {"red": (210, 40, 40), "green": (40, 190, 60), "blue": (50, 60, 200), "grey": (120, 120, 120)}
EACH = 120


class Clock:
    """Stands still unless a candidate works."""

    now = 0.0

    def __call__(self):
        return self.now


CLOCK = Clock()


class Paced(NearestMean):
    """The nearest mean, which is wrong about a share of the photos, and takes its time."""

    def __init__(self, wrong, pace):
        super().__init__()
        self.wrong, self.pace = wrong, pace

    def fit(self, data, *, seed, console):
        super().fit(data, seed=seed, console=console)
        CLOCK.now += self.pace * (20 + len(data.labels))

    def log_probabilities(self, features):
        found = super().log_probabilities(features)
        # the same photos whatever the part, so that a difference between candidates is one of all its photos
        unlucky = np.modf(1000 * features.sum(axis=1))[0] < self.wrong
        found[unlucky] = np.roll(found[unlucky], 1, axis=1)
        return found


def spec(wrong, pace, trainer=None):
    def build(settings, backbone, workers):
        return Backend(
            features=MeanColours(ColourSettings()),
            classifier=lambda: Paced(wrong, pace),
            load=NearestMean.load,
            trainer=trainer,
        )

    return BackendSpec(summary="for a test", build=build)


class Breaking(Paced):
    """Cannot be fitted."""

    def fit(self, data, *, seed, console):
        raise ValueError("too few rows")


def breaking(settings, backbone, workers):
    return Backend(
        features=MeanColours(ColourSettings()), classifier=lambda: Breaking(0.0, 0.01), load=NearestMean.load
    )


def failing(settings, backbone, workers):
    raise ValueError("no such part")


CANDIDATES = {
    "right": spec(0.0, 0.01),
    "near": spec(0.02, 0.02),
    "half": spec(0.5, 0.01),
    "bad": spec(0.7, 0.01),
    "trains-first": spec(0.0, 0.01, trainer=object()),
    "breaks": BackendSpec(summary="for a test", build=breaking),
    "fails": BackendSpec(summary="for a test", build=failing),
}


@dataclass(frozen=True)
class Offered:
    """An entry point that is not installed."""

    name: str
    value: str = "a test"
    group: str = finding.BACKENDS

    def load(self):
        return CANDIDATES[self.name]


@pytest.fixture(autouse=True)
def offered(monkeypatch):
    """Offer the candidates beside the installed backends."""
    installed = finding.entry_points

    def points(*, group):
        more = [Offered(name) for name in CANDIDATES] if group == finding.BACKENDS else []
        return [*installed(group=group), *more]

    monkeypatch.setattr(finding, "entry_points", points)
    monkeypatch.setattr(CLOCK, "now", 0.0)
    monkeypatch.setattr("shelfbench.runs.parts.LEAST_JUDGES", 24)  # as many as `photos` have


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Make an ImageFolder of 4 categories, which any look at the colours tells apart."""
    root = tmp_path_factory.mktemp("choosing") / "shop"
    for number, (name, colour) in enumerate(COLOURS.items()):
        (root / name).mkdir(parents=True)
        for i in range(EACH):
            (root / name / f"{i:03}.png").write_bytes(noise_picture(1000 * number + i, base=colour))
    return root


def chosen(photos, *names, budget="30%", seed=0):
    study = shelfbench.load_study(dataset=photos, backends=names, seed=seed)
    return choose_quickly(study, Budget.read(budget), clock=CLOCK)


def test_the_best_wins_and_the_others_drop_out_on_the_way(photos):
    found = chosen(photos, "bad", "half", "right", budget="70%")
    assert found.winner == "right"
    assert found.ties == ()
    sizes = [timed.standing.products for timed in found.rounds]
    assert sizes == sorted(set(sizes))
    assert len(sizes) >= 2
    assert set(found.dropped) == {"bad", "half"}
    assert found.within_budget
    assert found.share == pytest.approx(found.seconds / found.full_seconds)
    assert set(found.table["outcome"]) >= {"goes on", "chosen"}
    text = str(found)
    assert re.search(r"right wins: having learnt from \d+ of 384 training products, it is right on 100\.0%", text)
    assert "would have to settle" not in text


def test_a_tie_is_said_with_what_would_settle_it(photos):
    found = chosen(photos, "near", "right")
    assert found.winner == "right"
    assert found.ties == ("near",)
    assert "near may be as good: it is behind by" in str(found)
    assert "labelled products" in str(found)
    assert "This is a tie that more data would have to settle: run right" in str(found)


def test_the_estimate_of_the_full_study_is_what_it_would_take(photos):
    """Fitting takes 0.01 s for each photo and as much as 20 photos before the first one, for each of two candidates."""
    found = chosen(photos, "right", "half", budget="60%")
    fitting = 2 * 0.01 * (20 + 4 * EACH * 0.8)
    features = found.full_seconds - fitting
    assert features == pytest.approx(0.0, abs=0.15 * fitting)


@pytest.mark.parametrize("names", [("right", "near", "half", "bad"), ("near", "right")])
def test_a_larger_budget_never_ends_on_a_smaller_part_and_none_is_overdrawn(photos, names):
    ends = []
    for budget in ("10%", "20%", "40%", "80%"):
        CLOCK.now = 0.0
        found = chosen(photos, *names, budget=budget)
        ends.append(found.last.products)
        assert found.within_budget or len(found.rounds) == 1
    assert ends == sorted(ends)
    assert ends[0] < ends[-1]


def test_a_budget_that_the_first_part_uses_up_is_said(photos):
    found = chosen(photos, "right", "half", budget="0.001m")
    assert len(found.rounds) == 1
    assert not found.within_budget
    assert "more than the budget (0 seconds)" in str(found)
    assert found.winner == "right"


def test_too_few_products_are_refused_with_the_command_that_runs_all(photos, capsys, monkeypatch):
    given = words(photos, "--backend", "right", "--backend", "half", "--budget")
    with monkeypatch.context() as patched:
        patched.setattr("shelfbench.runs.parts.LEAST_JUDGES", 36)
        assert main([*given, "20%"]) == 2
        assert main([*given, "1m"]) == 0
        read = capsys.readouterr()
        assert "24 products would judge (tune), and fewer than 36 cannot tell a backend that is right on" in read.err
        command = f"run all: shelfbench run --dataset {photos} --backend right --backend half (to choose all the same,"
        assert command in read.err
        assert read.err.count("\n") == 1
    assert main([*given, "7%"]) == 2
    said = "with 4 categories, no backend can drop out before 36 of 480 photos are used, more than 7%; run all"
    assert said in capsys.readouterr().err


def test_fewer_judges_than_the_least_never_tell_just_enough_from_always():
    for judges, told in ((LEAST_JUDGES - 1, False), (4 * LEAST_JUDGES, True)):
        correct = np.ones(judges, bool)
        correct[: judges // 10] = False  # where it is surest, which counts the most
        always = Judged(-np.arange(judges, dtype=float), np.ones(judges, bool))
        found = judge(100, {"always": always, "just": Judged(always.confidence, correct)})
        assert found.standings[1].tied is not told


def test_minutes_are_a_budget_too(photos):
    found = chosen(photos, "right", "near", budget="10m")
    assert found.last.products == int(4 * EACH * 0.8)
    assert str(found.budget) == "10.0 minutes"


def test_the_same_seed_gives_the_same_choice_whether_features_are_cached_or_not(photos, fresh_cache):
    once = chosen(photos, "right", "near", "half")
    CLOCK.now = 0.0
    again = chosen(photos, "right", "near", "half")
    pd.testing.assert_frame_equal(once.table, again.table)


def test_neither_certify_nor_test_is_ever_looked_at(photos, monkeypatch):
    """No feature of theirs is computed, and nothing that is fitted or judged sees them."""
    seen, roles = set(), set()
    features, fit = FeatureStore.features, choosing.training_data
    opened = choosing.Parts.of

    def noting(self, catalogue, indices, digests):
        seen.update(np.asarray(indices).tolist())
        return features(self, catalogue, indices, digests)

    def fitting(given, part):
        roles.update(part.frame["role"])
        return fit(given, part)

    def parts(material, seed):
        kept["material"] = material
        return opened(material, seed)

    kept = {}
    monkeypatch.setattr(FeatureStore, "features", noting)
    monkeypatch.setattr(choosing, "training_data", fitting)
    monkeypatch.setattr(choosing.Parts, "of", parts)
    chosen(photos, "right", "near", "half", budget="10m")
    material = kept["material"]
    held = {role: set(material.image[material.images_of(role)].tolist()) for role in ("tune", "certify", "test")}
    assert all(held.values())
    assert roles == {"train", "tune"}
    assert not seen & (held["certify"] | held["test"])
    assert held["tune"] <= seen


def test_one_that_fails_leaves_the_others_to_choose_among(photos):
    found = chosen(photos, "fails", "breaks", "right", "half", budget="10m")
    assert found.winner == "right"
    assert list(found.failed) == ["fails", "breaks"]
    assert "breaks failed and was not compared: " in str(found)
    assert {standing.name for standing in found.last.standings} == {"right", "half"}
    with pytest.raises(ShelfbenchError, match="too few rows"):
        chosen(photos, "breaks", "right")
    with pytest.raises(InputError, match="trains its network first, which no small part"):
        chosen(photos, "trains-first", "right")


def test_a_run_finds_the_features_that_a_choice_computed(photos, fresh_cache, tmp_path, monkeypatch):
    chosen(photos, "right", "half", budget="10m")
    computed = []
    features = FeatureStore.features

    def noting(self, catalogue, indices, digests):
        found = features(self, catalogue, indices, digests)
        computed.append((found.computed, len(indices)))
        return found

    monkeypatch.setattr(FeatureStore, "features", noting)
    settings = {"report.near_duplicates": "off", "report.pictures": False}
    shelfbench.run(dataset=photos, backends=["right"], settings=settings, out=tmp_path / "run", quiet=True)
    [(new, images)] = computed
    assert images == 4 * EACH
    assert new == images * 0.15  # certify and test


def words(photos, *more):
    return ["choose", "--dataset", str(photos), "--quiet", "--workers", "1", *more]


def test_the_verb_prints_the_choice_and_the_next_command_and_keeps_a_record(photos, tmp_path, capsys):
    out = tmp_path / "choice"
    given = words(photos, "--backend", "right", "--backend", "half", "--budget", "5m", "--seed", "3", "--out", str(out))
    assert main([*given, "--set", "split.min_products=10"]) == 0
    text = capsys.readouterr().out
    [command] = re.findall(r"^    (shelfbench run .*)$", text, re.MULTILINE)
    expected = ["run", "--dataset", str(photos), "--seed", "3", "--set", "split.min_products=10", "--backend", "right"]
    assert shlex.split(command) == ["shelfbench", *expected]
    record = json.loads((out / "choose.json").read_text())
    assert record["winner"] == "right"
    assert record["command"] == command
    assert record["rounds"][-1]["candidates"][0]["name"] == "right"
    frame = pd.read_csv(out / "tables" / "rounds.csv")
    assert {"products", "name", "precision", "behind_low", "outcome"} <= set(frame.columns)
    assert {path.name for path in (out / "figures").iterdir()} == {"rounds.png", "rounds.svg"}
    page = (out / "report.html").read_text()
    assert "right wins: having learnt from" in page
    assert command in page
    # an earlier choice is replaced, whole; anything else is left alone
    assert main([*given, "--set", "split.min_products=10"]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    assert main([*words(photos, "--backend", "right", "--backend", "half"), "--out", str(tmp_path / "mine")]) == 2
    assert "holds no earlier choice; choose another --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".partial")] == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--backend", "right"], "right is the only candidate; name at least two"),
        (["--backend", "right", "--backend", "wrong"], "unknown backend 'wrong'"),
        (["--budget", "0%"], "the budget is '0%': nothing can be tried with it"),
        (["--budget", "200%"], "the budget is '200%', no less than the study itself takes; run it: shelfbench run"),
        (["--budget", "abc"], "the budget is 'abc'; write for example --budget 15%"),
        (["--budget=-5%"], "the budget is '-5%'"),
        (["--budget", "15"], "the budget is '15'"),
        (["--budget="], "the budget is ''"),
        (["--budget", "nan%"], "the budget is 'nan%'"),
        (["--budget", "1e9m"], "the budget is '1e9m'"),
    ],
)
def test_wrong_input_is_one_line(photos, capsys, more, said):
    assert main(words(photos, *more)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_an_experiment_has_nothing_to_choose_among():
    with pytest.raises(InputError, match="the study heads runs the experiment profiles"):
        shelfbench.choose("heads")


def test_every_prefix_of_the_order_has_the_shares_of_the_categories():
    labels = np.repeat([0, 1, 2], [400, 80, 20])
    order = growing_order(labels, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(500))
    assert sorted(labels[order[:3]].tolist()) == [0, 1, 2]
    for size in (50, 100, 250, 400):
        counts = np.bincount(labels[order[:size]], minlength=3)
        assert np.abs(counts - size * np.array([0.8, 0.16, 0.04])).max() <= 2
    assert not np.array_equal(order, growing_order(labels, np.random.default_rng(1)))


def test_judges_are_as_many_as_needed_and_no_more(photos, monkeypatch):
    monkeypatch.setattr("shelfbench.runs.parts.JUDGES", 10)
    monkeypatch.setattr("shelfbench.runs.parts.FIRST_JUDGES", 4)
    sizes = []
    fit = choosing.training_data

    def noting(features, part):
        data = fit(features, part)
        sizes.append((len(data.labels), len(data.tune_labels)))
        return data

    monkeypatch.setattr(choosing, "training_data", noting)
    found = chosen(photos, "right", "near", budget="10m")
    assert found.judges == 10
    assert sizes[0] == sizes[1] == (8, 4)
    assert sizes[-1] == (384, 10)
