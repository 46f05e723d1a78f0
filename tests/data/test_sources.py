"""Readers: every layout becomes the same kind of catalogue, and faulty files are named."""

import os
import pickle
import shutil
import subprocess
import sys

import bson
import numpy as np
import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.data.datasets import find_named, named_datasets, open_dataset
from shelfbench.data.sources import cdiscount
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.generator import GeneratorSettings
from tests.helpers.catalogues import documents, opened, write_bson, write_shards
from tests.helpers.photos import noise_picture

QUIET = Console(quiet=True)


def test_bson_equals_pymongo(tmp_path):
    path = write_bson(tmp_path, documents())
    catalogue = opened(path)
    with open(path, "rb") as handle:
        expected = list(bson.decode_file_iter(handle))
    assert catalogue.product_id.tolist() == [document["_id"] for document in expected]
    assert [catalogue.categories[code].key for code in catalogue.product_category] == [
        str(document["category_id"]) for document in expected
    ]
    assert catalogue.categories[0].name == "LEAF 1000"
    assert catalogue.categories[0].levels == ("TOP, 1000", "MIDDLE")
    pictures = [(document["_id"], entry["picture"]) for document in expected for entry in document["imgs"]]
    assert catalogue.product_id[catalogue.image_product].tolist() == [owner for owner, _ in pictures]
    assert catalogue.images.read(np.arange(len(pictures))) == [data for _, data in pictures]


def test_bson_index_is_reused_until_the_file_changes(tmp_path, fresh_cache, monkeypatch):
    path = write_bson(tmp_path, documents())
    scans = []
    scan = cdiscount.scan
    monkeypatch.setattr(cdiscount, "scan", lambda *args: scans.append(1) or scan(*args))
    first, second = opened(path), opened(path)
    assert len(scans) == 1
    assert first.images.read([3]) == second.images.read([3])
    write_bson(tmp_path, documents(15))
    assert len(opened(path).product_id) == 15
    assert len(scans) == 2
    for damage in (b"damaged", b"PK\x03\x04", b""):
        for kept in (fresh_cache / "indexes").iterdir():
            kept.write_bytes(damage)
        assert len(opened(path).product_id) == 15


