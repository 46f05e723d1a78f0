"""The tables at the top of `results/README.md`, made from the records that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from tests.helpers.sources import ROOT

RESULTS = ROOT / "results"

NAMES = {
    "hog-svm": "HOG, linear SVM",
    "bottleneck-svm": "bottlenecks, linear SVM",
    "bottleneck-2nn-512": "bottlenecks, 2NN of 512 units",
    "bottleneck-2nn-2048": "bottlenecks, 2NN of 2,048 units",
    "bottleneck-2nn-4096": "bottlenecks, 2NN of 4,096 units",
    "finetuned-2nn-4096": "fine-tuned bottlenecks, 2NN of 4,096 units",
    "full-inception_v3": "Inception V3, trained end to end",
    "full-xception": "Xception, trained end to end",
    "bottleneck-svm@timm:tf_efficientnet_lite2": "bottlenecks of a network of timm, linear SVM",
    "bottleneck-svm@network.onnx": "bottlenecks of an ONNX file, linear SVM",
    "bottleneck-svm@features:embeddings.parquet": "embeddings of one's own, linear SVM",
}


# of photos: those that the search promises to find (docs/own-data.md)
COPIES = ("recompressed", "resized", "mirrored", "brighter by 10%", "darker by 10%", "cropped by 5%")


def read(path: str) -> pd.DataFrame:
    """A record below `results/`."""
    return pd.read_csv(RESULTS / path)


def table(headers: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    """A table in Markdown; all but the first columns are numbers."""
    headers = tuple(headers)
    lines = [headers, tuple("---" if number < left else "--:" for number in range(len(headers))), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def promised(run: str) -> str:
    """Precision, acceptance and what a certificate gives, by backend."""
    own = read(f"{run}/tables/table4.csv").query("split == 'test'").set_index("backend")
    sure = read(f"{run}/tables/certified.csv").query("target == 0.9 and measure == 'confidence'").set_index("backend")
    rows = []
    for backend, row in own.iterrows():
        found = sure.loc[backend]
        kept = (
            [f"{found[name]:.1%}" for name in ("certified_acceptance", "certified_precision_test", "mix_precision")]
            if found["certified"]
            else ("none", "–", "–")
        )
        rows.append(
            (NAMES[backend], f"{row['precision']:.3f}", f"{row['acceptance_90']:.3f}", *kept, f"{row['seconds']:.0f}")
        )
    return table(
        (
            "backend",
            "precision",
            "acceptance at 0.9",
            "certified: accepted",
            "of those right on test",
            "at the catalogue's mix",
            "seconds",
        ),
        rows,
    )


def networks() -> str:
    """What other features and networks give on the same real products."""
    rows = []
    for run, wanted in (
        ("fashion-full", ("bottleneck-2nn-4096", "finetuned-2nn-4096", "full-inception_v3", "full-xception")),
        (
            "any-network",
            (
                "bottleneck-svm",
                "bottleneck-svm@timm:tf_efficientnet_lite2",
                "bottleneck-svm@network.onnx",
                "bottleneck-svm@features:embeddings.parquet",
            ),
        ),
    ):
        own = read(f"{run}/tables/table4.csv").query("split == 'test'").set_index("backend")
        rows += [
            (
                f"[{run}]({run}/report.html)",
                NAMES[name],
                f"{own.loc[name, 'precision']:.3f}",
                f"{own.loc[name, 'acceptance_90']:.3f}",
                f"{own.loc[name, 'seconds']:,.0f}",
            )
            for name in wanted
        ]
    return table(("page", "backend", "precision", "acceptance at 0.9", "seconds"), rows, left=2)


def decisions() -> str:
    """What was simulated or counted before a promise was written down."""
    watch = read("decisions/watch.csv")
    ours = watch[watch["monitor"] == "shelfbench"].set_index("case")
    fell = ours["labels_median"].dropna()
    label = read("decisions/label.csv").query("shop == 'all' and labels == 200").set_index("rule")
    small = read("decisions/small-shops.csv")
    copies = read("decisions/near_duplicates.csv").dropna(subset=["found"])
    wanted = copies[copies["copies"].isin(COPIES)]
    strangers = read("decisions/strangers.csv")
    choose = read("choose.csv").query("data == 'fashion'")
    before, after = strangers["accepted_without"].sum(), strangers["accepted_with"].sum()
    rows = [
        (
            "[watch](decisions/watch.csv)",
            "flows just at the promise that are called broken in 5,000 labels (allowed: 5%)",
            f"{ours.loc['kept at 0.90', 'false_alarms']:.1%}",
        ),
        (
            "",
            "labels from a fall to 0.85 until it is seen, medians by when it falls",
            f"{fell.min():.0f} to {fell.max():.0f}",
        ),
        (
            "[label](decisions/label.csv)",
            "certified with 200 labels: drawn at random, and as `label` draws them",
            f"{label.loc['random', 'certified']:.1%} and {label.loc['label', 'certified']:.1%} of draws",
        ),
        (
            "[small shops](decisions/small-shops.csv)",
            "promises broken, the most of any simulated shop (allowed: 5%)",
            f"{small['missed'].max():.1%} of draws",
        ),
        (
            "[strangers](decisions/strangers.csv)",
            "products of other datasets that decisions accept, without and with the guard",
            f"{before:,} and {after:,} of {strangers['products'].sum():,}",
        ),
        (
            "[near-duplicates](decisions/near_duplicates.csv)",
            "copies found, the least of any kind that is to be found",
            f"{wanted['found'].min():.0f} of {wanted['tries'].iloc[0]:.0f}",
        ),
        (
            "[choose](choose.csv)",
            "the full study's winner, or tied with it, in ten draws of real products, at a share of its time",
            f"{choose['verdict'].isin(['winner', 'tied']).sum()} of {len(choose)}, "
            f"{choose['share'].min():.1%} to {choose['share'].max():.1%}",
        ),
    ]
    return table(("record", "what", "came out"), rows, left=3)


def scale() -> str:
    """What the largest inputs took."""
    total = read("scale/twenty_million.csv").query("products == 20000000 and stage == 'total'").iloc[0]
    memory = read("scale/memory.csv").query("images == 1000000")
    dask = read("scale/dask.csv").pivot_table(index="pair", columns="workers", values="seconds")
    kills = read("scale/dask_kills.csv").iloc[0]
    plan = read("scale/plan.csv").query("part == 'all'")
    plan = plan[plan["stage"].isna()]
    training = read("scale/training.csv").query("network == 'inception_v3' and part == 16").iloc[0]
    million = read("scale/million.csv").query("products == 1000000")
    million = million[~million["stage"].str.startswith("  ")]  # those below a run are parts of it
    rows = [
        (
            "[million](scale/million.csv)",
            "1,000,000 generated products in 5,263 categories, from drawing them to the report",
            f"{million['seconds'].sum() / 60:.0f} minutes, {million['peak_mib'].max() / 1024:.1f} GiB",
        ),
        (
            "[twenty_million](scale/twenty_million.csv)",
            "split to report, 20 million drawn products, one process",
            f"{total['seconds'] / 60:.1f} minutes, {total['peak_mib'] / 1024:.1f} GiB",
        ),
        (
            "[memory](scale/memory.csv)",
            "the most that any stage of a comparison holds at 1,000,000 images",
            f"{memory['own_mib'].max():,.0f} MiB",
        ),
        (
            "[dask](scale/dask.csv)",
            "two workers against one, the same network",
            " and ".join(f"{one:.2f}" for one in sorted((dask[1] / dask[2]).tolist())) + " times",
        ),
        (
            "[dask_kills](scale/dask_kills.csv)",
            f"rows lost, doubled or different after {kills['workers_killed']:.0f} workers were killed",
            f"{kills['lost'] + kills['doubled'] + kills['different']:.0f}",
        ),
        (
            "[plan](scale/plan.csv)",
            "time that was planned, as a share of what it took, least and most",
            f"{plan['ratio'].min():.2f} to {plan['ratio'].max():.2f}",
        ),
        (
            "[training](scale/training.csv)",
            "Inception V3 at 299 px, 64 images per update",
            f"{training['peak_mib'] / 1024:.1f} GiB, {training['seconds_per_image']:.3f} s per image",
        ),
    ]
    return table(("record", "what", "came out"), rows, left=3)


def speed() -> str:
    """Against what one would write instead: the fastest rows, and those short of their goal."""
    found = read("performance/performance.csv").dropna(subset=["ratio"])
    goal = found["goal"].str.extract(r"([\d.]+)x")[0].astype(float)
    rows = [
        (
            row["stage"],
            row["opponent"],
            f"{row['ratio']:.2g}" if row["ratio"] < 10 else f"{row['ratio']:.0f}",
            row["goal"],
        )
        for row in found[goal.notna()].drop_duplicates("stage").to_dict("records")
    ]
    chosen = [row for row in rows if not row[0].startswith("from JPEG")]
    short = sum(float(row[2]) < float(row[3].rstrip("x")) for row in chosen)
    shown = table(("stage", "opponent", "times as fast", "goal"), chosen, left=2)
    return f"{shown}\n\n{short} of {len(chosen)} rows miss their goal: [why](#speed-in-detail)."


def claims() -> str:
    """How many numbers of the papers came out how."""
    counts = read("claims.csv")["status"].value_counts()
    return table(("verdict", "claims"), [(status, str(number)) for status, number in counts.items()])


TABLES: dict[str, Callable[[], str]] = {
    "fashion": lambda: promised("fashion"),
    "generated": lambda: promised("default"),
    "networks": networks,
    "decisions": decisions,
    "scale": scale,
    "speed": speed,
    "claims": claims,
}
