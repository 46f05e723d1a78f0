"""``shelfbench compare OLD NEW``: what is compared, what is refused and why, and the exit codes of --gate."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.cli.main import main
from shelfbench.runs.intact import hashes_of
from tests.helpers.synthetic_run import BACKENDS, make_run

TWO = {name: BACKENDS[name] for name in ("hog-svm", "bottleneck-2nn-512")}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "old", products=1500, categories=12, backends=TWO, own=True)


@pytest.fixture
def old(source, tmp_path):
    return shutil.copytree(source, tmp_path / "old")


@pytest.fixture
def new(source, tmp_path):
    return shutil.copytree(source, tmp_path / "new")


def edit(run, change):
    values = json.loads((run / "run.json").read_text())
    change(values)
    (run / "run.json").write_text(json.dumps(values))


def rewrite(run, change, backends=tuple(TWO)):
    """Change the predictions of backends, as a data frame."""
    for backend in backends:
        path = run / "predictions" / f"{backend}.parquet"
        table = pq.read_table(path)
        frame = change(table.to_pandas())
        pq.write_table(pa.Table.from_pandas(frame, table.schema, preserve_index=False), path)


def lose(share, seed=0):
    """Make right test products wrong."""

    def change(frame):
        test = (frame["split"] == "test").to_numpy()
        right = np.flatnonzero(test & (frame["predicted"] == frame["category"]).to_numpy())
        lost = np.random.default_rng(seed).choice(right, round(share * test.sum()), replace=False)
        frame.loc[lost, "predicted"] = np.where(frame["category"].to_numpy()[lost] == "c00", "c01", "c00")
        return frame

    return change


def asked(capsys, *words):
    code = main(["compare", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_what_has_not_changed_is_fine(old, new, capsys):
    code, said, _ = asked(capsys, old, new, "--gate")
    assert code == 0
    assert "fine: the new run is right on the same" in said


def test_a_loss_shuts_the_gate_and_names_the_backend(old, new, capsys):
    rewrite(new, lose(0.1), ["hog-svm"])
    code, said, _ = asked(capsys, old, new, "--gate")
    assert code == 1
    assert "worse: hog-svm has lost 10." in said
    assert "worse: bottleneck" not in said
    assert "fine" not in said
    assert asked(capsys, old, new, "bottleneck-2nn-512", "--gate")[0] == 0
    assert asked(capsys, new, old, "--gate")[0] == 0  # a gain
    assert asked(capsys, old, new) == (0, said, "")  # without the option, the same table


def test_a_loss_that_chance_explains_is_fine_and_says_what_could_go_unseen(old, new, capsys):
    rewrite(new, lose(0.013), ["hog-svm"])
    code, said, _ = asked(capsys, old, new, "--gate", "--precision", "0.8", "--seed", "3")
    assert code == 0
    assert "fine: no loss of more than 1 point beyond noise; what is lost may be up to" in said
    assert "Acceptance at 0.8, old" in said


def test_on_few_products_the_gate_says_that_acceptance_is_not_judged(old, new, capsys):
    for run in (old, new):
        rewrite(run, lambda frame: pd.concat([frame[frame["split"] != "test"], frame[frame["split"] == "test"][:150]]))
        (run / "split.parquet").unlink()
    rewrite(new, lose(0.02), ["hog-svm"])
    code, said, _ = asked(capsys, old, new, "--gate")
    assert code == 0
    assert "of precision (95% sure); 150 products are too few to say that of acceptance, or to test it" in said


def test_what_is_tolerated_is_not_worse(old, new, capsys):
    rewrite(new, lose(0.1), ["hog-svm"])
    code, said, _ = asked(capsys, old, new, "--gate", "--tolerance", "0.6")
    assert code == 0
    assert "fine: no loss of more than 60.0 points beyond noise" in said


def test_the_order_of_rows_and_of_backends_changes_nothing(old, new, capsys):
    rewrite(new, lose(0.1), ["hog-svm"])
    before = asked(capsys, old, new, "--gate")
    rewrite(new, lambda frame: frame.sample(frac=1, random_state=0))
    assert asked(capsys, old, new, "--gate") == before


def other_label(frame):
    row = frame.index[(frame["split"] == "test") & (frame["category"] != "c03")][0]
    frame.loc[row, "category"] = "c03"
    return frame


def without(frame):
    return frame.drop(frame.index[frame["split"] == "test"][0])


def numbered(frame):
    frame["product_id"] += 1
    return frame


def moved(frame):
    row = frame.index[frame["split"] == "train"][0]
    frame.loc[row, ["split", "role"]] = "validation", "tune"
    return frame


@pytest.mark.parametrize(
    ("change", "record", "reasons"),
    [
        (
            None,
            lambda values: values["dataset"].update(hash="other"),
            ["other data (photos/shop, 1,512 products, hash"],
        ),
        (
            None,
            lambda values: values["dataset"].update(levels=["level1"]),
            ["other levels of categories (none; level1"],
        ),
        (None, lambda values: values["split"].update(hash=""), ["does not say which data and split it rests on"]),
        (
            None,
            lambda values: values["backends"]["hog-svm"].update(status="failed", reason="no memory"),
            ["has no predictions of hog-svm (no memory)"],
        ),
        (other_label, None, ["other labels of 1 of "]),
        (without, None, ["another split (hash", "other products of test (1 only in"]),
        (numbered, None, ["another split (", "other products of test ("]),
        (moved, lambda values: values.update(seed=1), ["another split (seed 0 and seed 1)"]),
        (
            other_label,
            lambda values: values["dataset"].update(hash="other"),
            ["other data", "other labels"],
        ),
    ],
)
def test_what_cannot_be_compared_has_a_line_for_each_reason(old, new, capsys, change, record, reasons):
    if change is not None:
        rewrite(new, change)
        (new / "split.parquet").unlink()
    if record is not None:
        edit(new, record)
    code, said, _ = asked(capsys, old, new, "--gate")
    assert code == 4
    lines = said.splitlines()
    assert len(lines) == len(reasons)
    for line, reason in zip(lines, reasons, strict=True):
        assert line.startswith("not comparable: ")
        assert reason in line
    code, said, error = asked(capsys, old, new)
    assert (code, said) == (2, "")
    assert "cannot be compared" in error
    assert error.count("\n") == 1


def test_another_half_of_validation_is_no_reason(old, new, capsys):
    def halved(frame):
        frame["role"] = frame["role"].replace({"tune": "certify", "certify": "tune"})
        return frame

    rewrite(new, halved)
    edit(new, lambda values: values.update(seed=1, split={"hash": "other"}))
    code, said, _ = asked(capsys, old, new, "--gate")
    assert code == 0
    assert "note: validation is halved differently (seed 0 and seed 1), test is the same" in said


def test_what_only_one_of_the_runs_has(old, new, capsys):
    (old / "predictions" / "hog-svm.parquet").unlink()
    edit(old, lambda values: values["backends"].pop("hog-svm"))
    code, said, _ = asked(capsys, old, new, "--gate")
    assert code == 0
    assert f"note: only in {new}, and not compared: hog-svm" in said
    assert asked(capsys, new, old, "--gate")[:2] == (
        4,
        f"not comparable: {old} has no predictions of hog-svm; to compare the others, name them after the runs\n",
    )
    assert asked(capsys, new, old, "bottleneck-2nn-512", "--gate")[0] == 0
    assert asked(capsys, old, new, "hog-svm", "--gate")[0] == 4


def test_a_baseline_that_has_lost_predictions_does_not_pass_on_the_rest(old, new, capsys):
    (old / "predictions" / "hog-svm.parquet").unlink()
    rewrite(new, lose(0.1), ["hog-svm"])
    assert asked(capsys, old, new, "--gate")[:2] == (
        4,
        f"not comparable: {old} has no predictions of hog-svm; to compare the others, name them after the runs\n",
    )
    assert asked(capsys, old, new, "bottleneck-2nn-512", "--gate")[0] == 0


def test_nothing_measured(old, new, capsys):
    def few(frame):
        return pd.concat([frame[frame["split"] != "test"], frame[frame["split"] == "test"].head(4)])

    for run in (old, new):
        rewrite(run, few)
        (run / "split.parquet").unlink()
    code, said, _ = asked(capsys, old, new, "--gate")
    assert code == 3
    assert "nothing measured: " in said
    assert "have 4 products of test, on which no loss could be told from chance" in said
    shutil.rmtree(new / "predictions")
    code, said, _ = asked(capsys, old, new, "--gate")
    assert code == 3
    assert f"nothing measured: {new} has no predictions" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{old}", "--gate"], "--gate needs two run directories"),
        (["{old}", "nowhere", "--gate"], "nowhere is not a run directory"),
        (["{old}", "hog-svm", "--gate"], "hog-svm is not a run directory"),
        (["{old}", "{old}", "--gate"], "are the same run directory"),
        (["{old}", "{new}/predictions"], "is neither a backend of"),
        (["{old}", "{new}", "hog-svn", "--gate"], "neither run has a backend 'hog-svn'; there are hog-svm"),
        (["{old}", "{new}", "--gate", "--precision", "0"], "a precision of 0 requires nothing"),
        (["{old}", "{new}", "--gate", "--precision", "x"], "'x'"),
        (["{old}", "{new}", "--gate", "--tolerance", "1"], "the tolerance 1 is not a share"),
        (["{old}", "{new}", "--gate", "--tolerance", "nan"], "the tolerance nan is not a share"),
        (["{old}", "{new}", "--gate", "--seed", "-1"], "the seed -1 is negative"),
        (["{old}", "{new}", "--gate", "--resamples", "100"], "no loss of acceptance could be found; give 2000"),
        (["{old}", "hog-svm", "bottleneck-2nn-512", "hog-svm"], "3 backends are named"),
    ],
)
def test_wrong_input_is_refused_in_one_line(old, new, capsys, words, message):
    code, said, error = asked(capsys, *(word.format(old=old, new=new) for word in words))
    assert (code, said) == (2, "")
    assert message in error
    assert error.count("\n") == 1


def test_a_damaged_file_is_refused_whether_or_not_there_is_a_hash(old, new, capsys):
    path = new / "predictions" / "hog-svm.parquet"
    edit(new, lambda values: values["backends"]["hog-svm"].update(files=hashes_of(new, "hog-svm")))
    whole = path.read_bytes()
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    code, _, error = asked(capsys, old, new, "--gate")
    assert code == 2
    assert f"{path} has changed since hog-svm was finished" in error
    edit(new, lambda values: values["backends"]["hog-svm"].pop("files"))
    path.write_bytes(whole[:500])
    code, _, error = asked(capsys, old, new, "--gate")
    assert code == 2
    assert str(path) in error


def test_a_name_that_is_both_a_backend_and_a_folder_is_asked_about(old, new, capsys, monkeypatch):
    monkeypatch.chdir(new.parent)
    new.rename("hog-svm")
    code, _, error = asked(capsys, "old", "hog-svm")
    assert code == 2
    assert "write ./hog-svm for the run directory" in error
    assert asked(capsys, "old", "./hog-svm", "--gate")[0] == 0
    assert asked(capsys, "old", "hog-svm", "--gate")[0] == 0
