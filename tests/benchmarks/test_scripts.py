"""Scripts that no other test runs still find what they import."""

import ast
import importlib
import importlib.util

import pytest

from tests.helpers.sources import ROOT

ROOMS = ("benchmarks", "simulations", "torture")
SCRIPTS = [path for room in ROOMS for path in (ROOT / "tests" / room).glob("*.py") if not path.name.startswith("test_")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_script_imports_is_there(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("shelfbench", "tests")):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}"), name.name
