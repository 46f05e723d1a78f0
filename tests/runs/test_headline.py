"""What is said first about a run: a promise only where there is one."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shelfbench.cli.arguments import parser
from shelfbench.runs.choice import Choice, Rival
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.frames import certified_rows, table4_row
from shelfbench.runs.headline import headline
from shelfbench.runs.next_step import Way
from shelfbench.runs.promise import seen_before
from shelfbench.runs.reading import Evaluated
from shelfbench.runs.record import MergedRun, PartRecord, RunRecord, SplitRecord
from shelfbench.verdict.metrics import exact_target

COST = 52.0


def products(counts, right, *, certify=1000, test=1000, seed=0):
    """Products of two categories; `counts` of each in the catalogue, `right` the precision of each.

    Test holds as many of one as of the other; tune and certify are mixed like the catalogue.
    """
    rng = np.random.default_rng(seed)
    share = np.array(counts) / sum(counts)
    role = np.repeat(["tune", "certify", "test"], [1000, certify, test])
    truth = np.where(role == "test", rng.integers(0, 2, len(role)), rng.random(len(role)) < share[1]).astype(int)
    more = np.maximum(np.array(counts) - np.bincount(truth, minlength=2), 0)
    role = np.concatenate([role, np.repeat("train", more.sum())])
    truth = np.concatenate([truth, np.repeat([0, 1], more)])
    hit = rng.random(len(role)) < np.array(right)[truth]
    return Evaluated(
        split=np.where(np.isin(role, ["tune", "certify"]), "validation", role),
        role=role,
        truth=truth,
        predicted=np.where(hit, truth, 1 - truth),
        confidence=-rng.random(len(role)),
        rank=np.zeros(len(role), np.int64),
        keys=("large", "small"),
        product_id=np.arange(len(role)),
        measures={},
    )


TYPED = "shelfbench run --dataset 'my shop' --out results/own"
HOG, LITE, LARGE = {}, {"backbone": {"name": "efficientnet_lite0"}}, {"backbone": {"name": "keras:ConvNeXtTiny"}}


def record(*settings, command=TYPED, **further):
    """The record of a run of backends with these settings."""
    backends = {f"b{number}": BackendEntry(status="done", settings=one) for number, one in enumerate(settings)}
    return RunRecord(command=command, backends=backends, **further)


def typed(found):
    """What the command line makes of the command that is named."""
    return parser().parse_args(shlex.split(found.command)[1:])


def said(found, path=Path("results/own"), level=0.95, made=None, **further):
    """The headline of a run of one backend."""
    found = Evaluated(**{**vars(found), "measures": {"confidence": found.confidence}})
    row = table4_row("x", found, "test") | {"seconds": COST, "cached": False} if (found.role == "test").any() else {}
    values = {
        "backend": "x",
        "basis": "tune",
        "products": 1000,
        "chosen_at": 0.9,
        "seconds": COST,
        "test": row,
        "tuned_acceptance": 0.8,
        "tuned_precision": 0.85,
    }
    frame = pd.DataFrame(certified_rows("x", found, [exact_target("0.9")], level, ["confidence"]))
    way = Way(path=path, record=made or record(LITE, LARGE), products=lambda _: found)
    return headline(Choice(**values | further), frame, int((found.role == "test").sum()), way), frame.iloc[0]


def promises(text):
    """Sentences that speak of the future without taking it back."""
    return [
        sentence
        for sentence in re.split(r"(?<=[.:;]) ", text)
        if re.search(r"\btakes?\b.*\bat 90% precision\b|can take", sentence) and "certified with" not in sentence
    ]


def test_a_certified_threshold_is_the_headline_and_the_plain_one_comes_after_it():
    found, row = said(products([9000, 1000], [0.96, 0.96]))
    share = f"{row['certified_acceptance']:.0%}" if row["certified_acceptance"] < 0.995 else "100%"
    assert re.match(rf"x takes {share.rstrip('%')}(\.\d)?% of the products at 90% precision", found.verdict)
    assert "(certified with 95% probability)" in found.verdict
    assert found.warnings == ()
    whole = str(found)
    assert whole.index("The promise:") < whole.index("On test, the same") < whole.index("the best threshold would")
    assert "fitted on test itself, so it is not a promise" in whole
    assert not promises(whole)
    for key in ("certified_precision_test", "certified_acceptance_test", "mix_precision", "mix_acceptance"):
        assert f"{100 * row[key]:.1f}%" in found.details[1]
    assert found.next == "What to do: turn it into a decision that can be deployed, with this command:"
    assert whole.split("\n\n")[2] == f"    {found.command}"


def test_the_catalogues_own_mix_is_not_told_where_it_changes_nothing():
    found, row = said(products([9000, 1000], [0.99, 0.99]))
    assert abs(row["mix_precision"] - row["certified_precision_test"]) < 0.005
    assert "own mix" not in str(found)


@pytest.mark.parametrize("path", ["results/own", "my photos; rm -rf x", "-o", "it's $HOME"])
def test_the_command_that_deploys_is_one_that_the_command_line_takes(path):
    given = products([9000, 1000], [0.99, 0.99])
    found, _ = said(given, path=Path(path))
    options = typed(found)
    assert (options.verb, options.directory, options.backend) == ("decide", Path(path), ["x"])
    assert options.all_categories
    assert (options.precision, options.confidence) == ([], None)  # decide asks for 0.9 with 0.95
    stricter, _ = said(given, path=Path(path), level=0.99)
    assert "certified with 99% probability" in stricter.verdict
    assert typed(stricter).confidence == "0.99"


def test_a_decision_on_merged_runs_is_made_where_the_backend_was_run():
    home = MergedRun(directory="results/first", backends={"x": "hog-svm"})
    found, _ = said(products([9000, 1000], [0.99, 0.99]), made=record(merged=[home]))
    assert (typed(found).directory, typed(found).backend) == (Path("results/first"), ["hog-svm"])


def test_too_few_products_promise_nothing_and_say_what_would():
    given = products([2800, 200], [0.91, 0.91], certify=200)
    found, row = said(given)
    assert not row["certified"]
    assert found.verdict == (
        "No threshold can be promised yet: the 200 products kept for certifying cannot settle whether x keeps 90% "
        "precision."
    )
    assert "What would change it: more labelled products; how many cannot be told from 200, " in str(found)
    assert "29 accepted ones if all are right" in str(found)
    assert np.isnan(row["more_labels"])
    assert "it is not certified, so this is not a promise" in str(found)
    assert not promises(str(found))


def test_a_small_validation_part_is_told_to_certify_on_more_of_it():
    found, row = said(products([2800, 1200], [0.91, 0.91], certify=100))
    assert not row["certified"]
    assert "larger part of validation to certify on (split.certify=0.8, unless it is set already); how" in str(found)


def sorted_by_confidence(right, **sizes):
    """Products that are right as often as `right` says, and confident accordingly."""
    found = products([2800, 200], [right, right], **sizes)
    sure = np.where(found.correct, 0.02, 1.5) * np.random.default_rng(3).random(len(found.truth))
    return Evaluated(**{**vars(found), "confidence": -sure - 1e-6})


def test_where_labels_would_certify_the_step_is_to_label_as_many_as_it_takes():
    found, row = said(sorted_by_confidence(0.95, certify=12), level=0.99)
    assert not row["certified"]
    options = typed(found)
    assert (options.verb, options.directory, options.backend) == ("label", Path("results/own"), "x")
    assert options.confidence == "0.99"
    assert f"have people label {options.budget} new products" in found.next
    assert int(re.search(r"with a chance of (\d+)%", found.next)[1]) >= 80


def test_without_products_to_certify_on_they_are_to_be_labelled():
    found, _ = said(sorted_by_confidence(0.95, certify=0))
    assert found.verdict == "No threshold can be promised for x: there are no products to certify on."
    assert typed(found).verb == "label"


@pytest.mark.parametrize(
    "luck",
    [{"products": 3}, {"products": 40, "rivals": (Rival(backend="y", acceptance=0.9, seconds=1, test=1),)}],
)
def test_a_choice_by_luck_is_not_worth_labels_but_more_products(luck):
    parts = dict.fromkeys(("train", "validation", "test"), PartRecord(products=40))
    found, _ = said(sorted_by_confidence(0.95, certify=12), made=record(LITE, split=SplitRecord(**parts)), **luck)
    assert "with about 2,800 labelled products in all (now 120)" in found.next
    # the same run, in another folder: this one is bound to the data that it has
    assert found.command == "shelfbench run --dataset 'my shop' --out results/own-more"


def test_a_split_that_keeps_few_back_needs_more_products_than_others():
    split = SplitRecord(train=PartRecord(products=9000))
    found, _ = said(sorted_by_confidence(0.95, certify=12), made=record(LITE, split=split), products=9)
    assert "with about 142,000 labelled products in all (now 9,000)" in found.next


def test_a_hopeless_backend_needs_no_labels_but_a_better_one():
    found, _ = said(products([9000, 1000], [0.5, 0.5]))
    assert found.verdict.startswith("No threshold can be promised: x stays below 90% precision at every threshold")
    assert "a better classifier, or a lower required precision; more labels alone would not be enough" in str(found)
    assert "have people label" not in found.next


@pytest.mark.parametrize(
    ("tried", "right", "wanted"),
    [
        ([HOG], 0.6, "shelfbench run --dataset 'my shop' --out results/own --backend "),
        ([HOG, LITE], 0.6, f"{TYPED} --backend b1@keras:ConvNeXtTiny"),
        ([LITE, LARGE], 0.85, "shelfbench decide results/own x --precision 0.8 --all-categories --out decision"),
        ([LITE, LARGE], 0.79, "shelfbench decide results/own x --precision 0.7 --all-categories --out decision"),
        ([LITE, LARGE], 0.4, "shelfbench run --dataset 'my shop' --out results/own-mended"),
    ],
)
def test_what_is_tried_next_has_not_been_tried_and_may_help(tried, right, wanted):
    found, _ = said(products([9000, 1000], [right, right]), made=record(*tried))
    assert found.command.startswith(wanted)
    assert typed(found).verb == wanted.split()[1]
    nothing, _ = said(products([9000, 1000], [right, right]), made=record(*tried), backend=None)
    assert nothing.verdict.startswith("No threshold can be promised. No backend reaches a precision of 90%")
    assert nothing.command == found.command


@pytest.mark.parametrize("command", ["shelfbench.run('own', dataset='shop')", "shelfbench run 'own", ""])
def test_a_run_made_from_python_does_not_go_on_with_a_command_that_nobody_typed(command):
    made = record(HOG, command=command)
    assert typed(said(products([9000, 1000], [0.85, 0.85]), made=made)[0]).verb == "decide"
    found, _ = said(products([9000, 1000], [0.4, 0.4]), made=made)
    assert found.next.endswith("then run again.")
    assert found.command == ""


def test_nothing_in_a_record_becomes_a_command_of_its_own():
    made = record(HOG, command="shelfbench run --dataset shop; rm -rf x --out a")
    found, _ = said(products([9000, 1000], [0.6, 0.6]), made=made)
    assert found.command.startswith("shelfbench run --dataset 'shop;' rm -rf x")


def test_few_products_on_which_no_backend_reaches_the_precision():
    found, _ = said(products([900, 100], [0.5, 0.5]), made=record(HOG), backend=None, products=2)
    assert "share of the 2 products of the tuning half of validation, which are too few to say" in found.verdict
    assert typed(found).backend == ["bottleneck-svm", "bottleneck-2nn-2048"]
    found, _ = said(products([900, 100], [0.5, 0.5]), made=record(LITE), backend=None, products=2)
    assert typed(found).out == Path("results/own-more")


def test_without_a_validation_part_it_is_drawn():
    none = headline(None, pd.DataFrame(), way=Way(path=Path("results/own"), record=record(LITE)))
    assert none.verdict.startswith("No threshold can be promised: the split has no validation products")
    assert (typed(none).set, typed(none).out) == (["split.rule=paper"], Path("results/own-split"))


def test_a_test_part_that_falls_short_by_its_mix_is_a_warning_with_that_reason():
    given = products([9500, 500], [0.97, 0.7])
    found, row = said(given)
    assert row["certified"]
    assert row["certified_precision_test_high"] < 0.9 < row["mix_precision"]
    assert found.next.startswith("What to do: read the warning below first.")
    assert found.command
    [warning] = found.warnings
    assert "falls short of 90%, beyond noise" in warning
    small, large = np.bincount(given.truth)[::-1]
    share = f"{row['mix_small_of_test']:.0%} of test and {small / (small + large):.0%} of the catalogue"
    assert f"Small categories (at most {small:,} products each) make up {share}" in warning
    assert f"it is {100 * row['mix_precision']:.1f}% and reaches 90%" in warning
    assert "products mixed as in test will fall short" in warning


def test_a_test_part_that_falls_short_for_another_reason_says_that_it_is_not_the_mix():
    found = products([9500, 500], [0.97, 0.97])
    rng = np.random.default_rng(5)
    worse = (found.role == "test") & (rng.random(len(found.truth)) < 0.15)
    found = Evaluated(**{**vars(found), "predicted": np.where(worse, 1 - found.truth, found.predicted)})
    headline_, row = said(found)
    assert row["mix_precision_high"] < 0.9
    [warning] = headline_.warnings
    assert "The mix of categories does not explain it. Do not rely on the promise" in warning


def test_a_precision_below_the_target_within_noise_is_not_called_short():
    found, row = said(products([9500, 500], [0.96, 0.84], seed=0))
    assert row["certified_precision_test"] < 0.9 <= row["certified_precision_test_high"]
    assert found.warnings == ("On test, the precision is below 90%, but within the noise of so many products.",)


@pytest.mark.parametrize(("count", "points"), [(30, 19), (100, 10), (384, 5)])
def test_few_test_products_are_said_with_how_far_off_a_share_can_be(count, points):
    found, _ = said(products([9000, 1000], [0.99, 0.99], test=count))
    assert found.warnings[-1].startswith(f"There are only {count} test products: read no more than a trend from them.")
    assert f"can be off by {points} points either way" in found.warnings[-1]


def test_products_that_have_been_seen_before_are_a_warning_if_they_are_many():
    few = {"test in train": {"exact": 40, "near": 59, "label_differs": 3}, "tune in train": {"exact": 1000, "near": 0}}
    assert seen_before(few, 1000, 1000) == ""
    many = few | {
        "certify in train": {"exact": 30, "near": 80, "label_differs": 0},
        "certify in tune": {"exact": 90, "near": 0},
        "test in tune": {"exact": 700, "near": 300, "label_differs": 1000},
    }
    said_ = seen_before(many, 1000, 1000)
    assert said_.startswith(
        "Seen before: at least 110 of 1,000 products that certify and all 1,000 test products share"
    )
    assert seen_before(many, 0, 0) == ""


def test_enough_test_products_are_not_warned_of():
    assert said(products([9000, 1000], [0.99, 0.99], test=385))[0].warnings == ()


def test_an_interval_on_thirty_right_products_is_not_a_point():
    found = products([9000, 1000], [1, 1], test=30)
    row = table4_row("x", found, "test")
    assert (row["precision"], row["acceptance_90"]) == (1, 1)
    for name in ("precision", "acceptance_90"):
        assert row[f"{name}_low"] == pytest.approx(0.025 ** (1 / 30))
        assert row[f"{name}_high"] == 1


def test_a_choice_within_noise_is_part_of_the_headline():
    rival = Rival(backend="y", acceptance=0.899, seconds=124.0, test=0.95)
    found, _ = said(products([9000, 1000], [0.96, 0.96]), rivals=(rival,))
    assert found.verdict.endswith("(certified with 95% probability); y is as good within noise.")
    assert found.details[0] == (
        "x was chosen by a lead of 1 product of 1,000 on the tuning half of validation: y is as good within noise, at "
        "2.4 times the cost."
    )
    assert (
        ", and 95.0% with y; that was fitted on test itself, so it is not a promise, and it played no part in the"
        in (found.details[-1])
    )


def test_a_backend_that_was_not_chosen_but_is_certified_is_no_way_out():
    given = products([9000, 1000], [0.96, 0.96])
    found, row = said(given, backend="y")
    assert row["certified"]
    assert found.verdict.startswith("No threshold can be promised for y")
    assert "Not chosen, but certified in the table below: x. A backend that is picked because its" in str(found)
    assert not promises(str(found))


def test_without_a_test_part_that_is_said():
    found, row = said(products([9000, 1000], [0.96, 0.96], test=0))
    assert row["certified"]
    assert found.details[-1] == "There is no test part to measure it on."
    assert found.warnings == ()


def test_a_choice_that_fails_on_test_says_so():
    found = products([9000, 1000], [0.96, 0.96])
    found = Evaluated(**{**vars(found), "predicted": np.where(found.role == "test", 1 - found.truth, found.predicted)})
    assert "On test, no threshold reaches a precision of 90% on any share" in str(said(found)[0])
