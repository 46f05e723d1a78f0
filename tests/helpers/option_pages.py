"""The pages that list every command with its options, and every setting of a study, from the code itself.

``python -m tests.helpers.option_pages`` writes them into the documents; a test holds them to the code.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from shelfbench.cli.arguments import parser
from shelfbench.generator import GeneratorSettings
from shelfbench.study.model import SECTIONS
from shelfbench.study.read import read_study
from tests.helpers.sources import ROOT

WRITTEN = "<!-- written by: python -m tests.helpers.option_pages -->"
OPTIONS = f"""# Every command

{WRITTEN}

What `shelfbench VERB --help` says, on one page. How the commands behave on a terminal, in a pipe and when something is
wrong is in [on the command line](command-line.md); what can be set in a study is in [every setting](settings.md).
Each command also takes `--quiet` (no logs and no progress) or `--verbose` (also the time of each stage, and the files
that it uses).
"""
SETTINGS = f"""# Every setting

{WRITTEN}

A study is a TOML file with these keys and sections ([those that come with shelfbench](studies.md)); on the command
line, `--set SECTION.KEY=VALUE` changes one, as in `--set split.min_products=10`. Unknown keys are refused, with a
suggestion. The defaults are those of a study that does not mention the key; where your own photos (the study `own`)
have another one, it stands beside it. `C` and `X` are [the papers](papers.md).
"""
ROOT_SETTINGS = """## A study itself

| key | default | what it says |
|---|---|---|
| `title` | the study's name | the title of the page |
| `seed` | `0` | seed of split and training; `--seed N` |
| `backends` | | [backends](backends.md) to compare, on another network as `NAME@NETWORK`; `--backend NAME` |
| `backbone` | `"efficientnet_lite0"` | the [network](networks.md) that computes bottlenecks |
| `weights` | `"imagenet"` | its weights: `"imagenet"`, `"none"`, or the path of a file |
| `pixels` | `"auto"` | [the size](own-data.md#the-size-of-the-photos) at which networks see photos |
| `features` | | [embeddings](networks.md#embeddings) in the place of a network: a column, or the path of a table |
| `experiment` | `"comparison"` | what is run |
| `[heads.NAME]` | | [a classifier of scikit-learn](classifiers.md): `estimator`, `parameters`, `grid` |
| `[variants.NAME]` | | what some experiments compare: `label`, `figures`, `backend`, and sections as below |
"""


def options_page() -> str:
    """Write the page of all verbs."""
    top = parser()
    [verbs] = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    parts = [OPTIONS]
    for name, verb in verbs.choices.items():
        summary = (verb.description or "").strip()
        example = (verb.epilog or "").removeprefix("example: ")
        parts.append(f"## {name}\n\n{summary[0].upper()}{_in_cell(summary[1:])}.\n\n```\n{example}\n```\n")
        if rows := "".join(_rows(verb)):
            parts.append(f"| option | what it says |\n|---|---|\n{rows}")
    return "\n".join(parts)


def _rows(verb: argparse.ArgumentParser) -> Iterator[str]:
    for action in verb._actions:
        if isinstance(action, argparse._HelpAction) or action.dest in ("quiet", "verbose"):
            continue
        value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
        # an escaped bar within code is shown with its backslash by some
        shown = " ".join([*action.option_strings[-1:], *([str(value)] if action.nargs != 0 else [])]).replace(
            "|", " or "
        )
        said = (action.help or "").strip() % {"default": action.default}
        yield f"| `{_in_cell(shown)}` | {_in_cell(said)} |\n"


def settings_page() -> str:
    """Write the page of all sections of a study."""
    own = read_study("own")
    sections: dict[str, type] = {**SECTIONS, "generated": GeneratorSettings}
    sections |= {name: type(values) for name, values in own.sections.items()}
    parts = [SETTINGS, ROOT_SETTINGS]
    for name, kind in sections.items():
        about, said = _documented(kind)
        chosen = own.sections.get(name) or getattr(own, name)
        lines = [
            f"| `{name}.{item.name}` | {_default(item, chosen)} | {said.get(item.name, '')} |\n"
            for item in dataclasses.fields(kind)
        ]
        table = f"| key | default | what it says |\n|---|---|---|\n{''.join(lines)}"
        parts.append("\n\n".join(part for part in (f"## {name}", about, table) if part))
    return "\n".join(parts)


def _default(item: dataclasses.Field[Any], own: Any) -> str:
    """Write the default of a key, and what the study `own` says, if that is something else."""
    value = item.default if item.default is not dataclasses.MISSING else item.default_factory()  # type: ignore[misc]
    chosen = getattr(own, item.name)
    return _written(value) if chosen == value else f"{_written(value)}; own: {_written(chosen)}"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{value!r}`".replace("'", '"')


def _documented(kind: type) -> tuple[str, dict[str, str]]:
    """Split a docstring into what it says of the section, and of each key."""
    head, _, rest = inspect.getdoc(kind).partition("\nAttributes\n----------\n")
    attributes = re.split(r"\n\w+\n-+\n", rest)[0]
    said = {}
    entry = re.compile(r"^([\w, ]+?) ?: ?(.+)\n((?: {4}.*\n?|\n)*)", re.MULTILINE)
    for names, kinds, words in entry.findall(f"{attributes}\n"):
        text = " ".join(textwrap.dedent(words).split())
        if not text or text == "Likewise.":
            text = next(reversed(said.values()), "") if text else ""
        choices = re.fullmatch(r"\{(.*)\}", kinds)
        if choices:
            text = f"One of {_listed(choices[1])}. {text}".strip()
        for name in names.split(", "):
            said[name] = _in_cell(text)
    about = re.sub(r"^(The s|S)ection ``\w+``( of a study)?", "", " ".join(head.split())).lstrip(".:;, ")
    return _in_cell(about[:1].upper() + about[1:]), said


def _listed(choices: str) -> str:
    return ", ".join(f"`{choice.strip()}`".replace("'", '"') for choice in choices.split(","))


def _in_cell(text: str) -> str:
    """Turn words of a docstring or a help into Markdown that fits into a cell of a table."""
    text = re.sub(r"\bdocs/([\w-]+)\.md\b", r"[\1](\1.md)", text)
    return text.replace("``", "`").replace("|", "\\|").replace("<", "&lt;")


PAGES = {"options.md": options_page, "settings.md": settings_page}


if __name__ == "__main__":
    for place, page in PAGES.items():
        (ROOT / "docs" / place).write_text(page(), encoding="utf-8")
