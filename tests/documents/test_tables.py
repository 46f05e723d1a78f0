"""The tables of the documents, cell by cell, are what the records give that they name."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import pytest

from tests.documents.numbers import Number, printed, sections
from tests.helpers.sources import ROOT

RESULTS = ROOT / "results"
Rows = Iterator[Sequence[float]]


def table4(record: str) -> Rows:
    """Train and validation, then test with its intervals, and seconds; of each backend."""
    frame = pd.read_csv(RESULTS / record)
    for _, backend in frame.groupby("backend", sort=False):
        of = backend.set_index("split")
        test = of.loc["test"]
        yield (
            *(of.loc["train", "precision"], of.loc["validation", "precision"]),
            *test[["precision", "precision_low", "precision_high"]],
            *test[["acceptance_90", "acceptance_90_low", "acceptance_90_high", "seconds"]],
        )


def any_network() -> Rows:
    frame = pd.read_csv(RESULTS / "any-network" / "tables" / "table4.csv")
    of = frame[frame["split"] == "test"].set_index("backend")
    networks = ("svm", "svm@network.onnx", "svm@timm:tf_efficientnet_lite2", "svm@features:embeddings.parquet")
    for backend in (*networks, "logistic", "knn", "lda"):
        yield of.loc[f"bottleneck-{backend}", ["precision", "acceptance_90"]]


def draws() -> Rows:
    frame = pd.read_csv(RESULTS / "fashion" / "draws" / "tables" / "draws.csv")
    for _, row in frame.sort_values("acceptance_mean", ascending=False).iterrows():
        means = ("validation_precision", "precision", "acceptance", "certified_acceptance", "certified_precision")
        yield (row["tier"], *(row[f"{name}_{what}"] for name in means for what in ("mean", "sd")))


def spread(frame: pd.DataFrame, column: str) -> Sequence[float]:
    """Median, least and most of three draws."""
    assert len(frame) == 3
    return (frame[column].median(), frame[column].min(), frame[column].max())


def pixels(data: str, backend: str, size: str) -> pd.DataFrame:
    frame = pd.read_csv(RESULTS / "pixels.csv", dtype={"pixels": str})
    return frame[(frame["data"] == data) & (frame["backend"] == backend) & (frame["pixels"] == size)]


def sizes_of_photos() -> Rows:
    for photos in (300, 500, 800):
        for backend in ("bottleneck-svm", "bottleneck-2nn-2048", "bottleneck-2nn-4096"):
            both = [pixels(f"generated {photos}", backend, size) for size in ("128", "auto")]
            yield [
                value
                for column in ("tune", "test", "acceptance_90")
                for frame in both
                for value in spread(frame, column)
            ]


def sizes_of_small_photos() -> Rows:
    for size in ("96", "128", "160", "224"):
        both = [pixels("fashion 80", backend, size) for backend in ("bottleneck-svm", "bottleneck-2nn-2048")]
        yield [value for frame in both for column in ("tune", "test") for value in spread(frame, column)]


def sizes_of_hog() -> Rows:
    for size in ("64", "96", "128", "180", "256"):
        both = [pixels(data, "hog-svm", size) for data in ("generated 500", "fashion 80")]
        yield [value for frame in both if len(frame) for column in ("tune", "test") for value in spread(frame, column)]


def strangers() -> Rows:
    frame = pd.read_csv(RESULTS / "decisions" / "strangers.csv")
    for _, both in frame[frame["run"] == "fashion"].groupby("backend", sort=False):
        of = both.set_index("strangers")
        mine = of.loc["generated"]
        outside = dict(re.findall(r"([A-Z ]+) (\d+)", mine["departments_with"]))
        own = int(outside.get("FASHION", outside.get(" FASHION", 0)))
        yield (
            *mine[["accepted_without", "accepted_with"]],
            mine["accepted_with"] - own,
            *of.loc["cdiscount", ["accepted_without", "accepted_with"]],
            *mine[["test_accepted_without", "test_accepted_with", "test_precision_without", "test_precision_with"]],
        )


def small_shops() -> Rows:
    frame = pd.read_csv(RESULTS / "decisions" / "small-shops.csv").set_index(["kind", "validation", "walk", "certify"])
    asked = [("0.995 everywhere", 40), ("0.995 everywhere", 80), ("0.995 everywhere", 200)]
    asked += [("0.955 everywhere", 80), ("0.955 everywhere", 200), ("beta 12", 80), ("beta 12", 200)]
    for kind, validation in asked:
        how = (("first", 0.5), ("tuned", 0.5), ("tuned", 0.8))
        yield (validation, *(frame.loc[(kind, validation, *one), "acceptance"] for one in how))


def walks() -> Rows:
    frame = pd.read_csv(RESULTS / "decisions" / "walk.csv")
    same = frame["products"] == frame["tuned_on"]
    parts = (frame, frame[same & (frame["products"] >= 145)], frame[~same])
    for rule in ("first", "safest", "tuned"):
        yield [part.loc[part["rule"] == rule, "acceptance"].mean() for part in parts]


def mixes() -> Rows:
    frame = pd.read_csv(RESULTS / "decisions" / "mixes.csv")
    usual = frame[frame["kind"] == "usual"].groupby(["precision", "bound", "spread"])["passes"].mean()
    for wide in (0.0, 0.3, 0.8):
        yield [usual[0.96, bound, wide] for bound in ("drawn", "betting", "effective")]
    drawn, effective = usual[0.9, "drawn"], usual[0.9, "effective"]
    yield (drawn.min(), drawn.max(), usual[0.9, "betting"].max(), effective.min(), effective.max())
    rare = frame[frame["kind"] == "rare"].groupby("bound")["passes"].agg(["min", "max"])
    yield (rare.loc["drawn", "max"], rare.loc["betting", "max"], *rare.loc["effective"])


def ladders() -> Rows:
    frame = pd.read_csv(RESULTS / "decisions" / "ladder.csv")
    answered = frame[frame["shape"] != "brink"].groupby(["test", "rungs", "sample"])["answered_by_worth"].mean()
    for test in ("stair", "bonferroni", "weighted", "graph"):
        yield [answered[test, rungs, sample] for rungs in (2, 3) for sample in ("plain", "tied", "small")]


def labels_saved() -> Rows:
    frame = pd.read_csv(RESULTS / "decisions" / "label.csv")
    for count, rows in frame[frame["draws"] == 16].groupby("labels"):
        of = rows.groupby("rule")[["certified", "acceptance"]].mean().loc[["today", "random", "label"]]
        yield (count, *of["certified"], *of["acceptance"])


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a page, the columns that it begins with, and what its rows should be."""

    page: str
    title: str
    rows: Callable[[], Rows]
    number: int = 0
    labels: int = 1

    def printed(self) -> list[list[Number]]:
        """Numbers of each row, without its first columns and its head."""
        [section] = [section for section in sections(ROOT / self.page) if section.title == self.title]
        lines = re.findall(r"(?:^\|.*\n)+", section.text + "\n", re.MULTILINE)[self.number].strip().splitlines()
        cells = [line.strip().strip("|").split("|")[self.labels :] for line in lines[2:]]
        return [found for row in cells if (found := list(printed("|".join(row))))]


