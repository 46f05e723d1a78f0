"""Decision folders made by a stranger: each is refused in one line, and nothing in it runs or writes."""

import io
import json
import os
import pickle
import resource
import shutil
import struct
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shelfbench.cli.main import main
from tests.helpers.decisions import edit, make_decision, png, seal, stamp, striped


class Payload:
    """What a pickle would do to whoever loads it."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


LAMBDA = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wAAAAAAAAAA"}}},
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return make_decision(tmp_path_factory.mktemp("sound") / "decision")


@pytest.fixture(scope="module")
def network(tmp_path_factory, sound):
    """A decision of `bottleneck-svm`, as far as it can be checked without Keras."""
    folder = tmp_path_factory.mktemp("network") / "decision"
    shutil.copytree(sound, folder)
    arrays = load_file(folder / "weights.safetensors")
    arrays["coef"] = np.zeros((3, 1280), np.float32)
    arrays["mean"], arrays["scale"] = np.zeros(1280, np.float32), np.ones(1280, np.float32)
    save_file(arrays, folder / "weights.safetensors")
    save_file({"00000.stem/kernel": np.zeros((3, 3), np.float32)}, folder / "network.safetensors")
    blueprint = {"network": "efficientnet_lite0", "pixels": 32, "classes": 0, "settings": {}, "dropout": 0.0}
    record = {"blueprint": blueprint, "dimensions": 1280, "sha256": "0" * 64}
    (folder / "network.json").write_text(json.dumps(record))

    def as_network(values):
        values["model"].update(backend="bottleneck-svm", sections={})

    edit(folder, as_network)
    seal(folder)
    return folder


def set_value(*path, value):
    """Change one value of decision.json, and make its hash match again."""

    def apply(folder, canary):
        def change(values):
            target = values
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = value

        edit(folder, change)

    return apply


def raw_decision(data):
    def apply(folder, canary):
        (folder / "decision.json").write_bytes(data)
        stamp(folder)

    return apply


def replace_text(old, new):
    def apply(folder, canary):
        path = folder / "decision.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        stamp(folder)

    return apply


def header(entries, data=b"", length=None):
    """Weights with a custom header."""

    def apply(folder, canary):
        text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
        size = len(text) if length is None else length
        (folder / "weights.safetensors").write_bytes(struct.pack("<Q", size) + text + data)
        seal(folder)

    return apply


def arrays(change):
    """Weights whose header is sound but whose values are not."""

    def apply(folder, canary):
        found = load_file(folder / "weights.safetensors")
        change(found)
        save_file(found, folder / "weights.safetensors")
        seal(folder)

    return apply


def sealed(name, make):
    """Write a file that the hashes agree with."""

    def apply(folder, canary):
        (folder / name).write_bytes(make(canary))
        seal(folder)

    return apply


def added(name, make):
    """Add a file that does not belong there."""

    def apply(folder, canary):
        (folder / name).write_bytes(make(canary))

    return apply


def network_json(**changes):
    def apply(folder, canary):
        path = folder / "network.json"
        record = json.loads(path.read_text())
        for key, value in changes.items():
            (record["blueprint"] if key in record["blueprint"] else record)[key] = value
        path.write_text(json.dumps(record))
        seal(folder)

    return apply


def pickled(canary):
    return pickle.dumps(Payload(canary))


def object_array(canary):
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.array([Payload(canary)], object))
    return buffer.getvalue()


def zipped(canary):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../" * 8 + str(canary).lstrip("/"), "out")
        archive.writestr("config.json", json.dumps(LAMBDA))
    return buffer.getvalue()


def as_zip(folder, canary):
    shutil.rmtree(folder)
    folder.write_bytes(zipped(canary))


def as_link(name):
    def apply(folder, canary):
        outside = folder.parent / "outside"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(outside)

    return apply


def as_pipe(folder, canary):
    (folder / "classifier.json").unlink()
    os.mkfifo(folder / "classifier.json")


def as_folder(folder, canary):
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").mkdir()


def flipped(folder, canary):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def unsealed(folder, canary):
    path = folder / "decision.json"
    path.write_text(path.read_text().replace('"threshold": -2.0', '"threshold": -9.0'))


def missing(name):
    return lambda folder, canary: (folder / name).unlink()


def gigantic(name, size):
    def apply(folder, canary):
        with open(folder / name, "wb") as handle:
            handle.truncate(size)  # sparse: it takes no space on the disk

    return apply


def nan_weights(found):
    found["coef"][0, 0] = np.nan


def span(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


CASES = {
    "a pickle next to the files": ("sound", added("weights.pkl", pickled)),
    "a pickle as settings": ("sound", sealed("classifier.json", pickled)),
    "a pickle as weights": ("sound", sealed("weights.safetensors", pickled)),
    "a pickle as decision": ("sound", lambda folder, canary: raw_decision(pickled(canary))(folder, canary)),
    "an npz of objects": ("sound", added("weights.npz", object_array)),
    "an npz as weights": ("sound", sealed("weights.safetensors", object_array)),
    "a Keras archive with a Lambda layer": ("sound", added("model.keras", zipped)),
    "a Keras configuration with a Lambda layer": ("sound", added("config.json", lambda _: json.dumps(LAMBDA).encode())),
    "another classifier": (
        "sound",
        sealed(
            "classifier.json", lambda _: b'{"classifier": "two_layer", "settings": {}, "chosen": {"temperature": 1}}'
        ),
    ),
    "a Lambda layer as settings": ("sound", sealed("classifier.json", lambda _: json.dumps(LAMBDA).encode())),
    "a Lambda layer as network": ("network", sealed("network.json", lambda _: json.dumps(LAMBDA).encode())),
    "a Lambda layer as setting of the network": ("network", network_json(settings=LAMBDA, classes=3)),
    "a module to import": ("sound", added("backend.py", lambda canary: f"open({str(canary)!r}, 'w')".encode())),
    "a zip that leads upward": ("sound", as_zip),
    "a listed file that leads upward": ("sound", set_value("files", "../../outside", value="0" * 64)),
    "a listed file of the system": ("sound", set_value("files", "/etc/passwd", value="0" * 64)),
    "weights that are a link": ("sound", as_link("weights.safetensors")),
    "a decision that is a link": ("sound", as_link("decision.json")),
    "settings that are a pipe": ("sound", as_pipe),
    "weights that are a folder": ("sound", as_folder),
    "a huge shape": ("sound", header({"coef": span(0, 8, [1 << 40, 1 << 20])}, b"\0" * 8)),
    "a huge shape with huge offsets": ("sound", header({"coef": span(0, 1 << 62, [1 << 60])}, b"\0" * 8)),
    "a shape that overflows": ("sound", header({"coef": span(0, 0, [1 << 32, 1 << 32])})),
    "a negative shape": ("sound", header({"coef": span(0, 8, [-1, -2])}, b"\0" * 8)),
    "negative offsets": ("sound", header({"coef": span(-8, 0, [2])}, b"\0" * 8)),
    "arrays that overlap": ("sound", header({"a": span(0, 8, [2]), "b": span(4, 12, [2])}, b"\0" * 12)),
    "an array of objects": ("sound", header({"coef": span(0, 8, [1], "O")}, b"\0" * 8)),
    "a header longer than the file": ("sound", header({}, length=1 << 60)),
    "a deep header": ("sound", header(b"[" * 200_000 + b"]" * 200_000)),
    "an empty file of weights": ("sound", sealed("weights.safetensors", lambda _: b"")),
    "one changed bit": ("sound", flipped),
    "a changed threshold": ("sound", unsealed),
    "no hash": ("sound", missing("decision.sha256")),
    "no weights": ("sound", missing("weights.safetensors")),
    "a decision of 2 GiB": ("sound", gigantic("decision.json", 2 << 30)),
    "weights of 2 TiB": ("sound", gigantic("weights.safetensors", 2 << 40)),
    "a threshold that is NaN": ("sound", replace_text('"threshold": -2.0', '"threshold": NaN')),
    "a threshold beyond all numbers": ("sound", replace_text('"threshold": -2.0', '"threshold": -1e999')),
    "a threshold of 400 digits": ("sound", set_value("threshold", value=-(10**400))),
    "a threshold that is text": ("sound", set_value("threshold", value="-2")),
    "a pass without a threshold": ("sound", set_value("threshold", value=None)),
    "a failure with a threshold": ("sound", set_value("verdict", value="FAIL")),
    "deep JSON": ("sound", raw_decision(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)),
    "a key twice": ("sound", replace_text('"threshold": -2.0', '"threshold": 0.0, "threshold": -9.0')),
    "text that is not UTF-8": ("sound", raw_decision(b'{"format": "\xff"}')),
    "a list": ("sound", raw_decision(b"[]")),
    "a temperature of 0": ("sound", set_value("temperature", value=0)),
    "an aggregation that is code": ("sound", set_value("aggregation", value="__import__('os').system('true')")),
    "a category twice": ("sound", set_value("categories", 0, "key", value="standing")),
    "a category that no format can hold": ("sound", set_value("categories", 0, "key", value="\ud800")),
    "a strange category off": ("sound", set_value("off", value=["nothing"])),
    "a category too few": ("sound", lambda folder, canary: edit(folder, lambda values: values["categories"].pop())),
    "an unknown backend": ("sound", set_value("model", "backend", value="my-own-backend")),
    "a backend that is a path": ("sound", set_value("model", "backend", value="../../evil:spec")),
    "images of a million pixels": ("sound", set_value("model", "pixels", value=1_000_000)),
    "HOG of a million pixels": ("sound", set_value("model", "sections", "hog", "pixels", value=1_000_000)),
    "HOG of a billion features": ("sound", set_value("model", "sections", "hog", "orientations", value=10**9)),
    "an unknown setting": ("sound", set_value("model", "sections", "hog", "engine", value="os.system")),
    "an unknown section": ("sound", set_value("model", "sections", "run", value={"command": "true"})),
    "settings for a network": ("network", set_value("model", "sections", "svm", value={"C": [1.0]})),
    "a backbone that is a path": ("network", network_json(network="/etc/passwd")),
    "a network of a million pixels": ("network", network_json(pixels=1_000_000)),
    "a network of a billion classes": ("network", network_json(classes=10**9)),
    "a network where there is none": ("network", set_value("model", "backend", value="hog-svm")),
    "no network where there is one": ("sound", set_value("model", "backend", value="bottleneck-svm")),
    "features of an endless length": ("network", network_json(dimensions=10**12)),
    "weights of another type": ("sound", arrays(lambda found: found.update(coef=found["coef"].astype(np.float16)))),
    "weights of another shape": ("sound", arrays(lambda found: found.update(mean=found["mean"][:-1].copy()))),
    "weights of other features": (
        "sound",
        arrays(
            lambda found: found.update(
                {key: np.zeros_like(found[key])[..., :5].copy() for key in ("coef", "mean", "scale")}
            )
        ),
    ),
    "weights that are NaN": ("sound", arrays(nan_weights)),
    "an array missing": ("sound", arrays(lambda found: found.pop("mean"))),
}


def tree(root):
    return sorted(str(path) for path in root.rglob("*"))


@pytest.mark.parametrize("case", CASES)
def test_hostile_folders_are_refused_in_one_line(case, request, tmp_path, capsys):
    base, tamper = CASES[case]
    folder, canary = tmp_path / "decision", tmp_path / "canary"
    shutil.copytree(request.getfixturevalue(base), folder)
    photo, out = tmp_path / "photo.png", tmp_path / "out.csv"
    photo.write_bytes(png(striped("lying", 99)))
    tamper(folder, canary)
    before, peak = tree(tmp_path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = main(["classify", str(folder), str(photo), "--out", str(out), "--workers", "1"])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / (1 if sys.platform == "darwin" else 1024)
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert str(folder) in said.err
    assert "; " in said.err, "no remedy"
    assert not canary.exists()
    assert tree(tmp_path) == before
    assert grown < 300, f"{grown:.0f} MiB"


def test_there_are_enough_of_them():
    assert len(CASES) >= 30


def test_what_they_were_made_of_is_sound(sound, tmp_path, capsys):
    photo = tmp_path / "photo.png"
    photo.write_bytes(png(striped("lying", 99)))
    assert main(["classify", str(sound), str(photo), "--workers", "1", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{photo},lying,Lying,")


def test_a_folder_that_changes_while_it_is_read_is_read_once(sound, tmp_path, monkeypatch):
    """The copy that is checked is the copy that is used: afterwards, the folder plays no part."""
    import shelfbench.decision.bundle as bundle

    folder = tmp_path / "decision"
    shutil.copytree(sound, folder)
    copy = bundle.copy_known

    def then_gone(*arguments):
        hashes = copy(*arguments)
        shutil.rmtree(folder)
        return hashes

    monkeypatch.setattr(bundle, "copy_known", then_gone)
    model = bundle.load_model(folder, 1)
    assert model.ruling.passed
    assert model.warning == ""


def test_a_library_that_is_broken_does_not_make_a_decision_unfit(sound, monkeypatch):
    import shelfbench.decision.bundle as bundle
    from shelfbench.base.errors import InputError

    def broken(*arguments):
        raise ImportError("libengine.so: cannot open shared object file")

    monkeypatch.setattr("shelfbench.decision.model._backend", broken)
    with pytest.raises(InputError, match=r"needs cannot be loaded \(libengine.so") as caught:
        bundle.load_model(sound, 1)
    assert "doctor --deep" in str(caught.value)
    assert "make it again" not in str(caught.value)
