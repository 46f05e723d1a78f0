"""Sessions: bench (the comparison), tests, lint, regress (speed ratios), paper (both papers on real products)."""

import os
from pathlib import Path

import nox
from nox.command import CommandFailed

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


MEASURED = ("--benchmark-enable", "--benchmark-columns=median,iqr,rounds", "--capture=no", "-p", "no:xdist")
# A process for each: what ran before in a process changes ratios by a third, and the peak of memory is a process's.
SPEED = sorted(Path("tests", "benchmarks").glob("test_*_speed.py"))


@nox.session
def regress(session: nox.Session) -> None:
    """Measure speed against what a user would write instead, and fail where a ratio is under its floor.

    With ``full`` after --, measure at the sizes of the goals and write ``results/performance`` (hours on two cores).
    """
    install(session, "test")
    arguments = [argument for argument in session.posargs if argument != "full"]
    if "full" in session.posargs:
        measure_full_size(session, arguments)
        return
    folder = Path("benchmarks")
    folder.mkdir(exist_ok=True)
    for older in folder.glob("*.json"):
        older.unlink()
    # other work of the machine is no slow-down, nor is the luck of a process: a row fails where it does so twice
    left = SPEED
    for turn, only in (("first", []), ("second", ["--last-failed"])):
        records = {path: folder / f"{path.stem}-{turn}.json" for path in left}
        left = [path for path, record in records.items() if not holds(session, path, record, *only, *arguments)]
    if left:
        session.error(f"under a floor or not equal, twice: {', '.join(map(str, left))}")


def holds(session: nox.Session, path: Path, record: Path, *arguments: str) -> bool:
    """Whether a file's rows are equal and at least at their floors, or none of them was asked for."""
    try:
        session.run("pytest", str(path), *MEASURED, "--benchmark-json", str(record), *arguments, success_codes=[0, 5])
    except CommandFailed:
        return False
    return True


def measure_full_size(session: nox.Session, arguments: list[str]) -> None:
    """Every row at the size of its goal, then the study, the table and the chart."""
    folder = Path("results", "performance")
    (folder / "records").mkdir(parents=True, exist_ok=True)
    for path in SPEED:
        name = path.stem.removeprefix("test_").removesuffix("_speed")
        record = folder / "records" / f"{name}.json"
        session.run("pytest", str(path), *MEASURED, "--full-size", "--benchmark-json", str(record), *arguments)
        for older in record.parent.glob(f"{name}-*.json"):  # some of its rows, measured apart
            older.unlink()
    if os.environ.get("SHELFBENCH_DATA"):
        record = folder / "records" / "study.json"  # after an hour and a half the opponent is stopped
        session.run("python", "tests/benchmarks/study.py", session.create_tmp(), str(record), "5400")
    else:
        session.log("SHELFBENCH_DATA is not set: the study of real products is skipped")
    session.run("python", "tests/benchmarks/summary.py", str(folder))


@nox.session
def paper(session: nox.Session) -> None:
    """Make the papers' tables and figures on real products (fetched if they are not here); takes hours on a CPU."""
    install(session, "fetch")
    for study in session.posargs or ["timing", "fashion-full", "heads", "finetuning", "multilabel", "xception"]:
        session.run("shelfbench", "run", study)
