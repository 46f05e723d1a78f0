"""The checker of the rule of six sees each violation, and nothing else."""

from pathlib import Path

import pytest

from tests.helpers.shape import LINES, main, violations

ROOM = Path("bench/shelfbench/cost/plan.py")
SEVEN = "def {}(a, b, c, d, /, e, *rest, f, g, **more): ...\n"
FIELDS = "class Point:\n" + "".join(f"    {name}: int\n" for name in "abcde")


def found(source, path=ROOM):
    return [line.split(": ", 1)[1] for line in violations(source, path)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SEVEN.format("f"), "f has 7 parameters"),
        ("async " + SEVEN.format("f"), "f has 7 parameters"),
        ("f(1, 2, 3, 4, 5, 6)", "6 positional arguments for f"),
        ("@dataclass\n" + FIELDS, "the dataclass Point of 5 fields is not kw_only"),
        ("@dataclasses.dataclass(frozen=True)\n" + FIELDS, "the dataclass Point of 5 fields is not kw_only"),
        ("\n" * (LINES + 1), f"{LINES + 1} lines"),
    ],
)
def test_a_violation_is_found(source, said):
    assert found(source) == [said]


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def f(self, a, b, c, d, e, f): ...\n",
        "f(1, 2, 3, 4, 5, *rest, six=6)",
        "struct.pack('<iiiii', 1, 2, 3, 4, 5)",
        "@dataclass(kw_only=True)\n" + FIELDS,
        "@dataclass\n" + FIELDS.replace("e: int", "e: ClassVar[int] = 1"),
        FIELDS,
        "\n" * LINES,
    ],
)
def test_what_is_allowed(source):
    assert found(source) == []


def test_exemptions():
    assert found(SEVEN.format("run"), Path("bench/shelfbench/face.py")) == []
    assert found(SEVEN.format("runs"), Path("bench/shelfbench/face.py")) == ["runs has 7 parameters"]
    assert found(SEVEN.format("test_all"), Path("tests/cost/test_plan.py")) == []
    assert found(SEVEN.format("helper"), Path("tests/cost/test_plan.py")) == ["helper has 7 parameters"]
    assert found("draw(1, 2, 3, 4, 5, 6)", Path("bench/shelfbench/generator/scene.py")) == []


def test_files_and_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("f(1, 2, 3, 4, 5, 6)\n")
    (tmp_path / "b.py").write_text("f(1)\n")
    assert main(["b.py"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["room", "b.py"]) == 1
    assert capsys.readouterr().out == f"{Path('room', 'a.py')}:1: 6 positional arguments for f\n"
