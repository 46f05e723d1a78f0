"""Workers of every kind end within five seconds of a SIGKILL of the process they work for."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

WITHIN = 5.0
# What each starts, by kind; `busy` keeps its workers at work for a minute.
STARTS = {
    "joblib, as scikit-learn's estimators use it": """
import joblib
from shelfbench.base.serving import joblib_serves
with joblib_serves():
    report()
    joblib.Parallel(n_jobs=2)(joblib.delayed(time.sleep)(60) for _ in range(4))
""",
    "the generator's": """
import joblib, os
from shelfbench.base.serving import serve
def draw(parent):
    serve(parent)
    time.sleep(60)
report()
list(joblib.Parallel(n_jobs=2, return_as="generator")(joblib.delayed(draw)(os.getpid()) for _ in range(4)))
""",
    "those that decode": """
import os
from joblib.externals.loky import ProcessPoolExecutor
from shelfbench.base.serving import serve
pool = ProcessPoolExecutor(2, timeout=60, initializer=serve, initargs=(os.getpid(), None))
report()
list(pool.map(time.sleep, [60] * 4))
""",
    "those that are timed": """
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
from shelfbench.base.serving import serve
if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), initializer=serve, initargs=(os.getpid(),))
    report()
    list(pool.map(time.sleep, [60] * 4))
""",
    "a timed network's own process": """
import subprocess, sys, os
work = "import sys, time; from shelfbench.base.serving import end_with; end_with(int(sys.argv[1])); time.sleep(60)"
report()
subprocess.run([sys.executable, "-c", work, str(os.getpid())])
""",
}
_REPORT = """
import threading, time
def report():
    import psutil
    mine = psutil.Process()
    def look():
        while not any("resource_tracker" not in " ".join(child.cmdline()) for child in mine.children(recursive=True)):
            time.sleep(0.1)
        time.sleep(3)  # until they have begun to work
        print(*[child.pid for child in mine.children(recursive=True)], flush=True)
    threading.Thread(target=look, daemon=True).start()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", STARTS)
def test_workers_end_soon_after_a_killed_parent(tmp_path, kind):
    script = tmp_path / "start.py"
    script.write_text(_REPORT + STARTS[kind])
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        workers = [psutil.Process(int(word)) for word in parent.stdout.readline().split()]
        assert workers
        parent.send_signal(signal.SIGKILL)
        killed = time.monotonic()
    _, alive = psutil.wait_procs(workers, timeout=WITHIN)
    for worker in alive:
        worker.kill()
    assert not alive, f"{len(alive)} of {len(workers)} outlive it by {time.monotonic() - killed:.1f} s"


def test_whoever_starts_workers_lets_them_end_with_their_parent():
    starts = re.compile(r"ProcessPoolExecutor\(|joblib\.Parallel\(|get_reusable_executor\(|multiprocessing\.Process\(")
    found = [
        path
        for root in ("bench", "baselines", "deep")
        for path in Path(root).rglob("*.py")
        if starts.search(path.read_text(encoding="utf-8"))
    ]
    assert len(found) >= 3
    for path in found:
        assert "shelfbench.base.serving import" in path.read_text(encoding="utf-8"), path
