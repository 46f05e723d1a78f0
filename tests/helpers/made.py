"""Who makes which file of `results/`, and which of them were made by code that has changed since.

    python -m tests.helpers.made --stale           # name them
    python -m tests.helpers.made --note NAME...    # these were just made by the code as it is
    python -m tests.helpers.made --write           # say so in results/README.md, where a test looks for it

Code is compared by its meaning: comments, docstrings, types and the places of lines do not count.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from tests.helpers.first_look import RESULTS, TABLES
from tests.helpers.sources import ROOT

LIST = RESULTS / "made.toml"
OWN = ("README.md", "made.toml")
BEGIN, END = "<!-- made before these changes -->", "<!-- end -->"
_FOLDERS = ("bench", "baselines", "deep", "tests")


def made() -> dict[str, dict[str, Any]]:
    """Every result of `results/made.toml` by name."""
    return _listed()["result"]


@cache
def _listed() -> dict[str, Any]:
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


def alternatives(pattern: str) -> list[str]:
    """A pattern with `{a,b}` as several without."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        return [pattern]
    return [
        one
        for choice in found[1].split(",")
        for one in alternatives(pattern[: found.start()] + choice + pattern[found.end() :])
    ]


def owners(path: str) -> list[str]:
    """Names of the results that claim a file, given below `results/`."""
    return [
        name
        for name, entry in made().items()
        if any(matches(path, one) for pattern in entry["files"] for one in alternatives(pattern))
    ]


def matches(path: str, pattern: str) -> bool:
    """Whether a path is one of a pattern, in which `*` stays in a folder and `**` does not."""
    return _compiled(pattern).fullmatch(path) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = {r"\*\*": ".*", r"\*": "[^/]*"}
    return re.compile(re.sub(r"\\\*\\\*|\\\*", lambda found: parts[found[0]], re.escape(pattern)))


def groups(entry: dict[str, Any]) -> dict[str, list[str]]:
    """Patterns of the code behind a result, by the name of a group of `[code]` or by themselves."""
    return {name: _listed()["code"].get(name, [name]) for name in entry["code"]}


def without_number() -> list[str]:
    """Patterns of the code on which no kept number depends."""
    return [pattern for patterns in _listed()["no_number"].values() for pattern in patterns]


def code_hash(patterns: Iterable[str], paths: Iterable[str], read: Callable[[str], bytes]) -> str:
    """Hash what the files of some patterns mean.

    Parameters
    ----------
    patterns : iterable of str
    paths : iterable of str
        All files of a tree, relative to the repository.
    read : callable
        The bytes of one.

    Returns
    -------
    str
        12 hexadecimal digits; of nothing, if no file matches.
    """
    wanted = [one for pattern in patterns for one in alternatives(pattern)]
    own = sorted({path for path in paths for one in wanted if matches(path, one)})
    whole = hashlib.sha256()
    for path in own:
        whole.update(f"{path}\0{meaning(path, read(path))}\0".encode())
    return whole.hexdigest()[:12]


def meaning(path: str, content: bytes) -> str:
    """What a file says, without what only readers see."""
    if path.endswith(".py"):
        return _dumped(_Untyped().visit(ast.parse(content)))
    if path.endswith(".toml"):
        return json.dumps(tomllib.loads(content.decode()), sort_keys=True, default=str)
    return content.decode()


class _Untyped(ast.NodeTransformer):
    """Code as it would be without types: no `cast`, and no name given to a value for its type before it returns."""

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        is_cast = isinstance(node.func, ast.Name) and node.func.id == "cast" and len(node.args) == 2
        return node.args[1] if is_cast else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        self.generic_visit(node)
        for inside in ast.walk(node):  # a class's own fields are not in a function
            for name in ("body", "orelse", "finalbody"):
                if isinstance(body := getattr(inside, name, None), list):
                    setattr(inside, name, _without_types(body))
        return node


