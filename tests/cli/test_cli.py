"""The command line: instant help, streams, exit codes, and one clear line for each kind of wrong input."""

import errno
import os
import shutil
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.cli.arguments import parser
from shelfbench.cli.main import main
from tests.helpers.photos import noise_picture

SMALL = [
    "--backend",
    "hog-svm",
    "--set",
    "hog.pixels=48",
    "--set",
    "hog.cells=8",
    "--set",
    "svm.C=[0.01]",
    "--workers",
    "1",
]


def verbs():
    [action] = [
        action for action in parser()._actions if hasattr(action, "choices") and isinstance(action.choices, dict)
    ]
    return action.choices


def test_help_is_instant_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "import shelfbench.cli.main\n"
        "try: shelfbench.cli.main.main(['--help'])\nexcept SystemExit: pass\n"
        "loaded = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - before\n"
        "assert loaded == {'shelfbench'}, loaded\n"
        "slow = {'subprocess', 'importlib.metadata', 'logging', 'json', 'dataclasses', 'inspect'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "assert len([name for name in sys.modules if name.startswith('shelfbench')]) < 30"
    )
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
    assert min(times) < 0.5


def test_every_verb_has_help_and_an_example(capsys):
    for name in verbs():
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        shown = capsys.readouterr().out
        assert f"example: shelfbench {name}" in shown
        for action in verbs()[name]._actions:
            assert action.help, f"{name} {action.dest}"


def test_examples_can_be_parsed():
    for name, made in verbs().items():
        words = made.epilog.removeprefix("example: shelfbench ").split()
        assert parser().parse_args(words).verb == name


def test_without_a_verb_one_line_says_how_to_begin(capsys):
    assert "shelfbench run --dataset PATH" in fails(capsys, 2)
    assert "not allowed with" in fails(capsys, 2, "run", "--quiet", "--verbose")
    assert "see shelfbench generate --help" in fails(capsys, 2, "generate", "new", "--no-such-option")


def test_an_error_holds_no_control_characters(capsys):
    name = "no\x1b[2J\nwhere\u202e"
    line = fails(capsys, 2, "report", name)
    assert "\\x1b[2J\\nwhere\\u202e" in line


def fails(capsys, code, *words):
    """Run a command that must fail with one line on stderr and nothing on stdout; return that line."""
    assert main(list(words)) == code
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("shelfbench: ")]
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    assert "unexpected" not in captured.err
    assert captured.out == ""
    return lines[0]


def test_wrong_words(capsys):
    assert "name a verb" in fails(capsys, 2)
    assert "invalid choice: 'walk'" in fails(capsys, 2, "walk")
    assert "--nope" in fails(capsys, 2, "run", "--nope")
    assert "--seed" in fails(capsys, 2, "run", "--seed", "x")
    assert "'0' is not a whole number" in fails(capsys, 2, "run", "--workers", "0")


