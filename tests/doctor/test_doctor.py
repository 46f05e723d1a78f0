"""`shelfbench doctor` sees what is broken and what slows things down, and loads no engine for it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base import processor
from shelfbench.cli.main import main
from shelfbench.doctor import checkup, packages, trying
from shelfbench.doctor.advice import advice, variables
from shelfbench.doctor.machine import Machine, Place, place

MACHINE = Machine(
    processor="x",
    cores=4,
    seen=8,
    core_limit=None,
    memory=64 << 30,
    free=32 << 30,
    instructions=("AVX2",),
    gpus=(),
    accelerator=False,
)
CACHE = Place(path=Path("cache"), free=1 << 40, problem="")


def advised(machine=MACHINE, engines=("OpenVINO",), cache=CACHE, **extras):
    return advice(machine, dict.fromkeys(engines, "1"), cache, extras)


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "cache"))


def test_it_is_quick_loads_no_engine_and_leaves_nothing(tmp_path):
    code = (
        "import sys; from shelfbench.cli.main import main; code = main(['doctor', '--json']); "
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'openvino', 'onnxruntime', 'sklearn', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == bool(told["broken"])
    assert told["machine"]["cores"] == processor.cores()
    assert {"linear SVM", "features of networks"} <= set(told["uses"])
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_broken(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "is not a folder; choose another folder with SHELFBENCH_CACHE" in shown
    assert "to mend, listed under Broken" in shown


def test_a_folder_is_tried_and_left_as_it_was(tmp_path):
    found = place(tmp_path / "a" / "b")
    assert found.problem == ""
    assert found.free > 0
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_broken_and_a_nearly_full_one_is_advice():
    full = replace(CACHE, free=1 << 20)
    assert any("the disk is full" in line for line in checkup._broken(full, CACHE, {}, {}))
    assert not list(checkup._broken(CACHE, CACHE, {}, {}))
    assert any("shelfbench cache --clean" in line for line in advised(cache=replace(CACHE, free=1 << 30)))


def faked(monkeypatch, requires, there, extras=()):
    """Let the metadata of shelfbench and what is installed be these."""
    metadata = SimpleNamespace(get_all={"Provides-Extra": list(extras), "Requires-Python": [">=3.11,<3.14"]}.get)
    known = {"shelfbench": SimpleNamespace(requires=requires, metadata=metadata), "jax": SimpleNamespace(
        requires=['plugin>=1; extra == "cuda12"'], metadata=None
    )}  # fmt: skip

    def distribution(name):
        if name not in known:
            raise packages.PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(packages, "distribution", distribution)
    monkeypatch.setattr(packages, "installed", lambda name: there.get(name, ""))


def test_requirements_that_are_not_met_are_named(monkeypatch):
    requires = [
        "old>=2,<3",
        "fine>=1",
        "missing>=1",
        'elsewhere>=1; sys_platform == "none"',
        'shelfbench[inner]; extra == "outer"',
        'deep>=2; extra == "inner"',
        'jax[cuda12]>=1; extra == "gpu"',
        'deep>=3; extra == "unasked"',
        'missing>=1; extra == "unasked"',
    ]
    names = ["inner", "outer", "gpu", "unasked"]
    faked(monkeypatch, requires, {"old": "1.9", "fine": "1.0", "deep": "1.0", "jax": "1"}, names)
    assert [str(need) for need in packages.needs()] == [
        "old<3,>=2 is needed, and 1.9 is installed",
        "missing>=1 is not installed",
    ]
    assert [str(need) for need in packages.needs("outer")] == ["deep>=2 is needed, and 1.0 is installed"]
    assert [need.requirement for need in packages.needs("gpu")] == ["plugin>=1"]
    assert packages.extras() == dict.fromkeys(names, False)
    broken = list(checkup._broken(CACHE, CACHE, {}, {}))
    assert len(broken) == 3  # one of an extra, once; none of an extra that is not all there
    assert all("python -m pip install" in line for line in broken)


def test_a_python_that_is_too_old_is_named(monkeypatch):
    faked(monkeypatch, [], {})
    assert packages.outdated_python("3.12.1") == ""
    assert packages.outdated_python("3.14.0rc1") == "shelfbench needs Python >=3.11,<3.14, and this is 3.14.0rc1"


def test_an_engine_without_its_module_is_damaged(monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda name: "1.0" if name in ("openvino", "jax") else "")
    monkeypatch.setattr(packages, "find_spec", lambda name: name if name in ("jax", "torch") else None)
    found = packages.engines()
    assert found == {"OpenVINO": "", "JAX": "1.0", "PyTorch": "of unknown version"}
    [line] = [line for line in checkup._broken(CACHE, CACHE, found, {}) if "OpenVINO" in line]
    assert line.endswith("python -m pip install --force-reinstall openvino")


@pytest.mark.parametrize(
    ("code", "works", "said"),
    [
        ("print('noise'); print('CPU')", True, "CPU"),
        ("raise ImportError('libcuda.so.1 is missing')", False, "ImportError: libcuda.so.1 is missing"),
        (
            "raise ImportError('libcuda.so.1 is missing\\n\\nSee the manual.')",
            False,
            "ImportError: libcuda.so.1 is missing",
        ),
        ("import os; os.abort()", False, "it ends the process (signal 6)"),
    ],
)
def test_an_engine_is_loaded_apart(monkeypatch, code, works, said):
    monkeypatch.setitem(trying._TRIES, "JAX", code)
    tried = trying.load("JAX")
    assert (tried.works, tried.said) == (works, said)
    broken = [line for line in checkup._broken(CACHE, CACHE, {"JAX": "1.0"}, {"JAX": tried}) if "JAX" in line]
    assert len(broken) == (not works)


def test_an_engine_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setitem(trying._TRIES, "JAX", "import time; time.sleep(60)")
    assert not trying.load("JAX", 0.2).works


def test_a_plug_in_that_fails_is_named_and_does_not_stop_the_rest(monkeypatch):
    def fails():
        raise OSError("no driver")

    points = [SimpleNamespace(name=name, value=f"pkg:{name}", load=lambda use=use: use) for name, use in (
        ("a", fails), ("b", lambda: {"task": "engine"})
    )]  # fmt: skip
    monkeypatch.setattr(checkup, "entry_points", lambda group: points)
    uses, failed = checkup._uses()
    assert uses == {"task": "engine"}
    assert len(failed) == 1
    assert "pkg:a" in failed[0]


@given(st.integers(1, 64), st.integers(1, 64))
def test_too_few_threads_are_told_and_enough_are_not(threads, usable):
    lines = list(variables({"OMP_NUM_THREADS": str(threads)}, usable))
    assert bool(lines) == (threads < usable)


@pytest.mark.parametrize("value", ["", "many", "0", "-1"])
def test_what_limits_nothing_is_not_told(value):
    assert list(variables({"OMP_NUM_THREADS": value, "OPENBLAS_CORETYPE": ""}, 8)) == []


def test_a_gpu_that_nothing_uses_is_told(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    gpu = replace(MACHINE, gpus=("H200, 141 GB, 570",), accelerator=True)
    assert any("pip install 'shelfbench[gpu]'" in line for line in advised(gpu))
    assert any("export KERAS_BACKEND=jax" in line for line in advised(gpu, gpu=True))
    assert any("install NVIDIA's driver" in line for line in advised(replace(gpu, gpus=())))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert advised(gpu, gpu=True) == []
    assert advised() == []


def test_what_a_processor_could_do_is_told():
    assert any("pip install openvino" in line for line in advised(engines=()))
    fast = replace(MACHINE, instructions=("AVX512-VNNI (int8)",))
    [line] = advised(fast)
    assert "shelfbench[int8]" in line
    [line] = advised(fast, engines=("OpenVINO", "NNCF"))
    assert "pip install" not in line
    [line] = advised(replace(MACHINE, core_limit=2.5))
    assert line.endswith("--workers 2")


def test_the_time_of_a_container_is_its_smallest_limit(tmp_path, monkeypatch):
    inner = tmp_path / "groups" / "jobs" / "one"
    inner.mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("0::/jobs/one\n")
    monkeypatch.setattr(processor, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(processor, "OWN_GROUP", own)
    assert processor.core_limit() is None
    (inner / "cpu.max").write_text("max 100000\n")
    assert processor.core_limit() is None
    (inner.parent / "cpu.max").write_text("150000 100000\n")
    assert processor.core_limit() == 1.5


def test_without_keras_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr("shelfbench_deep.doctor.find_spec", lambda name: None)
    uses, failed = checkup._uses()
    assert failed == []
    assert uses["training of networks"].endswith("(python -m pip install 'shelfbench[deep]')")
    assert "NumPy" in uses["linear SVM"]


@pytest.mark.parametrize("width", [40, 80, None])
def test_rows_fold_beside_their_labels(monkeypatch, width):
    monkeypatch.setattr(checkup, "screen_width", lambda: width)
    lines = list(checkup._row("extras", "word " * 30, 10))
    assert " ".join(line[14:] for line in lines).split() == ["word"] * 30
    assert all(len(line) <= (width or 1000) for line in lines)
    assert [line[:8].strip() for line in lines] == ["extras", *[""] * (len(lines) - 1)]


def test_every_extra_says_what_it_is_for():
    assert set(packages.extras()) <= set(packages.PURPOSES)
