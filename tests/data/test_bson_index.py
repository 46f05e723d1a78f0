"""The index of a BSON file equals reading its documents one by one, for arbitrary bytes."""

import struct

import bson
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.sources import bson_index
from shelfbench.data.sources.bson_document import BadDocument, document_end, product
from shelfbench.data.sources.bson_index import scan

QUIET = Console(quiet=True)
NAMES = ("product_id", "category", "count", "offset", "length")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Give a few kilobytes as many windows and lanes as a real file has in gigabytes."""
    monkeypatch.setattr(bson_index, "WINDOW", 1 << 13)
    monkeypatch.setattr(bson_index, "LANE", 1 << 8)
    monkeypatch.setattr(bson_index, "REACH", 1 << 9)


def one_by_one(content, truncated):
    """Index bytes by reading every document by itself; return a message if they cannot be used."""
    found = {name: [] for name in NAMES}
    at = read = unlabelled = 0
    problem = ""
    while at < len(content):
        try:
            end = document_end(content, at, len(content))
            identifier, category, pictures = product(content, at, end)
        except (BadDocument, struct.error) as error:
            problem = f"bad document at byte {at} (after {read} products): {error}"
            break
        read, at = read + 1, end
        if category is None:
            unlabelled += 1
            continue
        found["product_id"].append(identifier)
        found["category"].append(category)
        found["count"].append(len(pictures))
        found["offset"] += [offset for offset, _ in pictures]
        found["length"] += [length for _, length in pictures]
    if problem and (truncated == "refuse" or read == unlabelled):
        return problem
    return found, unlabelled, problem


def check(folder, content, truncated="refuse"):
    path = folder / "train.bson"
    path.write_bytes(content)
    expected = one_by_one(content, truncated)
    if isinstance(expected, str):
        with pytest.raises(InputError) as caught:
            scan(path, truncated, QUIET)
        assert expected in str(caught.value)
        return
    arrays, note = scan(path, truncated, QUIET)
    for name in NAMES:
        assert arrays[name].tolist() == expected[0][name], name
    assert [arrays[name].dtype for name in NAMES] == [np.int64, np.int64, np.int32, np.int64, np.int32]
    assert arrays["unlabelled"].tolist() == [expected[1]]
    assert expected[2] in note
    assert bool(expected[2]) == bool(note)


def kaggle(count, rng, most=6, least=0):
    """Make documents in Kaggle's layout with pictures of random bytes."""
    return [
        {
            "_id": int(rng.integers(-(2**31), 2**31)),
            "imgs": [{"picture": rng.bytes(int(rng.integers(least, 90)))} for _ in range(int(rng.integers(1, most)))],
            "category_id": int(rng.integers(-(2**31), 2**31)),
        }
        for _ in range(count)
    ]


def encoded(documents):
    return b"".join(map(bson.encode, documents))


@pytest.mark.parametrize("most", [2, 6, 13])
def test_kaggle_layout(tmp_path, most):
    check(tmp_path, encoded(kaggle(400, np.random.default_rng(most), most)))


def test_kaggle_layout_is_not_read_one_by_one(tmp_path, monkeypatch):
    def refuse(*args):
        raise AssertionError("read by itself")

    documents = kaggle(300, np.random.default_rng(0), least=20)
    unlabelled = [{key: value for key, value in document.items() if key != "category_id"} for document in documents]
    path = tmp_path / "train.bson"
    path.write_bytes(encoded(documents + unlabelled))
    monkeypatch.setattr(bson_index, "product", refuse)
    assert len(scan(path, "refuse", QUIET)[0]["product_id"]) == 300


def test_lanes_find_most_documents(tmp_path, monkeypatch):
    followed = []
    follow = bson_index._follow
    monkeypatch.setattr(bson_index, "_follow", lambda *args: followed.append(follow(*args)) or followed[-1])
    check(tmp_path, encoded(kaggle(400, np.random.default_rng(1))))
    assert sum(map(len, followed)) < 40