@pytest.fixture
def wrong_inputs(tmp_path, image_folder):
    """Folders and files with something wrong, by name."""
    empty = tmp_path / "empty"
    empty.mkdir()
    single = tmp_path / "single"
    shutil.copytree(image_folder / "red", single / "red")
    broken = tmp_path / "broken"
    for name in ("a", "b"):
        (broken / name).mkdir(parents=True)
        for i in range(25):
            (broken / name / f"{i}.jpg").write_bytes(b"not a picture %d" % (i + 100 * (name == "b")))
    few = tmp_path / "few"
    for name in ("a", "b"):
        (few / name).mkdir(parents=True)
        for i in range(6):
            (few / name / f"{i}.png").write_bytes(noise_picture(i + 10 * (name == "b")))
    table = tmp_path / "table.parquet"
    pq.write_table(
        pa.table({"kind": ["a", "b"], "image": [{"bytes": noise_picture(i), "path": ""} for i in range(2)]}), table
    )
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1" + b"\0" * 50)
    bad_toml = tmp_path / "bad.toml"
    bad_toml.write_text("backends = [")
    unknown = tmp_path / "unknown.toml"
    unknown.write_text('backends = ["hog-svm"]\ncolour = 3\n')
    bson_only = tmp_path / "train.bson"
    bson_only.write_bytes(b"junk")
    bad_bson = tmp_path / "bson"
    bad_bson.mkdir()
    (bad_bson / "train.bson").write_bytes(b"junk that is long enough")
    (bad_bson / "category_names.csv").write_text(
        "category_id,category_level1,category_level2,category_level3\n1,a,b,c\n"
    )
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nostudy"], "no study 'nostudy'"),
        (["{}/bad.toml"], "is not TOML"),
        (["{}/unknown.toml"], "unknown key 'colour'"),
        (["--set", "split.nothing=1"], "unknown key split.nothing"),
        (["--set", "split.min_products=many"], "give a whole number"),
        (["--backend", "resnet-magic"], "unknown backend 'resnet-magic'"),
        (["--backend", "bottleneck-svm@lenet"], "lenet"),
        (
            [
                "--set",
                "backbone=inception_v3",
                "--set",
                "pixels=32",
                "--backend",
                "bottleneck-svm",
                "--set",
                "weights=none",
                "--dataset",
                "{}/shop",
            ],
            "75",
        ),
        (["--dataset", "{}/nowhere"], "nowhere does not exist"),
        (["--dataset", "fashon"], "no dataset 'fashon'"),
        (["--dataset", "fashion", "--data", "{}/empty"], "does not contain fashion"),
        (["--dataset", "{}/empty"], "contains no product images"),
        (["--dataset", "{}/single"], "only one category"),
        (["--dataset", "{}/broken"], "none of the"),
        (["--dataset", "{}/few"], "split.min_products"),
        (["--dataset", "{}/table.parquet"], "no column 'category'"),
        (["--dataset", "{}/table.parquet", "--set", "dataset.category=nope"], "no column 'nope'"),
        (["--dataset", "{}/damaged.parquet"], "is not a readable Parquet file"),
        (["--dataset", "{}/train.bson"], "category_names.csv is missing"),
        (["--dataset", "{}/bson"], "bad document at byte 0"),
        (["--dataset", "{}/notes.txt"], "has no column 'file_name'"),
        (["--dataset", "{}/shop", "--set", "split.categories=50"], "split.categories=50"),
        (["--set", "images.fit=wide"], "images.fit is 'wide'"),
        (["--set", "hog.pixels=8", "--dataset", "{}/shop"], "hog.pixels is 8"),
        (["--out", "{}/notes.txt", "--dataset", "{}/shop"], "notes.txt"),
        (["--out", "{}/notes.txt/deeper", "--dataset", "{}/shop"], "notes.txt"),
        (["--set", "generated.products=3"], "products"),
        (["--dataset", ""], "dataset.name is empty"),
        (["--data", "{}/empty"], "does not apply to the generated catalogue"),
        (["--dataset", "/dev/null"], "is not a catalogue"),
        (["--dataset", "{}/" + "x" * 300], "name too long"),
        (["--dataset", "~nouser/x"], "home directory"),
        (["--set", "seed=1\nfoo=2"], "one line"),
        (["--set", "seed=" + "9" * 5000], "seed"),
        (["--set", "seed=" + "[" * 3000], "whole number"),
        (["--set", "svm.C=1e300"], "svm.C"),
        (["--set", "report.targets=[0.12345678912]"], "0.12345678912"),
        (["--set", "dataset.levels=[2020-01-01]"], "dataset.levels"),
    ],
)
def test_wrong_input_is_one_line(capsys, wrong_inputs, words, message):
    words = [word.replace("{}", str(wrong_inputs)) for word in words]
    options = [] if "--out" in words else ["--out", str(wrong_inputs / "out")]
    backend = [] if "--backend" in words or ".toml" in words[0] else ["--backend", "hog-svm"]
    assert message in fails(capsys, 2, "run", "--quiet", "--workers", "1", *words, *backend, *options)


