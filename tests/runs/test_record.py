"""The record of a run and of a saved model: typed, tolerant of older files, strict with wrong ones."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench.data.images import ImageSettings
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.runs.entries import BackendEntry, Entry, HeadEntry, NetworkEntry, TrainingEntry
from shelfbench.runs.keeping import SavedModel, read_model
from shelfbench.runs.record import RunRecord, as_json, read_record
from shelfbench.runs.recorder import Recorder, differences
from shelfbench.study.read import read_study

KEPT = sorted(path.parent for path in Path("results").rglob("run.json"))
ENTRIES = {"profiles": TrainingEntry, "multilabel": HeadEntry, "imagenet": NetworkEntry, "timing": Entry}

_SELDOM = {"sizes", "views", "networks", "merged", "files"}
_LATER = {"files", "others_share"}  # what entries of earlier versions do not have


def write(folder, values):
    (folder / "run.json").write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("directory", KEPT, ids=str)
def test_kept_records_are_read_whole(directory):
    values = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    kind = ENTRIES.get(values["study"].get("experiment", ""), BackendEntry)
    record = read_record(directory, kind)
    assert type(next(iter(record.backends.values()))) is kind
    written = as_json(record)

    def check(old, new, where):
        """Every key of the file is in the model, with its value."""
        for key, value in old.items():
            assert key in new, f"{where}.{key}"
            if isinstance(value, dict):
                check(value, new[key], f"{where}.{key}")
            else:
                assert new[key] == value, f"{where}.{key}"

    check(values, written, directory.name)
    # in the order of the file
    assert [key for key in written if key in values] == list(values)
    assert set(written) - set(values) <= _SELDOM, "only a run with something to say has them"
    for name, entry in values["backends"].items():
        assert [key for key in written["backends"][name] if key not in _LATER or key in entry] == list(entry)


def test_a_bare_or_older_record_has_defaults(tmp_path):
    record = read_record(write(tmp_path, {"backends": {"a": {}, "b": {"status": "failed"}}, "dataset": None}))
    assert record.seed is None
    assert record.dataset.category_names == {}
    assert record.dataset.excluded.products == 0
    assert record.split.test.products is None
    assert record.split.near_duplicates is None
    assert record.settings.report.targets == []
    assert record.settings.verdict.confidence_level == 0.95
    assert record.experiment == ""
    assert [(entry.status, entry.done, entry.failed) for entry in record.backends.values()] == [
        ("pending", False, False),
        ("failed", False, True),
    ]
    record = read_record(
        write(
            tmp_path,
            {
                "newer": 1,
                "dataset": {"title": None, "products": None, "newer": [1]},
                "split": {"hash": "x", "test": None},
                "study": {"pixels": None, "report": None, "experiment": "profiles"},
                "backends": {"a": {"status": "done", "settings": {"pixels": None}, "newer": 3}},
            },
        )
    )
    assert record.dataset.title == ""
    assert record.study == {"pixels": None, "report": None, "experiment": "profiles"}
    assert record.backends["a"].settings == {"pixels": None}  # shown as it is
    assert record.experiment == record.settings.experiment == "profiles"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{", "cannot be read"),
        ("\0", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[1]", "is not the record of a run"),
        ({"backends": []}, r"is not the record of a run \(Expected `object`, got `array` - at `\$\.backends`"),
        ({"backends": {"a": 3}}, r"at `\$\.backends\[\.\.\.\]`"),
        ({"backends": {"a": {"status": 3}}}, "is not the record of a run"),
        ({"dataset": {"category_names": {"a": 1}}}, "is not the record of a run"),
        ({"split": {"train": {"images": "many"}}}, r"\$\.split\.train\.images"),
        ({"seed": 1.5}, "is not the record of a run"),
    ],
)
def test_a_wrong_record_is_named(tmp_path, values, message):
    with pytest.raises(InputError, match=rf"run\.json .*{message}"):
        read_record(write(tmp_path, values))


def test_wrong_settings_in_a_record_are_named(tmp_path):
    record = read_record(write(tmp_path, {"study": {"report": {"targets": "all"}}}))
    with pytest.raises(InputError, match=r"the study in run\.json is not the record of a run"):
        _ = record.settings


def test_a_folder_without_a_record(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            InputError, match=r"is not a run directory \(it has no run\.json\); name the --out of a run"
        ):
            read_record(place)


def test_numpy_numbers_go_into_json():
    entry = BackendEntry(chosen={"C": np.float64(1e-5), "epoch": np.int64(3), "of": (1, 2)}, peak_rss_mib=1.5)
    assert json.loads(json.dumps(as_json(entry))) == {
        "status": "pending",
        "reason": "",
        "files": {},
        "columns": {},
        "chosen": {"C": 1e-5, "epoch": 3, "of": [1, 2]},
        "settings": {},
        "peak_rss_mib": 1.5,
        "others_share": None,
    }


def test_a_recorder_writes_nothing_before_it_begins(tmp_path):
    out = tmp_path / "run"
    recorder = Recorder.open(out, read_study("default"), "a command")
    recorder.pending("a", {"columns": {"Feature": "x"}})
    recorder.failed("b", "no weights")
    recorder.finish("failed", "no weights")
    assert not out.exists()
    recorder.begin({"hash": "1"}, {"hash": "2"})
    record = read_record(out)
    assert isinstance(record, RunRecord)
    assert record.backends["a"].columns == {"Feature": "x"}
    assert record.backends["b"].reason == "no weights"
    recorder.finished("a", BackendEntry(chosen={"C": 1}))
    assert recorder.done == ["a"]
    assert read_record(out).backends["a"].done
    # not done: what it left behind is gone
    assert not recorder.is_done("a", [out / "predictions" / "a.parquet"])


def test_a_record_with_nulls_is_taken_up(tmp_path):
    study = read_study("default")
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "a.parquet").write_bytes(b"")
    values = {"results_hash": study.results_hash(), "dataset": None, "split": None, "backends": {"a": None}}
    recorder = Recorder.open(write(tmp_path, values), study, "a command")
    assert recorder.done == []
    recorder.begin({"hash": "1"}, {"hash": "2"})
    assert read_record(tmp_path).dataset.hash == "1"
    with pytest.raises(InputError, match=r"run\.json is damaged; choose another --out, or delete the folder"):
        Recorder.open(write(tmp_path, {**values, "backends": {"a": 3}}), study, "a command")
    (tmp_path / "run.json").unlink()
    with pytest.raises(InputError, match=r"contains predictions but no run\.json"):
        Recorder.open(tmp_path, study, "a command")


def test_differences_are_named_by_their_path():
    assert differences({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}, "e": 5}) == ["b.c", "b.d", "e"]


def test_a_saved_model_survives_its_file(tmp_path):
    saved = SavedModel(
        backend="x",
        classes=["b", "a"],
        images=ImageSettings(fit="crop"),
        backbone=BackboneChoice("vgg16", "none", None),
        features={"images": {"fit": "crop"}, "settings": {"kind": "x"}},
        aggregation="vote",
        temperature=1.25,
        sections={"svm": {"C": [0.1]}},
    )
    (tmp_path / "backend.json").write_text(json.dumps(as_json(saved)))
    assert read_model(tmp_path) == saved
    values = as_json(saved)
    for key in ("aggregation", "temperature", "backend"):  # earlier versions lack them
        del values[key]
    (tmp_path / "backend.json").write_text(json.dumps({**values, "newer": 1}))
    assert msgspec.structs.replace(saved, backend="", aggregation="mean", temperature=1.0) == read_model(tmp_path)


@pytest.mark.parametrize("change", [{"classes": None}, {"classes": [1]}, {"images": {"fit": 3}}, {"sections": []}])
def test_a_wrong_model_is_named(tmp_path, change):
    with pytest.raises(InputError, match=r"backend\.json is missing"):
        read_model(tmp_path)
    whole = {"classes": [], "images": {}, "backbone": {}, "features": {}, "sections": {}}
    (tmp_path / "backend.json").write_text(json.dumps({**whole, **change}))
    with pytest.raises(InputError, match=r"backend\.json cannot be read"):
        read_model(tmp_path)
