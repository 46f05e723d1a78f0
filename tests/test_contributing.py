"""CONTRIBUTING's drawing of the rooms is the code's structure."""

import re
import tomllib
import traceback
from pathlib import Path

import shelfbench.report.build
import shelfbench.runs.experiment
import shelfbench.study.read
from shelfbench.cli.main import main
from shelfbench.data.feature_store import FeatureStore
from shelfbench_baselines.linear_svm import LinearSVM
from tests.helpers.sources import ROOT

PACKAGES = {"bench": "shelfbench", "baselines": "shelfbench_baselines", "deep": "shelfbench_deep"}
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def drawn() -> dict[str, list[str]]:
    """Rooms of each package in the order of the drawing, from the top."""
    rooms: dict[str, list[str]] = {}
    [drawing] = re.findall(r"```text\n(bench/.*?)```", TEXT, re.DOTALL)
    for line in drawing.splitlines():
        name = line.split()[0].rstrip("/")
        if not line.startswith(" "):
            package = name.partition("/")[2]
            rooms[package] = []
        else:
            rooms[package].append(name)
    return rooms


def test_the_drawing_shows_every_room_and_no_other():
    there = {
        package: sorted(path.parent.name for path in (ROOT / top / package).glob("*/__init__.py"))
        for top, package in PACKAGES.items()
    }
    assert {package: sorted(rooms) for package, rooms in drawn().items()} == there


def test_the_order_of_the_drawing_is_the_contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = {contract["containers"][0]: contract["layers"] for contract in contracts if contract["type"] == "layers"}
    rooms = drawn()
    for package, order in layers.items():
        height = {name: number for number, layer in enumerate(order) for name in layer.split(" | ")}
        assert set(rooms[package]) <= set(height), package
        heights = [height[room] for room in rooms[package]]
        assert heights == sorted(heights), package


def listed() -> list[str]:
    """Files that one run of the comparison passes through."""
    [part] = re.findall(r"## One run, file by file\n(.*?)\n## ", TEXT, re.DOTALL)
    return re.findall(r"^\| `([^`]+\.py)` \|", part, re.MULTILINE)


def passed(monkeypatch, place, name: str, seen: set[str]) -> None:
    """Wrap a function so that the files on the stack are noted whenever it is called."""
    original = getattr(place, name)

    def noting(*args, **kwargs):
        stack = {Path(frame.filename).resolve() for frame in traceback.extract_stack()}
        seen.update(path.relative_to(ROOT).as_posix() for path in stack if path.is_relative_to(ROOT / "bench"))
        return original(*args, **kwargs)

    monkeypatch.setattr(place, name, noting)


def test_a_run_passes_through_at_most_nine_files(image_folder, tmp_path, monkeypatch):
    seen: set[str] = set()
    for place, name in (
        (shelfbench.study.read, "build_section"),
        (shelfbench.runs.experiment, "open_dataset"),
        (FeatureStore, "features"),
        (LinearSVM, "fit"),
        (LinearSVM, "log_probabilities"),
        (shelfbench.report.build, "write_report"),
    ):
        passed(monkeypatch, place, name, seen)
    words = ["run", "--dataset", str(image_folder), "--backend", "hog-svm", "--quiet", "--out", str(tmp_path / "run")]
    settings = ["split.min_products=5", "report.near_duplicates=off", "hog.pixels=32", "hog.cells=8", "svm.C=[0.01]"]
    assert main([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    files = listed()
    assert sorted(seen) == sorted(files)
    assert len(files) <= 9
    lines = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in files}
    assert sum(lines.values()) < 2000, f"{lines}: move what a reader of one run does not need to a neighbour"


def test_every_path_that_is_named_is_there():
    named = re.findall(r"`((?:bench|baselines|deep|docs|tests|results)/[\w./-]+)`", TEXT)
    assert named
    for path in named:
        assert (ROOT / path).exists() or path == "results/local/", path  # which git ignores
