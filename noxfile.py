"""Sessions: bench (the comparison), tests, lint, regress (speed ratios), paper (both papers on real products)."""

import os
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, *extras: str) -> None:
    """Install shelfbench, editable, with extras."""
    session.install("-e", f".[{','.join(extras)}]" if extras else ".")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the comparison on the generated catalogue; arguments after -- go to shelfbench run."""
    install(session)
    session.run("shelfbench", "run", "default", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after -- go to pytest."""
    install(session, "test")
    if not os.environ.get("SHELFBENCH_DATA"):
        session.log("SHELFBENCH_DATA is not set: tests on real products are skipped")
    # a file's tests share networks that take seconds to build; in the order of the folders the longest do not come last
    distribution = ("--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run("pytest", *distribution, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("mypy")


@nox.session
def regress(session: nox.Session) -> None:
    """Measure speed against what a user would write instead, and fail where a ratio is under its floor.

    With ``full`` after --, measure at the sizes of the goals and write ``results/performance`` (hours on two cores).
    """
    install(session, "test")
    options = ["--benchmark-enable", "--benchmark-columns=median,iqr,rounds", "--capture=no", "-p", "no:xdist"]
    if "full" not in session.posargs:
        options += ["--benchmark-json", "benchmark.json"]
        session.run("pytest", "tests/benchmarks", *options, *session.posargs)
        return
    folder = Path("results", "performance")
    (folder / "records").mkdir(parents=True, exist_ok=True)
    arguments = [argument for argument in session.posargs if argument != "full"]
    for path in sorted(Path("tests", "benchmarks").glob("test_*_speed.py")):  # each in a process: memory is its own
        name = path.stem.removeprefix("test_").removesuffix("_speed")
        record = folder / "records" / f"{name}.json"
        session.run("pytest", str(path), *options, "--full-size", "--benchmark-json", str(record), *arguments)
        for older in record.parent.glob(f"{name}-*.json"):  # some of its rows, measured apart
            older.unlink()
    if os.environ.get("SHELFBENCH_DATA"):
        record = str(folder / "records" / "study.json")  # after an hour and a half the opponent is stopped
        session.run("python", "tests/benchmarks/study.py", session.create_tmp(), record, "5400")
    else:
        session.log("SHELFBENCH_DATA is not set: the study of real products is skipped")
    session.run("python", "tests/benchmarks/summary.py", str(folder))


@nox.session
def paper(session: nox.Session) -> None:
    """Make the papers' tables and figures on real products (fetched if they are not here); takes hours on a CPU."""
    install(session, "fetch")
    for study in session.posargs or ["timing", "fashion-full", "heads", "finetuning", "multilabel", "xception"]:
        session.run("shelfbench", "run", study)
