"""Every measured number of the documents stands in a record, or a test, that its section names.

Measured may be what has a point, a percent sign or a comma for thousands. A number stands in a record if it is there,
rounded as it is printed, wherever; tables are compared cell by cell (`tests.documents.test_tables`), and so is what a
sentence reckons from a record, below. Small whole numbers are not looked up, nor are those in code, in pictures and in
the pages that `tests.helpers.option_pages` writes.
"""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest

from tests.documents.commands import PAGES, page_name
from tests.documents.numbers import Section, is_in, recorded, sections
from tests.documents.test_tables import TABLES
from tests.helpers.sources import ROOT

RESULTS = ROOT / "results"
WRITTEN = ("docs/options.md", "docs/settings.md")
# Precisions and probabilities that are asked for, and what one test may miss.
ASKED = {"0.9", "0.95", "0.99", "90", "95", "99", "5", "0.05"}

# What is neither measured nor reckoned from what was: by page, with the reason.
SET = {
    "README.md": {
        "versions of Python, a paper's number": "3.11 3.13 1610.02357",
        "the sizes of studies and networks": "4,580",
        "the default of choose": "15",
    },
    "CONTRIBUTING.md": {"an example of style; limits of the speed gate": "0.956 10 30"},
    "docs/backends.md": {"the paper's C28": "40"},
    "docs/choosing.md": {"limits of the rule; the size of the catalogues": "4,000 40,000"},
    "docs/classifiers.md": {"an example of sizes": "35,000 1,280"},
    "docs/dask.md": {"the size of a shard; examples of sizes": "2,048 1,280"},
    "docs/data.md": {"examples": "1,000 7.0"},
    "docs/deciding.md": {
        "a table that tests/test_docs.py holds to the test": "0.97 0.98 0.93 0.92 0.91 2,679 1,503",
        "an example of sizes": "3,000",
    },
    "docs/decisions.md": {"examples: prices, a fall, the share that three tries leave": "1.2 85 89"},
    "docs/first-look.md": {"the default of generated.products": "6,000"},
    "docs/glossary.md": {"the sizes of networks": "1,280 2,048 4,096"},
    "docs/gpu.md": {"sizes of an example": "35,000 1,280 1.9 2,048 1,000"},
    "docs/ladder.md": {"settings of the search; a precision that a simulation is given": "30,000 0.899"},
    "docs/networks.md": {
        "the paper's C28; a scale of pixels; limits of the rule": "40 127.5 0.5",
        "how many networks timm has; the options of the command beside it": "1,300 1,450 3,000",
    },
    "docs/own-data.md": {"the rule of data/photo_size.py": "1.6"},
    "docs/papers.md": {
        "the paper's C28, C05; a constant of L2-Hys": "40 0.1 0.90 0.2",
        "what others published about the same data": "5,270 0.796 0.727 0.744 0.767 0.69 44,441 0.870",
    },
    "docs/platforms.md": {"versions": "3.11 3.12 3.13 2.35 2.19"},
    "docs/reading-a-run.md": {"the default of report.near_duplicates": "300,000"},
    "docs/results.md": {"sizes of catalogues": "2,400"},
    "docs/scale.md": {
        "sizes of catalogues; a length of features": "100,000 5,263 3,600",
        "a table that tests/test_scale_doc.py holds to its records": "1,641 2,670 5,341 1,172 9,766 170,899 2,991 "
        "1,695 0.2 9.7",
    },
    "docs/studies.md": {"settings of studies": "1,000 6,000 3"},
    "docs/training.md": {"an address": "127.0"},
    "docs/watching.md": {"limits of the rule; the size of a fall": "1 0.001 0.85"},
}
# What was measured and has no record: to be measured anew with one, or to be left out.
UNRECORDED = {
    "docs/deciding.md": {"printed by tests/decision/test_tries.py, which asserts limits only": "0.095 0.0075"}
    | {"drawn products outside of one department; tests/benchmarks/strangers.py draws them": "1,147"},
    "docs/gpu.md": {"what the solver reckons for its blocks": "1.2 1.3"},
    "docs/papers.md": {
        "what a script from before shelfbench counted": "83",
        "simulated; tests/verdict/test_certify.py asserts limits only": "0.305 56 2.3 2.8 0.058 0.221 0.272",
    },
}


def csv(place: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / place)


def dask_ratios():
    seconds = csv("scale/dask.csv").query("workers > 0").set_index(["pair", "workers"])["seconds"]
    return [seconds[pair, 1] / seconds[pair, 2] for pair in (0, 1)]


def int8_ratios():
    rows = pd.DataFrame(json.loads((RESULTS / "performance" / "int8" / "rates.json").read_text("utf-8"))["rows"])
    images = rows.set_index(["network", "pixels", "precision"])["images_s"].unstack()
    ratios = images["int8"] / images["bfloat16"]
    return [*(images["int8"] / images["keras"]), ratios.min(), ratios.max()]


def twenty_million():
    frame = csv("scale/twenty_million.csv")
    [total] = frame[(frame["products"] == 20_000_000) & (frame["stage"] == "total")].to_dict("records")
    return [total["peak_mib"] / 1024, 1024 * total["peak_mib"] / 20e6]


