"""Studies: what they say is checked, and what is wrong is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shelfbench.base.errors import InputError
from shelfbench.study.overrides import parse_setting, setting
from shelfbench.study.read import build_section, read_study, study_names

if TYPE_CHECKING:
    from fractions import Fraction


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


GOOD = 'backends = ["hog-svm"]\n[dataset]\nname = "fashion"\n'


def test_every_study_that_comes_with_shelfbench_is_valid():
    assert {"default", "fashion"} <= set(study_names())
    for name in study_names():
        study = read_study(name)
        assert study.name == name
        record = study.record()
        assert record["backends"] or record["experiment"]
        assert study.results_hash() == read_study(name).results_hash()


@pytest.mark.parametrize(
    ("name", "pixels", "expected"),
    [
        ("cdiscount", 180, "94764f6f0986ec01a10d56c934341461"),
        ("default", 128, "9a320b27c87dfba13230b5cbf75d99e2"),
        ("fashion", 128, "ca63bbd5065da6a23c3dd795728712cf"),
        ("fashion-full", 128, "94aa2fb39f34936b49cc9b7979d7c105"),
        ("finetuning", 128, "60f0cc0bf0552f0424fff6da602827f7"),
        ("heads", 128, "7f06fbc6c60b7e2d92fd2f406b4a60ba"),
        ("imagenet", None, "adb3a4dfbd20a41b07d4a0780a91fa0e"),
        ("label-noise", 128, "6d9369d4177ab8fd3763116e2c616d90"),
        ("multilabel", 128, "5001c0a59b0d67ec1895a23adaa06243"),
        ("timing", None, "2860e3e74d46ba876baff6d756a86fbd"),
        ("xception", None, "9f77f821b428a6f3ddf9cbe87b75d8e4"),
    ],
)
def test_studies_with_kept_results_are_what_they_were(name, pixels, expected):
    study = read_study(name)
    assert study.record()["pixels"] == pixels
    assert study.results_hash() == expected, "kept runs could not be resumed"


def test_variants_change_the_study_s_own_sections_and_nothing_else(tmp_path):
    text = """