FASHION = partial(table4, "fashion/tables/table4.csv")
SIZES = "The size of the photos"
TABLES = (
    Table(page="README.md", title="Results on real products", rows=FASHION, labels=2),
    Table(page="docs/results.md", title="Real products", rows=FASHION, labels=2),
    Table(page="docs/results.md", title="Real products", rows=draws, number=1),
    Table(page="docs/results.md", title="Any network, any classifier", rows=any_network),
    Table(
        page="docs/results.md",
        title="The generated catalogue",
        rows=partial(table4, "default/tables/table4.csv"),
        labels=2,
    ),
    Table(page="docs/results.md", title=SIZES, rows=sizes_of_photos, labels=2),
    Table(page="docs/results.md", title=SIZES, rows=sizes_of_small_photos, number=1),
    Table(page="docs/results.md", title=SIZES, rows=sizes_of_hog, number=2),
    Table(page="docs/deciding.md", title="Unlike anything learned", rows=strangers),
    Table(page="docs/deciding.md", title="Small shops", rows=small_shops),
    Table(page="docs/deciding.md", title="Where the walk begins", rows=walks),
    Table(page="docs/deciding.md", title="For your own flow", rows=mixes, labels=2),
    Table(page="docs/labelling.md", title="How many labels that saves", rows=labels_saved, labels=0),
    Table(page="docs/ladder.md", title="What each joint test costs", rows=ladders),
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.page}: {table.title}, {table.number}")
def test_every_cell_is_what_the_record_gives(table):
    for shown, values in zip(table.printed(), table.rows(), strict=True):
        assert [number.value for number in shown] == [
            pytest.approx(abs(value), abs=0.5 * 10.0**-number.digits + 1e-9)
            for number, value in zip(shown, values, strict=True)
        ], ([number.text for number in shown], list(values))


def test_what_is_left_for_a_person_is_the_rest():
    """The ladder's rows add up: category, levels above it, and a person."""
    text = (ROOT / "docs" / "ladder.md").read_text(encoding="utf-8").partition("## On real products")[2]
    rows = [row.strip("| ").split("|")[3:] for row in text.splitlines() if row.startswith("| `")]
    assert len(rows) == 10
    for row in rows:
        *answered, person = row[0::2]
        shares = [float(share) for share in answered if share.strip() != "–"]
        assert sum(shares) + float(person) == pytest.approx(1, abs=0.0021), row
