"""Training profiles: what is cut from a catalogue, and a run that goes on, fails in part, and trains with seeds."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.datasets import open_path
from shelfbench.data.feature_store import image_digests
from shelfbench.data.material import gather
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.split import SplitSettings, make_split
from shelfbench.experiments import run_study
from shelfbench.runs.building import training_images
from shelfbench.runs.profiles import ProfileSettings, cut
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study
from tests.helpers.photos import noise_picture

QUIET = Console(quiet=True)
STUDY = """
experiment = "profiles"
weights = "none"
pixels = 32

[dataset]
name = "{data}"

[two_layer]
epochs = 3
batch = 16

[profiles]
seeds = [0, 1]
note = "Too <small> to show anything."

[variants.plain]
label = "plain"
figures = ["figure3", "figure9"]
backend = "bottleneck-2nn-512"
two_layer = {{ batch_norm = "none" }}

[variants.normal]
label = "with batch normalisation"
figures = ["figure3", "figure4"]
backend = "bottleneck-2nn-512"
profiles = {{ seeds = [1] }}
"""
TRAININGS = ["normal-seed1", "plain-seed0", "plain-seed1"]


@pytest.fixture(scope="module", autouse=True)
def cold_cache(tmp_path_factory):
    """Features that no other test has computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFBENCH_CACHE", str(tmp_path_factory.mktemp("cold")))
        yield


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Four colours of 20 to 60 products with 1 to 3 photos each, one of them broken."""
    root = tmp_path_factory.mktemp("shop")
    colors = {
        "blue": (20, (50, 60, 200)),
        "green": (40, (40, 190, 60)),
        "grey": (60, (90, 90, 90)),
        "red": (30, (210, 40, 40)),
    }
    rows = []
    for number, (name, (products, color)) in enumerate(colors.items()):
        for product in range(products):
            for photo in range(1 + product % 3):
                file = f"{name}-{product:02}-{photo}.png"
                data = noise_picture(10000 * number + 10 * product + photo, base=color)
                (root / file).write_bytes(data[:60] if file == "grey-05-0.png" else data)
                rows.append({"file_name": file, "category": name, "product_id": f"{name}-{product:02}"})
    pd.DataFrame(rows).to_csv(root / "metadata.csv", index=False)
    return root


@pytest.fixture(scope="module")
def whole(shop):
    """The whole catalogue of the shop, split, and the hashes of its images."""
    catalogue = open_path(shop, str(shop), DatasetSettings(), QUIET)
    digests = image_digests(catalogue, QUIET)
    return gather(catalogue, make_split(catalogue, SplitSettings(), 0, digests)), digests


def study_of(shop, folder, *overrides, text=STUDY):
    path = folder / "small.toml"
    path.write_text(text.format(data=shop))
    return read_study(str(path), [parse_setting(override) for override in overrides])


def run(study, out):
    return run_study(study, out=out, command="shelfbench run small")


def record(out):
    return json.loads((out / "run.json").read_text())


@pytest.fixture(scope="module")
def done(shop, tmp_path_factory):
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("runs")
    return folder / "out", run(study_of(shop, folder), folder / "out")


def products_of(material, role):
    rows = material.frame[material.frame["role"] == role]
    return set(rows["product_id"])


@given(
    products=st.integers(0, 100),
    tune=st.integers(0, 6),
    categories=st.sampled_from([0, 2, 3, 4]),
    seed=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_a_cut_is_whole_products_of_the_largest_categories(whole, products, tune, categories, seed):
    material, _ = whole
    chosen = ProfileSettings(products=products, tune_products=tune, categories=categories)
    sizes = material.frame[material.frame["role"] == "train"]["category"].value_counts()
    kept = sorted(sizes.index[: categories or None])
    available = {
        role: material.frame[(material.frame["role"] == role) & material.frame["category"].isin(kept)]
        for role in ("train", "tune")
    }
    if products > len(available["train"]) or 0 < products < len(kept) or tune > len(available["tune"]):
        with pytest.raises(InputError, match=r"profiles\.(tune_)?products="):
            cut(material, chosen, seed)
        return
    part = cut(material, chosen, seed)
    assert list(part.classes) == kept
    assert set(part.frame["role"]) <= {"train", "tune"}
    for role, wanted in (("train", products), ("tune", tune)):
        drawn = products_of(part, role)
        assert drawn <= set(available[role]["product_id"])
        assert len(drawn) == (wanted or len(available[role]))
    # codes lead back to the categories, and every image of a kept product is there, in its order
    assert [part.classes[code] for code in part.label] == list(part.frame["category"])
    of_image = part.frame["product_id"].to_numpy()[part.owner]
    names = material.catalogue.product_id[material.catalogue.image_product[part.image]]
    assert list(of_image) == list(names)
    counts = pd.Series(material.catalogue.product_id[material.catalogue.image_product]).value_counts()
    assert pd.Series(of_image).value_counts().to_dict() == counts[part.frame["product_id"]].to_dict()
    assert (np.diff(part.owner) >= 0).all()
    # each category has its share, within one product of it once each has its first
    if products:
        found = np.bincount(part.label[part.frame["role"] == "train"], minlength=len(kept))
        share = 1 + (sizes[kept] - 1) * (products - len(kept)) / (sizes[kept] - 1).sum()
        assert (np.abs(found - share) < 1).all()


def test_a_cut_is_drawn_by_its_seed_and_train_apart_from_tune(whole):
    material, digests = whole
    chosen = ProfileSettings(products=40, tune_products=3)
    first, again, other = (cut(material, chosen, seed) for seed in (0, 0, 1))
    assert first.frame.equals(again.frame)
    assert np.array_equal(first.image, again.image)
    assert products_of(first, "train") != products_of(other, "train")
    wider = cut(material, replace(chosen, products=41), 0)
    assert products_of(wider, "tune") == products_of(first, "tune")
    # what a network is trained on says that it is the same, or not
    same, changed = (training_images(part, digests, "pad", 1) for part in (again, wider))
    assert training_images(first, digests, "pad", 1).identity == same.identity != changed.identity
    assert same.classes == 4
    assert set(same.train_labels) == {0, 1, 2, 3}


def test_a_category_that_train_lacks_stays_wrong(whole):
    material, _ = whole
    unknown = material.label.copy()
    unknown[(material.frame["category"] == "red").to_numpy()] = -1
    lacking = replace(material, label=unknown, frame=material.frame)
    rows = lacking.frame["role"].to_numpy() != "train"
    lacking = replace(lacking, label=np.where(rows, unknown, material.label))
    part = cut(lacking, ProfileSettings(tune_products=6), 0)
    assert set(part.label[(part.frame["category"] == "red").to_numpy() & (part.frame["role"] == "tune")]) <= {-1}


@pytest.mark.parametrize(
    "setting",
    [
        "profiles.seeds=[]",
        "profiles.seeds=[1, 1]",
        "profiles.seeds=[-1]",
        "profiles.products=-1",
        "profiles.tune_products=0.5",
        "profiles.categories=1",
        "profiles.runs=3",
    ],
)
def test_settings_that_mean_nothing_are_refused(shop, tmp_path, setting):
    with pytest.raises(InputError, match=setting.split("=")[0].replace(".", r"\.")):
        study_of(shop, tmp_path, setting)


def test_what_cannot_be_run_is_refused(shop, tmp_path):
    with pytest.raises(InputError, match="has no variants"):
        run(study_of(shop, tmp_path, text=STUDY.partition("[variants")[0]), tmp_path / "none")
    with pytest.raises(InputError, match="also the name of a file"):
        run(study_of(shop, tmp_path, text=STUDY.replace("figure9", "../figure9")), tmp_path / "outside")
    assert not (tmp_path / "figure9.svg").exists()


def test_every_variant_is_trained_with_each_of_its_seeds(done):
    out, text = done
    assert sorted(path.stem for path in (out / "history").iterdir()) == TRAININGS
    values = record(out)
    assert values["status"] == "complete"
    assert list(values["backends"]) == ["plain-seed0", "normal-seed1", "plain-seed1"]
    assert all(entry["status"] == "done" for entry in values["backends"].values())
    sizes = values["backends"]["plain-seed0"]["material"]
    frame = pd.read_parquet(out / "split.parquet")
    assert sizes["train_products"] == (frame["role"] == "train").sum()
    assert sizes["tune_products"] == (frame["role"] == "tune").sum()
    assert sizes["categories"] == 4
    assert [entry["reason"] != "" for entry in values["dataset"]["unreadable"]] in ([], [True])
    histories = {path.stem: pd.read_parquet(path) for path in (out / "history").iterdir()}
    columns = [
        "epoch",
        "step",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "lr",
        "seconds",
        "variant",
        "seed",
        "parameters",
    ]
    for name, history in histories.items():
        assert list(history.columns) == columns
        assert f"{history['variant'][0]}-seed{history['seed'][0]}" == name
        assert list(history["epoch"]) == [1, 2, 3]
    # two normalised layers of 256 have four numbers a unit
    assert histories["normal-seed1"]["parameters"][0] - histories["plain-seed1"]["parameters"][0] == 2 * 4 * 256
    assert not np.allclose(histories["plain-seed0"]["loss"], histories["plain-seed1"]["loss"])
    timings = pd.read_parquet(out / "timings.parquet")
    assert set(timings["backend"]) == set(TRAININGS)
    for name in TRAININGS:
        rows = timings[timings["backend"] == name].set_index("stage")
        assert sorted(rows.index) == ["epoch"] * 3 + ["extract", "fit"]
        assert list(rows.loc["epoch", "warm_up"]) == [True, False, False]
        assert bool(rows.loc["extract", "cached"]) == (name != "plain-seed0")  # one extraction for all
    assert "with batch normalisation" in text


def test_a_stopped_run_goes_on_without_computing_anything_twice(shop, tmp_path, monkeypatch):
    from shelfbench.runs import profiles

    trained = []
    train = profiles._Trainings.train

    def stopping(self, variant, built, seed, name):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(name)
        return train(self, variant, built, seed, name)

    def counting(self, variant, built, seed, name):
        trained.append(name)
        return train(self, variant, built, seed, name)

    out, study = tmp_path / "run", study_of(shop, tmp_path)
    monkeypatch.setattr(profiles._Trainings, "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(study, out)
    assert record(out)["status"] == "interrupted"
    assert trained == ["plain-seed0", "normal-seed1"]
    before = {path.name: path.stat().st_mtime_ns for path in (out / "history").iterdir()}
    monkeypatch.setattr(profiles._Trainings, "train", counting)
    run(study, out)
    assert trained == ["plain-seed0", "normal-seed1", "plain-seed1"]
    assert {name: (out / "history" / name).stat().st_mtime_ns for name in before} == before
    assert set(pd.read_parquet(out / "timings.parquet")["backend"]) == set(TRAININGS)
    # one whose history is gone is trained again
    (out / "history" / "normal-seed1.parquet").unlink()
    run(study, out)
    assert trained[3:] == ["normal-seed1"]
    assert len(pd.read_parquet(out / "timings.parquet")) == 3 * 5
    with pytest.raises(InputError, match=r"other settings \(two_layer.epochs"):
        run(study_of(shop, tmp_path, "two_layer.epochs=2"), out)


def test_a_failing_variant_leaves_the_others(shop, tmp_path):
    text = STUDY.replace('two_layer = {{ batch_norm = "none" }}', "profiles = {{ products = 5000 }}")
    text += '\n[variants.svm]\nbackend = "bottleneck-svm"\nprofiles = {{ seeds = [7] }}\n'
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"3 of 4 trainings failed \(plain-seed0: profiles.products=5000"):
        run(study_of(shop, tmp_path, text=text), out)
    values = record(out)
    assert values["status"] == "failed"
    assert {name: entry["status"] for name, entry in values["backends"].items()} == {
        "plain-seed0": "failed",
        "plain-seed1": "failed",
        "normal-seed1": "done",
        "svm-seed7": "failed",
    }
    assert "no epochs" in values["backends"]["svm-seed7"]["reason"]
    assert list(pd.read_csv(out / "tables" / "profiles.csv")["variant"]) == ["normal"]
    page = (out / "report.html").read_text()
    assert "plain-seed0: failed (profiles.products=5000" in page
