"""What `plan --machines` says of several machines beside one, and that its commands do what they say."""

import math
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from shelfbench.cli.arguments import parser
from shelfbench.cli.main import main
from shelfbench.cli.moving import show_commands
from shelfbench.cost.around import Around
from shelfbench.cost.trial import NetworkTraining
from shelfbench.cost.ways import ways
from tests.cost.test_plan import known, plan_of

# Does what sbatch would: an array's jobs one after another, and the number of the job.
SBATCH = """#!/bin/bash
file="${@: -1}"
case "$*" in *--dependency=*) [[ "$*" == *--dependency=afterok:7\\ * ]] || exit 1;; esac
last=$(sed -n 's/^#SBATCH --array=1-//p' "$file")
for task in $(seq 1 "${last:-1}"); do SLURM_ARRAY_TASK_ID=$task bash "$file" >&2 || exit 1; done
[[ "$*" == *--parsable* ]] && echo "7;cluster" || echo "Submitted batch job 8"
"""


def script(shown):
    """The lines to paste into a shell."""
    lines = shown.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("cat > "))
    end = next(number for number, line in enumerate(lines) if line.startswith("sbatch "))
    return lines[start : end + 1]


def of(*words):
    return parser().parse_args(["plan", *words])


def test_jobs_are_paid_for_as_long_as_each_runs_and_divide_only_features():
    tried = known("a")
    able = replace(tried, trial=replace(tried.trial, fitting=replace(tried.trial.fitting, divides=True)))
    plan = replace(plan_of(able), machines=5, price=3600.0, around=Around(hashing=0.001, splitting=0.002))
    alone, jobs, dask = ways(plan)
    before, extract, fit, rest = 1 + 2, 0.01 * 1000, 2.6, plan.seconds() - (3 + 2 + 10 / 5 + 2.6 / 5)
    assert alone.seconds == alone.paid == pytest.approx(before + 2 + extract + fit + rest)
    assert jobs.seconds == pytest.approx(before + 2 + extract / 5 + fit + rest), "the fit is that of one machine"
    assert jobs.paid == pytest.approx(5 * (before + 2 + extract / 5) + fit + rest), "each loads its network"
    assert (dask.seconds, dask.paid) == (pytest.approx(plan.seconds()), pytest.approx(5 * plan.seconds()))
    shown = str(plan)
    assert "One machine or 5" in shown
    assert "classifiers are fitted, and all else is done, in the one job of the run" in " ".join(shown.split())
    assert "One machine" not in str(plan.alone)


def test_an_array_has_nothing_to_do_where_only_the_run_can_compute(capsys):
    trained = replace(plan_of(known("a", training=NetworkTraining(math.nan))), machines=2)
    there = replace(plan_of(replace(known("a"), there=1000)), machines=2)
    for plan, why in ((trained, "No features are left"), (there, "No features are left")):
        assert len(ways(plan)) == 2
        show_commands(of("fashion"), plan)
        assert why in (shown := capsys.readouterr().out)
        assert "sbatch" not in shown
    assert "not known" in str(trained).split("One machine or 2")[1]
    show_commands(of("xception"), replace(plan_of(known("a"), experiment="ablations"), machines=2))
    assert "The experiment ablations computes its own features" in capsys.readouterr().out


def test_the_commands_have_all_that_plan_was_given_and_ask_for_twice_what_is_planned(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "a cache"))
    words = ["own", "--dataset", "it's $HOME", "--data", "a b", "--workers", "3"]
    words += ["--backend", "hog-svm", "--backend", "mean", "--set", 'dataset.category="a b"', "--set", "svm.C=[1, 2]"]
    plan = replace(plan_of(known("a")), machines=4, around=Around(splitting=10.0, base=3000.0))
    show_commands(of(*words, "--machines", "4", "--images", "900", "--price", "2"), plan)
    lines = script(capsys.readouterr().out)
    features, run = (shlex.split(line)[1:] for line in lines if line.startswith("shelfbench "))
    assert features == ["features", *words, "--shard", "$SLURM_ARRAY_TASK_ID/4"]
    assert run == ["run", *words]
    assert lines.count(f"export SHELFBENCH_CACHE='{tmp_path}/a cache'") == 2
    assert lines[2:6] == [f"#SBATCH --{text}" for text in ("array=1-4", "cpus-per-task=3", "mem=6G", "time=06:00:00")]


@pytest.mark.slow
def test_the_commands_do_what_they_say(image_folder, fresh_cache, tmp_path, monkeypatch, capfd):
    photos = tmp_path / "it's a folder"
    photos.symlink_to(image_folder)
    words = ["--dataset", photos.name, "--backend", "hog-svm", "--set", "hog.pixels=48", "--set", "svm.C=[0.01, 1]"]
    monkeypatch.chdir(tmp_path)
    assert main(["plan", *words, "--machines", "2", "--price", "0.5"]) == 0
    lines = script(capfd.readouterr().out)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text(SBATCH)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(["bash", "-e"], input="\n".join(lines), text=True, check=True, env={**os.environ, "PATH": path})
    said = capfd.readouterr()
    computed = [line for line in said.err.splitlines() if line.startswith("hog (for hog-svm)")]
    assert len(computed) == 2, "one line of each job"
    table = pd.read_csv(tmp_path / "results" / "own" / "tables" / "table4.csv")
    assert table["cached"].all(), "the run finds all features"
