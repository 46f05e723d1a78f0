"""What the opponent of the whole study took: also where it is stopped."""

import sys

import psutil
import pytest

from tests.benchmarks.study import cpu_seconds_of

SPIN = "import time\nuntil = time.monotonic() + {}\nwhile time.monotonic() < until: pass\n"
CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN.format(60)!r}])\n"


def test_one_that_ends_is_not_counted_here(tmp_path):
    assert cpu_seconds_of([sys.executable, "-c", "print('done')"], tmp_path / "log", 60) is None
    assert (tmp_path / "log").read_text() == "done\n"
    assert cpu_seconds_of([sys.executable, "-c", "pass"], tmp_path / "log", None) is None


def test_one_that_is_stopped_took_what_its_children_took(tmp_path):
    taken = cpu_seconds_of([sys.executable, "-c", CHILD], tmp_path / "log", 3)
    assert 0.1 < taken < 4  # its cores may be shared with other tests
    left = [process.info for process in psutil.process_iter(["cmdline", "status"])]
    assert not [one for one in left if SPIN.format(60) in (one["cmdline"] or []) and one["status"] != "zombie"]


def test_one_that_fails_is_no_opponent(tmp_path):
    with pytest.raises(SystemExit, match="the opponent failed"):
        cpu_seconds_of([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log", 60)
