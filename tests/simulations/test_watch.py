"""False alarms and falls by simulation: a few streams here, the goal's thousand among the slow tests."""

import csv
import math

import numpy as np
import pytest

from tests.helpers.sources import ROOT
from tests.simulations.watch import FALLEN, KEPT, NEVER, TARGET, draw, mapie, ours, ours_with_confidences


@pytest.mark.parametrize("watched", [ours, ours_with_confidences])
def test_few_false_alarms_at_the_least_precision_that_keeps_the_promise(watched):
    streams = draw(np.random.default_rng(0), 60, 600, TARGET, NEVER)
    assert np.mean(watched(streams) < NEVER) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 60)


def test_a_fall_is_seen():
    found = ours(draw(np.random.default_rng(1), 40, 1600, KEPT, 100))
    assert np.mean(found < NEVER) > 0.95
    assert np.median(found) - 100 < 400
    assert FALLEN < TARGET < KEPT


def test_the_document_gives_the_numbers_of_the_record():
    with open(ROOT / "results" / "decisions" / "watch.csv", encoding="utf-8") as handle:
        record = {(row["case"], row["monitor"]): row for row in csv.DictReader(handle)}
    text = (ROOT / "docs" / "watching.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    table = {row[0]: row[1:] for row in rows if len(row) == 8 and row[0] != "monitor"}
    assert set(table) == {monitor for _, monitor in record} - {"shelfbench, WARNING"}
    for monitor, cells in table.items():
        for kept, cell in zip(("0.90", "0.92"), cells[:2], strict=True):
            assert float(cell) == pytest.approx(float(record[f"kept at {kept}", monitor]["false_alarms"]), abs=6e-4)
        for fall, cell in zip(("0", "250", "500", "1,000", "2,000"), cells[2:], strict=True):
            row = record[f"falls after {fall}", monitor]
            said = f"{int(row['labels_mean']):,}" if float(row["seen"]) > 0.5 else f"seen in {row['seen']}"
            assert cell == said
    ours = [row for (case, monitor), row in record.items() if monitor == "shelfbench"]
    assert all(float(row["false_alarms"]) <= 0.05 for row in ours if row["case"].startswith("kept"))
    assert all(float(row["of_mapie"]) <= 1 / 3 for row in ours if row["of_mapie"])


@pytest.mark.slow
@pytest.mark.parametrize("watched", [ours, ours_with_confidences])
@pytest.mark.parametrize("seed", [0, 1])
def test_at_most_5_percent_of_1000_streams_raise_a_false_alarm_at_any_look(watched, seed):
    streams = draw(np.random.default_rng(seed), 1000, 5000, TARGET, NEVER)
    assert np.mean(watched(streams) < NEVER) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("fall", [0, 250, 1000, 2000])
def test_a_fall_takes_a_third_of_the_labels_that_mapie_needs(fall):
    pytest.importorskip("mapie")
    labels = fall + 1600 + fall
    streams = draw(np.random.default_rng(2), 300, labels, KEPT, fall)
    needed = [np.minimum(first[first > fall], labels).mean() - fall for first in (ours(streams), mapie(streams))]
    assert needed[0] <= needed[1] / 3 * 1.05  # the mean of 300 draws is uncertain by about 3%
