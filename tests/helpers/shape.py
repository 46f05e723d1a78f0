"""The rule of six, which lets a reader take in a function, a call or a file at a glance.

    python tests/helpers/shape.py bench baselines deep tests noxfile.py

prints a line for each violation, and exits with 1 if there is one:

- no function takes more than six parameters, except the public ones of `FIXED`, whose signature users rely on, and
  tests, whose parameters are fixtures;
- no call passes six or more arguments by position. The generator, which draws with coordinates, is exempt, and so are
  tests, and functions that take any number of arguments (`VARIADIC`);
- dataclasses of five or more fields take them by name (``kw_only``);
- no file has more than 400 lines.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PARAMETERS, POSITIONAL, FIELDS, LINES = 6, 5, 4, 400
# Public functions, by file and name: their keywords are the options of the commands, and promised to users.
FIXED = {
    "bench/shelfbench/face.py": {"run", "plan"},
    "bench/shelfbench/choosing.py": {"choose"},
    "bench/shelfbench/draws.py": {"run_seeds"},
    "bench/shelfbench/precomputing.py": {"features"},
    "bench/shelfbench/decision/deciding.py": {"decide"},
}
VARIADIC = {"struct.pack", "session.run"}


def violations(source: str, path: Path) -> Iterator[str]:
    """Find a file's violations of the rules, one line each.

    Parameters
    ----------
    source : str
        Text of the file.
    path : Path
        Its place, relative to the repository.

    Yields
    ------
    str
        ``PATH:LINE: what``.
    """
    fixed = FIXED.get(path.as_posix(), set())
    tests, generator = path.parts[0] == "tests", "generator" in path.parts
    if (lines := len(source.splitlines())) > LINES:
        yield f"{path}:1: {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = len(parameters(node))
            if count > PARAMETERS and node.name not in fixed and not (tests and node.name.startswith("test_")):
                yield f"{path}:{node.lineno}: {node.name} has {count} parameters"
        elif isinstance(node, ast.Call) and not (tests or generator):
            count = sum(not isinstance(argument, ast.Starred) for argument in node.args)
            if count > POSITIONAL and ast.unparse(node.func) not in VARIADIC:
                yield f"{path}:{node.lineno}: {count} positional arguments for {ast.unparse(node.func)}"
        elif isinstance(node, ast.ClassDef) and not generator and (count := positional_fields(node)) > FIELDS:
            yield f"{path}:{node.lineno}: the dataclass {node.name} of {count} fields is not kw_only"


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names that a caller may pass; neither ``self`` nor ``*args``."""
    listed = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return [one.arg for one in listed if one.arg not in ("self", "cls")]


def positional_fields(node: ast.ClassDef) -> int:
    """How many fields of a dataclass can be given by position."""
    for decorator in node.decorator_list:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(name).rpartition(".")[2] == "dataclass":
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            if any(keyword.arg == "kw_only" for keyword in keywords):
                return 0
            fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
            return sum("ClassVar" not in ast.unparse(one.annotation) for one in fields)
    return 0


def main(arguments: list[str]) -> int:
    """Check files, and everything in folders; print what is found."""
    paths = [path for name in arguments for path in (sorted(Path(name).rglob("*.py")) or [Path(name)])]
    found = [line for path in paths for line in violations(path.read_text(encoding="utf-8"), path)]
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
