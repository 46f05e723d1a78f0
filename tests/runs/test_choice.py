"""The choice of a backend, and which others are as good within noise."""

import numpy as np
import pandas as pd
import pytest

from shelfbench.runs.choice import choose
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.reading import Evaluated
from shelfbench.runs.record import RunRecord

RIGHT = (("a", 0.92), ("b", 0.955))


def frames(rows):
    """Table 4 and metrics of backends given as (name, acceptance on tune, on test, seconds)."""
    table = pd.DataFrame(
        [
            {
                "backend": name,
                "split": "test",
                "precision": 0.7,
                "precision_low": 0.6,
                "precision_high": 0.8,
                "acceptance_90": test,
                "acceptance_90_low": test,
                "acceptance_90_high": test,
                "seconds": seconds,
                "cached": False,
            }
            for name, _, test, seconds in rows
        ]
    )
    metrics = pd.DataFrame(
        [
            {"backend": name, "split": split, "level": "product", "metric": "acceptance_90", "value": value}
            for name, tune, test, _ in rows
            for split, value in (("tune", tune), ("validation", test), ("test", test))
        ]
    )
    return table, metrics


def evaluated(correct, confidence=None, role="tune"):
    """Products of one category, in falling order of confidence."""
    count = len(correct)
    role = np.broadcast_to(np.array(role), count)
    return Evaluated(
        split=np.where(np.isin(role, ["tune", "certify"]), "validation", role),
        role=role,
        truth=np.zeros(count, np.int64),
        predicted=np.where(correct, 0, 1),
        confidence=-np.arange(count) / count if confidence is None else confidence,
        rank=np.zeros(count, np.int64),
        keys=("a", "b"),
        product_id=np.arange(count),
    )


def test_the_choice_is_made_on_tune_and_never_on_test():
    choice = choose(*frames([("a", 0.5, 0.9, 10.0), ("b", 0.6, 0.4, 90.0)]), RunRecord())
    assert (choice.backend, choice.basis, choice.chosen_at, choice.seconds) == ("b", "tune", 0.6, 90)
    assert choice.test["acceptance_90"] == 0.4
    assert (choice.rivals, choice.noise()) == ((), "")


def test_equal_acceptance_goes_to_the_cheaper_backend_and_that_is_said():
    choice = choose(*frames([("a", 0.5, 0.4, 90.0), ("b", 0.5, 0.3, 30.0)]), RunRecord())
    assert choice.backend == "b"
    assert choice.noise() == (
        "b was chosen in a tie, for its lower cost: a accepts exactly as much on the tuning half of validation, at 3.0 "
        "times the cost."
    )
    assert [(rival.backend, rival.test) for rival in choice.rivals] == [("a", 0.4)]
    even = choose(*frames([("a", 0.5, 0.4, 90.0), ("b", 0.5, 0.3, 90.0)]), RunRecord())
    assert even.backend == "a"
    assert "in a tie, since it comes first in the study: b accepts exactly as much" in even.noise()
    assert even.noise().endswith("at about the same cost.")


def test_where_all_accept_everything_precision_decides():
    table, metrics = frames([("a", 1.0, 0.4, 9.0), ("b", 1.0, 0.3, 90.0)])
    known = [{"backend": name, "split": "tune", "metric": "precision", "value": value} for name, value in RIGHT]
    choice = choose(table, pd.concat([metrics, pd.DataFrame(known).assign(level="product")]), RunRecord())
    assert choice.backend == "b"
    assert choice.noise().startswith("b was chosen in a tie, for its higher precision (95.5%, not 92.0%): a accepts")


@pytest.mark.parametrize(("errors", "close"), [(40, 0), (12, 1)])
def test_where_all_accept_everything_a_lower_precision_is_noise_or_is_not(errors, close):
    """Of 600 products, `b` errs on 10; `a` on clearly more, or on hardly more."""
    products = {"a": evaluated(np.arange(600) >= errors), "b": evaluated(np.arange(600) >= 10)}
    table, metrics = frames([("a", 1.0, 0.4, 9.0), ("b", 1.0, 0.3, 90.0)])
    known = [
        {"backend": name, "split": "tune", "level": "product", "metric": "precision", "value": found.correct.mean()}
        for name, found in products.items()
    ]
    choice = choose(table, pd.concat([metrics, pd.DataFrame(known)]), RunRecord(), products.__getitem__)
    assert choice.backend == "b"
    assert len(choice.rivals) == close


@pytest.mark.parametrize(("first", "second"), [(12.0, 9.0), (3.0, 0.5)])
def test_costs_that_differ_no_more_than_timing_does_are_no_reason(first, second):
    choice = choose(*frames([("a", 0.5, 0.4, first), ("b", 0.5, 0.3, second)]), RunRecord())
    assert choice.backend == "a"
    assert choice.noise().endswith(
        "b accepts exactly as much on the tuning half of validation, at about the same cost."
    )


