"""The words of the command ``shelfbench``: verbs, options and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from shelfbench.base.errors import InputError
from shelfbench.base.processor import cores
from shelfbench.base.version import __version__

ABOUT = """Which image classifier should categorise a shop's products, how much of the flow can it take
without a person while staying at least 90% right, and what does that cost?"""


class _Parser(argparse.ArgumentParser):
    """Errors in one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Report wrong use."""
        raise InputError(message, f"see {self.prog} --help")


def folder(text: str) -> Path:
    """Path of a folder, ``~`` being the user's."""
    if not text:
        raise InputError("an empty path", "name a folder")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text}: {error}", "write the whole path") from None


def positive(text: str) -> int:
    """Whole number of at least 1."""
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise InputError(f"{text[:20]!r} is not a whole number of at least 1", "for example --workers 2")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    top = _Parser(
        prog="shelfbench",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: shelfbench run default",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"shelfbench {__version__}")
    quiet = _Parser(add_help=False)
    quiet.add_argument("--quiet", action="store_true", help="no logs and no progress bars")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")

    def verb(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {example}",
            parents=[quiet],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        return made

    one = verb(
        "run",
        "run a study: from a catalogue to tables, figures and a page; prints Table 4",
        "shelfbench run fashion --data ~/fashion --backend bottleneck-svm --out results/try",
    )
    one.add_argument(
        "study",
        nargs="?",
        default="default",
        metavar="STUDY",
        help="default, fashion, fashion-full, cdiscount ... (README), or the path of a TOML file; default: default",
    )
    one.add_argument(
        "--dataset", metavar="NAME|PATH", help="a named dataset, a *.bson, Parquet files, or a folder of images"
    )
    one.add_argument("--data", type=folder, metavar="DIR", help="folder that holds the named dataset")
    one.add_argument("--backend", action="append", metavar="NAME", help="run these instead of the study's (repeatable)")
    one.add_argument(
        "--out", type=folder, metavar="DIR", help="run directory; default: results/STUDY; a run in it goes on"
    )
    one.add_argument("--seed", type=int, metavar="N", help="seed of split and training")
    one.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the study, like split.min_products=10 (repeatable)",
    )
    one.add_argument(
        "--workers", type=positive, default=cores(), metavar="N", help="processes for decoding and HOG; default: cores"
    )
    one = verb(
        "plan",
        "tell what a study will take before it runs: time, memory and disk of every backend",
        "shelfbench plan fashion --data ~/fashion",
    )
    one.add_argument("study", nargs="?", default="default", metavar="STUDY", help="as of run; default: default")
    one.add_argument("--dataset", metavar="NAME|PATH", help="as of run")
    one.add_argument("--data", type=folder, metavar="DIR", help="folder that holds the named dataset")
    one.add_argument("--backend", action="append", metavar="NAME", help="plan these instead (repeatable)")
    one.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the study (repeatable)"
    )
    one.add_argument("--images", type=positive, metavar="N", help="plan for so many images instead of the dataset's")
    one.add_argument("--again", action="store_true", help="measure even what was measured before on this machine")
    one.add_argument("--workers", type=positive, default=cores(), metavar="N", help="as of run; default: cores")
    one = verb(
        "compare",
        "compare two backends of a run, product by product; without two names, all of them",
        "shelfbench compare results/default bottleneck-2nn-2048 bottleneck-svm",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    one.add_argument("first", nargs="?", metavar="A", help="a backend of the run")
    one.add_argument("second", nargs="?", metavar="B", help="another one")
    one.add_argument("--precision", default="0.9", metavar="P", help="precision that acceptance keeps; default: 0.9")
    one.add_argument("--resamples", type=positive, metavar="N", help="bootstrap resamples; default: 2000 or more")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the resamples; default: 0")
    one = verb(
        "claims",
        "hold every number of the papers against what runs measured",
        "shelfbench claims results",
    )
    one.add_argument(
        "directory",
        nargs="?",
        type=folder,
        default=Path("results"),
        metavar="DIR",
        help="a run directory, or a folder of them; default: results",
    )
    one = verb("datasets", "list the named datasets and where they are", "shelfbench datasets")
    one = verb("backends", "list the installed backends", "shelfbench backends")
    one = verb("fetch", "download a named dataset into the cache", "shelfbench fetch fashion")
    one.add_argument("name", metavar="NAME", help="fashion or cdiscount")
    one = verb(
        "generate",
        "write a generated catalogue in Kaggle's BSON layout into a new folder",
        "shelfbench generate catalogue --products 2000 --set label_noise=0.1",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a folder that is not there yet, or empty")
    one.add_argument("--products", type=int, metavar="N", help="number of products; default: 6000")
    one.add_argument("--counts", metavar="FILE", help="CSV of name,count (no header): categories and sizes to follow")
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
        "make tables, figures and page again from a run directory",
        "shelfbench report results/default",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    one = verb(
        "decide",
        "decide whether a backend may be switched on: PASS (exit 0), FAIL (3) or INCONCLUSIVE (4); writes a folder",
        "shelfbench decide results/fashion bottleneck-2nn-4096 --precision 0.9 --confidence 0.95 --out decision",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    one.add_argument("backend", metavar="BACKEND", help="one of its backends")
    one.add_argument("--precision", default="0.9", metavar="P", help="share of accepted products that must be right")
    one.add_argument("--confidence", default="0.95", metavar="P", help="probability with which that holds")
    one.add_argument("--out", type=folder, required=True, metavar="FOLDER", help="the decision's folder")
    one.add_argument(
        "--measure", default="probability", metavar="M", help="of confidence: probability, margin, entropy"
    )
    one.add_argument("--all-categories", action="store_true", help="switch no category off")
    one.add_argument("--onnx", action="store_true", help="write the network as model.onnx too")
    one = verb(
        "classify",
        "put products into categories by a decision, or send them to review",
        "shelfbench classify decision photos/ --out categories.csv",
    )
    one.add_argument("decision", type=folder, metavar="DECISION", help="the folder that decide wrote")
    one.add_argument("paths", type=folder, nargs="+", metavar="PATH", help="images, folders, *.parquet or *.bson")
    one.add_argument("--out", type=folder, metavar="FILE", help="*.csv, *.jsonl or *.parquet; default: CSV on stdout")
    one.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="dataset.product_id=id, dataset.image=photo"
    )
    one.add_argument("--format", choices=("csv", "jsonl", "parquet"), help="default: by the suffix of --out")
    one.add_argument("--workers", type=positive, default=cores(), metavar="N", help="as of run; default: cores")
    return top