def _without_types(body: list[Any]) -> list[Any]:
    """Statements without annotations, where `name = value; return name` is `return value`."""
    kept: list[Any] = []
    for one in body:
        if isinstance(one, ast.AnnAssign):
            if one.value is None:
                continue
            one = ast.Assign(targets=[one.target], value=one.value)
        last = kept[-1] if kept else None
        if (
            isinstance(one, ast.Return)
            and isinstance(one.value, ast.Name)
            and isinstance(last, ast.Assign)
            and [getattr(target, "id", None) for target in last.targets] == [one.value.id]
        ):
            kept[-1] = ast.Return(value=last.value)
        else:
            kept.append(one)
    return kept


def _dumped(node: Any) -> str:
    """A syntax tree as text, the same in every version of Python; empty fields, which versions add, are left out."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("annotation", "returns"))
        inside = ((name, _dumped(value)) for name, value in fields if value is not None and value != [])
        return f"{type(node).__name__}({','.join(f'{name}={text}' for name, text in inside)})"
    if isinstance(node, list):
        return f"[{','.join(_dumped(one) for one in node if not _only_read(one))}]"
    return repr(node)


def _only_read(node: Any) -> bool:
    """Whether a statement is a docstring or about types, which no number depends on."""
    if isinstance(node, ast.Expr):
        return isinstance(getattr(node.value, "value", None), str)
    if isinstance(node, ast.ImportFrom):
        return node.module in ("__future__", "collections.abc", "typing")
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


@cache
def present() -> tuple[str, ...]:
    """All files of the source folders, as they are now."""
    found = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".toml")]
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts))


@cache
def _now(patterns: tuple[str, ...]) -> str:
    return code_hash(patterns, present(), lambda path: (ROOT / path).read_bytes())


def changed() -> dict[str, list[str]]:
    """The results whose code has changed since they were made, with what has changed."""
    found = {
        name: [
            group
            for group, patterns in groups(entry).items()
            if entry.get("made", {}).get(group) != _now(tuple(patterns))
        ]
        for name, entry in made().items()
    }
    return {name: names for name, names in found.items() if names}


def table(stale: dict[str, list[str]]) -> str:
    """The part of the README that names them."""
    lines = ["| result | made | what has changed since in the code that could change its numbers |", "|---|---|---|"]
    for name, names in stale.items():
        what = ", ".join(f"`{PurePosixPath(one).name if '/' in one else one}`" for one in names)
        lines.append(f"| {name} | {made()[name].get('date', '')} | {what} |")
    return "\n".join(lines)


def written(readme: str, stale: dict[str, list[str]], tables: dict[str, str]) -> str:
    """The README with that part, and its tables, as they should be."""
    for begin, text in {
        BEGIN: table(stale),
        **{f"<!-- table {name} -->": text for name, text in tables.items()},
    }.items():
        start = readme.index(begin) + len(begin)
        readme = f"{readme[:start]}\n{text}\n{readme[readme.index(END, start) :]}"
    return readme


def note(name: str, day: str, hashes: dict[str, str]) -> None:
    """Write into the list when a result was made, and by which code."""
    text = LIST.read_text(encoding="utf-8")
    head = f"[result.{name}]\n"
    start = text.index(head)
    end = text.find("\n[result.", start)
    part = text[start : end if end > 0 else len(text)]
    kept = [line for line in part.rstrip("\n").splitlines() if not line.startswith(("date = ", "made = "))]
    inside = ", ".join(f"{json.dumps(group)} = {json.dumps(value)}" for group, value in hashes.items())
    kept += [f'date = "{day}"', f"made = {{ {inside} }}"]
    LIST.write_text(text.replace(part, "\n".join(kept) + "\n", 1), encoding="utf-8")
    _listed.cache_clear()


def main() -> None:
    """Name, note or write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stale", action="store_true")
    parser.add_argument("--note", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    for name in given.note:
        note(
            name, str(date.today()), {group: _now(tuple(patterns)) for group, patterns in groups(made()[name]).items()}
        )
    if given.write or given.note:
        readme = RESULTS / "README.md"
        tables = {name: make() for name, make in TABLES.items()}
        readme.write_text(written(readme.read_text(encoding="utf-8"), changed(), tables), encoding="utf-8")
    if given.stale:
        for name, names in changed().items():
            print(f"{name}: {', '.join(names)}")


if __name__ == "__main__":
    main()
