"""A run knows the hashes of its files: a flipped bit is found by every verb, and made anew by ``--repair``."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_sha256
from shelfbench.cli.main import main
from shelfbench.runs.directory import open_run
from shelfbench.runs.draws import draw_path
from shelfbench.runs.intact import hashes_of, remedy
from shelfbench.runs.record import RunRecord, read_json, write_record
from tests.helpers.small_studies import SETTINGS, record
from tests.helpers.synthetic_run import BACKENDS, make_run

TWO = {name: BACKENDS[name] for name in ("hog-svm", "bottleneck-2nn-512")}
NAME = "bottleneck-2nn-512"
TABLES = (*(f"{folder}/{NAME}" for folder in ("predictions", "scores", "aggregations", "history", "guards")), "timings")
FILES = (*(f"{table}.parquet" for table in TABLES), "split.parquet")
MODEL = [f"models/{NAME}/{name}" for name in ("backend.json", "classifier.json", "weights.safetensors")]
READ = [["report", "RUN"], ["compare", "RUN", "hog-svm", NAME], ["merge", "RUN", "OTHER", "--out", "OUT"]]
USED = [
    ["decide", "RUN", NAME, "--precision", "0.9", "--out", "OUT"],
    ["label", "RUN", NAME, "RUN", "--budget", "20", "--precision", "0.9", "--out", "OUT.csv"],
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run with every kind of file, whose hashes are in its record."""
    path = make_run(tmp_path_factory.mktemp("runs") / "run", products=600, categories=6, backends=TWO, own=True)
    (path / "guards").mkdir()
    pd.DataFrame({"product_id": [1], "distance": [0.5]}).to_parquet(path / "guards" / f"{NAME}.parquet")
    for name in MODEL:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text('{"some": "thing"}')
    values = read_json(path)
    for name in TWO:
        values["backends"][name]["files"] = hashes_of(path, name)
    shared = ("timings.parquet", "split.parquet")
    write_record(path, {**values, "files": {name: file_sha256(path / name) for name in shared}})
    assert {*values["backends"][NAME]["files"], *shared} == {*FILES, *MODEL}
    return path


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.write_bytes(content)


def said(words, run, capsys):
    """Exit code and stderr of a command on a run."""
    places = {"RUN": run, "OTHER": run.with_name("other"), "OUT": run.with_name("out")}
    code = main([str(places.get(word, word)).replace("OUT", str(run.with_name("out"))) for word in words])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("words", [*READ, *USED], ids=lambda words: words[0])
