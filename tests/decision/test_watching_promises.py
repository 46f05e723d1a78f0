"""What `watch` tests, and when it calls for help: not by how often somebody tried before the decision passed."""

import math

import numpy as np
import pandas as pd
import pytest

import shelfbench
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.decision import watching
from shelfbench.verdict.monitor import Status
from tests.decision.test_ladder import ladder
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


def test_a_promise_that_was_broken_on_less_evidence_is_looked_at_again(tmp_path, monkeypatch):
    folder = make_decision(tmp_path / "decision", level=0.5, threshold=math.log(0.6))
    errors = flow([True, *[False] * 4, *[True] * 5])
    monkeypatch.setattr(watching, "ALARM", 0.5)
    assert shelfbench.watch(folder, errors).status == Status.BROKEN
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"calls the promise broken on evidence of [0-9.]+, which is not enough"):
        shelfbench.watch(folder, errors)
    (tmp_path / "decision-watch.npz").unlink()  # as the line says
    assert shelfbench.watch(folder, errors).status != Status.BROKEN


def test_a_ladder_that_answers_nothing_at_the_category_cannot_be_watched(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision", **ladder(None, -2.0))
    assert "what is answered at the category alone: nothing, in this decision" in str(shelfbench.load_decision(folder))
    flow([True] * 30).assign(level="level1").to_csv(tmp_path / "labelled.csv", index=False)
    assert main(["watch", str(folder), str(tmp_path / "labelled.csv")]) == 2
    said = capsys.readouterr().err
    assert "answers nothing at the category, and what it answers above it cannot be watched yet" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("*.npz"))


def shop(category, above, review):
    """Make the flow of a ladder: labels of what is answered at the category, above it, and not at all."""
    rows = [("lying", truth, "category") for truth in category]
    rows += [("Straight", truth, "level1") for truth in above] + [("lying", truth, "review") for truth in review]
    frame = pd.DataFrame(rows, columns=["predicted", "category", "level"])
    return frame.assign(product_id=np.arange(len(rows)).astype(str), accepted=frame["level"] != "review")


STRANGE = [*["bags"] * 76, *["lying"] * 28]  # of these, and most of them unknown


@pytest.mark.parametrize(
    ("flow", "labels"),
    [
        (shop([], ["lying"] * 100, STRANGE), 0),
        (shop([], ["Straight"] * 100, STRANGE), 0),
        (shop(["lying"] * 20, [], STRANGE), 20),
        (shop([], [], STRANGE), 0),
    ],
    ids=["above", "groups", "accepted", "review alone"],
)
def test_new_products_that_went_to_review_are_not_another_shop(tmp_path, flow, labels):
    folder = make_decision(tmp_path / "decision", **ladder(-1.0, -2.0))
    found = shelfbench.watch(folder, flow)
    assert (found.labels, found.right) == (labels, labels)
    assert not any("counts as an error" in note for note in found.notes)


@pytest.mark.parametrize(("category", "above"), [(["bags"] * 20, []), (["bags"] * 20, ["bags"] * 40)])
def test_labels_of_another_shop_are_refused_on_a_ladder_too(tmp_path, category, above):
    folder = make_decision(tmp_path / "decision", **ladder(-1.0, -2.0))
    count = len(category) + len(above)
    with pytest.raises(InputError, match=f"{count} of {count} labelled products have categories that the decision"):
        shelfbench.watch(folder, shop(category, above, []))
