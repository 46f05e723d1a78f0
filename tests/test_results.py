"""The kept results: each file has one owner, what other code made is named, and the README says what records say."""

import re
import shlex
import subprocess
from functools import cache

import pandas as pd
import pytest

from shelfbench.cli.arguments import parser
from tests.helpers import made
from tests.helpers.first_look import RESULTS, TABLES, read
from tests.helpers.sources import ROOT

README = (RESULTS / "README.md").read_text(encoding="utf-8")
FIRST, DETAIL = README.split("\n# In detail\n")


@cache
def kept():
    """All files below `results/` that git keeps, or would."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "results"]
    try:
        done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a checkout of git")
    paths = [path.removeprefix("results/") for path in done.stdout.splitlines() if (ROOT / path).is_file()]
    return [path for path in paths if path not in made.OWN]


def test_every_kept_file_has_one_owner_and_every_owner_a_file():
    found = {path: made.owners(path) for path in kept()}
    assert {path: names for path, names in found.items() if len(names) != 1} == {}
    assert set(made.made()) == {name for names in found.values() for name in names}


def test_results_stay_small_enough_to_be_read():
    assert sum((RESULTS / path).stat().st_size for path in kept()) < 10_000_000


def test_every_result_says_what_makes_it_and_which_code_is_there():
    for name, entry in made.made().items():
        assert entry["commands"], name
        assert entry["hours"] > 0
        assert set(entry["made"]) == set(entry["code"]), f"{name}: python -m tests.helpers.made --note {name}"
        for patterns in made.groups(entry).values():
            for one in (one for pattern in patterns for one in made.alternatives(pattern)):
                assert any(made.matches(path, one) for path in made.present()), (name, one)


def test_every_file_of_code_is_behind_a_result_or_said_to_change_no_number():
    """A file that computes stands in a group of `[code]` in results/made.toml; one that does not, in `[no_number]`."""
    behind = [one for entry in made.made().values() for group in made.groups(entry).values() for one in group]
    known = [one for pattern in (*behind, *made.without_number()) for one in made.alternatives(pattern)]
    code = [path for path in made.present() if not path.startswith("tests/")]
    assert [path for path in code if not any(made.matches(path, one) for one in known)] == []
    for pattern in made.without_number():
        for one in made.alternatives(pattern):
            assert any(made.matches(path, one) for path in code), one


def test_commands_are_understood():
    understood = parser()
    for entry in made.made().values():
        for command in entry["commands"]:
            words = shlex.split(command)
            if words[0] == "shelfbench":
                understood.parse_args(words[1:])
            elif words[:2] == ["python", "-m"] and words[2] != "pip":
                assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file(), command
            elif words[0] in ("python", "pytest") and words[1] != "-m":
                assert (ROOT / words[1]).is_file(), command


def test_what_was_made_by_other_code_is_named():
    """Mend it with `python -m tests.helpers.made --write`, or by making the results again."""
    start = README.index(made.BEGIN) + len(made.BEGIN)
    said = README[start : README.index(made.END, start)].strip()
    stale = made.changed()
    named = {line.split(" | ")[0].strip("| ") for line in said.splitlines()[2:]}
    unsaid = {name: names for name, names in stale.items() if name not in named}
    assert not unsaid, f"made before code changed that could change their numbers: {unsaid}"
    assert said == made.table(stale), "python -m tests.helpers.made --write"


def test_only_what_code_means_is_compared():
    def hashed(text):
        return made.code_hash(["code/*.py"], ["code/a.py"], lambda _: text.encode())

    plain = hashed("def f(a):\n    return a + 1\n")
    same = '"""Words."""\nfrom typing import Any\n\ndef f(a: Any) -> int:\n    """More."""\n    return (a + 1)  # one\n'
    assert hashed(same) == plain
    typed = "def f(a):\n    b: int\n    found: int = cast('int', a) + 1\n    return found\n"
    assert hashed(typed) == plain
    assert hashed("class A:\n    a: int = 1\n") != hashed("class A:\n    a = 1\n")  # a field of a dataclass
    assert len({plain, hashed("def f(a):\n    return a + 2\n"), hashed("def f(b):\n    return b + 1\n")}) == 3
    assert made.code_hash(["code/*.py"], ["code/c/a.py"], lambda _: b"1") == made.code_hash([], [], lambda _: b"")


def test_alternatives_of_a_pattern():
    assert made.alternatives("a/{b,c}/{d,e}.csv") == ["a/b/d.csv", "a/b/e.csv", "a/c/d.csv", "a/c/e.csv"]


def test_a_result_is_noted_in_its_own_lines_alone(tmp_path, monkeypatch):
    path = tmp_path / "made.toml"
    path.write_text('[result.a]\nhours = 1\nmade = { "x" = "1" }\n\n[result.b]\nhours = 2\n', encoding="utf-8")
    monkeypatch.setattr(made, "LIST", path)
    made.note("a", "2026-01-02", {"x": "9"})
    expected = '[result.a]\nhours = 1\ndate = "2026-01-02"\nmade = { "x" = "9" }\n\n[result.b]\nhours = 2\n'
    assert path.read_text(encoding="utf-8") == expected
    monkeypatch.undo()
    made._listed.cache_clear()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_at_the_top_is_what_its_records_give(name):
    """`python -m tests.helpers.made --write` writes it anew."""
    start = README.index(f"<!-- table {name} -->") + len(f"<!-- table {name} -->")
    assert README[start : README.index(made.END, start)].strip() == TABLES[name]()


def test_the_first_sentence_is_what_the_records_say():
    sure = read("fashion/tables/certified.csv").query("target == 0.9 and measure == 'confidence'")
    best = sure.sort_values("certified_acceptance").iloc[-1]
    own = read("fashion/tables/table4.csv").query("split == 'test'").set_index("backend")
    told = re.findall(r"takes (\d+)% of the flow .* right on (\d+)% of it .* takes (\d+) seconds", FIRST)
    shares = (best["certified_acceptance"], best["certified_precision_test"])
    assert told == [(*(f"{share:.0%}"[:-1] for share in shares), f"{own.loc[best['backend'], 'seconds']:.0f}")]
    products = {part: int(number.replace(",", "")) for number, part in re.findall(r"([\d,]+) (real|of them)", FIRST)}
    assert products["of them"] == best["test_products"]


def test_commands_at_the_top_are_those_of_the_list():
    shown = re.findall(r"```\n(.*?)\n```", FIRST, re.DOTALL)
    listed = [command for entry in made.made().values() for command in entry["commands"]]
    assert len(shown) >= 5
    for command in shown:
        assert any(one.startswith(command) for one in listed), command


def test_links_lead_to_files_that_are_kept_and_to_headings():
    heads = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
    paths = set(kept())
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 60
    for link in links:
        path, _, anchor = link.partition("#")
        if not path:
            assert f"#{anchor}" in anchors, link
        elif path.startswith("../"):
            assert (RESULTS / path).is_file(), link
        else:
            assert path in paths or path in made.OWN, link


def cells(head):
    """Rows of the table in the details whose head begins so: the first cell, then numbers."""
    lines = DETAIL[DETAIL.index(head) :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: [float(cell.replace(",", "")) if cell else None for cell in row[1:]] for row in rows}


def test_the_table_of_a_growing_catalogue_is_that_of_its_records():
    memory, seconds = read("scale/memory.csv"), read("scale/seconds.csv")
    shown = cells("| | MiB, 10,000 |")
    assert len(shown) == memory["stage"].nunique()
    for stage, values in shown.items():
        for value, images in zip(values[:3], (10_000, 100_000, 1_000_000), strict=True):
            own = memory[(memory["stage"] == stage) & (memory["images"] == images)]["own_mib"]
            assert (value is None) == own.empty
            assert value is None or value == pytest.approx(own.iloc[0], abs=0.51)
        for value, images in zip(values[3:], (10_000, 30_000, 100_000, 300_000), strict=True):
            own = seconds[(seconds["stage"] == stage) & (seconds["images"] == images)]["microseconds_per_image"]
            assert value == pytest.approx(own.iloc[0], abs=0.51 if own.iloc[0] >= 20 else 0.051)


def test_the_table_of_opening_a_catalogue_is_that_of_its_record():
    record = read("performance/index.csv").query("rows == 1000000").set_index(["catalogue", "turn"])
    for name, shown in cells("| 1,000,000 rows |").items():
        kind, _, again = name.partition(", its index kept")
        row = record.loc[(kind, "again" if ", its index kept" in name else "first")]
        assert shown == pytest.approx([row["seconds"], row["peak_mib"], row["held_mib"]], rel=0.01, abs=0.06), again


def test_the_table_of_the_linear_svm_is_that_of_its_record():
    record = read("scale/svm.csv").query("rows == 100000")
    for name, shown in cells("| | steps of a category |").items():
        own = [
            row
            for row in record.to_dict("records")
            if any(isinstance(value, float) and value == pytest.approx(shown[0], abs=0.051) for value in row.values())
        ]
        assert any(
            all(
                any(not isinstance(value, str) and value == pytest.approx(number, rel=0.01) for value in row.values())
                for number in (shown[2], shown[3], shown[4])
            )
            for row in own
        ), name


def test_the_plan_on_the_ledgers_page_is_that_of_its_record():
    text = (ROOT / "bench" / "shelfbench" / "report" / "claims_open.toml").read_text(encoding="utf-8")
    record = (RESULTS / "scale" / "cdiscount-plan.txt").read_text(encoding="utf-8")
    alone, eight = record.split("\n$ shelfbench plan ")
    [told] = re.findall(
        r"([\d.]+) hours, ([\d.]+) GiB of memory, (\d+) GiB of disk .* ([\d.]+) at 0.1 an hour "
        r"\(8 such machines: ([\d.]+) hours, ([\d.]+) of them to fine-tune",
        text,
    )
    [whole] = re.findall(r"^all, with the backends +([\d.]+) hours +([\d.]+) GiB +([\d.]+) GiB", alone, re.MULTILINE)
    [money] = re.findall(r"^all +([\d.]+)$", alone, re.MULTILINE)
    [together] = re.findall(r"^all, with the backends +([\d.]+) hours", eight, re.MULTILINE)
    [tuning] = re.findall(r"^finetuned-svm +([\d.]+) hours", eight, re.MULTILINE)
    assert told == (whole[0], whole[1], f"{float(whole[2]):.0f}", money, together, tuning)
    papers = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8").replace("\n", " ")
    said = re.findall(
        r"photos \(\[both plans\]\S+ says ([\d.]+) hours, ([\d.]+) GiB of memory and (\d+) GiB of disk .* and ([\d.]+) "
        r"in money at 0.1 an hour; with `--machines 8` ([\d.]+) hours, of which one machine fine-tunes for ([\d.]+)\.",
        papers,
    )
    assert said == [told]


def test_shares_of_the_torture_are_those_of_its_record():
    record = pd.read_csv(RESULTS / "scale" / "torture.csv")
    fuzz = record[record["kind"] == "fuzz"]
    [tries, parsers, found] = re.findall(
        r"has what ([\d,]+) damaged inputs found in (\d+) parsers:\n(\d+) inputs", DETAIL
    )[0]
    assert int(parsers) == fuzz["target"].nunique()
    assert int(found) == fuzz["found"].sum()
    assert int(tries.replace(",", "")) == pytest.approx(fuzz["tries"].sum(), abs=1000)
