"""The performance table from records, whole and damaged."""

import json

import pandas as pd
import pytest

from tests.benchmarks.summary import frame_of, labels, main

HOG = {"stage": "HOG", "opponent": "a loop", "ours_s": [1.0, 3.0, 2.0], "opponent_s": [30.0, 20.0, 10.0]}
HOG |= {"ratio": 10.0, "goal": 12.0, "goal_seconds": None, "peak_mib": 100.5}
REPORT = HOG | {"stage": "report", "opponent": "", "opponent_s": [], "ratio": None, "goal_seconds": 20.0, "goal": 0.0}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "records").mkdir()
    return tmp_path


def write(folder, *rows, full_size=True):
    record = {"full_size": full_size, "benchmarks": [{"name": "test_speed", "extra_info": row} for row in rows]}
    (folder / "records" / "some.json").write_text(json.dumps(record), encoding="utf-8")


def test_table_and_chart(folder):
    write(folder, HOG, REPORT)
    (folder / "records" / "study.json").write_text(json.dumps(HOG | {"stage": "study", "ratio": 13.0}))
    main(folder)
    table = pd.read_csv(folder / "performance.csv")
    assert list(table) == ["stage", "opponent", "ours_s", "opponent_s", "ratio", "goal", "peak_mib"]
    assert table["stage"].tolist() == ["HOG", "report", "study"]
    assert table["ours_s"].tolist() == [2, 2, 2]
    assert table["goal"].tolist() == ["12x", "under 20 s", "12x"]
    assert table["ratio"].isna().tolist() == [False, True, False]
    text = (folder / "performance.md").read_text(encoding="utf-8")
    reached = [line.split(" | ")[6] for line in text.splitlines() if " | 100 |" in line]
    assert reached == ["no", "yes", "yes"]
    assert (folder / "performance.png").stat().st_size > 10_000


def test_a_bound_is_shown_as_one_and_several_opponents_by_name(folder):
    write(folder, HOG, HOG | {"opponent": "another loop"}, HOG | {"stage": "study", "ratio": 13.0, "bound": True})
    main(folder)
    text = (folder / "performance.md").read_text(encoding="utf-8")
    assert [line.split(" | ")[4] for line in text.splitlines() if " | 100 |" in line] == ["10x", "10x", "≥ 13x"]
    assert labels(frame_of(folder)) == ["HOG\nagainst a loop", "HOG\nagainst another loop", "study"]


def test_a_row_that_was_interrupted_is_left_out_and_named(folder, capsys):
    write(folder, HOG, {})
    main(folder)
    assert pd.read_csv(folder / "performance.csv")["stage"].tolist() == ["HOG"]
    assert "test_speed was interrupted" in capsys.readouterr().err


def test_reduced_sizes_are_no_results(folder):
    write(folder, HOG, full_size=False)
    with pytest.raises(SystemExit, match="reduced sizes"):
        main(folder)
    assert not (folder / "performance.csv").exists()


def test_no_records(tmp_path):
    with pytest.raises(SystemExit, match="no records"):
        main(tmp_path)
