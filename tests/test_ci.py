"""The workflow of docs/ci.md and our own: parsed, their commands given to the real parsers, and the steps tried."""

import ast
import os
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from shelfbench.cli.arguments import parser
from tests.helpers.sources import PYTHONPATH, ROOT

DOCUMENT = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
OURS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def block(language):
    [found] = re.findall(rf"```{language}\n(.*?\n)```\n", DOCUMENT, re.DOTALL)
    return found


def jobs(text):
    return yaml.safe_load(text)["jobs"]


def steps(job):
    return {step.get("name", step["run"]): step["run"] for step in job["steps"] if "run" in step}


def commands(text, environment):
    """The words of each line with a shelfbench command, as a shell would pass them."""
    for name, value in environment.items():
        text = text.replace(f"${name}", str(value))
    for line in text.splitlines():
        found = re.search(r"(?:^|[\s/])shelfbench ((?:run|compare|report|decide) [^|>]*)", line)
        if found:
            yield shlex.split(found[1])


def test_every_command_of_the_document_parses():
    workflow = yaml.safe_load(block("yaml"))
    found = [
        words
        for job in workflow["jobs"].values()
        for step in steps(job).values()
        for words in commands(step, workflow["env"])
    ]
    shell = [words for text in re.findall(r"```\n(.*?)```", DOCUMENT, re.DOTALL) for words in commands(text, {})]
    assert [words[0] for words in found] == ["run", "compare", "run"]
    assert [words[0] for words in shell] == ["compare", "run"]
    for words in found + shell:
        options = parser().parse_args(words)
        assert options.verb == words[0]
        assert options.verb == "run" or options.gate


def test_a_gate_cannot_be_passed_by_a_step_that_fails_before_it():
    for job in jobs(block("yaml")).values():
        order = list(steps(job))
        assert "gate" in order
        assert not any(step.get("continue-on-error") for step in job["steps"])


def test_the_table_of_tries_is_what_the_records_say():
    found = []
    for name in ("gate", "gate-on-runs"):
        frame = pd.read_csv(ROOT / "results" / "decisions" / f"{name}.csv")
        found += [
            f"| {row.case} | {row.backends} | {row.products:,} | {row.tries:,} | {row.worse} |"
            for row in frame.itertuples()
        ]
    printed = [line for line in DOCUMENT.splitlines() if re.fullmatch(r"\|.*\| [\d,]+ \| \d+ \|", line)]
    assert printed == found


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_workflows_run_sessions_that_are_there(path):
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    sessions = {found.name for found in tree.body if isinstance(found, ast.FunctionDef) and found.decorator_list}
    named = {
        words[words.index("-s") + 1]
        for job in jobs(path.read_text(encoding="utf-8")).values()
        for step in job["steps"]
        for line in step.get("run", "").splitlines()
        if "-s" in (words := shlex.split(line))
    }
    assert named
    assert named <= sessions


@pytest.fixture
def repository(image_folder, tmp_path):
    """A folder as CI would check it out, with the commands of this environment."""
    (tmp_path / "bin").mkdir()
    for folder in ("bin", "base/bin", "head/bin"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, words in (("shelfbench", "-m shelfbench.cli.main"), ("python", "")):
            command = tmp_path / folder / name
            command.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            command.chmod(0o755)
    (tmp_path / "photos").symlink_to(image_folder)
    (tmp_path / "speed.py").write_text(block("python"))
    return tmp_path


def run(repository, text):
    environment = {
        "PATH": f"{repository / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": PYTHONPATH,
        "SHELFBENCH_CACHE": str(repository / "cache"),
        "STUDY": "--dataset photos --backend hog-svm --seed 0 --set hog.pixels=32 --set split.min_products=10",
        "GITHUB_STEP_SUMMARY": str(repository / "summary"),
    }
    words = ["bash", "-e", "-c", text]
    done = subprocess.run(
        words, cwd=repository, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the workflow's steps are for a POSIX shell")
def test_the_steps_of_the_workflow_one_after_the_other(repository):
    quality, speed = jobs(block("yaml")).values()
    first = run(repository, steps(quality)["run"])
    assert first.returncode == 0, first.stderr
    none = run(repository, steps(quality)["gate"])
    assert (none.returncode, none.stdout) == (2, "::error::the gate could not be asked\n")
    kept = block("text")
    copied = run(repository, "\n".join(line for line in kept.splitlines() if line.startswith(("mkdir", "cp"))))
    assert copied.returncode == 0, copied.stderr
    same = run(repository, steps(quality)["gate"])
    assert same.returncode == 0
    assert "fine: " in (repository / "summary").read_text()
    (repository / "new" / "predictions" / "hog-svm.parquet").unlink()
    lost = run(repository, steps(quality)["gate"])
    assert lost.returncode == 3
    assert "::error::nothing was measured" in lost.stdout
    turns = run(repository, steps(speed)["run in turn"])
    assert turns.returncode == 0, turns.stderr
    gate = run(repository, steps(speed)["gate"])
    assert gate.stdout.count("times the seconds of the base") == 1
    assert gate.returncode in (0, 1)  # as loud as this machine is
