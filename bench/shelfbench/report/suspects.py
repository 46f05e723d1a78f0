"""The table of labels that a person should look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.grid import Grid, count, share
from shelfbench.report.data import DOUBTS, RunData
from shelfbench.report.label_noise import known_truth
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.directory import Run
from shelfbench.runs.reading import category_codes, reading
from shelfbench.verdict.suspects import SUSPECT, HeldOutScores, suspect_labels

LISTED, SHOWN = 1000, 25
TITLE = "Labels to look at"
# Measured on generated catalogues: results/decisions/suspects.csv.
USUALLY = "about one in three is wrong where 3% of all labels are"
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
        The CSV lists the first 1,000, the most suspect first. None if no backend was chosen, or none of its scores are
        kept.

    Raises
    ------
    InputError
        If the scores are damaged.
    """
    backend = data.choice.backend if data.choice else None
    if backend is None or not data.run.file("scores", backend).is_file():
        return None
    products, scores, keys = read_scores(data.run, backend)
    found = suspect_labels(scores)
    of = products.iloc[found.product[:LISTED]]
    frame = pd.DataFrame(
        {
            "rank": np.arange(1, len(of) + 1),
            "product_id": of["product_id"].to_numpy(),
            "split": of["split"].to_numpy(),
            "role": of["role"].to_numpy(),
            "label": keys[scores.labels[found.product[:LISTED]]],
            "suggested": keys[found.suggested[:LISTED]],
            "label_probability": found.label_probability[:LISTED],
            "suggested_probability": found.suggested_probability[:LISTED],
        },
        columns=list(COLUMNS),
    )
    grid = suspects_grid(data, frame, len(found.product), len(products))
    if (truth := data.once(known_truth)) is not None:
        wrong = truth.reindex(products["product_id"]).to_numpy() != products["category"].to_numpy()
        first, listed = wrong[found.product[:_FIRST]], wrong[found.product]
        share_of = f"{count(int(listed.sum()))} of {count(len(listed))}"
        note = (
            f"The truth is known: {count(int(first.sum()))} of the first {count(len(first))} labels are wrong, and "
            f"{share_of} in all; {count(int(wrong.sum()))} of all labels looked at are wrong."
        )
        grid = replace(grid, title=f"{TITLE}: {share_of} are wrong", notes=(*grid.notes, note))
    return Section(title=DOUBTS, grids=(NamedTable(name="suspects", grid=grid, frame=frame),))


def read_scores(run: Run, backend: str) -> tuple[pd.DataFrame, HeldOutScores, np.ndarray]:
    """Read the scores of validation and test, and those of train out of fold if there are any, product by product.

    Parameters
    ----------
    run : Run
    backend : str

    Returns
    -------
    products : DataFrame
        product_id, split, role and category, in the order of the scores.
    scores : HeldOutScores
        Of the products with a readable image and a category that occurs in train.
    keys : ndarray of object
        Categories by code.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    path = run.file("predictions", backend)
    with reading(path):
        frame = pq.read_table(path, columns=["product_id", "split", "role", "category"]).to_pandas()
    keys = np.array(sorted(frame.loc[frame["split"] == "train", "category"].unique()), object)
    parts = []
    for path in filter(Path.is_file, (run.file("out_of_fold", backend), run.file("scores", backend))):
        with reading(path):
            columns = ["product_id", "categories", "log_probabilities", "log_rest"]
            parts += [
                _entries(batch, pa.array(keys, pa.string()))
                for batch in pq.ParquetFile(path).iter_batches(batch_size=1 << 15, columns=columns)
            ]
    identifiers = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.int64)
    frame["label"] = pd.Index(keys).get_indexer(frame["category"]).astype(np.int64)
    known = frame[frame["label"] >= 0].set_index("product_id", drop=False)
    owner = known.index.get_indexer(identifiers)
    lengths = np.concatenate([part[1] for part in parts]) if parts else np.empty(0, np.int64)
    # images in the order of their products, and entries with them; unknown products come first and are dropped
    order = np.argsort(owner, kind="stable")
    order = order[owner[order] >= 0]
    place = np.full(len(owner), -1, np.int64)
    place[order] = np.arange(len(order))
    row = np.repeat(place, lengths)
    entry_code, probability, rest = (
        np.concatenate([part[n] for part in parts]) if parts else np.empty(0) for n in (2, 3, 4)
    )
    kept = np.flatnonzero((row >= 0) & (entry_code >= 0))
    kept = kept[np.argsort(row[kept], kind="stable")]
    held, starts = np.unique(owner[order], return_index=True)
    products = known.iloc[held].reset_index(drop=True)
    scores = HeldOutScores(
        starts=starts,
        labels=products["label"].to_numpy(np.int64),
        classes=len(keys),
        row=row[kept],
        code=entry_code[kept].astype(np.int64),
        probability=probability[kept],
        rest=rest[order],
    )
    return products, scores, keys


def _entries(batch: pa.RecordBatch, keys: pa.Array) -> tuple[np.ndarray, ...]:
    """Products and numbers of entries of some images; categories and probabilities of the entries; rests."""
    lists = batch.column("categories")
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    scores = batch.column("log_probabilities").flatten().to_numpy(zero_copy_only=False)
    found = category_codes(lists.flatten(), keys)
    if not lengths.sum() == len(scores) == len(found):
        raise pa.ArrowInvalid("categories and log_probabilities differ in length")
    return (
        batch.column("product_id").to_numpy(zero_copy_only=False),
        lengths,
        found.astype(np.int32),
        np.exp(scores.astype(np.float32)),
        np.exp(batch.column("log_rest").to_numpy(zero_copy_only=False).astype(np.float64)),
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
        else "validation and test (--set report.out_of_fold=5 looks at train too)"
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
        title=f"{TITLE}: {USUALLY}",
        headers=("Rank", "Product", "Part", "Label", "Suggested", "Prob. of label", "Prob. of suggestion"),
        rows=rows,
        numeric=frozenset({0, 5, 6}),
        notes=(
            f"{count(found)} of {count(products)} products of {parts}: those whose label gets less than "
            f"{SUSPECT:.0%} of the probability that products with this label usually get, by the scores of "
            f"{data.name(data.chosen)}; the smallest share first. Probabilities: mean over a product's images, before "
            "calibration; the probability left outside an image's 100 best categories is spread evenly over the rest.",
            MEASURED,
            "These are for a person to check; nothing is chosen based on them. Removing or relabelling products of the "
            "certify half or of test because the model suspects them would void every certificate and flatter every "
            "measurement: check all labels of such a part, or none.",
        ),
    )
