import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import bson
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.generator import GeneratorSettings, generate
from shelfbench.generator.assortment import DrawnCategory, draw_assortment
from shelfbench.generator.settings import read_counts
from shelfbench.generator.sketch import Sketch, Style
from shelfbench.generator.taxonomy import BOOKS, DEPARTMENTS
from shelfbench.generator.write import CHUNK, document, photos

SMALL = GeneratorSettings(products=2 * CHUNK + 10, categories=16, pixels=64)
MOTIFS = [motif for motifs in DEPARTMENTS.values() for motif in motifs]


def write(folder: Path, wanted: GeneratorSettings, workers: int = 1) -> Path:
    generate(folder, wanted, Console(quiet=True), workers)
    return folder


def documents(folder: Path) -> list[dict]:
    with open(folder / "train.bson", "rb") as handle:
        return list(bson.decode_file_iter(handle))


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def sizes(wanted: GeneratorSettings) -> list[int]:
    return sorted((category.size for category in draw_assortment(wanted).categories), reverse=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("small"), SMALL)


# The files


@given(
    st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1), st.lists(st.binary(max_size=40), max_size=12)
)
def test_documents_are_what_a_bson_library_writes(product, category, pictures):
    expected = {"_id": product, "imgs": [{"picture": picture} for picture in pictures], "category_id": category}
    assert document(product, category, pictures) == bson.encode(expected)


def test_the_files_agree_with_each_other(small):
    found, truth = documents(small), table(small / "truth.csv")
    keys = {int(row["category_id"]) for row in table(small / "category_names.csv")}
    assert [product["_id"] for product in found] == list(range(SMALL.products))
    assert [int(row["product_id"]) for row in truth] == list(range(SMALL.products))
    assert [product["category_id"] for product in found] == [int(row["category_id"]) for row in truth]
    assert {int(row["true_category_id"]) for row in truth} == keys
    assert len(keys) == SMALL.categories
    record = json.loads((small / "generator.json").read_text())
    assert (
        GeneratorSettings(**{key: value for key, value in record.items() if key not in ("version", "files")}) == SMALL
    )
    assert isinstance(record["version"], int)


def test_names_are_in_kaggles_columns_and_tell_the_categories_apart(small):
    header = (small / "category_names.csv").read_text().splitlines()[0]
    assert header == "category_id,category_level1,category_level2,category_level3"
    rows = table(small / "category_names.csv")
    assert len({row["category_level1"] for row in rows}) == 8
    assert len({row["category_level3"] for row in rows}) == len(rows)


def test_every_photo_is_a_square_rgb_jpeg_and_a_product_has_up_to_four(small):
    numbers = Counter()
    for product in documents(small):
        numbers[len(product["imgs"])] += 1
        for image in product["imgs"]:
            with Image.open(io.BytesIO(image["picture"])) as photo:
                photo.load()
                assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (SMALL.pixels, SMALL.pixels))
    assert set(numbers) == {1, 2, 3, 4}


def test_photos_are_180_pixels_by_default():
    assortment = draw_assortment(GeneratorSettings())
    photo = photos(assortment.categories[assortment.truth[0]], 0, GeneratorSettings())[0]
    assert Image.open(io.BytesIO(photo)).size == (180, 180)


def test_max_photos_is_kept(tmp_path):
    folder = write(tmp_path, replace(SMALL, products=40, max_photos=2))
    assert {len(product["imgs"]) for product in documents(folder)} == {1, 2}


def test_workers_and_repetition_do_not_change_a_byte(small, tmp_path):
    write(tmp_path, SMALL, workers=2)
    for name in ("train.bson", "category_names.csv", "truth.csv", "generator.json"):
        assert (tmp_path / name).read_bytes() == (small / name).read_bytes(), name


