"""A scheduler and workers as processes: what they leave in the store is what one process leaves there."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from tests.helpers.dask_processes import Processes

STUDY = {"generated.products": 400, "split.min_products": 8}

pytestmark = pytest.mark.slow


@pytest.fixture
def processes(tmp_path):
    with Processes(tmp_path / "dask") as started:
        yield started


def features_in(cache, name="hog"):
    """Every row of a store by the hash of its photo, and how often each is there."""
    rows, held = {}, []
    (store,) = (cache / "features").glob(f"{name}-*")
    for path in store.glob("*.digests.npy"):
        digests, values = np.load(path), np.load(str(path).replace(".digests.", ".features."))
        held += [value.tobytes() for value in digests]
        rows.update(zip(held[-len(digests) :], (row.tobytes() for row in values), strict=True))
    return rows, len(held)


def command(cache, *words, timeout=600, **variables):
    """Run shelfbench in a process and a cache of its own."""

    given = [word for name, value in STUDY.items() for word in ("--set", f"{name}={value}")]
    return subprocess.run(
        [sys.executable, "-m", "shelfbench.cli.start", *words, *given, "--backend", "hog-svm"],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "SHELFBENCH_CACHE": str(cache), **variables},
    )


def test_workers_of_a_scheduler_give_the_features_and_tables_of_one_process(processes, tmp_path):
    alone = command(tmp_path / "alone", "run", "default", "--out", str(tmp_path / "run-alone"))
    assert alone.returncode == 0, alone.stderr
    expected, count = features_in(tmp_path / "alone")
    for workers in (1, 2, 4):
        while len(processes.workers) < workers:
            processes.start_worker()
        cache, out = tmp_path / f"cache-{workers}", tmp_path / f"run-{workers}"
        done = command(cache, "run", "default", "--dask", processes.address, "--out", str(out))
        assert done.returncode == 0, done.stderr
        rows, held = features_in(cache)
        assert rows == expected
        assert held == count
        assert (out / "tables" / "certified.csv").read_bytes() == (
            tmp_path / "run-alone" / "tables" / "certified.csv"
        ).read_bytes()
        assert not list((cache / "spread").iterdir())
    for name in ("split.parquet", "predictions/hog-svm.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "run-alone" / name).read_bytes()


def test_workers_that_cannot_do_the_work_are_named(processes, tmp_path):
    nobody = command(tmp_path / "cache", "features", "default", "--dask", processes.address, DASK_SHELFBENCH__WAIT="1")
    assert nobody.returncode == 1
    assert "no worker has come to the scheduler" in nobody.stderr


def test_a_local_cluster_is_started_and_ended(tmp_path):
    done = command(tmp_path / "cache", "features", "default", "--dask", "local:2")
    assert done.returncode == 0, done.stderr
    assert "2 workers on this machine" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_local_cluster_ends_with_its_run(tmp_path, number):
    cache = tmp_path / "cache"
    settings = [word for name, value in STUDY.items() for word in ("--set", f"{name}={value}")]
    words = ["features", "default", "--backend", "hog-svm", *settings, "--dask", "local:2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "shelfbench.cli.start", *words],
        env={**os.environ, "SHELFBENCH_CACHE": str(cache)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(cache.glob("features/hog-*/going/*.note")):
        assert run.poll() is None
        time.sleep(0.05)
    started = psutil.Process(run.pid).children(recursive=True)
    assert len(started) >= 2
    if number == signal.SIGINT:  # as a terminal sends it: to all of them
        os.killpg(run.pid, number)
    else:
        run.kill()
    said = run.communicate(timeout=60)[1]
    psutil.wait_procs(started, timeout=10)
    assert not [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert "Traceback" not in said
    if number == signal.SIGINT:
        assert run.returncode == 130
        assert not list((cache / "spread").iterdir())
    again = command(cache, "features", "default", "--dask", "local:2")
    assert again.returncode == 0, again.stderr
    assert not list((cache / "spread").iterdir())
