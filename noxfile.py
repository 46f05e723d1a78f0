"""Sessions: bench (the comparison), tests, lowest, lint, docs, package, regress (speed), results (made again)."""

import os
import shlex
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint"]
nox.options.reuse_existing_virtualenvs = True

SOURCES = ("bench", "baselines", "deep")
# parameters, returns and raises of public docstrings
DOCSTRINGS = (
    "--isolated",
    "--select=DOC101,DOC102,DOC103,DOC201,DOC202,DOC402,DOC403,DOC501",
    "--style=numpy",
    "--arg-type-hints-in-docstring=True",
    "--check-return-types=False",
    "--check-yield-types=False",
    "--check-class-attributes=False",
)
# The committed results by name: what makes each, what it needs and how long it takes.
COMMITTED = tomllib.loads(Path(__file__).with_name("results").joinpath("made.toml").read_text(encoding="utf-8"))[
    "result"
]


def install(session: nox.Session, *extras: str) -> None:
    """Install shelfbench, editable, with extras."""
    session.install("-e", f".[{','.join(extras)}]" if extras else ".")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the comparison on the generated catalogue, or another study; arguments after -- go to ``shelfbench run``.

    Without ``--out`` it writes into ``results/local``, which git ignores.
    """
    install(session, "deep", "skimage")
    arguments = list(session.posargs)
    study = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "default"
    if not any(argument.split("=")[0] == "--out" for argument in arguments):
        arguments += ["--out", str(Path("results", "local", Path(study).stem))]
        session.log(f"writing into {arguments[-1]}; `-- --out mine` writes elsewhere")
    session.run("shelfbench", "run", study, *arguments)


@nox.session
def results(session: nox.Session) -> None:
    """Make the committed results again: all (a day on two cores), or those that are named after --, such as default.

    ``-- --stale`` names those whose code has changed since they were made. Real products are downloaded where they are
    missing.
    """
    unknown = set(session.posargs) - set(COMMITTED) - {"all", "--stale"}
    if unknown:
        session.error(f"{', '.join(sorted(unknown))}: name what to make after --: all, {', '.join(COMMITTED)}")
    install(session, "fetch", "test")
    if "--stale" in session.posargs:
        session.run("python", "-m", "tests.helpers.made", "--stale")
        return
    names = [name for name in session.posargs if name != "all"]
    for name in names or COMMITTED:
        make_again(session, name)


def make_again(session: nox.Session, name: str) -> None:
    """Run the commands of one result, and note which code made it."""
    if COMMITTED[name].get("note"):
        session.log(f"{name}: {COMMITTED[name]['note']}")
    places = {"work": session.create_tmp(), "here": str(Path.cwd()), "data": os.environ.get("SHELFBENCH_DATA", "")}
    for command in COMMITTED[name]["commands"]:
        words = [word.format(**places) for word in shlex.split(command)]
        if words[:2] == ["shelfbench", "run"]:
            folder = Path(words[words.index("--out") + 1])
            for record in (folder / "run.json", *folder.glob("seed-*/run.json")):
                record.unlink(missing_ok=True)  # it binds the folder to its old settings; git keeps it
        session.run(*words, external=words[0] in ("env", "nox"))
    session.run("python", "-m", "tests.helpers.made", "--note", name)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after -- go to pytest."""
    install(session, "test")
    if not os.environ.get("SHELFBENCH_DATA"):
        session.log("SHELFBENCH_DATA is not set: tests on real products are skipped")
    run_tests(session)
    if not session.posargs:
        session.run("python", "-m", "tests.torture", "--short")


def run_tests(session: nox.Session) -> None:
    """Run pytest on all cores."""
    # a file's tests share networks that take seconds to build; in the order of the folders the longest do not come last
    distribution = ("--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run("pytest", *distribution, *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows; arguments after -- go to pytest.

    The highest are those that ``nox -s tests`` installs.
    """
    session.install("uv")
    place = session.virtualenv.location
    session.run("uv", "pip", "install", "--python", place, "--resolution", "lowest-direct", "-e", ".[test]")
    run_tests(session)


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel and the sdist, install them into empty environments and use them there (downloads packages)."""
    install(session, "test")
    session.run("pytest", "-m", "slow or not slow", "tests/packaging", *session.posargs)


@nox.session
def torture(session: nox.Session) -> None:
    """Kill, flip bits, fill disks and fuzz for hours; arguments after -- go to ``python -m tests.torture``."""
    install(session, "test")
    session.run("python", "-m", "tests.torture", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, layers, docstrings and the rule of six; of paths after --, all but types and layers."""
    install(session, "lint")
    paths = [os.path.relpath(path) for path in session.posargs]
    session.run("ruff", "check", *(paths or ["."]))
    session.run("ruff", "format", "--check", *(paths or ["."]))
    documented = [path for path in paths or SOURCES if path.startswith(SOURCES)]
    if documented:
        session.run("flake8", *DOCSTRINGS, *documented)
    session.run("python", "tests/helpers/shape.py", *(paths or (*SOURCES, "tests", "noxfile.py")))
    if paths:
        session.log("types and layers hold for everything together and were not checked: nox -s lint")
    else:
        session.run("mypy")
        session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documents as a site into ``build/site``, and fail at any warning, such as a link that leads nowhere."""
    # the reference is read from the sources, so shelfbench itself need not be installed
    session.install(*nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]["docs"])
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def regress(session: nox.Session) -> None:
    """Measure speed against the code before, and fail where a row is slower by more than 10%.

    The code before is the merge base with main, or what ``-- --base REV`` names; ``-- --help`` lists the options. With
    ``full`` after --, measure against what a user would write instead, at the sizes of the goals, and write
    ``results/performance`` (hours on two cores).
    """
    install(session, "test")
    arguments = [argument for argument in session.posargs if argument != "full"]
    if "full" in session.posargs:
        measure_full_size(session, arguments)
    else:
        session.run("python", "-m", "tests.benchmarks.gate", *arguments)


def measure_full_size(session: nox.Session, arguments: list[str]) -> None:
    """Every row at the size of its goal, then the study, the table and the chart."""
    folder = Path("results", "performance")
    (folder / "records").mkdir(parents=True, exist_ok=True)
    # a process for each file: what ran before in one changes ratios by a third, and the peak of memory is a process's
    for path in sorted(Path("tests", "benchmarks").glob("test_*_speed.py")):
        name = path.stem.removeprefix("test_").removesuffix("_speed")
        record = folder / "records" / f"{name}.json"
        measured = ("--benchmark-enable", "--benchmark-columns=median,iqr,rounds", "--capture=no", "-p", "no:xdist")
        session.run("pytest", str(path), *measured, "--full-size", "--benchmark-json", str(record), *arguments)
        for older in record.parent.glob(f"{name}-*.json"):  # some of its rows, measured apart
            older.unlink()
    if os.environ.get("SHELFBENCH_DATA"):
        record = folder / "records" / "study.json"  # after an hour and a half the opponent is stopped
        session.run("python", "-m", "tests.benchmarks.study", session.create_tmp(), str(record), "5400")
    else:
        session.log("SHELFBENCH_DATA is not set: the study of real products is skipped")
    session.run("python", "-m", "tests.benchmarks.summary", str(folder))