def test_a_cost_that_may_be_that_of_a_busy_machine_is_no_reason():
    rows = frames([("a", 0.5, 0.4, 90.0), ("b", 0.5, 0.3, 30.0)])
    for share, chosen in ((0.1, "b"), (0.7, "a")):
        record = RunRecord(backends={"a": BackendEntry(others_share=share), "b": BackendEntry(others_share=0.0)})
        choice = choose(*rows, record)
        assert choice.backend == chosen
    assert choice.noise().endswith(
        "since it comes first in the study: b accepts exactly as much on the tuning half of validation (other programs "
        "were at work while the two were timed, so that their costs cannot be told apart)."
    )


def test_without_tune_validation_decides_and_without_both_nothing_does():
    table, metrics = frames([("a", 0.5, 0.9, 10.0), ("b", 0.6, 0.4, 90.0)])
    assert choose(table, metrics[metrics["split"] != "tune"], RunRecord()).backend == "a"
    assert choose(table, metrics[metrics["split"] == "test"], RunRecord()) is None


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_lead_of_one_product_is_noise_and_a_large_one_is_not(shuffled):
    """`b` rejects one product more than `a`; `c` is far worse, which only the products tell."""
    rng = np.random.default_rng(0)
    first, worse = rng.random(600) < 0.92, rng.random(600) < 0.6
    products = {"a": evaluated(first), "b": evaluated(first), "c": evaluated(worse)}
    products["b"].confidence[-1] = -np.inf
    if shuffled:
        order = rng.permutation(600)
        rows = {name: getattr(products["b"], name)[order] for name in ("truth", "predicted", "confidence")}
        products["b"] = Evaluated(
            **rows,
            split=products["b"].split,
            role=products["b"].role,
            rank=products["b"].rank,
            keys=("a", "b"),
            product_id=order,
        )
    given = frames([("a", 0.9, 0.8, 50.0), ("b", 0.9 - 1 / 600, 0.83, 25.0), ("c", 0.3, 0.9, 5.0)])
    choice = choose(*given, RunRecord(), products.__getitem__)
    assert choice.backend == "a"
    assert choice.products == 600
    assert [rival.backend for rival in choice.rivals] == ["b"]
    assert choice.noise() == (
        "a was chosen by a lead of 1 product of 600 on the tuning half of validation: b is as good within noise, at "
        "50% of the cost."
    )


def test_products_of_other_parts_play_no_part_in_what_is_noise():
    rng = np.random.default_rng(1)
    role = np.repeat(["tune", "certify", "test"], 400)
    good, bad = np.arange(1200) % 50 > 0, rng.random(1200) < 0.6
    worse = np.where(role == "tune", bad, good)  # worse on tune alone
    for second, rivals in ((worse, 0), (np.where(role == "tune", good, bad), 1)):
        products = {"a": evaluated(good, role=role), "b": evaluated(second, role=role)}
        given = frames([("a", 0.9, 0.8, 50.0), ("b", 0.8, 0.9, 50.0)])
        assert len(choose(*given, RunRecord(), products.__getitem__).rivals) == rivals


def test_several_that_are_as_good_are_listed_with_the_closest_first():
    right = np.arange(300) % 20 > 0
    given = frames([("a", 0.90, 0.8, 50.0), ("b", 0.88, 0.8, 50.0), ("c", 0.89, 0.8, 100.0), ("d", 0.87, 0.8, 1.0)])
    choice = choose(*given, RunRecord(), lambda _: evaluated(right))
    assert [rival.backend for rival in choice.rivals] == ["c", "b", "d"]
    assert choice.noise() == (
        "a was chosen by a lead of 3 products of 300 on the tuning half of validation: c is as good within noise, at "
        "2.0 times the cost; as good within noise are also b and d."
    )


def test_a_backend_that_accepts_nothing_is_not_as_good_however_few_the_products_are():
    right = np.arange(36) < 3
    given = frames([("a", 3 / 36, 0.1, 50.0), ("b", 0.0, 0.0, 5.0)])
    choice = choose(*given, RunRecord(), {"a": evaluated(right), "b": evaluated(~right)}.__getitem__)
    assert choice.rivals == ()


def test_where_nothing_is_accepted_it_is_known_on_how_few_products():
    wrong = np.zeros(2, bool)
    choice = choose(*frames([("a", 0.0, 0.0, 5.0)]), RunRecord(), lambda _: evaluated(wrong))
    assert (choice.backend, choice.products) == (None, 2)


def test_on_few_products_others_may_be_as_good_rather_than_are():
    right = np.arange(40) % 20 > 0
    given = frames([("a", 0.90, 0.8, 50.0), ("b", 0.85, 0.8, 25.0), ("c", 0.80, 0.8, 50.0)])
    choice = choose(*given, RunRecord(), lambda _: evaluated(right))
    assert choice.noise() == (
        "a was chosen by a lead of 2 products of 40 on the tuning half of validation: on so few, b may be as good, at "
        "50% of the cost; c may be as good, too."
    )
    assert choice.close(["b", "c"]) == "b and c may be as good"
