"""Selections: made once, found again, verified, and removed when the disk needs them."""

import json
import os
import time
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.data import selection
from shelfbench.data.catalogue import DIGEST
from shelfbench.data.selection import MARGIN, Selections, Wanted

QUIET = Console(quiet=True)
NOTHING = bytes(16)
VALUES = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)


def hashes(numbers, half=0):
    """Return a hash for each number; all share one half of it, or none."""
    both = np.zeros((len(numbers), 2), ">u8")
    both[:, half], both[:, 1 - half] = np.asarray(numbers), 5
    return np.frombuffer(both.tobytes(), DIGEST) if len(numbers) else np.empty(0, DIGEST)


@given(st.lists(st.integers(0, 12), max_size=30), st.lists(st.integers(0, 14), max_size=20), st.sampled_from([0, 1]))
def test_what_is_wanted_is_found_wherever_it_goes(numbers, others, half):
    digests = hashes(numbers, half)
    wanted = Wanted(digests, hashes([3], half)[0].tobytes())
    assert wanted.absent.tolist() == [row for row, number in enumerate(numbers) if number == 3]
    assert len(wanted) == len(set(numbers) - {3})
    found = wanted.find(hashes(others, half))
    assert (found >= 0).tolist() == [other in set(numbers) - {3} for other in others]
    known = found[found >= 0]
    rows, which = wanted.rows_of(known)
    asked = [other for other in others if other in set(numbers) - {3}]
    assert [numbers[row] for row in rows] == [asked[place] for place in which]
    assert sorted(rows[which == 0].tolist()) == [row for row, number in enumerate(numbers) if number in asked[:1]]
    names = {digests[row].tobytes().hex(): f"why {numbers[row]}" for row in range(0, len(numbers), 2)}
    names[hashes([99], half)[0].tobytes().hex()] = "another photo"
    refused = {numbers[row] for row in range(0, len(numbers), 2)} - {3}
    expected = {row: f"why {number}" for row, number in enumerate(numbers) if number in refused}
    assert wanted.reasons(names) == expected
    assert wanted.reasons(wanted.among(names)) == expected


def test_a_file_is_named_by_content_and_order():
    first, turned = hashes([1, 2, 3]), hashes([2, 1, 3])
    assert Wanted(first, NOTHING).name == Wanted(first.copy(), NOTHING).name
    assert len({Wanted(values, NOTHING).name for values in (first, turned, first[:2])}) == 3


def filling(order, parts=7, kind=np.float32):
    """Return what fills a selection of `VALUES` in some order, a few rows at a time."""

    def fill(put):
        for rows in np.array_split(np.asarray(order), parts):
            put(rows, VALUES[rows].astype(kind))
        return 1.5, {"00" * 16: "broken"}

    return fill


def at(folder, kind=np.float32, console=QUIET):
    return Selections(folder / "store", 7, kind, console)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_what_is_made_in_any_order_is_found_again(tmp_path, kind):
    order = np.random.default_rng(1).permutation(np.setdiff1d(np.arange(50), [20, 21]))
    made = at(tmp_path, kind).make("abc", 50, "r", filling(order, kind=kind))
    found = at(tmp_path, kind).find("abc", 50, "r")
    expected = VALUES.astype(kind).astype(np.float32)
    expected[20:22] = 0  # never written
    for selected in (made, found):
        assert np.array_equal(np.asarray(selected.matrix), expected)
        assert selected.matrix[3:5].dtype == np.float32
        assert (selected.seconds, selected.failures) == (1.5, {"00" * 16: "broken"})
    with pytest.raises((ValueError, TypeError)):
        found.matrix[0] = 1
    # anyone can read it
    assert np.array_equal(np.load(tmp_path / "store/selections/abc.npy").astype(np.float32), expected)


def test_another_way_to_read_photos_is_another_selection(tmp_path):
    at(tmp_path).make("abc", 50, "r", filling(range(50)))
    assert at(tmp_path).find("abc", 50, "another decoder") is None
    assert at(tmp_path).find("other", 50, "r") is None
    assert at(tmp_path).find("abc", 50, "r") is not None