experiment = "profiles"
[two_layer]
epochs = 3
[variants.one]
label = "one layer"
figures = ["figure3"]
backend = "bottleneck-2nn-512"
two_layer = { batch_norm = "one" }
[variants.plain]
backend = "bottleneck-2nn-512"
"""
    one, plain = read_study(written(tmp_path, text)).variants
    assert (one.label, one.figures, one.sections["two_layer"].batch_norm) == ("one layer", ("figure3",), "one")
    assert one.sections["two_layer"].epochs == 3
    assert (plain.label, plain.sections["two_layer"].batch_norm) == ("plain", "several")
    for bad, problem in [
        (text.replace("batch_norm", "batchnorm"), "unknown key"),
        (text.replace('backend = "bottleneck-2nn-512"\ntwo_layer', "two_layer"), "names no backend"),
        (text.replace("two_layer = {", "three_layer = {"), "three_layer"),
        (text.replace("variants.one", 'variants."a/b"'), "letters"),
        (text.replace("profiles", "profile"), "unknown experiment"),
        ("variants = 3\n" + text.split("[variants.one]")[0], "variants"),
    ]:
        with pytest.raises(InputError, match=problem):
            read_study(written(tmp_path, bad))


def test_settings_replace_those_of_the_file(tmp_path):
    source = written(tmp_path, GOOD + "[split]\nmin_products = 5\n")
    overrides = [
        parse_setting(text)
        for text in (
            "split.min_products=7",
            "seed=3",
            "dataset.category=articleType",
            "report.targets=[0.8, 1]",
            "weights=none",
            'dataset.levels=["a", "b"]',
            "hog.pixels=96",
            "dataset.name=2017",
            "report.pictures=false",
        )
    ]
    study = read_study(source, overrides)
    assert (study.split.min_products, study.seed, study.dataset.category) == (7, 3, "articleType")
    assert study.report.targets == (0.8, 1.0)
    assert study.dataset.levels == ("a", "b")
    assert study.dataset.name == "2017"
    assert study.backbone.weights == "none"
    assert study.sections["hog"].pixels == 96
    assert study.report.pictures is False


def test_the_hash_covers_what_changes_results_and_nothing_else(tmp_path):
    source = written(tmp_path, GOOD)
    base = read_study(source).results_hash()
    for text in (
        "seed=1",
        "split.min_products=3",
        "images.fit=crop",
        "hog.cells=8",
        "dataset.category=x",
        "backbone=xception",
        "pixels=96",
        "verdict.aggregation=vote",
        "verdict.calibrate=false",
        "report.out_of_fold=3",
    ):
        assert read_study(source, [parse_setting(text)]).results_hash() != base, text
    for text in ("title=other", "report.pictures=false", "report.targets=[0.5]", "verdict.confidence_level=0.9"):
        assert read_study(source, [parse_setting(text)]).results_hash() == base, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backends = [", "is not TOML"),
        ("", "names no backend"),
        ('backends = ["nope"]', "unknown backend 'nope'.*hog-svm"),
        ('backends = ["hog-svm", "hog-svm"]', "twice"),
        (GOOD + '[verdict]\naggregation = "median"\n', "aggregation is 'median'.*'choose' or one of mean, log_mean"),
        (GOOD + "[verdict]\nconfidence_level = 95\n", "confidence_level is 95.*between 0 and 1"),
        (GOOD + "[splitt]\n", "unknown key 'splitt'.*did you mean 'split'"),
        (GOOD + "[split]\nmin_product = 3\n", "unknown key split.min_product; did you mean 'min_products'"),
        (GOOD + "[split]\nmin_products = '3'\n", "split.min_products is '3'.*whole number"),
        (GOOD + "[split]\nmin_products = true\n", "whole number"),
        (GOOD + "[split]\nmin_products = 2.5\n", "whole number"),
        (GOOD + "[report]\npictures = 1\n", "true or false"),
        (GOOD + "[report]\ntargets = [90]\n", "report.targets"),
        (GOOD + "[report]\ntargets = ['a']\n", "report.targets"),
        ("seed = -1\n" + GOOD, "seed is -1"),
        ('backends = ["hog-svm@xception"]', "uses no backbone"),
        ('backends = ["bottleneck-svm@"]', "names no backbone"),
        ("split = 3\n" + GOOD, "split is 3, but it must be a section"),
        (GOOD + "[svm]\nC = 'a'\n", "svm.C"),
        (GOOD + "[generated]\nproducts = -5\n", "generated|products"),
        (GOOD + "[images]\nfit = 'wide'\n", "images.fit is 'wide'"),
    ],
)
def test_wrong_studies_are_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_study(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_unknown_studies_and_settings():
    with pytest.raises(InputError, match=r"no study 'fashon'; choose from cdiscount, classifiers, default"):
        read_study("fashon")
    for text in ("noequals", "=3", "a.b.c=1", ".x=1"):
        with pytest.raises(InputError, match="KEY=VALUE"):
            parse_setting(text)
    with pytest.raises(InputError, match="seed is not a section"):
        read_study("default", [parse_setting("seed.x=1")])


def test_products_in_the_place_of_a_study_are_recognised(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "products.csv").write_text("file_name,category\n")
    for name in ("photos", "products.csv"):
        with pytest.raises(InputError, match=rf"no study .*{name}'; if it contains your products: --dataset .*{name}$"):
            read_study(tmp_path / name)


def test_a_backbone_that_is_not_the_studys_own_is_part_of_the_name(tmp_path):
    study = read_study(written(tmp_path, 'backends = ["bottleneck-svm@vgg16"]\npixels = 64'))
    from shelfbench.plugins.finding import split_name

    base, backbone = split_name(study.backends[0], study.backbone)
    assert (base, backbone.name, backbone.pixels) == ("bottleneck-svm", "vgg16", 64)


@pytest.mark.parametrize("name", study_names())
def test_a_study_can_be_read_again_and_changed(name):
    study = read_study(name)
    assert read_study(study) == study
    assert read_study(study).results_hash() == study.results_hash()
    changed = read_study(study, [setting("split.min_products", 7), setting("report.targets", (0.5, 1))])
    assert changed == read_study(
        name, [parse_setting("split.min_products=7"), parse_setting("report.targets=[0.5, 1]")]
    )
    with pytest.raises(InputError, match="min_products is 'many'; give a whole number"):
        read_study(study, [setting("split.min_products", "many")])


def test_settings_from_python_are_checked_as_those_of_the_command_line():
    assert setting("weights", Path("/a/b.h5")) == (["weights"], "/a/b.h5")
    for key in ("", "a.b.c", "split.", 3):
        with pytest.raises(InputError, match=r"is not SECTION\.KEY"):
            setting(key, 1)


@dataclass(frozen=True)
class Unreadable:
    share: Fraction = None


def test_annotations_that_exist_for_type_checkers_only_are_refused_by_name():
    with pytest.raises(InputError, match=r"section 'mine' has an annotation that cannot be read.*Fraction.*import"):
        build_section(Unreadable, {"share": 1}, "mine", "here")


def test_asking_failed_links_again_is_not_another_study():
    plain = read_study("default")
    asked = read_study("default", [parse_setting("dataset.retry=true")])
    assert asked.dataset.retry is True
    assert asked.results_hash() == plain.results_hash()
    assert asked.record() == plain.record()