def million():
    """Minutes of stages, and GiB at the peak, of a million products."""
    frame = csv("scale/million.csv")
    frame = frame[frame["products"] == 1_000_000].assign(stage=frame["stage"].str.strip())
    seconds = frame.groupby("stage")["seconds"].max()
    before = seconds["index"] + seconds["hash, split, HOG of all"]
    stages = ("draw the catalogue", "fit", "predict", "extract")
    return [before / 60, *(seconds[stage] / 60 for stage in stages), frame["peak_mib"].max() / 1024]


def on_brink():
    """The least and the most draws, in percent, in which something is certified where nothing should be."""
    frame = csv("decisions/ladder.csv")
    certified = 1 - frame[(frame["shape"] == "brink") & (frame["test"] == "stair")]["nothing_certified"]
    return [100 * certified.min(), 100 * certified.max()]


def fashion_products():
    return [csv("fashion/tables/table1.csv")["products"].sum()]


def ladder_rows():
    """What is left for a person, and at the category against without a ladder, from the rows of the page itself.

    That the rows are those of the record, and add up, is tested with the tables.
    """
    text = (ROOT / "docs" / "ladder.md").read_text(encoding="utf-8").partition("## On real products")[2]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    changes = [float(row[3]) - float(row[1]) for row in rows]
    return [*(float(row[-1]) for row in rows), abs(min(changes)), max(changes)]


def guarded():
    frame = csv("decisions/strangers.csv")
    return [(frame["test_accepted_without"] - frame["test_accepted_with"]).mean()]


# What sentences reckon from records: by page and section.
RECKONED = {
    ("README.md", "Results on real products"): fashion_products,
    ("README.md", "What it costs"): lambda: [8.9],
    ("docs/dask.md", "Measured"): dask_ratios,
    ("docs/deciding.md", "In money"): lambda: [1 - 0.05 / 1.2],
    ("docs/decisions.md", "Money"): lambda: [1 - 0.05 / 1.2],
    ("docs/ladder.md", "What each joint test costs"): on_brink,
    ("docs/ladder.md", "On real products"): lambda: [*ladder_rows(), *guarded()],
    ("docs/networks.md", "int8"): int8_ratios,
    ("docs/papers.md", "What X claims"): lambda: [6.78 / 6.5 - 1, 6.7 / 6.36 - 1, 23_626_728 / 22_855_952 - 1],
    ("docs/papers.md", "Where the papers are open or contradict themselves"): lambda: [
        *(6.7 / 6.36 - 1, 76.4 / 70 - 1, 1e6 / 33_000, 0.515 * 0.9, 1 - 0.515, (0.614 - 0.515 * 0.9) / (1 - 0.515))
    ],
    ("docs/papers.md", "Known results on similar data"): fashion_products,
    ("docs/reliability.md", "The long test"): lambda: [csv("scale/torture.csv")["tries"].sum()],
    ("docs/ci.md", "What the baseline takes"): fashion_products,
    ("docs/results.md", "Real products"): fashion_products,
    ("docs/results.md", "The size of the photos"): lambda: [15**2 / 10**2],
    ("docs/scale.md", "A million products, for real"): million,
    ("docs/scale.md", "What stays on one machine"): twenty_million,
    ("docs/speed.md", "Against what one would write instead"): lambda: [8.9],
    ("docs/studies.md", "Studies"): fashion_products,
}


@cache
def known(section: Section) -> np.ndarray:
    """All numbers that a section may print."""
    page = page_name(section.page)
    tables = [row for table in TABLES if (table.page, table.title) == (page, section.title) for row in table.rows()]
    values = [*(value for row in tables for value in row), *RECKONED.get((page, section.title), list)()]
    return np.concatenate([np.asarray(values, dtype=float), *(recorded(path) for path in section.records)])


def excused(page: str) -> set[str]:
    return {number for kind in (SET, UNRECORDED) for words in kind.get(page, {}).values() for number in words.split()}


@pytest.mark.parametrize("page", [page for page in PAGES if page_name(page) not in WRITTEN], ids=lambda page: page.name)
def test_the_numbers_of_a_page_stand_in_the_records_that_it_names(page):
    unknown = [
        (section.title, number.text, number.around)
        for section in sections(page)
        for number in section.numbers
        if number.text not in ASKED and not is_in(number, known(section))
    ]
    excuses = excused(page_name(page))
    assert not [found for found in unknown if found[1] not in excuses], "link to the record, or correct the number"
    assert not excuses - {text for _, text, _ in unknown}, "excused, but not needed any more"


def test_most_numbers_are_looked_up():
    looked_up = sum(
        number.text not in excused(page_name(page)) | ASKED
        for page in PAGES
        if page_name(page) not in WRITTEN
        for section in sections(page)
        for number in section.numbers
    )
    assert looked_up > 1000


def test_a_number_that_was_changed_is_found():
    [section] = [found for found in sections(ROOT / "docs" / "results.md") if found.title == "All eleven backends"]
    numbers = [number for number in section.numbers if number.text not in ASKED]
    assert all(is_in(number, known(section)) for number in numbers)
    changed = [
        Section(section.page, section.title, section.text.replace(number.text, "123,457.5")) for number in numbers
    ]
    assert not any(all(is_in(number, known(section)) for number in one.numbers) for one in changed)
