"""One's own photos: the study that runs when none is named, and the size of the images that suits them."""

import json
from types import SimpleNamespace

import pytest

import shelfbench
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.data.images import ImageSettings
from shelfbench.experiments import run_study
from shelfbench.runs.photo_views import _say_larger
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study, study_names
from tests.helpers.photos import noise_picture
from tests.helpers.small_studies import PROFILES

SMALL = {
    "hog.pixels": 48,
    "hog.cells": 8,
    "svm.C": [0.01],
    "report.pictures": False,
    "split.min_products": 5,
}


def record(out):
    return json.loads((out / "run.json").read_text())


def model(out, backend):
    return json.loads((out / "models" / backend / "backend.json").read_text())


def own(shop, **more):
    return shelfbench.run(dataset=shop, settings=SMALL, workers=1, quiet=True, **more)


def test_a_folder_is_enough(image_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [word for key, value in SMALL.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    backends = ["--backend", "hog-svm", "--backend", "bottleneck-svm"]
    assert main(["run", "--dataset", "shop/", *words, *backends]) == 0
    shown = capsys.readouterr().err
    out = tmp_path / "results" / "own"
    kept = record(out)
    # the photos have 24 x 18 pixels
    assert kept["sizes"]["efficientnet_lite0"]["pixels"] == 96
    reason = kept["sizes"]["efficientnet_lite0"]["reason"]
    assert "24 px (median of a sample of 72)" in reason
    assert f"efficientnet_lite0 at 96 px: {reason}" in shown
    assert f"efficientnet_lite0 at 96 px: {reason}" in (out / "report.html").read_text()
    assert (kept["study"]["name"], kept["study"]["title"], kept["study"]["pixels"]) == ("own", "shop", "auto")
    assert kept["backends"]["bottleneck-svm"]["settings"]["backbone"]["pixels"] == 96
    assert model(out, "bottleneck-svm")["backbone"]["pixels"] == 96
    assert main(["decide", str(out), "bottleneck-svm", "--out", str(tmp_path / "decision")]) in (0, 3, 4)
    found = shelfbench.classify(tmp_path / "decision", image_folder / "red", quiet=True)
    assert len(found) == 24


def test_chosen_and_given_sizes_share_their_features(image_folder, tmp_path):
    chosen = own(image_folder, backends=["bottleneck-svm"], out=tmp_path / "auto")
    given = shelfbench.run(
        "own",
        dataset=image_folder,
        settings={**SMALL, "pixels": 96},
        backends=["bottleneck-svm"],
        out=tmp_path / "given",
        workers=1,
        quiet=True,
    )
    assert "sizes" not in record(given.path)
    assert "96 px for networks, as the study fixes it" in (given.path / "report.html").read_text()
    first, second = (model(run.path, "bottleneck-svm")["features"] for run in (chosen, given))
    assert first == second
    assert bool(given.table4["cached"].iloc[0]), "the store has them"
    assert chosen.predictions("bottleneck-svm").equals(given.predictions("bottleneck-svm"))


@pytest.mark.slow
def test_each_backbone_has_its_own_size_and_a_resumed_run_keeps_it(image_folder, tmp_path, monkeypatch):
    out = tmp_path / "run"
    settings = {**SMALL, "weights": "none"}
    options = {"dataset": image_folder, "settings": settings, "out": out, "workers": 1, "quiet": True}
    shelfbench.run(backends=["bottleneck-svm"], **options)
    before = record(out)["sizes"]
    monkeypatch.setattr("shelfbench.data.photo_size.LEAST", 64)  # as if the rule had changed since
    monkeypatch.setattr("shelfbench.data.photo_size.ENLARGED", 5.0)
    shelfbench.run(backends=["bottleneck-svm", "bottleneck-2nn-512", "bottleneck-svm@vgg16"], **options)
    after = record(out)
    assert after["sizes"]["efficientnet_lite0"] == before["efficientnet_lite0"]
    assert after["sizes"]["vgg16"]["pixels"] == 128
    sizes = {name: entry["settings"]["backbone"]["pixels"] for name, entry in after["backends"].items()}
    assert sizes == {"bottleneck-svm": 96, "bottleneck-2nn-512": 96, "bottleneck-svm@vgg16": 128}


def test_a_study_that_fixes_the_size_for_other_photos_says_so(tmp_path, capsys):
    def said(study, backend, *more):  # before the data are looked at
        missing = ["--dataset", str(tmp_path / "shop"), "--out", str(tmp_path / "out")]
        assert main(["run", *study, "--backend", backend, *missing, *more]) == 2
        return "at 128 px, which study default fixes for its own data" in capsys.readouterr().err

    assert said(["default"], "bottleneck-svm")
    assert not said(["default"], "hog-svm")
    assert not said(["default"], "bottleneck-svm", "--set", "pixels=auto")
    assert not said(["default"], "bottleneck-svm", "--set", "pixels=64")
    assert not said([], "bottleneck-svm")


def test_profiles_take_the_size_too(image_folder, tmp_path):
    text = PROFILES.format(weights="none").replace("pixels = 32\n", "").replace("seeds = [0, 1]", "seeds = [0]")
    (tmp_path / "mine.toml").write_text(text)
    study = read_study(tmp_path / "mine.toml", [(["dataset", "name"], str(image_folder))])
    run_study(study, out=tmp_path / "run")
    kept = record(tmp_path / "run")
    assert kept["sizes"]["efficientnet_lite0"]["pixels"] == 96
    assert {entry["settings"]["backbone"]["pixels"] for entry in kept["backends"].values()} == {96}


def test_another_catalogue_needs_another_directory(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own(image_folder, backends=["hog-svm"])
    other = tmp_path / "other"
    for name in ("a", "b"):
        (other / name).mkdir(parents=True)
        for number in range(12):
            (other / name / f"{number}.png").write_bytes(noise_picture(number + 100 * (name == "b")))
    message = r"results/own contains a run of another dataset, .*/shop; .*, such as --out results/other$"
    with pytest.raises(InputError, match=message):
        own(other, backends=["hog-svm"])
    for gone, said in ((other / "nowhere", "nowhere does not exist; "), ("gone.csv", r"no dataset 'gone\.csv'; ")):
        with pytest.raises(InputError, match=said):
            own(gone, backends=["hog-svm"])
    (tmp_path / "results" / "other").mkdir()  # whose it is, nobody knows
    with pytest.raises(InputError, match=r"choose another --out for .*/other$"):
        own(other, backends=["hog-svm"])


def test_what_is_not_a_size_gets_one_line(tmp_path):
    for bad in ('"big"', "12.5", "true", "[96]", '""'):
        with pytest.raises(InputError, match=r'pixels is .*; give a whole number, or "auto"'):
            read_study("own", [parse_setting(f"pixels={bad}")])
    assert read_study("default", [parse_setting("pixels=auto")]).backbone.pixels is None
    text = 'backends = ["bottleneck-svm"]\n'
    for line, pixels in (("", None), ("pixels = 128\n", 128), ('pixels = "auto"\n', None)):
        (tmp_path / "mine.toml").write_text(line + text)
        assert read_study(tmp_path / "mine.toml").backbone.pixels == pixels


def test_without_a_dataset_the_study_is_default_and_own_asks_for_one(tmp_path):
    assert shelfbench.load_study().name == "default"
    assert shelfbench.load_study(dataset="fashion").title.startswith("Fashion Product Images")
    (tmp_path / "export.parquet").write_bytes(b"")
    assert shelfbench.load_study(dataset=tmp_path / "export.parquet").title == "export"
    assert shelfbench.load_study(settings={"dataset.name": "my/photos"}).title == "photos"
    assert shelfbench.load_study(dataset="photos", settings={"title": "Shoes"}).title == "Shoes"
    with pytest.raises(InputError, match="own has no photos of its own; give them with --dataset PATH"):
        shelfbench.load_study("own")


@pytest.mark.parametrize(
    ("side", "scaled", "says"),
    [
        (447, True, None),
        (448, True, "JPEGs are decoded at a fraction"),
        (800, False, "--set images.scaled=true"),
    ],
)
def test_photos_that_are_larger_than_needed_are_told_once(side, scaled, says):
    said, seen = [], set()
    experiment = SimpleNamespace(
        study=SimpleNamespace(images=ImageSettings(scaled=scaled)),
        console=SimpleNamespace(log=said.append),
        is_new=lambda key: not (key in seen or seen.add(key)),
    )
    for _ in range(2):
        _say_larger(experiment, side, 224)
    assert len(said) == bool(says)
    assert not says or says in said[0]


def test_own_photos_are_decoded_at_a_fraction_and_those_of_kept_studies_are_not():
    assert read_study("own").images.scaled
    assert not any(read_study(name).images.scaled for name in study_names() if name != "own")