def test_other_verbs_with_wrong_input(capsys, wrong_inputs):
    assert "unknown dataset 'imagenot'" in fails(capsys, 2, "fetch", "imagenot")
    assert "needs no download" in fails(capsys, 2, "fetch", "generated")
    assert "is not an empty folder" in fails(capsys, 2, "generate", str(wrong_inputs / "shop"))
    assert "unknown key generated.colour" in fails(
        capsys, 2, "generate", str(wrong_inputs / "new"), "--set", "colour=3"
    )
    assert "nowhere.csv" in fails(
        capsys, 2, "generate", str(wrong_inputs / "new"), "--counts", str(wrong_inputs / "nowhere.csv")
    )
    fails(capsys, 2, "report", str(wrong_inputs / "empty"))
    fails(capsys, 2, "report", str(wrong_inputs / "nowhere"))


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="needs a folder that nobody may write to")
def test_a_folder_that_nobody_may_write_to(capsys, wrong_inputs):
    words = ["run", "--quiet", "--dataset", str(wrong_inputs / "shop"), "--out", "/sys/kernel/shelfbench", *SMALL]
    assert "no permission to write /sys/kernel/shelfbench" in fails(capsys, 2, *words)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write and read everywhere")
def test_folders_without_rights(capsys, wrong_inputs, monkeypatch):
    locked = wrong_inputs / "locked"
    locked.mkdir(mode=0o500)
    shop = str(wrong_inputs / "shop")
    assert "no permission to write" in fails(
        capsys, 2, "run", "--quiet", "--dataset", shop, "--out", str(locked / "out"), *SMALL
    )
    (wrong_inputs / "shop" / "red").chmod(0)
    assert "no permission to read" in fails(
        capsys, 2, "run", "--quiet", "--dataset", shop, "--out", str(wrong_inputs / "o"), *SMALL
    )


@pytest.mark.parametrize(
    ("code", "exit_code", "message"),
    [
        (errno.ENOSPC, 1, "no space left on the disk"),
        (errno.EACCES, 2, "no permission to write"),
        (errno.EROFS, 2, "Read-only file system"),
    ],
)
def test_a_full_or_forbidden_disk(capsys, wrong_inputs, monkeypatch, code, exit_code, message):
    shop, out = str(wrong_inputs / "shop"), wrong_inputs / "out"
    real = os.replace
    counted = []

    def refuse(source, target):
        counted.append(str(target))
        if len(counted) > 4:
            raise OSError(code, os.strerror(code), str(target))
        return real(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    line = fails(capsys, exit_code, "run", "--quiet", "--dataset", shop, "--out", str(out), *SMALL)
    assert message in line
    left = list(wrong_inputs.rglob(".partial-*"))
    assert not left, "nothing is half-written"


def test_ctrl_c_is_130_and_the_run_goes_on(capsys, wrong_inputs, monkeypatch):
    from shelfbench_baselines.linear_svm import LinearSVM

    shop, out = str(wrong_inputs / "shop"), str(wrong_inputs / "out")
    fit = LinearSVM.fit

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(LinearSVM, "fit", stop)
    assert "stopped" in fails(capsys, 130, "run", "--quiet", "--dataset", shop, "--out", out, *SMALL)
    monkeypatch.setattr(LinearSVM, "fit", fit)
    assert main(["run", "--dataset", shop, "--out", out, *SMALL]) == 0
    captured = capsys.readouterr()
    assert "hog-svm" in captured.out
    assert "features reused" in captured.err


def test_lists_go_to_stdout(capsys):
    assert main(["backends"]) == 0
    assert main(["datasets"]) == 0
    captured = capsys.readouterr()
    for name in ("hog-svm", "bottleneck-2nn-4096", "fashion", "cdiscount", "generated"):
        assert name in captured.out
    assert captured.err == ""
