"""The document about scale gives the numbers of the records that it names."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.benchmarks import scale

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
RECORDS = ROOT / "results" / "scale"


def numbers(cells):
    return [float(cell.replace(",", "")) for cell in cells]


def cells_of(name):
    [line] = [line for line in TEXT.splitlines() if line.startswith(f"| {name} |")]
    return numbers(line.strip("| ").split(" | ")[1:])


@pytest.mark.parametrize(("name", "values"), scale.rows())
def test_the_table_is_what_the_records_give(name, values):
    """Small numbers have one digit after the point; `python -m tests.benchmarks.scale` prints the table anew."""
    for printed, value in zip(cells_of(name), values, strict=True):
        assert printed == pytest.approx(value, rel=0.03, abs=0.051 if value < 10 else 0.51)


@pytest.mark.parametrize(
    ("case", "begun"),
    [
        ("fashion, cold", "`fashion`, nothing in the cache"),
        ("fashion, warm", "`fashion`, features in the cache"),
        ("default, cold", "`default`"),
        ("generated, cold", "100,000 generated products, drawn first"),
    ],
)
def test_the_accuracy_is_that_of_the_record(case, begun):
    record = pd.read_csv(RECORDS / "plan.csv")
    rows = record[(record["case"] == case) & (record["part"] == "all")].set_index("stage")
    [total] = rows[rows.index.isna()].to_dict("records")
    planned, taken, ratio, memory = cells_of(begun)
    assert [planned, taken] == pytest.approx([total["planned"], total["taken"]], abs=0.51)
    assert ratio == pytest.approx(total["ratio"], abs=0.0051)
    assert memory == pytest.approx(rows.loc["peak memory", "ratio"], abs=0.0051)


def test_what_one_machine_does_is_that_of_the_record():
    record = pd.read_csv(RECORDS / "twenty_million.csv")
    [total] = record[(record["products"] == 20_000_000) & (record["stage"] == "total")].to_dict("records")
    assert f"take {total['seconds']:.0f} seconds and {total['peak_mib'] / 1024:.1f} GiB" in TEXT
    each = total["peak_mib"] / 20_000_000
    [reckoned] = re.findall(r"350 million products would take some (\d+) GiB", TEXT)
    assert int(reckoned) == round(each * 350e6 / 1024)
