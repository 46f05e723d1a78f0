"""The documents agree with the code about the papers and about certifying."""

import re
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from shelfbench.report.claims import load_claims
from shelfbench.verdict.certify import products_to_certify
from tests.helpers.sources import ROOT

PAPERS = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
ID = re.compile(r"\b[CX]\d{2}b?\b")
FOLDERS = ("bench", "baselines", "deep", "tests", "docs")
CODE = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".toml", ".md", ".j2") and "__pycache__" not in path.parts
]
TEXTS = [*CODE, *ROOT.glob("*.md"), ROOT / "noxfile.py", ROOT / "results" / "README.md"]
PACKAGE = ROOT / "bench" / "shelfbench"


def rows(text, columns):
    """Rows of all tables with this many columns, without their heads."""
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return [row for row in found if len(row) == columns]


def explained():
    """Claims that the two tables of claims explain: the other cells by id."""
    return {row[0]: row[1:] for row in rows(PAPERS, 5) if ID.fullmatch(row[0])}


def test_the_document_and_the_ledger_hold_the_same_claims_in_the_same_order():
    assert list(explained()) == list(load_claims())
    assert {name: cells[0] for name, cells in explained().items()} == {
        name: claim.where for name, claim in load_claims().items()
    }


def numbers(text):
    """Numbers of a text, however it separates thousands and names millions."""
    text = re.sub(r"(\d(?:\.\d+)?) million", lambda found: f"{float(found[1]):g}M", text.replace(",", ""))
    text = re.sub(r"(\d(?:\.\d+)?)e-(\d)", r"\1·10^-\2", text)
    return {float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)}


@pytest.mark.parametrize("name", [name for name, claim in load_claims().items() if claim.printed != "no number"])
def test_the_document_gives_the_numbers_that_the_ledger_prints(name):
    claim = load_claims()[name]
    assert numbers(claim.printed) <= numbers(" ".join(explained()[name])), claim


def test_every_claim_that_is_cited_is_explained():
    known = set(explained())
    unknown = {path: cited - known for path in TEXTS if (cited := set(ID.findall(path.read_text("utf-8")))) - known}
    assert not unknown


def test_what_reproduces_a_claim_is_there():
    named = {name for cells in explained().values() for name in re.findall(r"`([^`]+)`", cells[-1])}
    paths = {name for name in named if "/" in name and not name.startswith("tables/")}
    assert len(paths) > 8
    for path in paths:
        assert any((folder / path).exists() for folder in (ROOT, PACKAGE)), path
    studies = {path.stem for path in (PACKAGE / "study").glob("*.toml")}
    mentioned = {
        name
        for cells in explained().values()
        for group in re.findall(r"stud(?:y|ies) ((?:`[\w-]+`(?:, )?)+)", cells[-1])
        for name in re.findall(r"`([\w-]+)`", group)
    }
    assert {"cdiscount", "heads", "imagenet", "multilabel", "timing", "xception"} <= mentioned <= studies


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_links_within_the_documents_lead_somewhere(path):
    for target, anchor in re.findall(r"\]\(([\w./-]*)(#[\w-]+)?\)", path.read_text(encoding="utf-8")):
        page = (path.parent / target).resolve() if target else path
        if page.suffix == ".md" and anchor and page.exists():
            heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {"#" + re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in anchors, (target, anchor)


def test_so_many_accepted_products_certify_ninety_percent():
    text = (ROOT / "docs" / "deciding.md").read_text(encoding="utf-8")
    [part] = re.findall(r"## How many labelled products it takes\n(.*?)\n## ", text, re.DOTALL)
    table = {row[0].split()[0]: row[1:] for row in rows(part, 4) if row[0][0].isdigit()}
    assert {"1", "0.95", "0.91"} < set(table)
    for precision, printed in table.items():
        taken = [products_to_certify(Fraction(precision), target) for target in ("0.9", "0.95", "0.98")]
        assert printed == [f"{count:,}" if count else "" for count in taken], precision


def test_the_readme_gives_the_numbers_of_the_decisions_that_it_names():
    """The first figures come from `--all-categories`, the others from the command as the README shows it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    [command] = re.findall(r"shelfbench decide \S+ (bottleneck-2nn-4096 .*?) --out decision", text)
    printed = (ROOT / "results" / "fashion" / "decision.txt").read_text(encoding="utf-8")
    decisions = {words.strip(): said for words, said in re.findall(r"^\$ (.*)\n((?:[^$].*\n)+)", printed, re.MULTILINE)}
    start = f"shelfbench decide results/fashion {command} --out decision"
    assert set(decisions) == {start, f"{start} --all-categories"}
    [first, second] = re.findall(
        r"A threshold that is \*certified\* .*? accept (.*?) This is `decide` with `--all-categories`\. (.*?) \(\[both",
        text,
    )[0]
    off = int(re.search(r"the (\d+) categories", second)[1])
    for words, said in ((first, decisions[f"{start} --all-categories"]), (second, decisions[start])):
        shares = [float(share) for share in re.findall(r"([\d.]+)%", words)]
        [certified] = re.findall(r"accepted \(([\d.]+)%", said)
        [precision, acceptance] = re.findall(r"on test: precision ([\d.]+) .*?, acceptance ([\d.]+)", said)[0]
        assert shares == pytest.approx([float(certified), 100 * float(acceptance), 100 * float(precision)])
    assert f"{off} categories switched off" in decisions[start]


def test_nothing_cites_a_file_that_the_repository_does_not_hold():
    for path in set(TEXTS) - {Path(__file__)}:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bSPEC\b|\bDESIGN\b|\bshared/", text), path
        if path.suffix != ".md":
            for named in re.findall(
                r"\b(?:bench|baselines|deep|tests|docs|results)/[\w/.-]*\w\.(?:py|toml|md|js|css)\b", text
            ):
                assert (ROOT / named).is_file(), (path, named)


def resolves(name):
    """Whether a dotted name is a module, or something that a module mentions."""
    parts = name.split(".")
    top = next(ROOT / folder for folder in FOLDERS if (ROOT / folder / parts[0]).is_dir())
    for length in range(len(parts), 0, -1):
        place = top.joinpath(*parts[:length])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return length == len(parts) or re.search(rf"\b{parts[length]}\b", file.read_text("utf-8")) is not None
    return False


def test_the_modules_that_comments_and_documents_name_are_there():
    pattern = re.compile(r"`(shelfbench(?:_baselines|_deep)?(?:\.\w+)+)(?:\(|`)")
    named = {(path, name) for path in TEXTS for name in pattern.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 50
    groups = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"])
    assert not {(path, name) for path, name in named if name not in groups and not resolves(name)}
