"""What an installation weighs and takes, and how long a stranger waits for the first curve.

::

    python -m tests.benchmarks.install results/install.csv --label core
    python -m tests.benchmarks.install results/install.csv --label deep --extras deep --nox

Packages are fetched into a folder first, which is not timed: what is timed is pip's own work and the command's, not the
network. The environment is new, and so are shelfbench's and matplotlib's caches. Rows of the same label are replaced.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyproject.toml", "noxfile.py", "README.md", "LICENSE", "bench", "baselines", "deep", "results/made.toml")
SMALL = ("--set", "generated.products=600", "--backend", "hog-svm")
FIELDS = ("label", "what", "value", "unit", "command", "python", "cores")
# Packages below this many MB are summed up.
SHOWN = 5.0


def main() -> None:
    """Measure, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--label", required=True, help="what the rows are called")
    parser.add_argument("--extras", default="", help="such as deep")
    parser.add_argument("--revision", default="", help="of the code; by default the working tree")
    parser.add_argument("--nox", action="store_true", help="also from nothing to a curve by nox -s bench")
    parser.add_argument("--wheels", type=Path, help="where fetched packages stay, for the next time")
    parser.add_argument("--folder", type=Path, help="where to work, on a disk with 5 GB free")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="install-") as name:
        rows = measured(Path(name), options)
    before = list(csv.DictReader(options.out.open())) if options.out.exists() else []
    kept = [row for row in before if row["label"] != options.label]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    same = {"label": options.label, "python": platform.python_version(), "cores": str(cores)}
    with options.out.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *(same | row for row in rows)])
    for row in rows:
        print(f"{row['what']:32} {row['value']:>10} {row['unit']}")


def measured(folder: Path, options: argparse.Namespace) -> list[dict[str, str]]:
    """Install into a new environment in a folder, and run there."""
    source = copied(folder / "source", options.revision)
    what = f".[{options.extras}]" if options.extras else "."
    wheels = (options.wheels or folder / "wheels").absolute()
    run(sys.executable, "-m", "pip", "download", "--quiet", "--dest", wheels, what, "setuptools>=77", cwd=source)
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_NO_CACHE_DIR": "1"}
    fresh = offline | {"SHELFBENCH_CACHE": str(folder / "cache"), "MPLCONFIGDIR": str(folder / "mpl")}
    python = folder / "env" / "bin" / "python"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    first = (python.parent / "shelfbench", "run", "default", *SMALL, "--out", "small")
    making = run(sys.executable, "-m", "venv", folder / "env", cwd=folder, **offline)
    started = time.perf_counter()
    run(python, "-m", "pip", "install", "--quiet", what, cwd=source, **offline)
    installing = time.perf_counter() - started
    curve = run(*first, cwd=elsewhere, **fresh)
    shown = f"pip install '{what}'" if options.extras else f"pip install {what}"
    command = f"shelfbench run default {' '.join(SMALL)}"
    weights = sorted(((size_of(found), name) for name, found in installed(python).items()), reverse=True)
    rows = [row("site-packages", sum(size for size, _ in weights), "MB", shown)]
    rows += [row(name, size, "MB", shown) for size, name in weights if size >= SHOWN]
    rows += [row("other packages", sum(size for size, _ in weights if size < SHOWN), "MB", shown)]
    rows += [row("install", making + installing, "s", shown), row("first run", curve, "s", command)]
    rows += [row("from nothing to the first curve", making + installing + curve, "s", f"{shown}; {command}")]
    if options.nox:
        rows.append(by_nox(folder, source, fresh))
    return rows


def by_nox(folder: Path, source: Path, fresh: dict[str, str]) -> dict[str, str]:
    """Measure the command of the README from an environment without nox."""
    shutil.rmtree(folder / "env")  # two would take twice the disk
    wheels = fresh["PIP_FIND_LINKS"]
    # the extras that the session `bench` installs
    run(sys.executable, "-m", "pip", "download", "--quiet", "--dest", wheels, "nox", ".[deep,skimage]", cwd=source)
    fresh = fresh | {"SHELFBENCH_CACHE": str(folder / "other-cache"), "MPLCONFIGDIR": str(folder / "other-mpl")}
    python = folder / "env-nox" / "bin" / "python"
    seconds = run(sys.executable, "-m", "venv", folder / "env-nox", cwd=folder)
    seconds += run(python, "-m", "pip", "install", "--quiet", "nox", cwd=source, **fresh)
    seconds += run(python.parent / "nox", "-s", "bench", "--", *SMALL, cwd=source, **fresh)
    return row("nox -s bench", seconds, "s", f"pip install nox && nox -s bench -- {' '.join(SMALL)}")


def row(what: str, value: float, unit: str, command: str) -> dict[str, str]:
    """Make one row."""
    return {"what": what, "value": f"{value:.1f}", "unit": unit, "command": command}


def copied(folder: Path, revision: str) -> Path:
    """Copy what a package is built from, as git has it; a build folder of the checkout may hold other modules."""
    folder.mkdir()
    tree = revision or subprocess.check_output(["git", "stash", "create"], cwd=ROOT, text=True).strip() or "HEAD"
    packed = subprocess.run(["git", "archive", tree, *PARTS], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


def run(*command: str | Path, cwd: Path, **environment: str) -> float:
    """Run a command that sees nothing of this checkout, and return its seconds."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if "PIP_NO_INDEX" in environment:  # nothing but what was fetched
        kept = {name: value for name, value in kept.items() if not name.startswith("PIP_")}
        environment |= {"PIP_CONFIG_FILE": os.devnull}
    started = time.perf_counter()
    words, seen = [str(part) for part in command], kept | environment
    done = subprocess.run(words, cwd=cwd, env=seen, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return time.perf_counter() - started


def installed(python: Path) -> dict[str, Distribution]:
    """Find the packages of an environment by name."""
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = subprocess.check_output([python, "-c", asked], text=True).strip()
    return {found.metadata["Name"]: found for found in distributions(path=[place])}


def size_of(found: Distribution) -> float:
    """Compute the MB of a package's files, with the bytecode that pip compiled."""
    paths = {Path(str(entry.locate())) for entry in found.files or []}
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
