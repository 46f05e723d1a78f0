"""Signals end a command with one line and its code, whenever they come and however often; never with a traceback."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.small_studies import SETTINGS

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def start(image_folder, out):
    words = ["run", "--dataset", str(image_folder), "--backend", "hog-svm", "--out", str(out)]
    words += [word for text in SETTINGS for word in ("--set", text)]
    environment = {**os.environ, "SHELFBENCH_CACHE": str(out.parent / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "shelfbench.cli.start", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.slow
@pytest.mark.parametrize("between", [0.0, 0.05, 0.4, 1.2])
@pytest.mark.parametrize("after", [0.15, 0.6, 1.2, 2.5, 4.0])
def test_ctrl_c_twice_never_prints_a_traceback(image_folder, tmp_path, after, between):
    with start(image_folder, tmp_path / "run") as process:
        time.sleep(after)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(between)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert "KeyboardInterrupt" not in errors
    # before Python has begun to listen, the system ends it
    assert process.returncode in (0, 130, -signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES)
def test_each_signal_ends_a_run_that_the_same_command_resumes(image_folder, tmp_path, number):
    with start(image_folder, tmp_path / "run") as process:
        process.stderr.readline()  # it has begun
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == CODES[number]
    assert "stopped; the same command resumes the run" in errors
    assert "Traceback" not in errors
    with start(image_folder, tmp_path / "run") as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert not list(tmp_path.rglob(".partial-*"))
