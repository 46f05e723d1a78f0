"""Every command that the documents show is one that can be typed: verbs, options, studies, settings and so on exist."""

import argparse
import ast
import dataclasses
import re
import tomllib
from functools import cache
from importlib.metadata import entry_points

import pytest

from shelfbench.base.errors import InputError
from shelfbench.cli.arguments import parser
from shelfbench.cli.completion import PrintCompletion
from shelfbench.data.named import named_datasets
from shelfbench.generator import GeneratorSettings
from shelfbench.plugins import experiment, finding
from shelfbench.plugins.finding import available
from shelfbench.study.model import ROOT_KEYS, SECTIONS
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study, study_names
from tests.documents.commands import FENCE, PAGES, Command, commands, inline, page_name
from tests.helpers.sources import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EVERY = [command for page in PAGES for command in commands(page)]
# What the reader fills in, and what the pages write themselves.
PLACEHOLDERS = {
    "STUDY": "default",
    "A": "hog-svm",
    "B": "bottleneck-svm",
    "DIR": "results/mine",
    "CATEGORY": "Sweater",
    "NAME": "mine",
    "3/64": "1/2",
}
OWN_STUDIES = {"shop.toml"}
OWN_BACKENDS = {"my-backend"}
# Programs that are not ours: only that they are meant is known.
OTHERS = {"dask", "cd", "export", "apt", "srun", "cat", "END", "sbatch", "jobs=$(sbatch"}


@pytest.fixture(autouse=True, scope="module")
def looked_up_once():
    """Going through all installed packages for entry points takes milliseconds, and a study does it a dozen times."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (finding, experiment):
            patch.setattr(module, "entry_points", cache(entry_points))
        yield


@cache
def sessions():
    """The sessions of nox."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}


@cache
def sections():
    """Keys of each section of a study."""
    kinds = {**SECTIONS, "generated": GeneratorSettings}
    kinds |= {name: type(values) for name, values in read_study("own").sections.items()}
    return {name: {item.name for item in dataclasses.fields(kind)} for name, kind in kinds.items()}


@cache
def verbs():
    [found] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return found.choices


def typed(command):
    """The words after ``shelfbench`` as a reader would type them; what goes to a file is left out."""
    words = command.words[1 : command.words.index(">") if ">" in command.words else None]
    return [PLACEHOLDERS.get(word, word) for word in words if word not in ("…", "...", "&")]


def check_shelfbench(command: Command) -> None:
    words = typed(command)
    if not words or words[0] in ("VERB", "--help", "--version", "--print-completion"):
        assert words[:1] != ["--print-completion"] or PrintCompletion
        return
    assert words[0] in verbs(), command.text
    required = [action for action in verbs()[words[0]]._actions if action.required]
    if not command.block and len(words) - 1 < len(required):  # a verb is mentioned
        return
    if "--dask" in words and words[-1] == "--dask":
        words.pop()
    options, unknown = parser().parse_known_args([re.sub(r"\$\w+/\$\w+", "1/2", word) for word in words])
    assert not unknown, command.text
    check_names(options, command)


def check_names(options: argparse.Namespace, command: Command) -> None:
    """A study, its settings and its backends are there."""
    if options.verb == "fetch":
        assert options.name in named_datasets(), command.text
    if options.verb not in ("run", "plan", "choose", "features"):
        return
    study = options.study or ("own" if options.dataset else "default")
    if study in OWN_STUDIES:
        return
    assert study in study_names(), command.text
    changed = read_study(study, [parse_setting(text) for text in options.set])
    for backend in options.backend or ():
        base = backend.partition("@")[0]
        assert base in OWN_BACKENDS or changed.spec(base), command.text


def check_python(command: Command) -> None:
    words = command.words[1:]
    if words[:3] == ("-m", "pip", "install"):
        for word in words[3:]:
            if extras := re.search(r"\[(.*)\]", word):
                known = set(PROJECT["optional-dependencies"])
                assert set(extras[1].split(",")) <= known, command.text
    elif words[0] == "-m":
        module = words[1].replace(".", "/")
        places = [ROOT / top / module for top in (".", "bench", "baselines", "deep")]
        assert words[1] in ("pytest", "pip", "build", "venv") or any(
            (place / "__main__.py").is_file() or place.with_suffix(".py").is_file() for place in places
        ), command.text
    elif words[0] == "-c":
        compile(words[1], command.page, "exec")
    else:
        assert (ROOT / words[0]).is_file(), command.text


def check_nox(command: Command) -> None:
    assert command.words[1] == "-s"
    assert command.words[2] in sessions(), command.text
    if command.words[2] == "bench" and "--" in command.words:
        words = command.words[command.words.index("--") + 1 :]
        check_shelfbench(dataclasses.replace(command, words=("shelfbench", "run", *words)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_can_be_typed(page):
    checks = {"shelfbench": check_shelfbench, "python": check_python, "nox": check_nox}
    for command in commands(page):
        program = command.words[0]
        assert program in checks or program in OTHERS, f"{command.text}: mark a block that is not to be typed as text"
        if program in checks:
            checks[program](command)


def test_every_page_is_read():
    assert len(EVERY) > 150
    assert {command.page for command in EVERY if command.block} > {"README.md", "docs/data.md", "docs/deciding.md"}


def mentioned():
    """Settings in backticks: (page, section, key)."""
    for page in PAGES:
        for text in inline(page):
            for section, key in re.findall(r"(?<![\w./-])(\w+)\.(\w+)(?==|$|\s)", text):
                if section in sections():
                    yield page_name(page), section, key


def test_every_setting_that_is_named_is_one():
    found = set(mentioned())
    assert len(found) > 80
    files = {"toml", "md", "csv", "py", "html", "parquet"}
    unknown = {(page, f"{name}.{key}") for page, name, key in found if key not in sections()[name] | files}
    assert not unknown


@pytest.mark.slow
def test_the_study_of_a_document_is_one(tmp_path):
    """Blocks of TOML are studies, or parts of one; some of them load scikit-learn and XGBoost."""
    read = 0
    for page in PAGES:
        for _, language, body in FENCE.findall(page.read_text(encoding="utf-8")):
            tables = tomllib.loads(body) if language == "toml" else {}
            if tables and set(tables) <= {*ROOT_KEYS, *sections()}:
                own = tmp_path / "own.toml"
                own.write_text(body if "backends" in tables else f'backends = ["hog-svm"]\n{body}', encoding="utf-8")
                assert read_study(own).backends
                read += 1
    assert read >= 3


def test_a_command_that_cannot_be_typed_is_found():
    for words, what in (
        ("shelfbench run fashon", AssertionError),
        ("shelfbench run fashion --set split.min_product=1", InputError),
        ("shelfbench decide results/mine hog-svm", InputError),
        ("shelfbench run default --dry-run", AssertionError),
        ("shelfbench run default --backend hog-svn", InputError),
    ):
        with pytest.raises(what):
            check_shelfbench(Command("a page", words, tuple(words.split()), True))
    with pytest.raises(AssertionError):
        check_python(Command("a page", "", ("python", "-m", "pip", "install", "shelfbench[gpus]"), True))
    assert "hog-svm" in available()
