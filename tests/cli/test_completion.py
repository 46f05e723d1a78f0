"""Shell completion, asked as bash asks for it."""

import builtins
import shutil
import subprocess
import sys

import pytest

from shelfbench.cli.arguments import parser
from shelfbench.cli.completion import SHELLS, script
from shelfbench.cli.main import main
from shelfbench.plugins.finding import available
from shelfbench.study.read import study_names

pytest.importorskip("shtab")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return what bash offers after some words, in a folder with the files given below."""
    if (bash := shutil.which("bash")) is None:
        pytest.skip("there is no bash")
    folder = tmp_path_factory.mktemp("completion")
    (folder / "mine.toml").touch()
    (folder / "products.csv").touch()
    (folder / "photos").mkdir()
    made = folder / "completion.bash"
    made.write_text(script(parser(), "bash"))

    def ask(*words):
        code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _shtab_shelfbench; echo "${COMPREPLY[@]}"'
        command = [bash, "-c", code, "bash", str(made), "shelfbench", *words]
        found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
        assert found.stderr == ""
        return set(found.stdout.split())

    return ask


def test_verbs_and_options(answers):
    assert answers("cl") == {"claims", "classify"}
    assert answers("run", "--qui") == {"--quiet"}
    assert answers("classify", "--form") == {"--format"}


def test_names_of_what_is_there(answers):
    assert answers("run", "") >= set(study_names())
    assert answers("run", "default", "--backend", "") == set(available())
    assert answers("decide", "photos", "hog") == {"hog-svm"}
    assert answers("compare", "photos", "hog-svm", "bottleneck-s") == {"bottleneck-svm"}
    assert answers("fetch", "") == {"fashion", "cdiscount"}


def test_files_beside_names(answers):
    assert answers("run", "mi") == {"mine.toml"}
    assert answers("run", "prod") == set(), "a study is no table"
    assert answers("run", "--dataset", "prod") == {"products.csv"}
    assert answers("run", "--dataset", "fash") == {"fashion"}
    assert answers("run", "--out", "p") == {"photos"}
    assert answers("classify", "photos", "prod") == {"products.csv"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_on_stdout(shell):
    command = [sys.executable, "-m", "shelfbench.cli.main", "--print-completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "bottleneck-2nn-4096" in done.stdout
    assert "classify" in done.stdout


def test_without_shtab_one_line_says_what_to_install(capsys, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name == "shtab":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["--print-completion", "bash"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "pip install shtab" in captured.err


def test_an_unknown_shell_is_named(capsys):
    assert main(["--print-completion", "fish"]) == 2
    assert "'fish'" in capsys.readouterr().err
