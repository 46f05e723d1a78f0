"""The command ``shelfbench``: one function per verb, each importing what it needs, so that --help is instant."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bench import __version__
from bench.errors import InputError, RunError, ShelfbenchError

if TYPE_CHECKING:
    from bench.console import Console

ABOUT = """Which image classifier should categorise a shop's products, how much of the flow can it take
without a person while staying at least 90% right, and what does that cost?"""


class _Parser(argparse.ArgumentParser):
    """Errors in one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Report wrong use."""
        raise InputError(message, f"see {self.prog} --help")


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


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


def run(options: argparse.Namespace, console: Console) -> None:
    """Run a study and print Table 4."""
    from bench.harness import run_study
    from bench.study import parse_setting, read_study

    overrides = [parse_setting(text) for text in options.set]
    if options.dataset is not None:
        overrides.append((["dataset", "name"], options.dataset.rstrip("/") or options.dataset))
    if options.backend:
        overrides.append((["backends"], options.backend))
    if options.seed is not None:
        overrides.append((["seed"], options.seed))
    study = read_study(options.study, overrides)
    out = options.out or Path("results") / study.name
    console.log(f"study {study.name}: {study.title}")
    command = shlex.join(["shelfbench", *(options.arguments)])
    print(run_study(study, options.data, out, options.workers, console, command))
    page = out / "report.html"
    console.log(f"results: {page if page.is_file() else out}")


def plan(options: argparse.Namespace, console: Console) -> None:
    """Tell what a study will take before it runs."""
    from bench.plan import plan_study, plan_text
    from bench.study import parse_setting, read_study

    overrides = [parse_setting(text) for text in options.set]
    if options.dataset is not None:
        overrides.append((["dataset", "name"], options.dataset.rstrip("/") or options.dataset))
    if options.backend:
        overrides.append((["backends"], options.backend))
    study = read_study(options.study, overrides)
    found = plan_study(study, options.data, options.workers, console, images=options.images or 0, again=options.again)
    print(plan_text(found))


def report(options: argparse.Namespace, console: Console) -> None:
    """Make tables, figures and page again from a run directory."""
    from bench.report.build import report_again

    print(report_again(options.directory, console))
    console.log(f"results: {options.directory}")


def compare(options: argparse.Namespace, console: Console) -> None:
    """Compare two backends of a run, or all."""
    from bench.report.comparison import compare_text

    named = [name for name in (options.first, options.second) if name is not None]
    print(
        compare_text(options.directory, named, target=options.precision, resamples=options.resamples, seed=options.seed)
    )


def claims(options: argparse.Namespace, console: Console) -> None:
    """Hold the papers' numbers against what was measured."""
    from bench.report.ledger import write_claims

    print(write_claims(options.directory, console))


def decide(options: argparse.Namespace, console: Console) -> int:
    """Decide whether a backend of a run may be switched on, and write the decision."""
    from bench.deciding import choice, decide_run

    command = shlex.join(["shelfbench", *options.arguments])
    text, code = decide_run(options.directory, options.backend, options.out, choice(options), command, console)
    print(text)
    return code


def classify(options: argparse.Namespace, console: Console) -> None:
    """Classify products by a decision."""
    from bench.classifying import classify as run_classify
    from bench.classifying import columns

    settings = columns(options.set)
    run_classify(options.decision, options.paths, settings, options.out, options.format, options.workers, console)


def datasets(options: argparse.Namespace, console: Console) -> None:
    """List the named datasets and where they are."""
    from bench.data.datasets import find_named, named_datasets

    for name, dataset in named_datasets().items():
        where = None if dataset.method == "generate" else find_named(name, None)
        place = (
            "made on this machine when a run needs it"
            if dataset.method == "generate"
            else (f"at {where}" if where else f"not here; shelfbench fetch {name} downloads {dataset.size}")
        )
        print(f"{name}\n  {dataset.title}: {dataset.about}\n  licence: {dataset.licence}\n  {place}")


def backends(options: argparse.Namespace, console: Console) -> None:
    """List the installed backends."""
    from bench.backend import available, find

    names = available()
    width = max(map(len, names), default=0)
    for name in names:
        try:
            summary = find(name).summary
        except ShelfbenchError as error:
            summary = f"not usable: {error.message}"
        print(f"{name:{width}}  {summary}")


def fetch(options: argparse.Namespace, console: Console) -> None:
    """Download a named dataset."""
    from bench.data.datasets import fetch as fetch_dataset

    print(fetch_dataset(options.name, console))


def generate(options: argparse.Namespace, console: Console) -> None:
    """Write a generated catalogue into a folder."""
    from bench.data.generator import GeneratorSettings
    from bench.data.generator import generate as write_catalogue
    from bench.storage import storage_errors
    from bench.study import build_section, parse_setting

    table = {}
    for text in options.set:
        path, value = parse_setting(text)
        if path[0] == "generated" and len(path) == 2:
            path = path[1:]
        if len(path) != 1:
            raise InputError(
                f"--set {text!r} is no setting of the generated catalogue", "write for example --set books=false"
            )
        table[path[0]] = value
    for name in ("products", "counts", "seed"):
        if getattr(options, name) is not None:
            table[name] = getattr(options, name)
    settings = build_section(GeneratorSettings, table, "generated", "generate")
    target = options.directory
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is not an empty folder", "name a new one")
    with storage_errors(target):
        write_catalogue(target, settings, console, options.workers)
    print(target)


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

    def verb(name: str, function: object, summary: str, example: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {example}",
            parents=[quiet],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        made.set_defaults(function=function)
        return made

    one = verb(
        "run",
        run,
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
        plan,
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
        compare,
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
        claims,
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
    one = verb("datasets", datasets, "list the named datasets and where they are", "shelfbench datasets")
    one = verb("backends", backends, "list the installed backends", "shelfbench backends")
    one = verb("fetch", fetch, "download a named dataset into the cache", "shelfbench fetch fashion")
    one.add_argument("name", metavar="NAME", help="fashion or cdiscount")
    one = verb(
        "generate",
        generate,
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
        report,
        "make tables, figures and page again from a run directory",
        "shelfbench report results/default",
    )
    one.add_argument("directory", type=folder, metavar="DIR", help="a run directory")
    one = verb(
        "decide",
        decide,
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
        classify,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after ``shelfbench``; by default those of the process.

    Returns
    -------
    int
        0; 1 for a failed run; 2 for wrong input; 3 and 4 for a decision FAIL and INCONCLUSIVE; 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser().parse_args(words)
        options.arguments = words
        from bench.console import Console

        code = options.function(options, Console(options.quiet))
        sys.stdout.flush()
        return int(code or 0)
    except ShelfbenchError as error:
        return _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _say("stopped; the same command goes on where it was", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _say(str(RunError("out of memory", "use fewer products or categories, or a machine with more")), 1)
    except OSError as error:
        if error.filename is None:
            return _defect(error)
        return _say(f"{error.filename}: {error.strerror}; correct the path", 2)
    except Exception as error:
        return _defect(error)


def _defect(error: Exception) -> int:
    if os.environ.get("SHELFBENCH_DEBUG"):
        raise error
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return _say(f"unexpected {type(error).__name__}: {reason}; this is a defect: SHELFBENCH_DEBUG=1 shows where", 1)


def _say(message: str, code: int) -> int:
    print("shelfbench: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
