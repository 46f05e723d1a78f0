"""How many planted wrong labels does the list of suspects find, beside cleanlab's choice and plain sorting?

``nice python -m tests.simulations.suspects results/decisions/suspects.csv DIR...`` reads runs on generated catalogues,
whose truth is known. Those of the record were made for seeds 1 and 2 and shares of 0, 0.03 and 0.1 by::

    shelfbench run label-noise --set generated.products=5000 --set generated.seed=1 --set generated.label_noise=0.03
        --set report.pictures=false --set report.papers=false --set report.near_duplicates=off --backend bottleneck-svm
        --backend bottleneck-2nn-512 --backend hog-svm --out DIR

The last one has ``report.out_of_fold=4`` besides, one backend, and so the labels of train too.

The rule was settled on seed 1. A row is a backend of a run: its products of validation and test (and train), how many
of their labels are wrong, how many cleanlab chooses (confident learning, sorted by the label's probability) and how
many of these are wrong; how many are wrong among as many of the others' lists (``probability``: sorted by the label's
probability; ``ours``: `shelfbench.verdict.suspects`); the same among as many as there are wrong labels; and how many
labels ours lists by itself, how many of these are wrong, and which share.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.experimental.label_issues_batched import LabelInspector

from shelfbench.runs.directory import open_run
from shelfbench.runs.filed_scores import open_scores
from shelfbench.verdict.suspects import suspect_labels, usual

COLUMNS = (
    *("seed", "noise", "backend", "products", "wrong", "cleanlab_lists", "cleanlab_wrong", "probability_in_as_many"),
    *("ours_in_as_many", "probability_at_wrong", "ours_at_wrong", "ours_lists", "ours_wrong", "ours_share"),
)


def chosen_by_cleanlab(scores):
    """Products that confident learning chooses, the least probable label first."""
    inspector = LabelInspector(num_class=scores.classes, verbose=False)
    blocks = list(scores.blocks())
    for part, probabilities in blocks:
        inspector.update_confident_thresholds(scores.labels[part], probabilities)
    for part, probabilities in blocks:
        inspector.score_label_quality(scores.labels[part], probabilities)
    return np.asarray(inspector.get_label_issues(), np.int64)


def orders(scores):
    """All products by the label's probability, and by its share of what is usual."""
    own = np.empty(len(scores.labels))
    for part, probabilities in scores.blocks():
        own[part] = probabilities[np.arange(len(probabilities)), scores.labels[part]]
    ratio = own / usual(own, scores.labels, scores.classes)
    return np.argsort(own, kind="stable"), np.argsort(ratio, kind="stable")


def compare(run, backend, truth):
    """One row of the table, from `products` on."""
    scores = open_scores(run, backend)
    products = scores.products
    wrong = truth.reindex(products["product_id"]).to_numpy() != products["category"].to_numpy(object)
    theirs, ours, total = chosen_by_cleanlab(scores), suspect_labels(scores).product, int(wrong.sum())
    plain, usually = orders(scores)
    counts = [wrong[order[:length]].sum() for length in (len(theirs), total) for order in (plain, usually)]
    share = wrong[ours].mean() if len(ours) else 0.0
    return [len(wrong), total, len(theirs), wrong[theirs].sum(), *counts, len(ours), wrong[ours].sum(), f"{share:.3f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out")
    parser.add_argument("runs", nargs="+")
    options = parser.parse_args()
    with open(options.out, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for path in options.runs:
            run = open_run(Path(path))
            made = json.loads((run.path / "run.json").read_text(encoding="utf-8"))["study"]["generated"]
            truth = pd.read_parquet(run.path / "truth.parquet").set_index("product_id")["true_category"]
            for backend in run.backends:
                writer.writerow([made["seed"], made["label_noise"], backend, *compare(run, backend, truth)])


if __name__ == "__main__":
    main()
