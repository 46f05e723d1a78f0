"""Decisions carry their calibration: the same answers after loading, and nothing but numbers that a fit would give."""

import json

import numpy as np
import pytest

import shelfbench
from shelfbench.base.errors import InputError
from shelfbench.decision.decision import load_decision
from shelfbench.verdict.calibration import Calibrator
from tests.helpers.decisions import STRIPES, edit, make_decision, png, striped

BETA = Calibrator(method="beta", temperature=100.0, beta=(0.5, 0.8, -0.3))
ISOTONIC = Calibrator(method="isotonic", temperature=100.0, knots=(-1.0, 2.0), odds=(-0.5, 0.4))
VECTOR = Calibrator(method="vector", factors=(0.01, 0.02, 0.005), offsets=(0.1, 0.0, -0.2))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(png(striped(list(STRIPES)[number % 3], 50 + number)))
    return folder


@pytest.mark.parametrize("found", [BETA, ISOTONIC, VECTOR])
def test_a_decision_answers_as_calibrated(tmp_path, photos, found):
    plain = load_decision(make_decision(tmp_path / "plain", temperature=found.temperature, threshold=-50.0))
    other = load_decision(
        make_decision(tmp_path / "other", temperature=found.temperature, calibrator=found, threshold=-50.0)
    )
    before, after = plain.classify(photos), other.classify(photos)
    if found.method != "vector":
        assert (before["suggestion"] == after["suggestion"]).all()
        expected = np.exp(found.confidence(np.log(before["confidence"].to_numpy())))
        np.testing.assert_allclose(after["confidence"], expected, rtol=1e-9)
    assert not np.allclose(before["confidence"], after["confidence"])
    assert other.ruling.calibrator == found


def test_without_one_the_file_is_as_before(tmp_path):
    folder = make_decision(tmp_path / "plain")
    assert "calibrator" not in json.loads((folder / "decision.json").read_text())
    assert load_decision(folder).ruling.calibrator is None


@pytest.mark.parametrize(
    "change",
    [
        {"method": "platt"},
        {"beta": [1.0, -1.0, 0.0]},
        {"beta": [1.0, 1e300, 0.0]},
        {"beta": "1, 1, 0"},
        {"temperature": 3.0},
        {"method": "vector", "beta": [], "temperature": 100.0, "factors": [1.0], "offsets": [0.0]},
        {"module": "os.system"},
    ],
)
def test_a_calibration_that_no_run_made_is_refused(tmp_path, change):
    folder = make_decision(tmp_path / "one", temperature=100.0, calibrator=BETA)
    edit(folder, lambda values: values["calibrator"].update(change))
    with pytest.raises(InputError, match=r"decision\.json"):
        shelfbench.load_decision(folder)