@pytest.mark.parametrize("where", ["header", "first", "last", "cut", "long", "json", "list", "sum", "gone", "kind"])
def test_damage_is_found_and_removed(tmp_path, where, monkeypatch, capsys):
    monkeypatch.setattr(selection, "_CHECKED", 100)
    at(tmp_path).make("abc", 50, "r", filling(range(50)))
    path, record = (tmp_path / f"store/selections/abc.{suffix}" for suffix in ("npy", "json"))
    content = bytearray(path.read_bytes())
    place = {"header": 30, "first": 128, "last": len(content) - 1}.get(where)
    if place:
        content[place] ^= 4
        path.write_bytes(content)
    elif where == "cut":
        path.write_bytes(content[:-3])
    elif where == "long":
        path.write_bytes(content + b"123")
    elif where == "json":
        record.write_text("{")
    elif where == "list":
        record.write_text("[1]")
    elif where == "sum":
        values = json.loads(record.read_text())
        values["checksums"][2] += 1
        record.write_text(json.dumps(values))
    elif where == "gone":
        path.unlink()
    elif where == "kind":
        np.save(path, VALUES.astype(np.float64))
    assert at(tmp_path, console=Console()).find("abc", 50, "r") is None
    assert "gathered again" in capsys.readouterr().err
    assert not path.exists()
    assert not record.exists()
    again = at(tmp_path).make("abc", 50, "r", filling(range(50)))
    assert np.array_equal(again.matrix, VALUES)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    import errno

    def full(handle, start, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(RunError, match="no space left"):
        at(tmp_path).make("abc", 50, "r", lambda put: pytest.fail("nothing is gathered"))
    assert list((tmp_path / "store/selections").iterdir()) == []


def test_a_fill_that_fails_leaves_nothing(tmp_path):
    def fill(put):
        put(np.arange(3), VALUES[:3])
        raise InputError("no", "no")

    with pytest.raises(InputError):
        at(tmp_path).make("abc", 50, "r", fill)
    assert list((tmp_path / "store/selections").iterdir()) == []


Usage = namedtuple("Usage", "free")


def make_three(tmp_path):
    """Make selections in two stores, used one, two and three hours ago."""
    paths = []
    for hours, store in enumerate(("one", "two", "one"), 1):
        Selections(tmp_path / store, 7, np.float32, QUIET).make(f"s{hours}", 50, "r", filling(range(50)))
        paths.append(tmp_path / store / f"selections/s{hours}.json")
        then = time.time() - 3600 * hours
        os.utime(paths[-1], (then, then))
    return paths


def test_the_least_recently_used_go_when_the_disk_needs_them(tmp_path, monkeypatch):
    paths = make_three(tmp_path)
    assert Selections(tmp_path / "one", 7, np.float32, QUIET).find("s3", 50, "r") is not None  # now the latest
    free = iter([MARGIN, MARGIN + 10_000])
    monkeypatch.setattr(selection.shutil, "disk_usage", lambda path: Usage(next(free)))
    at(tmp_path).make("abc", 50, "r", filling(range(50)))
    assert [path.exists() for path in paths] == [True, False, True]
    assert [path.with_suffix(".npy").exists() for path in paths] == [True, False, True]


def test_what_nobody_has_used_for_a_month_goes_and_what_is_unfinished_for_days(tmp_path):
    paths = make_three(tmp_path)
    old = time.time() - 31 * 86400
    os.utime(paths[2], (old, old))
    names = (".partial-1-x.npy", "without-record.npy", ".partial-2-x.npy")
    left = [tmp_path / "store/selections" / name for name in names]
    left[0].parent.mkdir(parents=True)
    for path in left:
        path.write_bytes(b"unfinished")
    for path in left[:2]:
        os.utime(path, (old, old))
    at(tmp_path).make("abc", 50, "r", filling(range(50)))
    assert [path.exists() for path in paths] == [True, True, False]
    assert [path.exists() for path in left] == [False, False, True]
