"""Table 1 of X: crop, five best classes, weights, and the validation set."""

import csv
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from shelfbench.base.errors import InputError, RunError
from shelfbench.cli.main import main
from shelfbench.data.images import decode
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench_deep.experiments.imagenet import find_validation, open_validation
from shelfbench_deep.experiments.top_five import NETWORKS_WITH_TOP, TopFive, weights_with_top

SIZES = [(120, 90), (81, 81), (70, 140)]


def photo(seed, size):
    """A smooth picture: crops and resizing differ by little where their geometry agrees."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    buffer = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def validation(tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet") / "val"
    for number, synset in enumerate(("n01440764", "n01443537", "n01484850")):
        (root / synset).mkdir(parents=True)
        for i, size in enumerate(SIZES):
            (root / synset / f"{i}.png").write_bytes(photo(10 * number + i, size))
    (root / "n01484850" / "9.jpg").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def extractor():
    return TopFive("xception", "none", 71)


@pytest.mark.parametrize("size", SIZES)
def test_the_crop_is_the_central_square_after_resizing_the_short_side(extractor, size):
    assert extractor.pixels == 81
    assert [TopFive(name, "none", None).pixels for name in ("vgg16", "xception")] == [256, 342]
    image = Image.open(io.BytesIO(photo(1, size)))
    scale = 81 / min(size)
    resized = image.resize((round(size[0] * scale), round(size[1] * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 71) // 2, (resized.height - 71) // 2
    expected = np.asarray(resized.crop((left, top, left + 71, top + 71)), int)
    edge = (81 - 71) // 2
    found = decode(photo(1, size), 81, "crop")[edge : edge + 71, edge : edge + 71].astype(int)
    # geometry may differ by the half pixel that is rounded away
    assert np.abs(found - expected).max() <= 20
    assert np.abs(found - expected).mean() < 3


def test_the_five_best_are_those_of_the_network(extractor):
    images = np.random.default_rng(0).integers(0, 256, (3, 81, 81, 3), np.uint8)
    rows = extractor.extract(images)
    logits = np.asarray(extractor.model()(images[:, 5:76, 5:76].astype(np.float32) / 127.5 - 1), np.float64)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        np.exp(rows[:, 5:]), np.take_along_axis(probabilities, rows[:, :5].astype(int), axis=1), rtol=1e-4
    )
    np.testing.assert_allclose(np.exp(rows[:, 5:]), -np.sort(-probabilities, axis=1)[:, :5], rtol=1e-4)
    assert extractor.model().count_params() == 22_910_480


def test_the_weights_are_those_that_keras_names():
    import inspect

    from keras.src.applications import inception_v3, resnet, vgg16, xception

    for name, module in (("inception_v3", inception_v3), ("vgg16", vgg16), ("xception", xception)):
        network = NETWORKS_WITH_TOP[name]
        assert network.url == module.WEIGHTS_PATH
        assert f'file_hash="{network.digest}"' in inspect.getsource(module)
    network = NETWORKS_WITH_TOP["resnet152"]
    assert network.digest == resnet.WEIGHTS_HASHES["resnet152"][0]
    assert network.url == f"{resnet.BASE_WEIGHTS_PATH}{network.file}"


def test_weights_that_cannot_be_fetched_or_are_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    network = NETWORKS_WITH_TOP["xception"]
    with pytest.raises(RunError) as caught:
        weights_with_top("xception")
    assert str(tmp_path / "models" / network.file) in str(caught.value)
    assert network.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / network.file).write_bytes(b"other")
    with pytest.raises(InputError, match=f"{network.file} is not what Keras .*{hashlib.md5(b'other').hexdigest()}"):
        weights_with_top("xception")


def rehearse(validation, out, *more):
    words = ["run", "imagenet", "--data", str(validation), "--out", str(out), "--quiet", "--workers", "1"]
    for text in ("pixels=71", "imagenet.networks=['xception']", *more):
        words += ["--set", text]
    return main(words)


def test_a_rehearsal_gives_table_1_and_goes_on(validation, extractor, tmp_path, capsys):
    out = tmp_path / "out"
    assert rehearse(validation.parent, out, "weights=none") == 0
    said = capsys.readouterr()
    assert "rehearsal on 3 classes" in said.err
    assert "Table 1 of X" in said.out
    entry = json.loads((out / "run.json").read_text())["backends"]["xception"]
    ranks = []
    for number, folder in enumerate(sorted(validation.iterdir())):
        for path in sorted(folder.glob("*.png")):
            five = extractor.extract(decode(path.read_bytes(), 81, "crop")[None])[0, :5].tolist()
            ranks.append(five.index(number) if number in five else 9)
        if number == 2:
            ranks.append(9)  # the one that cannot be read
    assert entry["images"] == len(ranks) == 10
    assert entry["unreadable"] == 1
    assert entry["top_1"] == np.mean([rank == 0 for rank in ranks])
    assert entry["top_5"] == np.mean([rank < 5 for rank in ranks])
    with open(out / "tables" / "table1x.csv", newline="") as handle:
        table = {row["network"]: row for row in csv.DictReader(handle)}
    assert {name: (row["paper_top_1"], row["paper_top_5"]) for name, row in table.items()} == {
        "vgg16": ("0.715", "0.901"),
        "resnet152": ("0.77", "0.933"),
        "inception_v3": ("0.782", "0.941"),
        "xception": ("0.79", "0.945"),
    }
    assert float(table["xception"]["top_5"]) == entry["top_5"]
    assert table["vgg16"]["top_1"] == ""
    assert "rehearsal on 3 classes with random weights" in (out / "tables" / "table1x.md").read_text()
    assert rehearse(validation.parent, out, "weights=none") == 0
    assert json.loads((out / "run.json").read_text())["backends"]["xception"] == entry


@pytest.mark.parametrize(
    ("place", "more", "message"),
    [
        ("val", [], r"images in 3 folders, but the networks know 1,000 classes"),
        ("none", [], r"contains no folder named after a synset; give the folder .* with --data DIR"),
        ("val", ["weights=none", "imagenet.networks=['alexnet']"], "names 'alexnet'"),
        ("val", ["weights=some.h5"], "weights=some.h5 with the study imagenet"),
        ("val", ["weights=none", "pixels=70"], "xception cannot take images of 70 pixels"),
    ],
)
def test_wrong_input_is_one_line(validation, tmp_path, capsys, place, more, message):
    import re

    assert rehearse(validation.parent / place, tmp_path / "out", *more) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1


def test_the_validation_set_is_said_to_be_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("SHELFBENCH_DATA", raising=False)
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"is not here; give .* 1,000 folders named by synset .* --data DIR"):
        find_validation(DatasetSettings(name="imagenet"), None)
    (tmp_path / "datasets" / "imagenet" / "validation" / "n01440764").mkdir(parents=True)
    found = find_validation(DatasetSettings(name="imagenet"), None)
    assert found == tmp_path / "datasets" / "imagenet" / "validation"


def test_a_folder_that_is_no_synset(validation, tmp_path):
    for name in ("n01440764", "cats"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(photo(0, (9, 9)))
    with pytest.raises(InputError, match="'cats', which is not a synset"):
        open_validation(tmp_path, rehearsal=True)


def test_a_thousand_folders_are_the_classes_in_order(tmp_path):
    names = [f"n{number:08d}" for number in np.random.default_rng(0).permutation(1000) + 1_440_764]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"")
    catalogue = open_validation(tmp_path, rehearsal=False)
    assert [category.key for category in catalogue.categories] == sorted(names)
    (tmp_path / "n99999999").mkdir()
    (tmp_path / "n99999999" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="1,001 folders"):
        open_validation(tmp_path, rehearsal=True)
