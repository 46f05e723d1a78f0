"""What stands where a photo should: pipes, devices, sockets, folders, circles, files of 40 GB. Each is a named row."""

import os
import socket
import stat
import subprocess
import sys
import tarfile

import bson
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.datasets import open_dataset
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.to_classify import products_of
from tests.helpers.photos import noise_picture

QUIET = Console(quiet=True)
ODD = {
    "pipe.jpg": "a pipe or a device, not a photo",
    "socket.jpg": "(No such device or address)",
    "device.jpg": "a pipe or a device, not a photo",
    "folder.jpg": "a folder, not a photo",
    "circle.jpg": "(Too many levels of symbolic links)",
    "large.jpg": "larger than 256 MiB (dataset.largest)",
}


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A folder with a photo of 40 GB, which takes no space, and with everything that is not a file."""
    root = tmp_path / "shop"
    root.mkdir()
    (root / "good.jpg").write_bytes(noise_picture(1))
    os.mkfifo(root / "pipe.jpg")
    monkeypatch.chdir(root)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.jpg")
    try:
        os.mknod(root / "device.jpg", 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
    except PermissionError:  # only root may
        os.mkfifo(root / "device.jpg")
    (root / "folder.jpg").mkdir()
    (root / "circle.jpg").symlink_to("circle.jpg")
    with open(root / "large.jpg", "wb") as file:
        os.truncate(file.fileno(), 40 << 30)
    return root


def reasons(images):
    """Why each of the photos cannot be read, by name."""
    found = zip(map(images.where, range(len(images))), images.read(np.arange(len(images))), strict=True)
    return {name: getattr(data, "reason", "") for name, data in found}


def expect(found):
    assert found.pop("good.jpg") == ""
    assert found.keys() == ODD.keys()
    for name, reason in ODD.items():
        assert reason in found[name], name


def test_each_is_a_row_of_metadata_with_its_reason(odd):
    names = ["good.jpg", *ODD]
    pd.DataFrame({"file_name": names, "category": ["a"] * len(names)}).to_csv(odd / "metadata.csv", index=False)
    catalogue, _ = open_dataset(DatasetSettings(name=str(odd)), None, None, 1, QUIET)
    expect(reasons(catalogue.images))
    expect({one.key: getattr(one.photos[0], "reason", "") for one in products_of([odd], DatasetSettings(), QUIET)})


def test_names_in_parquet_lead_to_the_same_reasons(odd):
    names = ["good.jpg", *ODD]
    pq.write_table(pa.table({"file_name": names, "category": ["a"] * len(names)}), odd / "all.parquet")
    catalogue, _ = open_dataset(DatasetSettings(name=str(odd / "all.parquet")), None, None, 1, QUIET)
    expect(reasons(catalogue.images))


def test_a_link_to_a_device_is_refused_in_a_table_and_a_reason_in_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "good.jpg").write_bytes(noise_picture(1))
    (tmp_path / "a" / "zero.jpg").symlink_to("/dev/zero")
    catalogue, _ = open_dataset(DatasetSettings(name=str(tmp_path)), None, None, 1, QUIET)
    assert "zero.jpg" not in str(list(reasons(catalogue.images))), "it is not a photo"
    pd.DataFrame({"file_name": ["a/zero.jpg"], "category": ["a"]}).to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(InputError, match=r"line 2: file_name 'a/zero.jpg' is not a file below"):
        open_dataset(DatasetSettings(name=str(tmp_path)), None, None, 1, QUIET)


def test_a_folder_reads_regular_files_alone(odd):
    (odd / "a").mkdir()
    for path in list(odd.iterdir()):
        if path.name != "a":
            path.rename(odd / "a" / path.name)
    catalogue, _ = open_dataset(DatasetSettings(name=str(odd)), None, None, 1, QUIET)
    found = reasons(catalogue.images)
    assert found["a/good.jpg"] == ""
    assert found["a/large.jpg"] == ODD["large.jpg"]
    assert all(found.values()) or list(found.values()).count("") == 1


@pytest.mark.parametrize("name", [name for name in ODD if name != "folder.jpg"])
def test_one_given_to_classify_is_a_line_or_a_row(odd, name):
    try:
        (found,) = products_of([odd / name], DatasetSettings(), QUIET)
    except (InputError, OSError) as error:
        assert name in str(error)
    else:
        assert found.photos[0].reason == ODD[name]


def test_a_photo_inside_a_file_may_be_as_large_as_the_settings_say(tmp_path):
    large, small = noise_picture(1) + bytes(2 << 20), noise_picture(2)
    settings = {"category": "category", "largest": 1}
    pq.write_table(pa.table({"image": [large, small], "category": ["a", "b"]}), tmp_path / "x.parquet")
    with open(tmp_path / "train.bson", "wb") as file:
        for number, photo in enumerate((large, small)):
            file.write(bson.encode({"_id": number, "category_id": 1, "imgs": [{"picture": photo}]}))
    (tmp_path / "category_names.csv").write_text(
        "category_id,category_level1,category_level2,category_level3\n1,a,b,c\n"
    )
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for key, photo in (("1", large), ("2", small)):
            for suffix, data in (("jpg", photo), ("cls", b"3")):
                (tmp_path / "member").write_bytes(data)
                archive.add(tmp_path / "member", f"{key}.{suffix}")
    for name in ("x.parquet", "train.bson", "x.tar"):
        place = tmp_path / name
        for given, why in ((settings, "larger than 1 MiB (dataset.largest)"), ({"category": "category"}, "")):
            catalogue, _ = open_dataset(DatasetSettings(name=str(place), **given), None, None, 1, QUIET)
            first, second = catalogue.images.read(np.arange(2))
            assert (getattr(first, "reason", ""), second) == (why, small), name
            assert why or first == large
            read = list(products_of([place], DatasetSettings(**given), QUIET))
            assert [getattr(one.photos[0], "reason", "") for one in read] == [why, ""], name


def test_hidden_files_are_no_data(tmp_path):
    """Those of macOS, and what a killed process left unfinished."""
    (tmp_path / "train.bson").write_bytes(bson.encode({"_id": 1, "category_id": 1, "imgs": [{"picture": b"x"}]}))
    (tmp_path / "category_names.csv").write_text(
        "category_id,category_level1,category_level2,category_level3\n1,a,b,c\n"
    )
    (tmp_path / "._train.bson").write_bytes(b"Mac OS X")
    (tmp_path / ".partial-0123456789ab-train.bson").write_bytes(b"half")
    catalogue, _ = open_dataset(DatasetSettings(name=str(tmp_path)), None, None, 1, QUIET)
    assert catalogue.images.read(np.arange(1)) == [b"x"]
    assert [one.key for one in products_of([tmp_path], DatasetSettings(), QUIET)] == ["1"]


@pytest.mark.parametrize("largest", [0, -1, 3000])
def test_a_limit_that_cannot_be_is_refused(largest):
    with pytest.raises(InputError, match=r"dataset\.largest is .* give a number from 1 to 2047"):
        DatasetSettings(largest=largest)


@pytest.mark.slow
def test_no_file_of_forty_gigabytes_is_read_by_a_run(odd, tmp_path):
    pd.DataFrame({"file_name": ["good.jpg", *ODD] * 1, "category": ["a"] * 4 + ["b"] * 3}).to_csv(
        odd / "metadata.csv", index=False
    )
    words = ["run", "--dataset", str(odd), "--backend", "hog-svm", "--out", str(tmp_path / "out"), "--quiet"]
    found = subprocess.run(
        [sys.executable, "-m", "shelfbench.cli.start", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode in (1, 2)
    assert "Traceback" not in found.stderr
    assert "out of memory" not in found.stderr