def test_pictures_that_look_like_documents(tmp_path):
    rng = np.random.default_rng(2)
    inner = encoded(kaggle(3, rng))
    documents = [
        {"_id": i, "imgs": [{"picture": rng.bytes(int(rng.integers(0, 40))) + inner}], "category_id": 7}
        for i in range(100)
    ]
    check(tmp_path, encoded(documents))


def test_documents_in_other_layouts(tmp_path):
    rng = np.random.default_rng(3)
    documents = kaggle(200, rng)
    odd = [
        {"_id": 1, "category_id": 5, "imgs": [{"picture": b"abc"}]},
        {"_id": 2**40, "imgs": [{"picture": b"abc"}], "category_id": 2**41},
        {"_id": 3, "imgs": [{"picture": b"abc"}]},
        {"_id": 4, "imgs": [], "category_id": 5},
        {"_id": 5, "imgs": [{"picture": b"a" * 9000}], "category_id": 5},
        {"_id": 6, "imgs": [{"note": "x", "picture": b"abc"}, {"picture": b"d", "more": 1}, {}], "category_id": 5},
        {"_id": 7, "imgs": [{"picture": b""}, {"picture": b""}], "category_id": 5, "brand": "x"},
        {"_id": 8},
    ]
    for i, document in enumerate(odd * 4):
        documents.insert(int(rng.integers(len(documents))), document | {"_id": document["_id"] + 10 * i})
    check(tmp_path, encoded(documents))


value = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.text(max_size=3), st.binary(max_size=20), st.floats(), st.none(), st.booleans()
)
number = st.one_of(st.integers(0, 2**31 - 1), st.integers(-(2**63), 2**63 - 1))
picture = st.fixed_dictionaries({"picture": st.binary(max_size=60)})
pictures = st.lists(st.one_of(picture, picture, st.dictionaries(st.sampled_from("ab"), value, max_size=2)), max_size=12)
field = st.one_of(
    st.tuples(st.just("category_id"), number),
    st.tuples(st.just("imgs"), pictures),
    st.tuples(st.sampled_from(["note", "imgs2"]), value),
)
document = st.one_of(
    st.builds(
        lambda identifier, photos, category: {"_id": identifier, "imgs": photos, "category_id": category},
        st.integers(0, 2**31 - 1), st.lists(picture, min_size=1, max_size=4), st.integers(0, 2**31 - 1),
    ),
    st.builds(
        lambda name, fields, last: dict([*fields, ("_id", name)] if last else [("_id", name), *fields]),
        number, st.lists(field, max_size=4), st.booleans(),
    ),
)  # fmt: skip
damage = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3)
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(st.lists(document, min_size=1, max_size=40), damage, st.integers(0, 10**6), st.booleans())
def test_random_documents_and_damage(tmp_path, documents, changes, cut, accept):
    content = bytearray(encoded(documents))
    for where, byte in changes:
        content[where % len(content)] = byte
    if cut % 3 == 0:
        del content[max(1, cut % len(content)) :]
    check(tmp_path, bytes(content), "accept" if accept else "refuse")


@SLOW
@given(st.binary(min_size=1, max_size=300))
@example(b"ab")
@example(b"\5\0\0\0\0" * 100)
def test_random_bytes(tmp_path, content):
    check(tmp_path, content)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_damage_of_bytes_all_over_a_document(step, tmp_path):
    documents = kaggle(120, np.random.default_rng(4), 4)
    whole = encoded(documents)
    starts = np.cumsum([0, *(len(bson.encode(document)) for document in documents)])
    rng = np.random.default_rng(5)
    for at in range(starts[60], starts[62], step):
        for byte in (0, 255, int(rng.integers(256))):
            damaged = bytearray(whole)
            damaged[at] = byte
            check(tmp_path, bytes(damaged), "accept")


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_every_truncation(tmp_path, cut):
    whole = encoded(kaggle(200, np.random.default_rng(6)))
    check(tmp_path, whole[:-cut])
    check(tmp_path, whole[:-cut], "accept")
