"""The table of labels that a person should look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from markupsafe import Markup

from shelfbench.base.grid import Grid, count, share
from shelfbench.report.data import ERRORS, RunData
from shelfbench.report.label_noise import known_truth
from shelfbench.report.photos import label_photos
from shelfbench.report.render import fill
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.filed_scores import open_scores
from shelfbench.verdict.suspects import SUSPECT, suspect_labels

LISTED, SHOWN = 1000, 25
LABELS = "Labels to check"
_PHOTOS = 8  # a row of them
TITLE = "Labels to look at"
# From results/decisions/suspects.csv.
MEASURED = (
    "On generated catalogues, about one in three of the labels listed was wrong where 3% of all labels were (from one "
    "in two for the best backend to one in six for the weakest), three in four where 10% were, none where none was. "
    "Mistakes that people make between categories that look alike are harder to find than those planted there."
)
_FIRST = 20
COLUMNS = (
    "rank",
    "product_id",
    "split",
    "role",
    "label",
    "suggested",
    "label_probability",
    "suggested_probability",
)


def suspects(data: RunData) -> Section | None:
    """Labels that the scores of the chosen backend contradict: of validation and test, and of train if it has scores.

    Parameters
    ----------
    data : RunData

    Returns
    -------
    Section or None
        The CSV lists the first 1,000, the most suspect first; the page shows photos of the first few. None if no
        backend was chosen, or none of its scores are kept.

    Raises
    ------
    InputError
        If the scores, or the thumbnails that the run left, are damaged.
    """
    if (table := data.once(_table)) is None:
        return None
    assert table.frame is not None
    notes = () if table.on_page else ("The scores contradict no label.",)
    photos = label_photos(data, _photographed(data, table.frame)) if table.on_page else Markup()
    return Section(title=LABELS, notes=notes, grids=(table,), html=photos)


def link_to_labels(data: RunData) -> Section | None:
    """Where to look for wrong labels; None if none is suspect."""
    table = data.once(_table)
    return Section(title=ERRORS, html=fill("labels_link", title=LABELS)) if table and table.on_page else None


def _table(data: RunData) -> NamedTable | None:
    backend = data.choice.backend if data.choice else None
    if backend is None or not data.run.file("scores", backend).is_file():
        return None
    scores = open_scores(data.run, backend)
    products, keys, found = scores.products, scores.keys, suspect_labels(scores)
    of = products.iloc[found.product[:LISTED]]
    frame = pd.DataFrame(
        {
            "rank": np.arange(1, len(of) + 1),
            "product_id": of["product_id"].to_numpy(),
            "split": of["split"].to_numpy(object),
            "role": of["role"].to_numpy(object),
            "label": keys[scores.labels[found.product[:LISTED]]],
            "suggested": keys[found.suggested[:LISTED]],
            "label_probability": found.label_probability[:LISTED],
            "suggested_probability": found.suggested_probability[:LISTED],
        },
        columns=list(COLUMNS),
    )
    grid = suspects_grid(data, frame, len(found.product), len(products))
    if (truth := data.once(known_truth)) is not None:
        wrong = truth.reindex(products["product_id"]).to_numpy() != products["category"].to_numpy(object)
        first, listed = wrong[found.product[:_FIRST]], wrong[found.product]
        share_of = f"{count(int(listed.sum()))} of {count(len(listed))}"
        note = (
            f"The truth is known: {count(int(first.sum()))} of the first {count(len(first))} labels are wrong, and "
            f"{share_of} in all; {count(int(wrong.sum()))} of all labels looked at are wrong."
        )
        grid = replace(grid, title=f"{TITLE}: {share_of} are wrong", notes=(*grid.notes, note))
    return NamedTable(name="suspects", grid=grid, frame=frame, on_page=len(frame) > 0)


def _photographed(data: RunData, frame: pd.DataFrame) -> pd.DataFrame:
    """The first suspects, as their photos are captioned."""
    names = data.record.dataset.category_names
    first = frame.head(_PHOTOS)
    return pd.DataFrame(
        {
            "product_id": first["product_id"],
            "category": [names.get(str(key), str(key)) for key in first["label"]],
            "predicted": [names.get(str(key), str(key)) for key in first["suggested"]],
            "probability": first["suggested_probability"],
        }
    )


def suspects_grid(data: RunData, frame: pd.DataFrame, found: int, products: int) -> Grid:
    """Lay out the first suspects for the page.

    Parameters
    ----------
    data : RunData
    frame : DataFrame
        ``suspects.csv``.
    found : int
        Suspect labels.
    products : int
        Products that were examined.

    Returns
    -------
    Grid
    """
    names = data.record.dataset.category_names
    folded = data.run.file("out_of_fold", data.chosen).is_file()
    parts = (
        "train, validation and test (train by classifiers that were fitted on other parts of it)"
        if folded
        else "validation and test (a run with --set report.out_of_fold=5, in a new --out, looks at train too)"
    )
    rows = tuple(
        (
            str(row["rank"]),
            str(row["product_id"]),
            str(row["role"]),
            names.get(str(row["label"]), str(row["label"])),
            names.get(str(row["suggested"]), str(row["suggested"])),
            share(float(row["label_probability"])),
            share(float(row["suggested_probability"])),
        )
        for row in frame.head(SHOWN).to_dict("records")
    )
    return Grid(
        title=TITLE,
        headers=("Rank", "Product", "Part", "Label", "Suggested", "Prob. of label", "Prob. of suggestion"),
        rows=rows,
        numeric=frozenset({0, 5, 6}),
        notes=(
            *_elsewhere(len(frame), found),
            f"{count(found)} of {count(products)} products of {parts}: those whose label gets less than "
            f"{SUSPECT:.0%} of the probability that products with this label usually get, by the scores of "
            f"{data.chosen}; the smallest share first. Probabilities: mean over a product's images, before "
            "calibration; the probability left outside an image's 100 best categories is spread evenly over the rest.",
            MEASURED,
            "These are for a person to check; nothing is chosen based on them. Removing or relabelling products of the "
            "certify half or of test because the model suspects them would void every certificate and flatter every "
            "measurement: check all labels of such a part, or none.",
        ),
    )


def _elsewhere(listed: int, found: int) -> tuple[str, ...]:
    """Say where the suspects are that the page has no room for; nothing if it shows all."""
    if (more := listed - SHOWN) <= 0:
        return ()
    return (f"The {'other' if listed == found else 'next'} {count(more)}: tables/suspects.csv.",)
