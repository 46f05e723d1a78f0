"""A plan in money: its seconds at a price of an hour, and nothing without one."""

from dataclasses import replace

import pytest

import shelfbench
from shelfbench.base.errors import InputError
from shelfbench.base.grid import digits
from tests.cost.test_plan import known, plan_of


def test_every_time_is_shown_at_its_price():
    plan = replace(plan_of(known("a"), known("b", features="other")), price=36.0)
    frame = plan.table
    for stage in ("tune", "extract", "fit", "predict"):
        assert frame[f"cost_{stage}"].tolist() == pytest.approx((frame[stage] / 100).tolist())
    assert frame["cost"].tolist() == pytest.approx((frame["seconds"] / 100).tolist())
    shown = str(plan)
    assert "In money, at 36 an hour of the machine: 1,000 images" in shown
    together = digits(frame["cost"].sum())
    assert any(line.split()[:1] == ["all"] and line.split()[-1] == together for line in shown.splitlines())
    assert "In money" in plan._repr_html_()


def test_a_plan_without_a_price_has_no_money():
    plan = plan_of(known("a"))
    assert "money" not in str(plan)
    assert not [name for name in plan.table if name.startswith("cost")]


@pytest.mark.parametrize("price", ["cheap", -1, 0, float("inf"), "0,4"])
def test_a_price_is_checked_before_anything_is_tried(price):
    with pytest.raises(InputError, match="the price of an hour is"):
        shelfbench.plan("default", price=price)
