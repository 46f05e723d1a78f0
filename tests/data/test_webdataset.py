"""WebDataset shards: tar archives whose photos are read by offset."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.feature_store import image_digests
from shelfbench.data.sources import webdataset
from shelfbench.data.sources.tar_index import members
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def write_tar(path, files, format=tarfile.PAX_FORMAT, mtime=1.5e9):  # noqa: A002
    """Write files by name; a dict becomes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in files.items():
            data = json.dumps(content).encode() if isinstance(content, dict) else content
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            archive.addfile(info, io.BytesIO(data))
    return path


def samples(count=12, start=0, **more):
    """Photos with their JSON, in two categories."""
    files = {}
    for i in range(start, start + count):
        files[f"{i:06d}.jpg"] = noise_picture(i)
        files[f"{i:06d}.json"] = {"category": f"c{i % 2}", "caption": "a thing", **more}
    return files


@pytest.mark.parametrize("how", FORMATS)
def test_members_are_those_that_the_standard_library_finds(tmp_path, how):
    files = {
        f"{'deep/' * 30 if i % 5 == 0 else ''}{'long' * (30 if i % 7 == 0 and how != 'ustar' else 1)}{i}.bin": bytes(
            [i]
        )
        * (i * 97)
        for i in range(40)
    }
    path = write_tar(tmp_path / "a.tar", files, FORMATS[how], mtime=1.5e9 + (0.25 if how == "pax" else 0))
    with tarfile.open(path, "a", format=FORMATS[how]) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "elsewhere"
        archive.addfile(link)
        last = tarfile.TarInfo("ümläut" if how != "ustar" else "last")
        archive.addfile(last)
    view = path.read_bytes()
    with tarfile.open(path) as archive:
        expected = [(info.name, info.offset_data, info.size) for info in archive if info.isreg()]
    assert [(found.name, found.offset, found.length) for found in members(path, view)] == expected
    assert len(expected) == 41


def test_photos_and_their_json_are_a_catalogue(tmp_path, fresh_cache):
    folder = tmp_path / "shards"
    write_tar(folder / "train-000000.tar", samples(12))
    write_tar(folder / "train-000001.tar", samples(12, 12))
    write_tar(folder / "test-000000.tar", samples(12, 24))
    catalogue = opened(folder)
    assert len(catalogue.product_id) == len(catalogue.images) == 36
    assert {category.key for category in catalogue.categories} == {"c0", "c1"}
    assert sorted(catalogue.split) == ["test"] * 12 + ["train"] * 24
    order = [int(catalogue.images.where(i).split(", ")[1].removesuffix(".jpg")) for i in range(36)]
    assert sorted(order) == list(range(36))
    assert catalogue.images.read(np.arange(36)) == [noise_picture(i) for i in order]
    assert pickle.loads(pickle.dumps(catalogue.images)).read([5]) == [noise_picture(order[5])]
    assert [catalogue.categories[code].key for code in catalogue.product_category] == [f"c{i % 2}" for i in order]


def test_the_index_and_the_hashes_are_kept_until_the_archive_changes(tmp_path, fresh_cache, monkeypatch):
    path = write_tar(tmp_path / "shard.tar", samples())
    first = image_digests(opened(path), Console(quiet=True))
    monkeypatch.setattr(webdataset, "_scan", None)
    monkeypatch.setattr(webdataset.TarImages, "read", None)
    assert (image_digests(opened(path), Console(quiet=True)) == first).all()
    monkeypatch.undo()
    write_tar(path, samples(14))
    assert len(opened(path).images) == 14


def test_cls_is_the_category_where_no_json_has_one(tmp_path, fresh_cache):
    files = {}
    for i in range(6):
        files |= {f"a/{i}.png": noise_picture(i), f"a/{i}.cls": b"%d\n" % (i % 2), f"a/{i}.txt": b"a caption"}
    path = write_tar(tmp_path / "x.tar", files)
    assert [category.key for category in opened(path).categories] == ["0", "1"]
    assert [category.key for category in opened(path, category="txt").categories] == ["a caption"]


def test_settings_name_the_keys_and_products_may_have_several_photos(tmp_path, fresh_cache):
    files = {}
    for i in range(8):
        files |= {
            f"{i}.json": {"type": i // 4, "sku": i // 2, "part": "val" if i > 5 else "train", "tags": ["x", f"t{i}"]},
            f"{i}.jpg": noise_picture(i),
            f"{i}.png": noise_picture(50 + i),
            f"{i}.seg.png": b"a mask",
        }
    path = write_tar(tmp_path / "x.tar", files)
    found = opened(path, category="type", product_id="sku", split="part", labels=("tags",))
    assert len(found.product_id) == 4
    assert len(found.images) == 16
    assert b"a mask" not in found.images.read(np.arange(16))
    assert found.split.tolist() == ["train", "train", "train", "validation"]
    assert found.labels.names == tuple(sorted({"tags=x", *(f"tags=t{i}" for i in range(8))}))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.jpg": b"x"}, "says nothing about its photos"),
        ({"a.json": {"category": 1}}, "contains no photos"),
        ({"a.jpg": b"x", "a.json": b"{"}, "a.json cannot be read"),
        ({"a.jpg": b"x", "a.json": b"[1]"}, "not a JSON object"),
        ({"a.jpg": b"x", "a.json": {"category": {"b": 1}}}, "not a plain value"),
        ({"a.jpg": b"x", "a.json": {"label": 1}}, "no column 'category'"),
    ],
)
def test_what_is_missing_is_named(tmp_path, fresh_cache, files, said):
    path = write_tar(tmp_path / "x.tar", files)
    with pytest.raises(InputError, match=said):
        opened(path)


def test_damaged_archives_name_the_byte(tmp_path, fresh_cache):
    path = write_tar(tmp_path / "x.tar", samples())
    whole = path.read_bytes()
    path.write_bytes(whole[:2600])
    with pytest.raises(InputError, match=r"x\.tar is truncated|bad header"):
        opened(path)
    path.write_bytes(whole[:1024] + b"\xff" * 512 + whole[1536:])
    with pytest.raises(InputError, match=r"bad header at byte"):
        opened(path)
    path.write_bytes(b"not an archive" * 100)
    with pytest.raises(InputError, match=r"bad header at byte 0"):
        opened(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=20)), min_size=1, max_size=4), st.booleans()
)
def test_damage_gives_a_catalogue_or_one_line(tmp_path, fresh_cache, damage, cut):
    path = write_tar(tmp_path / "x.tar", samples(3))
    data = bytearray(path.read_bytes())
    for at, what in damage:
        data[at : at + len(what)] = what
    path.write_bytes(data[: damage[0][0]] if cut else data)
    try:
        assert len(opened(path).images) <= 3
    except InputError as error:
        assert "\n" not in str(error)