# not ru_maxrss, which begins with the peak of the process that started this one
MEASURE = """
import re, sys
from pathlib import Path
from shelfbench.base.console import Console
from shelfbench.data.sources import bson_index
from shelfbench.data.sources.cdiscount import BSONImages, build_index
def peak():
    return int(re.search("VmHWM: *([0-9]+) kB", Path("/proc/self/status").read_text().replace("\t", " "))[1])
bson_index.WINDOW = 1 << 24
before = peak()
index, _ = build_index(Path(sys.argv[1]), "refuse", Console(quiet=True))
images = BSONImages(Path(sys.argv[1]), index["product_id"], index["offset"], index["length"])
total = sum(len(images.read([i])[0]) for i in range(len(images)))
print(total, (peak() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as Linux reports it")
def test_memory_does_not_grow_with_the_file(tmp_path, fresh_cache):
    path = write_bson(tmp_path, documents(1))
    photo = np.random.default_rng(0).bytes(100_000)
    with open(path, "wb") as handle:
        for i in range(2400):
            handle.write(bson.encode({"_id": i, "category_id": 1000, "imgs": [{"picture": photo}]}))
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    total, grown = map(int, done.stdout.split())
    assert total == 2400 * 100_000
    assert grown < 80, f"{grown} MiB more for a file of 229 MiB"


def test_a_truncated_bson_names_the_byte_and_can_be_accepted(tmp_path):
    path = write_bson(tmp_path, documents())
    whole = path.read_bytes()
    starts = np.cumsum([0] + [len(bson.encode(document)) for document in documents()])
    path.write_bytes(whole[: int(starts[7]) + 50])
    with pytest.raises(InputError, match=rf"byte {starts[7]} \(after 7 products\).*dataset.truncated=accept"):
        opened(path)
    catalogue = opened(path, truncated="accept")
    assert catalogue.product_id.tolist() == [100 + i for i in range(7)]
    assert f"byte {starts[7]}" in catalogue.notes[0]


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + b"x" * 200,
        b"{}" * 40,
        b"\0" * 64,
        b"\xff" * 64,
        b"ab",
        bson.encode({"name": "not a product"}),
        bson.encode({"_id": "text", "category_id": 1, "imgs": []}),
        bson.encode({"_id": 1, "category_id": 1, "imgs": {"picture": 3}}),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path, content):
    path = write_bson(tmp_path, documents(3))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.bson: bad document at byte 0"):
        opened(path, truncated="accept")


def test_random_damage_never_escapes_as_another_error(tmp_path):
    path = write_bson(tmp_path, documents(6))
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            catalogue = opened(path)
            catalogue.images.read(np.arange(len(catalogue.images)))
        except InputError as error:
            assert str(path) in str(error)


def test_bson_without_names_and_repeated(tmp_path):
    path = write_bson(tmp_path, documents() + documents(1))
    with pytest.raises(InputError, match="product 100 occurs twice"):
        opened(path)
    (tmp_path / "category_names.csv").unlink()
    with pytest.raises(InputError, match=r"category_names\.csv is missing"):
        opened(path)


def test_a_bson_runs_with_a_category_that_has_no_name(tmp_path):
    catalogue = opened(write_bson(tmp_path, documents(), names={1000, 1001}))
    assert [category.name for category in catalogue.categories] == ["LEAF 1000", "LEAF 1001", "1002"]
    assert [len(category.levels) for category in catalogue.categories] == [2, 2, 2]
    assert catalogue.notes == ("1 category (1002) of 4 products is not in category_names.csv and shown by its id",)
    assert np.bincount(catalogue.product_category).tolist() == [4, 4, 4]
    with pytest.raises(InputError, match=r"has none of the 3 categories of train\.bson \(such as 1000\)"):
        opened(write_bson(tmp_path, documents(), names={7}))


def test_bson_test_file_without_categories_and_products_without_pictures(tmp_path):
    extra = [
        {"_id": 900, "imgs": [{"picture": b"x"}]},
        {"_id": 901, "category_id": 1000, "imgs": []},
        {
            "_id": 902,
            "extra": [{"deep": {"er": 1.5}}],
            "note": "text",
            "category_id": 1001,
            "imgs": [{"picture": b"xyz"}],
        },
    ]
    catalogue = opened(write_bson(tmp_path, documents(3) + extra))
    assert catalogue.product_id.tolist() == [100, 101, 102, 902]
    assert catalogue.unlabelled == 1
    assert catalogue.notes == ("skipped 1 product without a picture",)
    assert catalogue.images.read([len(catalogue.images) - 1]) == [b"xyz"]


def test_sources_can_be_pickled_after_use(tmp_path, image_folder):
    for path in (write_bson(tmp_path / "b", documents()), write_shards(tmp_path / "p"), image_folder):
        images = opened(path).images
        before = images.read([1, 4])
        assert pickle.loads(pickle.dumps(images)).read([1, 4]) == before


def test_image_folder_with_and_without_splits(tmp_path, image_folder):
    catalogue = opened(image_folder)
    assert [category.key for category in catalogue.categories] == ["blue", "green", "red"]
    assert len(catalogue.product_id) == 72
    assert catalogue.product_id[0] == os.path.join("blue", "00.png")
    split = tmp_path / "split"
    for part, count in (("train", 10), ("val", 3), ("test", 5)):
        for name in ("red", "blue"):
            (split / part / name).mkdir(parents=True)
            for i in range(count):
                shutil.copy(image_folder / name / f"{i:02}.png", split / part / name)
    for note in "notes.txt", "more.txt", "and.txt", "yet_more.txt":
        (split / "train" / "red" / note).write_text("not an image")
    catalogue = opened(split)
    assert pd.Series(catalogue.split).value_counts().to_dict() == {"train": 20, "test": 10, "validation": 6}
    assert catalogue.notes == ("skipped 4 files that are not images: and.txt, more.txt, notes.txt, ... (4 .txt)",)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_folder_with_metadata(tmp_path, image_folder, form):
    table = pd.DataFrame(
        {
            "file_name": ["red/00.png", "red/01.png", "blue/00.png", "blue/gone.png"],
            "kind": ["r", "r", "b", "b"],
            "product_id": ["p1", "p1", "p2", "p3"],
        }
    )
    path = image_folder / f"metadata.{form}"
    table.to_csv(path, index=False) if form == "csv" else table.to_parquet(path)
    with pytest.raises(InputError, match=r"metadata\.\w+ has no column 'category'"):
        opened(image_folder)
    catalogue = opened(image_folder, category="kind")
    assert catalogue.product_id.tolist() == ["p1", "p2", "p3"]
    assert np.bincount(catalogue.image_product).tolist() == [2, 1, 1]
    assert catalogue.images.read([0, 3]) == [(image_folder / "red/00.png").read_bytes(), b""]


def test_metadata_cannot_reach_outside(tmp_path, image_folder):
    (tmp_path / "secret.png").write_bytes(noise_picture(1))
    (image_folder / "metadata.csv").write_text("file_name,category\nred/00.png,a\n../secret.png,b\n")
    with pytest.raises(InputError, match=r"metadata\.csv, line 3: file_name '../secret.png'"):
        opened(image_folder)


def test_folders_that_hold_no_catalogue(tmp_path, image_folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="contains no product images"):
        opened(tmp_path / "empty")
    with pytest.raises(InputError, match="contains 24 images but no category"):
        opened(image_folder / "red")
    with pytest.raises(InputError, match="does not exist"):
        opened(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a catalogue"):
        opened(image_folder / "red" / "00.png")


def test_circular_links_are_followed_once(image_folder):
    (image_folder / "red" / "loop").symlink_to("..")
    (image_folder / "red" / "again").symlink_to(".")
    catalogue = opened(image_folder)
    assert len(catalogue.product_id) < 72 + 72


def test_an_unknown_folder_beside_split_folders_is_named(tmp_path, image_folder):
    for part in ("train", "test", "__MACOSX"):
        shutil.copytree(image_folder, tmp_path / "split" / part)
    assert set(opened(tmp_path / "split").split) == {"train", "test"}
    shutil.copytree(image_folder, tmp_path / "split" / "extra")
    with pytest.raises(InputError, match="contains split folders, but also extra"):
        opened(tmp_path / "split")


def test_a_folder_has_no_columns(image_folder):
    with pytest.raises(InputError, match="has no columns"):
        opened(image_folder, category="kind")


def test_pipes_and_names_that_are_not_utf8(image_folder):
    os.mkfifo(image_folder / "red" / "pipe.jpg")
    assert len(opened(image_folder).product_id) == 72
    os.mkdir(os.fsencode(image_folder) + b"/c\xff")
    (image_folder / os.fsdecode(b"c\xff") / "a.png").write_bytes(noise_picture(1))
    with pytest.raises(InputError, match="is not UTF-8"):
        opened(image_folder)


def test_metadata_that_contradicts_itself_or_is_absolute(image_folder):
    (image_folder / "metadata.csv").write_text("file_name,category\nred/00.png,a\nred/00.png,b\n")
    with pytest.raises(InputError, match=r"product red/00\.png has the category 'b' here but 'a'"):
        opened(image_folder)
    (image_folder / "metadata.csv").write_text(f"file_name,category\n{image_folder}/red/00.png,a\nred/01.png,b\n")
    assert opened(image_folder).product_id.tolist() == ["red/00.png", "red/01.png"]
    (image_folder / "metadata.csv").write_bytes(b"file_name,category\nred/\x0000.png,a\n")
    with pytest.raises(InputError, match=r"metadata\.csv"):
        opened(image_folder)


def test_named_datasets_are_searched_for_in_order(tmp_path, monkeypatch, fresh_cache):
    (tmp_path / "shared").mkdir()
    shards = write_shards(tmp_path / "shared" / "fashion")
    monkeypatch.setenv("SHELFBENCH_DATA", str(tmp_path / "shared"))
    assert find_named("fashion", None) == shards
    here = write_shards(tmp_path / "here")
    assert find_named("fashion", here) == here
    with pytest.raises(InputError, match=r"--data .* does not contain fashion"):
        find_named("fashion", fresh_cache.parent)
    monkeypatch.delenv("SHELFBENCH_DATA")
    cached = fresh_cache / "datasets" / "fashion"
    cached.parent.mkdir(parents=True)
    shutil.copytree(shards, cached)
    assert find_named("fashion", None) == cached


def test_without_a_network_one_line_says_which_files_go_where(fresh_cache, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="the extra 'fetch' is not installed")
    from shelfbench.data.datasets import fetch

    monkeypatch.delenv("SHELFBENCH_DATA", raising=False)

    def refuse(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(RunError) as caught:
        fetch("fashion", QUIET)
    message = str(caught.value)
    assert "\n" not in message
    assert "data/*.parquet" in message
    assert str(fresh_cache / "datasets" / "fashion") in message


def test_declarations_are_complete():
    for name, dataset in named_datasets().items():
        assert dataset.title, name
        assert dataset.licence, name
        assert dataset.method in ("generate", "huggingface", "kaggle"), name


def test_real_cdiscount(real_data):
    catalogue, _ = open_dataset(
        DatasetSettings(name="cdiscount"), GeneratorSettings(), real_data / "cdiscount", 1, QUIET
    )
    assert (len(catalogue.product_id), len(catalogue.images), len(catalogue.categories)) == (82, 110, 36)
    names = pd.read_csv(real_data / "cdiscount" / "category_names.csv", index_col="category_id")
    for category in catalogue.categories:
        row = names.loc[int(category.key)]
        assert (*category.levels, category.name) == (row.category_level1, row.category_level2, row.category_level3)
    with open(real_data / "cdiscount" / "train_example.bson", "rb") as handle:
        expected = [entry["picture"] for document in bson.decode_file_iter(handle) for entry in document["imgs"]]
    assert catalogue.images.read(np.arange(110)) == expected


def test_real_fashion(real_data):
    catalogue, named = open_dataset(
        DatasetSettings(name="fashion"), GeneratorSettings(), real_data / "fashion", 1, QUIET
    )
    assert (len(catalogue.product_id), len(catalogue.categories)) == (44441, 142)
    assert named.products == 44441
    levels = {category.key: category.levels for category in catalogue.categories}
    assert levels["Tshirts"] == ("Apparel", "Topwear")
