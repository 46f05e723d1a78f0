"""Catalogues that are not on this machine: stores of objects, tables on the web, datasets of the hub."""

import sys

import fsspec
import numpy as np
import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.data.datasets import open_dataset
from shelfbench.data.sources import elsewhere
from shelfbench.data.sources.hub import CONVERTED
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.generator import GeneratorSettings
from tests.helpers.catalogues import opened, write_shards
from tests.helpers.hubs import huggingface
from tests.helpers.photos import noise_picture
from tests.helpers.shop_server import photo, shop_server

QUIET = Console(quiet=True)


def opened_by_name(name, **settings):
    return open_dataset(DatasetSettings(name=name, **settings), GeneratorSettings(), None, 1, QUIET)[0]


@pytest.fixture
def store(fresh_cache):
    """A store with a folder of categories, a table and a photo beside it."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    for i in range(12):
        files.pipe(f"/shop/photos/{'cups' if i % 2 else 'plates'}/{i}.png", noise_picture(i))
    table = pd.DataFrame(
        {
            "file_name": [f"photos/{'cups' if i % 2 else 'plates'}/{i}.png" for i in range(11)]
            + ["memory://shop/photos/cups/11.png"],
            "category": ["a", "b"] * 6,
        }
    )
    files.pipe("/shop/products.csv", table.to_csv(index=False).encode())
    yield files
    files.store.clear()


def counted(files, monkeypatch):
    """Note which objects are read."""
    read = []
    for name in ("get_file", "cat_file"):
        real = getattr(type(files), name)
        monkeypatch.setattr(
            type(files),
            name,
            lambda self, path, *args, real=real, **more: read.append(path) or real(self, path, *args, **more),
        )
    return read


def test_a_folder_of_a_store_is_copied_once_and_follows_its_changes(store, monkeypatch):
    read = counted(store, monkeypatch)
    catalogue = opened_by_name("memory://shop/photos/")
    assert {category.key for category in catalogue.categories} == {"cups", "plates"}
    assert sorted(catalogue.images.read(np.arange(12))) == sorted(noise_picture(i) for i in range(12))
    assert len(read) == 12
    opened_by_name("memory://shop/photos")
    assert len(read) == 12
    store.rm("/shop/photos/cups/1.png")
    store.pipe("/shop/photos/plates/0.png", noise_picture(99))
    again = opened_by_name("memory://shop/photos")
    assert len(read) == 13
    assert len(again.images) == 11
    assert noise_picture(99) in again.images.read(np.arange(11))


def test_a_table_of_a_store_names_photos_that_are_fetched_as_they_are_read(store, monkeypatch):
    read = counted(store, monkeypatch)
    catalogue = opened_by_name("memory://shop/products.csv")
    assert [path for path in read if path.endswith(".png")] == []
    assert catalogue.images.read([3, 11]) == [noise_picture(3), noise_picture(11)]
    assert len([path for path in read if path.endswith(".png")]) == 2
    store.rm("/shop/photos/plates/4.png")
    assert catalogue.images.read([4])[0].reason == "not in the store"


def test_an_interrupted_copy_goes_on(store, monkeypatch):
    real = type(store).get_file
    monkeypatch.setattr(elsewhere, "_THREADS", 1)

    def fails(self, path, *args, **more):
        if path.endswith("/7.png"):
            raise ConnectionError("gone")
        return real(self, path, *args, **more)

    monkeypatch.setattr(type(store), "get_file", fails)
    with pytest.raises(RunError, match=r"1 of 12 files .* could not be copied .*7\.png.*gone"):
        opened_by_name("memory://shop/photos")
    monkeypatch.setattr(type(store), "get_file", real)
    read = counted(store, monkeypatch)
    assert len(opened_by_name("memory://shop/photos").images) == 12
    assert len(read) == 1


@pytest.mark.parametrize("name", ["memory://shop/nothing", "memory://nothing/at/all.csv"])
def test_what_a_store_lacks_is_named(store, name):
    with pytest.raises((InputError, RunError), match=r"memory://.*(does not exist|not in the store)"):
        opened_by_name(name)


def test_a_store_without_its_package_says_what_to_install(fresh_cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"s3:// needs another package .*shelfbench\[cloud\]"):
        opened_by_name("s3://bucket/folder")
    with pytest.raises(InputError, match="cannot be opened"):
        opened_by_name("nonsense://bucket/folder")
    with pytest.raises(RunError, match="cannot be opened: the store fails: ConnectionRefusedError"):
        opened_by_name("ftp://127.0.0.1:9/folder")


def test_a_full_disk_is_told_before_anything_is_copied(store, monkeypatch):
    monkeypatch.setattr(elsewhere.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(InputError, match="are free in"):
        opened_by_name("memory://shop/photos")


def test_a_table_on_the_web_names_photos_beside_it_and_the_copy_serves_when_it_is_gone(fresh_cache, tmp_path):
    with shop_server() as shop:
        shop.files["/shop/products.csv"] = "file_name,category\n" + "".join(
            f"photo/{i},{'ab'[i % 2]}\n" for i in range(1, 9)
        )
        shop.files["/shop/photo/3"] = photo(3)
        catalogue = opened_by_name(f"{shop.url}/shop/products.csv")
        assert catalogue.images.read([2, 3]) == [photo(3), b""]
        link = f"{shop.url}/shop/products.csv"
        with pytest.raises(RunError, match="404 Not Found"):
            opened_by_name(f"{shop.url}/shop/other.csv")
    assert len(opened_by_name(link).images) == 8


@pytest.fixture
def converted(tmp_path):
    """The hub's copy of a dataset in Parquet."""
    folder = tmp_path / "converted"
    (folder / "default").mkdir(parents=True)
    for number, split in enumerate(("train", "test")):
        write_shards(folder / "default" / split, names=("0000.parquet", "0001.parquet"), rows=6 + number)
    return folder


