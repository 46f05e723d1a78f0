"""The ledger of the papers' numbers."""

import ast
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.report.build import build_report
from shelfbench.report.claims import load_claims, load_missing
from shelfbench.report.ledger import (
    DIFFERS,
    HELD,
    NOWHERE,
    OTHER,
    RunTables,
    find_runs,
    findings,
    judge,
)
from shelfbench.report.ledger_page import write_claims
from tests.helpers.synthetic_run import make_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with one run on products other than the papers'."""
    folder = tmp_path_factory.mktemp("results")
    build_report(make_run(folder / "one", products=2000))
    return folder


def test_every_number_of_the_ledger_is_there():
    numbers = {name.rstrip("b") for name in load_claims()}
    assert numbers == {f"C{n:02d}" for n in range(1, 45)} | {f"X{n:02d}" for n in range(1, 25)}


def test_the_tests_that_claims_name_are_there():
    named = [name for claim in load_claims().values() for name in claim.checked]
    for path in {name.partition("::")[0] for name in named}:
        defined = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert {name.partition("::")[2] for name in named if name.startswith(f"{path}::")} <= defined


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        ("C03", "7.6 times", NOWHERE),
        ("C16", "30.3 images/s", NOWHERE),
        ("C17", "76.4 days", DIFFERS),
        ("C18", "381.9 days", DIFFERS),
        ("C20", "27.8 hours", NOWHERE),
        ("C21", "5.8 days", NOWHERE),
        ("C24", "as printed, a rate of 1.4e-07 after one update", DIFFERS),
        ("C40", "the rejected 48.5% are 31.0% right", NOWHERE),
        ("X19", "4.31% with FC layers, 5.35% without", NOWHERE),
        ("X22", "3.37%", HELD),
    ],
)
def test_what_the_papers_own_numbers_give(name, text, status):
    found = judge(load_claims()[name], [])
    assert found.recomputed == text
    assert found.status == status


def test_what_rests_on_other_data_is_never_called_reproduced(runs):
    found = {one.claim.id: one for one in findings(runs)}
    for one in found.values():
        if one.status == HELD:
            assert one.claim.checked
            assert one.measured.startswith("see test_")
        if one.status == OTHER:
            assert one.on.startswith("one: ")
    assert found["C36"].status == OTHER
    assert found["C37"].status == NOWHERE  # the run has no fine-tuned backend
    assert found["C17"].status == DIFFERS


def test_measured_numbers_are_those_of_the_tables(runs):
    found = {one.claim.id: one for one in findings(runs)}
    table = pd.read_csv(runs / "one" / "tables" / "table4.csv").set_index(["backend", "split"])
    train, validation = (table.loc[("hog-svm", split), "precision"] for split in ("train", "validation"))
    assert found["C33"].measured == f"{train:.3f} train, {validation:.3f} validation"
    accepted = table.loc[("bottleneck-2nn-2048", "test"), "acceptance_90"]
    assert found["C40"].measured == f"{100 * accepted:.1f}% on test, 2NN-2048"
    heads = table[table.index.get_level_values("backend").str.contains("2nn")].xs("validation", level="split")
    assert found["C32"].measured.startswith(heads["acceptance_90"].idxmax())


def test_a_claim_takes_all_its_cells_from_one_run(tmp_path):
    for name, part in (("a", "train"), ("b", "validation")):
        (tmp_path / name / "tables").mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("{}")
        pd.DataFrame({"backend": ["hog-svm"], "split": [part], "precision": [0.5]}).to_csv(
            tmp_path / name / "tables" / "table4.csv", index=False
        )
    assert judge(load_claims()["C33"], find_runs(tmp_path)).status == NOWHERE


def test_real_products_come_before_generated_ones_and_cdiscount_first(tmp_path):
    for name, dataset in (("a", "generated"), ("b", "fashion"), ("c", "cdiscount"), ("d", "fashion")):
        (tmp_path / name).mkdir()
        record = {
            "dataset": {"name": dataset, "products": 5},
            "backends": {backend: {} for backend in ("xy" if name == "d" else "x")},
        }
        (tmp_path / name / "run.json").write_text(json.dumps(record))
    assert [run.path.name for run in find_runs(tmp_path)] == ["c", "d", "b", "a"]


def test_tables_are_written_beside_the_runs_or_into_the_run(runs, tmp_path):
    text = write_claims(runs, Console(quiet=True))
    frame = pd.read_csv(runs / "claims.csv", dtype=str, keep_default_na=False)
    assert list(frame["claim"]) == list(load_claims())
    assert set(frame["status"]) <= {HELD, DIFFERS, OTHER, NOWHERE}
    assert all(name in text for name in load_claims())
    write_claims(runs / "one", Console(quiet=True))
    assert (runs / "one" / "tables" / "claims.md").read_text().count("\n| ") == len(frame) + 2
    assert (runs / "one" / "tables" / "claims.tex").is_file()


def test_tables_in_memory_give_what_the_written_ones_give(runs):
    folder = runs / "one"
    tables = {
        path.stem: pd.read_csv(path, dtype=object if path.stem == "table2" else None)
        for path in (folder / "tables").glob("*.csv")
    }
    assert findings(folder, tables) == findings(folder)
    without = {one.claim.id: one.status for one in findings(folder, {})}
    assert without["C33"] == NOWHERE  # the written table4 is not read
    assert without["C31"] == OTHER  # it is in the record


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="contains no run"):
        find_runs(tmp_path)
    (tmp_path / "run.json").write_text("[1")
    with pytest.raises(InputError, match=r"run\.json cannot be read"):
        find_runs(tmp_path)
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(InputError, match=r"run\.json is not the record of a run"):
        RunTables(tmp_path)


def test_what_would_settle_a_claim_is_said_of_every_claim_that_is_open(runs):
    named = [name for one in load_missing() for name in one.claims]
    assert len(named) == len(set(named))
    assert set(named) <= set(load_claims())
    assert {one.claim.id for one in findings(runs) if one.status in (OTHER, NOWHERE)} <= set(named)


def test_the_page_has_every_claim_beside_ours_and_counts_them(runs):
    write_claims(runs, Console(quiet=True))
    page = (runs / "claims.html").read_text(encoding="utf-8")
    found = findings(runs)
    for one in found:
        assert len(re.findall(rf"<td[^>]*>{one.claim.id}</td>", page)) == 1 + one.claim.where.startswith("C, Table 4")
    [said] = re.findall(r"Of (\d+) numbers, (\d+) are held by a test and (\d+) contradict", page)
    counts = [sum(one.status == status for one in found) for status in (HELD, DIFFERS)]
    assert [int(number) for number in said] == [len(found), *counts]
    [cells] = re.findall(r"<td[^>]*>C33</td>((?:<td[^>]*>[^<]*</td>){7})", re.sub(r">\s+<", "><", page))[:1]
    own = (
        pd.read_csv(runs / "one" / "tables" / "table4.csv")
        .query("backend == 'hog-svm'")
        .set_index("split")["precision"]
    )
    values = [cell for cell in re.findall(r">([^<]*)</td>", cells) if cell]
    assert values[-4:] == ["0.266", f"{own['train']:.3f}", "0.100", f"{own['validation']:.3f}"]
