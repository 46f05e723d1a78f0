"""What `watch` tests, and when it calls for help: not by how often somebody tried before the decision passed."""

import math

import numpy as np
import pandas as pd
import pytest

import shelfbench
from shelfbench.verdict.monitor import Status
from tests.helpers.decisions import STRIPES, make_decision

KEYS = list(STRIPES)


def flow(right):
    """Make labelled products, of which those are right that are said to be."""
    keys = np.arange(len(right)) % 3
    predicted = [KEYS[(code + (not fine)) % 3] for code, fine in zip(keys, right, strict=True)]
    names = [f"p{number}" for number in range(len(right))]
    return pd.DataFrame({"product_id": names, "predicted": predicted, "category": [KEYS[code] for code in keys]})


@pytest.mark.parametrize(("level", "enough"), [(0.44, 20), (0.5, 20), (0.95, 20), (0.99, 100)])
def test_tries_do_not_make_alarms_likelier(tmp_path, level, enough):
    folder = make_decision(tmp_path / "decision", level=level, threshold=math.log(0.6))
    found = shelfbench.watch(folder, flow([True] * 9 + [False]))
    assert found.status == Status.OK
    assert f"{enough / 4:.3g} warns, {enough} breaks the promise" in str(found)
    assert found.state.monitor.enough == pytest.approx(enough)
    assert found.evidence < enough / 4
    assert f"together with probability {max(level, 0.95)}" in str(found)
    # three errors in a row are no reason to stop a flow
    assert shelfbench.watch(folder, flow([False] * 3), state=tmp_path / "other.npz").status != Status.BROKEN