def test_a_dataset_of_the_hub_is_fetched_once_at_the_commit_that_it_has(converted, fresh_cache, monkeypatch):
    calls = huggingface(monkeypatch, converted)
    catalogue = opened_by_name("hf:org/name")
    assert sorted(catalogue.split) == ["test"] * 14 + ["train"] * 12
    assert calls == [
        ("info", "org/name", CONVERTED),
        ("download", "org/name", "0123456789abcdef0123456789abcdef01234567"),
    ]
    opened_by_name("hf:org/name")
    assert len(calls) == 2
    opened_by_name("hf:org/name:default@0123")
    assert calls[2] == ("info", "org/name", "0123")
    (note,) = fresh_cache.rglob("fetched.json")
    assert '"checked": true' in note.read_text()


def test_configurations_and_parts_of_the_hub_are_told(converted, fresh_cache, monkeypatch):
    huggingface(monkeypatch, converted)
    (converted / "small").mkdir()
    write_shards(converted / "small" / "partial-train", rows=8)
    said = []
    monkeypatch.setattr(Console, "warn", lambda self, message: said.append(message))
    with pytest.raises(InputError, match=r"2 configurations \(default, small\); name one: hf:org/name:default"):
        opened_by_name("hf:org/name")
    with pytest.raises(InputError, match="no configuration 'large'"):
        opened_by_name("hf:org/name:large")
    assert len(opened_by_name("hf:org/name:small").images) == 16
    assert any("only the first part" in message for message in said)
    with pytest.raises(InputError, match="is not a dataset of the hub"):
        opened_by_name("hf:../name/too/long")


def test_a_damaged_download_is_not_kept(converted, fresh_cache, monkeypatch):
    huggingface(monkeypatch, converted)
    hub = sys.modules["huggingface_hub"]
    real = hub.snapshot_download

    def damaged(*args, local_dir, **more):
        real(*args, local_dir=local_dir, **more)
        path = local_dir / "default" / "test" / "0000.parquet"
        path.write_bytes(path.read_bytes()[:-1] + b"?")

    monkeypatch.setattr(hub, "snapshot_download", damaged)
    with pytest.raises(RunError, match=r"default/test/0000\.parquet .* is not what the hub publishes"):
        opened_by_name("hf:org/name")
    monkeypatch.setattr(hub, "snapshot_download", real)
    assert len(opened_by_name("hf:org/name").images) == 26


def test_without_a_network_or_the_package_one_line_says_what_to_do(fresh_cache, converted, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"huggingface_hub.*shelfbench\[fetch\]"):
        opened_by_name("hf:org/name")
    huggingface(monkeypatch, converted)

    def refuse(*args, **more):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(sys.modules["huggingface_hub"].HfApi, "dataset_info", refuse)
    with pytest.raises(RunError, match=r"no route to host.*datasets/org/name/tree/refs%2Fconvert%2Fparquet"):
        opened_by_name("hf:org/name")


def test_a_table_here_may_name_photos_of_a_store(store, tmp_path):
    table = pd.DataFrame(
        {"file_name": [f"memory://shop/photos/plates/{i}.png" for i in (0, 2)], "category": ["a", "b"]}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    assert opened(tmp_path / "t.csv").images.read([0, 1]) == [noise_picture(0), noise_picture(2)]