def test_another_seed_gives_other_products():
    one, two = (draw_assortment(replace(SMALL, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(one.truth, two.truth)
    assert photos(one.categories[0], 0, SMALL) != photos(one.categories[0], 0, replace(SMALL, seed=1))


def test_photos_of_a_product_differ():
    assortment = draw_assortment(SMALL)
    several = next(
        found for product in range(50) if len(found := photos(assortment.categories[0], product, SMALL)) == 4
    )
    assert len(set(several)) == 4


def test_a_failed_run_leaves_no_catalogue(tmp_path, monkeypatch):
    def broken(category: DrawnCategory, product: int, wanted: GeneratorSettings) -> list[bytes]:
        if product == CHUNK + 3:
            raise MemoryError
        return [b"photo"]

    monkeypatch.setattr("shelfbench.generator.write.photos", broken)
    with pytest.raises(MemoryError):
        write(tmp_path, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_over_an_older_catalogue_takes_its_record_away(tmp_path, monkeypatch):
    write(tmp_path, replace(SMALL, products=20, max_photos=1))
    before = (tmp_path / "train.bson").read_bytes()
    monkeypatch.setattr("shelfbench.generator.write.photos", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path, SMALL)
    assert (tmp_path / "train.bson").read_bytes() == before
    assert not (tmp_path / "generator.json").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "here").write_text("")
    with pytest.raises(InputError, match="here"):
        write(tmp_path / "here", SMALL)


# The pictures


@pytest.mark.parametrize("motif", MOTIFS, ids=lambda motif: motif.name)
def test_motifs_draw_within_the_sketch_and_the_same_product_again(motif):
    """Every motif leaves a mark of some size from any side, and only the photo's turn may change it."""
    for product in range(3):
        masks = []
        for turn in (0.6, 0.6, -0.9):
            sketch = Sketch(120, np.random.default_rng(product), Style(), turn)
            motif.draw(sketch)
            masks.append(np.asarray(sketch.mask))
        assert np.array_equal(masks[0], masks[1])
        covered = [(mask > 127).mean() for mask in masks]
        assert min(covered) > 0.02
        assert max(covered) < 0.95


def test_every_variant_of_every_motif_can_be_drawn():
    wanted = GeneratorSettings(products=1000, categories=400, pixels=32, max_photos=1)
    for product, category in enumerate(draw_assortment(wanted).categories):
        assert photos(category, product, wanted)


def mean_colour(category: DrawnCategory) -> np.ndarray:
    colours = []
    for product in range(12):
        sketch = Sketch(60, np.random.default_rng(product), category.style, 0.0)
        category.motif.draw(sketch)
        colours.append(np.asarray(sketch.image, dtype=float)[np.asarray(sketch.mask) > 127].mean(axis=0))
    mean = np.mean(colours, axis=0)
    return mean - mean.mean()


def test_without_lookalikes_the_members_of_a_family_have_colours_of_their_own():
    def apart(lookalikes: bool) -> float:
        assortment = draw_assortment(GeneratorSettings(lookalikes=lookalikes))
        tops = [mean_colour(category) for category in assortment.categories if category.levels[1] == "TOPS"]
        return min(float(np.linalg.norm(a - b)) for k, a in enumerate(tops) for b in tops[:k])

    own, shared = apart(lookalikes=False), apart(lookalikes=True)
    assert own > 3 * shared
    assert own > 25


# Sizes and labels


def test_the_default_catalogue_is_what_the_readme_says():
    assortment = draw_assortment(GeneratorSettings())
    assert len(assortment.truth) == 6000
    assert len({category.levels[0] for category in assortment.categories}) == 8
    assert len(assortment.categories) >= 60
    assert np.bincount(assortment.labels).min() >= 20
    assert np.bincount(assortment.truth).min() >= 20


@settings(max_examples=25)
@given(st.integers(10, 200), st.integers(20, 60), st.integers(0, 5))
def test_skew_gives_80_percent_to_a_fifth_of_the_categories(categories, mean, seed):
    wanted = GeneratorSettings(seed=seed, products=categories * mean, categories=categories)
    found = sizes(wanted)
    assert sum(found) == wanted.products
    assert min(found) >= 1
    head = round(0.2 * categories)
    assert sum(found[:head]) / sum(found) == pytest.approx(0.8, abs=0.02)


def test_without_skew_all_categories_are_of_one_size():
    found = sizes(GeneratorSettings(products=1000, categories=64, skew=False))
    assert sum(found) == 1000
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize("share", [0.0, 0.03, 0.1])
def test_wrong_labels_are_as_many_as_asked_and_mostly_from_the_department(share):
    assortment = draw_assortment(GeneratorSettings(products=20_000, label_noise=share))
    wrong = assortment.labels != assortment.truth
    spread = (share * (1 - share) / 20_000) ** 0.5
    assert abs(wrong.mean() - share) <= 4 * spread
    if share:
        homes = np.array([category.levels[0] for category in assortment.categories])
        near = (homes[assortment.labels[wrong]] == homes[assortment.truth[wrong]]).mean()
        assert 0.7 < near < 0.9
        assert np.bincount(assortment.labels).min() >= 20


def test_wrong_labels_follow_the_sizes_of_the_other_categories(tmp_path):
    """Within one department, a wrong label falls on another category in proportion to that category's size."""
    path = listed(tmp_path / "counts.csv", "A,30000\nB,6000\nC,2000\n")
    assortment = draw_assortment(GeneratorSettings(products=0, counts=path, departments=1, label_noise=0.3))
    table_ = np.zeros((3, 3))
    np.add.at(table_, (assortment.truth, assortment.labels), 1)
    assert table_[0, 1] / table_[0, 2] == pytest.approx(3, rel=0.15)
    assert table_[1, 0] / table_[1, 2] == pytest.approx(15, rel=0.3)
    assert table_[2, 0] / table_[2, 1] == pytest.approx(5, rel=0.35)


def test_books_are_a_department_of_their_own_or_none():
    def departments(books: bool) -> set[str]:
        return {category.levels[0] for category in draw_assortment(GeneratorSettings(books=books)).categories}

    without = departments(False)
    assert departments(True) - without == {BOOKS}
    assert len(without) == 7


@pytest.mark.parametrize(("departments", "categories"), [(2, 2), (3, 10), (8, 61), (8, 300)])
def test_departments_share_the_categories(departments, categories):
    assortment = draw_assortment(GeneratorSettings(products=2000, departments=departments, categories=categories))
    each = Counter(category.levels[0] for category in assortment.categories)
    assert len(each) == departments
    assert sum(each.values()) == categories
    assert max(each.values()) - min(each.values()) <= 1
    assert len({category.key for category in assortment.categories}) == categories
    assert len({category.levels for category in assortment.categories}) == categories


# A list of counts


def listed(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_list_of_counts_is_followed(tmp_path):
    names = ['VIN, "BLANC" - 75 CL', "L'ABAT-JOUR", "ÉTAGÈRE", "LIVRE"]
    with open(tmp_path / "counts.csv", "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(zip(names, (5, 3, 40, 2), strict=True))
    wanted = GeneratorSettings(
        products=0, counts=str(tmp_path / "counts.csv"), pixels=32, label_noise=0.0, departments=2
    )
    folder = write(tmp_path / "out", wanted)
    rows = table(folder / "category_names.csv")
    assert [row["category_level3"] for row in rows] == names
    found = Counter(product["category_id"] for product in documents(folder))
    assert [found[int(row["category_id"])] for row in rows] == [5, 3, 40, 2]


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=80), st.integers(0, 5000))
@settings(max_examples=40, deadline=None)
def test_counts_are_scaled_in_proportion(tmp_path_factory, counts, extra):
    path = tmp_path_factory.mktemp("counts") / "counts.csv"
    listed(path, "".join(f"C{n},{count}\n" for n, count in enumerate(counts)))
    total = len(counts) + extra
    assortment = draw_assortment(GeneratorSettings(products=total, counts=str(path)))
    found = np.array([category.size for category in assortment.categories])
    assert found.sum() == total
    assert found.min() >= 1
    expected = 1 + extra * np.array(counts) / sum(counts)
    assert np.abs(found - expected).max() < 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A,3\nB,x\n", "line 2.*'x'"),
        ("A,3\n\nB\n", "line 3.*'B'"),
        ("name,count\nA,3\n", "line 1.*'count'"),
        ("A,0\n", "line 1.*'0'"),
        ("A,-4\n", "line 1.*'-4'"),
        ("A,3,4\n", "line 1"),
        (",3\n", "line 1"),
        ('A,3\n"B,4\n', "line 2"),
        ("", "no counts"),
    ],
)
def test_a_bad_list_of_counts_is_refused_by_its_line(tmp_path, text, says):
    path = tmp_path / "counts.csv"
    with pytest.raises(InputError, match=says):
        read_counts(Path(listed(path, text)))


def test_an_unreadable_list_of_counts_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"missing\.csv"):
        read_counts(tmp_path / "missing.csv")
    (tmp_path / "latin.csv").write_bytes("ÉTÉ,3\n".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_counts(tmp_path / "latin.csv")


def test_fewer_products_than_listed_categories_are_refused(tmp_path):
    path = listed(tmp_path / "counts.csv", "A,3\nB,4\nC,5\n")
    with pytest.raises(InputError, match="3 categories"):
        draw_assortment(GeneratorSettings(products=2, counts=path))


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 1.5),
        ("products", 10),
        ("products", -1),
        ("departments", 0),
        ("departments", 9),
        ("categories", 3),
        ("skew", "yes"),
        ("books", 1),
        ("lookalikes", None),
        ("counts", 3),
        ("label_noise", 0.7),
        ("label_noise", -0.1),
        ("label_noise", True),
        ("label_noise", float("nan")),
        ("pixels", 8),
        ("pixels", 4000),
        ("quality", 0),
        ("quality", 100),
        ("max_photos", 0),
        ("max_photos", 5),
    ],
)
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=rf"generated\.{name} = "):
        GeneratorSettings(**{name: value})


def test_the_only_department_cannot_be_books_and_be_left_out():
    assert (
        draw_assortment(GeneratorSettings(departments=1, categories=3, products=100)).categories[0].levels[0] == BOOKS
    )
    with pytest.raises(InputError, match="departments = 1"):
        GeneratorSettings(departments=1, books=False)
