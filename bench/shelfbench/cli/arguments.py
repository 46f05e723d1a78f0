"""The command line of ``shelfbench``: its verbs, their options, and the help for each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from shelfbench.base.errors import InputError
from shelfbench.base.processor import cores
from shelfbench.base.version import __version__
from shelfbench.cli.caring import add_caring
from shelfbench.cli.comparing import add_compare
from shelfbench.cli.completion import SHELLS, PrintCompletion
from shelfbench.cli.errors import add_errors
from shelfbench.cli.labelling import add_label
from shelfbench.cli.money import add_prices
from shelfbench.cli.spreading import add_features, add_workers

ABOUT = """Which image classifier should categorise a shop's products, how much of the flow can it take
without a person while staying at least 90% right, and what does that cost?"""


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        """Raise an `InputError` for wrong usage."""
        raise InputError(message, f"see {self.prog} --help")


def folder(text: str) -> Path:
    """Read a path, expanding ``~`` to the user's home."""
    if not text:
        raise InputError("an empty path", "name a folder")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text}: {error}", "write the full path") from None


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise InputError(f"{text[:20]!r} is not a whole number of at least 1", "give one, like 2")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    top = _Parser(
        prog="shelfbench",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: shelfbench run --dataset PATH --out results/mine\n"
        "pages such as docs/dask.md are in the repository that shelfbench was installed from",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"shelfbench {__version__}")
    top.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        help=f"print the completion script for {', '.join(SHELLS[:-1])} or {SHELLS[-1]} (docs/command-line.md)",
    )
    telling = _Parser(add_help=False)
    either = telling.add_mutually_exclusive_group()
    either.add_argument("--quiet", action="store_true", help="no logs and no progress")
    either.add_argument("--verbose", action="store_true", help="also the time of each stage, and the files it uses")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", title="verbs")

    def verb(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {example}",
            parents=[telling],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        return made

    one = verb(
        "run",
        "run a study: from a catalogue to tables, figures and a page; prints the table of backends; exit 0, 1 if "
        "something failed, 2 for wrong input or a package that is missing",
        "shelfbench run --dataset photos/ --backend hog-svm --backend bottleneck-2nn-2048 --out results/mine",
    )
    one.add_argument(
        "study",
        nargs="?",
        metavar="STUDY",
        help="default, fashion, cdiscount ... (docs/studies.md), or the path of a TOML file; "
        "default: own with --dataset, otherwise default",
    )
    one.add_argument(
        "--dataset",
        metavar="NAME|PATH",
        help="a named dataset; a folder of images, with subfolders or a table of names; a table (*.csv, *.tsv, *.xlsx, "
        "*.jsonl, *.parquet) with paths or URLs; Parquet files, *.tar or *.bson with images; hf:ORG/NAME, s3://, gs://",
    )
    one.add_argument("--data", type=folder, metavar="DIR", help="folder with the named dataset")
    one.add_argument("--backend", action="append", metavar="NAME", help="run these instead of the study's (repeatable)")
    one.add_argument(
        "--out",
        type=folder,
        metavar="DIR",
        help="run directory; default: results/STUDY; a run that is already there is resumed",
    )
    one.add_argument("--repair", action="store_true", help="make anew what has changed on the disk since it was made")
    one.add_argument("--seed", type=int, metavar="N", help="seed of split and training; default: the study's, mostly 0")
    one.add_argument(
        "--seeds",
        type=positive,
        metavar="N",
        help="so many draws of split and training, with means, spreads and tiers over them; default of --out: "
        "results/STUDY-seeds",
    )
    one.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the study, like backbone=net.onnx or split.min_products=10 (repeatable)",
    )
    add_workers(one, positive)
    add_prices(one)
    add_features(verb, folder, positive)
    one = verb(
        "plan",
        "estimate what a study will take before it runs: time, memory, disk, what is read, and money",
        "shelfbench plan --dataset photos/",
    )
    one.add_argument("study", nargs="?", metavar="STUDY", help="as for run")
    one.add_argument("--dataset", metavar="NAME|PATH", help="as for run")
    one.add_argument("--data", type=folder, metavar="DIR", help="folder with the named dataset")
    one.add_argument("--backend", action="append", metavar="NAME", help="plan these instead (repeatable)")
    one.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the study (repeatable)"
    )
    one.add_argument("--images", type=positive, metavar="N", help="plan for N images instead of the dataset's")
    one.add_argument("--categories", type=positive, metavar="K", help="plan for K categories instead of the dataset's")
    one.add_argument(
        "--machines",
        type=positive,
        metavar="M",
        help="divide what can be divided among M such machines: what that takes beside one machine, and the commands "
        "for it",
    )
    one.add_argument("--price", metavar="COST", help="what an hour of a machine costs: also show the plan in money")
    one.add_argument("--again", action="store_true", help="repeat measurements already made on this machine")
    one.add_argument("--workers", type=positive, metavar="N", help="as for run; default: cores")
    one = verb(
        "choose",
        "choose among backends in a small share of a study's time, on growing parts of train",
        "shelfbench choose --dataset photos/ --budget 15%",
    )
    one.add_argument("study", nargs="?", metavar="STUDY", help="as for run")
    one.add_argument("--dataset", metavar="NAME|PATH", help="as for run")
    one.add_argument("--data", type=folder, metavar="DIR", help="folder with the named dataset")
    one.add_argument("--backend", action="append", metavar="NAME", help="a candidate, not the study's (repeatable)")
    one.add_argument(
        "--budget",
        default="15%",
        metavar="SHARE|TIME",
        help="a share of the full study's time (15%%), or minutes (10m), also for few products; default: 15%%",
    )
    one.add_argument("--out", type=folder, metavar="DIR", help="also keep a record, a table, a figure and a page here")
    one.add_argument("--seed", type=int, metavar="N", help="seed of split, parts and training")
    one.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the study (repeatable)"
    )
    one.add_argument("--workers", type=positive, default=cores(), metavar="N", help="as for run; default: cores")
    add_errors(verb, folder)
    add_compare(verb, folder, positive)
    one = verb(
        "merge",
        "put results of several runs and machines side by side, on the same split of the same data: tables and a page",
        "shelfbench merge results/cpu results/gpu --out results/both",
    )
    one.add_argument("directories", type=folder, nargs="+", metavar="DIR", help="run directories, at least two")
    one.add_argument(
        "--out",
        type=folder,
        default=Path("results", "merged"),
        metavar="DIR",
        help="a new folder, or that of an earlier merge; default: results/merged",
    )
    one = verb(
        "claims",
        "compare every number of the papers with what runs measured",
        "shelfbench claims results",
    )
    one.add_argument(
        "directory",
        nargs="?",
        type=folder,
        default=Path("results"),
        metavar="DIR",
        help="a run directory, or a folder of run directories; default: results",
    )
    one = verb("datasets", "list the named datasets and where they are", "shelfbench datasets")
    one = verb("backends", "list the installed backends", "shelfbench backends")
    one = verb(
        "new-backend",
        "write a package of your own with a backend, its entry point, tests and README, which passes as it is",
        "shelfbench new-backend my-backend",
    )
    one.add_argument("name", metavar="NAME", help="of the backend: small letters, digits and hyphens")
    one.add_argument("--out", type=folder, metavar="DIR", help="a new or empty folder; default: shelfbench-NAME")
    one = verb("fetch", "download a named dataset into the cache", "shelfbench fetch fashion")
    one.add_argument("name", metavar="NAME", help="fashion or cdiscount")
    one = verb(
        "generate",
        "write a generated catalogue in Kaggle's BSON layout into a new folder",
        "shelfbench generate catalogue --products 2000 --set label_noise=0.1",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a new or empty folder")
    one.add_argument("--products", type=int, metavar="N", help="number of products; default: 6000")
    one.add_argument("--counts", metavar="FILE", help="CSV of name,count (no header): the categories and their sizes")
    one.add_argument("--seed", type=int, metavar="N", help="seed; default: 0")
    one.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another setting: departments, categories, skew, label_noise, books, lookalikes ... (repeatable)",
    )
    one.add_argument("--workers", type=positive, default=cores(), metavar="N", help="processes; default: cores")
    one = verb(
        "report",
        "remake the tables, figures and page of a run",
        "shelfbench report results/mine",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    add_prices(one)
    one = verb(
        "decide",
        "decide whether a backend may be deployed: PASS (exit 0), FAIL (3) or INCONCLUSIVE (4); writes a folder",
        "shelfbench decide results/mine bottleneck-2nn-4096 --precision 0.9 --confidence 0.95 --out decision",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    one.add_argument(
        "backend",
        nargs="+",
        metavar="BACKEND",
        help="one of its backends; several are tested together, and the best that passes is kept",
    )
    one.add_argument(
        "--precision",
        action="append",
        default=[],
        metavar="[LEVEL=]P",
        help="share of accepted products that must be right; default: 0.9, or that of --labelled; with --levels also "
        "by level (level1=0.97, level2=off)",
    )
    one.add_argument(
        "--levels",
        action="store_true",
        help="answer at a level above the category where that is not sure enough (docs/ladder.md)",
    )
    one.add_argument(
        "--confidence", metavar="P", help="probability with which that holds; default: 0.95, or that of --labelled"
    )
    one.add_argument("--out", type=folder, required=True, metavar="FOLDER", help="the decision's folder")
    one.add_argument(
        "--measure",
        action="append",
        metavar="M",
        help="measure of confidence: probability, margin or entropy; default: probability (several: as for BACKEND)",
    )
    one.add_argument("--all-categories", action="store_true", help="do not switch any category off")
    one.add_argument(
        "--walk",
        choices=("tuned", "first"),
        default="tuned",
        help="where the tests of thresholds begin: where tune promises the most, or as before version 0.2",
    )
    one.add_argument(
        "--mix",
        metavar="FILE",
        help="promise for your own flow: a CSV of category and share, or the word catalogue for the catalogue's counts",
    )
    one.add_argument("--onnx", action="store_true", help="also write the network as model.onnx")
    add_prices(one)
    one.add_argument(
        "--labelled",
        type=folder,
        metavar="FILE",
        help="certify on the table of label, filled in, not on certify",
    )
    add_label(verb, folder, positive)
    one = verb(
        "classify",
        "classify products with a decision, or send them to review",
        "shelfbench classify decision photos/ --out categories.csv",
    )
    one.add_argument("decision", type=folder, metavar="DECISION", help="the folder written by decide")
    one.add_argument(
        "paths",
        type=folder,
        nargs="+",
        metavar="PATH",
        help="images, folders, tables such as *.csv, *.parquet, *.tar or *.bson",
    )
    one.add_argument("--out", type=folder, metavar="FILE", help="*.csv, *.jsonl or *.parquet; default: CSV on stdout")
    one.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="dataset.file_name=photo, dataset.product_id=id"
    )
    one.add_argument("--format", choices=("csv", "jsonl", "parquet"), help="default: from the suffix of --out")
    one.add_argument("--workers", type=positive, default=cores(), metavar="N", help="as for run; default: cores")
    one = verb(
        "watch",
        "say whether a decision in use still keeps its promise: OK (exit 0), WARNING (4) or BROKEN (3)",
        "shelfbench watch decision labelled.csv",
    )
    one.add_argument("decision", type=folder, metavar="DECISION", help="the folder written by decide")
    one.add_argument(
        "labelled",
        type=folder,
        metavar="FILE",
        help="*.csv, *.jsonl or *.parquet with product_id, predicted, category (the true one, or empty), and perhaps "
        "confidence, time, accepted, reason; with a decision of several levels also level",
    )
    one.add_argument("--state", type=folder, metavar="FILE", help="what was seen; default: DECISION-watch.npz")
    add_caring(verb)
    return top