@pytest.mark.parametrize("name", [*FILES, *MODEL])
def test_a_flipped_bit_is_found_by_every_verb_that_reads_the_file(kept, tmp_path, capsys, words, name):
    if name in MODEL and words in READ:
        pytest.skip("which reads no model")
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    shutil.copytree(kept, tmp_path / "other")
    flip(run / name)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, errors = said(words, run, capsys)
    assert code == 2
    (line,) = errors.splitlines()
    assert f"{run / name} has changed since" in line
    assert line.endswith(
        f"; make it anew: shelfbench run --dataset photos/shop --out results/mine --repair --out {run}"
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not list(tmp_path.glob("out*"))


def test_a_run_that_is_intact_is_read_and_so_is_one_of_an_earlier_version(kept, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    assert said(["compare", "RUN", "hog-svm", NAME], run, capsys)[0] == 0
    values = read_json(run)
    values.pop("files")
    for entry in values["backends"].values():
        entry.pop("files")
    (run / "run.json").write_text(json.dumps(values))  # without hashes, as version 0.1 wrote it
    flip(run / f"history/{NAME}.parquet", 0.1)
    assert said(["compare", "RUN", "hog-svm", NAME], run, capsys)[0] == 0


def test_a_merge_keeps_hashes_of_what_it_copied(kept, tmp_path, capsys):
    run = tmp_path / "run"
    for name in ("run", "other"):
        shutil.copytree(kept, tmp_path / name)
    assert main(["merge", str(run), str(tmp_path / "other"), "--out", str(tmp_path / "both"), "--quiet"]) == 0
    merged = open_run(tmp_path / "both")
    changed = (
        tmp_path / "both" / next(path for path in merged.record.backends[f"{NAME} (run)"].files if "scores" in path)
    )
    flip(changed)
    capsys.readouterr()
    assert main(["report", str(tmp_path / "both")]) == 2
    line = capsys.readouterr().err
    assert f"{changed} has changed since" in line
    assert f"merge again with {run}: shelfbench merge " in line


def test_a_model_that_has_lost_a_file_is_not_used_without_it(kept, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    (run / MODEL[1]).unlink()
    code, line = said(USED[0], run, capsys)
    assert code == 2
    assert f"{run / MODEL[1]} is missing; make it anew" in line


@pytest.mark.parametrize("place", [0.1, 0.4, 0.7, 0.95])
def test_a_flipped_bit_in_the_record_is_found(kept, tmp_path, capsys, place):
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    flip(run / "run.json", place)
    code, line = said(["report", "RUN"], run, capsys)
    assert code == 2
    assert f"{run / 'run.json'} " in line


def test_a_record_cannot_lead_out_of_its_run(kept, tmp_path):
    values = read_json(kept)
    values["files"] = {"../../etc/passwd": "0" * 64}
    (tmp_path / "predictions").mkdir()
    shutil.copyfile(kept / "predictions" / "hog-svm.parquet", tmp_path / "predictions" / "hog-svm.parquet")
    write_record(tmp_path, values)
    with pytest.raises(InputError, match="which leads out of the run"):
        open_run(tmp_path).products("hog-svm")


def test_the_remedy_is_a_command_that_was_given():
    for command in ("shelfbench run x --repair --out a", "shelfbench run x --repair --out=a"):
        assert remedy(Path("a"), RunRecord(command=command)).endswith(f"make it anew: {command}")
    there = RunRecord(command="shelfbench run x", study={"name": "x"})
    assert remedy(Path("results") / "x", there).endswith("shelfbench run x --repair")
    assert remedy(Path("moved"), there).endswith("shelfbench run x --repair --out moved")
    assert "repair=True" in remedy(Path("a"), RunRecord(command="shelfbench.run('x')"))


def files_of(out: Path) -> dict[str, bytes]:
    """What a run leaves besides what it is read from: no table, figure, page or time."""
    found = (path for path in out.rglob("*") if path.is_file())
    names = {path.relative_to(out).as_posix(): path for path in found}
    made = {"tables", "figures", "report.html", "run.json", "timings.parquet", "draws.json"}
    return {name: path.read_bytes() for name, path in names.items() if not made & {*Path(name).parts}}


def shop_words(folder, out):
    words = ["run", "--dataset", str(folder), "--backend", "hog-svm", "--out", str(out), "--workers", "1"]
    return words + [word for text in SETTINGS for word in ("--set", text)]


def test_all_that_is_damaged_is_made_anew_byte_for_byte(image_folder, tmp_path, capsys):
    out = tmp_path / "run"
    words = shop_words(image_folder, out)
    assert main([*words, "--repair"]) == 0  # nothing is there yet
    before, values = files_of(out), record(out)
    assert {**values["backends"]["hog-svm"]["files"], **values["files"]}.keys() == {*before, "timings.parquet"}
    for name in before:
        flip(out / name)
    assert main(words) == 2
    assert "has changed since the run wrote it; make it anew: shelfbench run " in capsys.readouterr().err
    assert main([*words, "--repair"]) == 0
    assert files_of(out) == before
    assert record(out)["status"] == "complete"


@pytest.mark.slow
def test_each_damaged_file_is_named_and_made_anew(image_folder, tmp_path, capsys):
    out = tmp_path / "run"
    words = shop_words(image_folder, out)
    assert main(words) == 0
    before = files_of(out)
    for name in (*before, "timings.parquet"):
        kept = (out / name).read_bytes()
        flip(out / name)
        assert main(words) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"{out / name} has changed since" in line
        assert "--repair" in line
        assert (out / name).read_bytes() != kept
        assert main([*words, "--repair"]) == 0, name
        assert files_of(out) == before
        assert record(out)["status"] == "complete"
    assert main([*words, "--repair"]) == 0
    assert f"nothing in {out} is damaged" in capsys.readouterr().err
    (out / "models" / "hog-svm" / "weights.safetensors").unlink()
    assert main([*words, "--repair"]) == 0
    assert files_of(out) == before


@pytest.mark.slow
def test_the_draws_of_a_study_are_repaired_too(image_folder, tmp_path, capsys):
    out = tmp_path / "draws"
    words = [*shop_words(image_folder, out), "--seeds", "2"]
    assert main(words) == 0
    before = files_of(out)
    changed = next(path for path in draw_path(out, 0).rglob("predictions/*.parquet"))
    flip(changed)
    capsys.readouterr()
    assert main(["report", str(out)]) == 0
    assert f"Seed 0 failed: {changed} has changed since" in capsys.readouterr().out
    assert main([*words, "--repair"]) == 0
    assert files_of(out) == before
