"""Shards: any process computes any of them, twice if need be, and the store has every row once."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from shelfbench.base.errors import InputError, RunError
from shelfbench.data.feature_store import FeatureStore, image_digests
from shelfbench.data.images import ImageSettings
from shelfbench.data.shards import Part, compute_shard, is_done, plan_shards
from tests.data.test_feature_store import QUIET, Means, catalogue, computed
from tests.helpers.photos import noise_picture

COUNT = 150


@pytest.fixture(scope="module")
def shop():
    data = [noise_picture(number, base=(number, 100, 50)) for number in range(COUNT)]
    data[7], data[11], data[20] = data[100], b"junk", b""
    return catalogue(data)


@pytest.fixture(scope="module")
def digests(shop):
    return image_digests(shop, QUIET)


def store_in(root, extractor=None):
    return FeatureStore(extractor or Means(), ImageSettings(), QUIET, 2, root)


def held(store):
    """Every content in the store, as often as it is there."""
    found = [np.load(path) for path in store.folder.glob("*.digests.npy")]
    return np.sort(np.concatenate(found)) if found else np.array([])


def test_shards_done_in_any_order_by_anyone_give_the_features_of_one_process(shop, digests, tmp_path):
    alone = computed(shop, Means(), tmp_path / "alone")
    for number in (3, 1, 2):
        store = store_in(tmp_path / "parts")
        shards, _ = plan_shards(store, np.arange(COUNT), digests, Part(number, 3))
        for shard in reversed(shards):
            assert compute_shard(store, shop.images, shard)
    extractor = Means()
    together = computed(shop, extractor, tmp_path / "parts")
    assert extractor.seen == 0
    assert np.array_equal(alone.matrix, together.matrix)
    assert alone.reasons == together.reasons
    assert together.reasons[11] == "not in a known image format"
    assert len(held(store)) == len(np.unique(digests)) - 1
    assert not list((store.folder / "going").iterdir())


def test_parts_are_the_same_whatever_is_there_already(shop, digests, tmp_path):
    store = store_in(tmp_path)
    whole, count = plan_shards(store, np.arange(COUNT), digests)
    assert count == len(np.unique(digests)) - 1
    compute_shard(store, shop.images, whole[1])
    again, _ = plan_shards(store, np.random.default_rng(0).permutation(COUNT), digests)
    assert [shard.stem for shard in again] == [whole[0].stem, whole[2].stem]
    parts = [plan_shards(store, np.arange(COUNT), digests, Part(number, 7)) for number in range(1, 8)]
    assert sorted(shard.stem for shards, _ in parts for shard in shards) == sorted(shard.stem for shard in again)
    assert sum(images for _, images in parts) == count


def test_a_shard_done_twice_is_there_once(shop, digests, tmp_path):
    store, other = store_in(tmp_path), store_in(tmp_path)
    shards, _ = plan_shards(store, np.arange(COUNT), digests)
    assert [compute_shard(one, shop.images, shards[0]) for one in (store, other)] == [True, False]
    assert len(held(store)) == len(shards[0].positions)
    for path in store.folder.glob(f"{shards[0].stem}.json"):
        path.unlink()  # as if the process had died just before the end
    assert compute_shard(other, shop.images, shards[0])
    assert len(held(store)) == len(shards[0].positions)


def test_another_photo_than_the_one_that_was_hashed_stops_the_shard(shop, digests, tmp_path):
    store = store_in(tmp_path)
    shards, _ = plan_shards(store, np.arange(COUNT), digests)
    changed = catalogue([*shop.images.content[:3], noise_picture(999), *shop.images.content[4:]])
    with pytest.raises(InputError, match="another photo than the run saw"):
        compute_shard(store, changed.images, shards[0])
    gone = catalogue([*shop.images.content[:3], b"", *shop.images.content[4:]])
    with pytest.raises(InputError, match="missing"):
        compute_shard(store, gone.images, shards[0])
    assert not is_done(store, shards[0])
    assert not list((store.folder / "going").glob("*.note"))


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "a/b", "1/", "-1/4", "1/4/2", "1.0/4"])
def test_parts_that_make_no_sense_are_refused(text):
    with pytest.raises(InputError, match="like 3/64"):
        Part.read(text)


KILLER = """
import os, signal, sys
import numpy as np
from pathlib import Path
from shelfbench.base.errors import ShelfbenchError
from shelfbench.data.shards import compute_shard, plan_shards
from shelfbench.data.feature_store import image_digests
from tests.data.test_feature_store import QUIET, Means, catalogue
from tests.data.test_shards import COUNT, store_in
from tests.helpers.photos import noise_picture

class Deadly(Means):
    def extract(self, images):
        if {condition}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().extract(images)

data = [noise_picture(number, base=(number, 100, 50)) for number in range(COUNT)]
shop = catalogue(data)
store = store_in(Path(sys.argv[1]), Deadly())
poison = Means().extract(__import__("shelfbench.data.images", fromlist=["x"]).decode(data[50], 8)[None])
shards, _ = plan_shards(store, np.arange(COUNT), image_digests(shop, QUIET))
for shard in shards:
    try:
        compute_shard(store, shop.images, shard, memory=int(sys.argv[2]))
    except ShelfbenchError as error:
        sys.exit(str(error))
"""


def until_it_lives(root, condition, memory=0):
    """Start the process again and again until it is not killed; return how often it was, and its last words."""
    for deaths in range(30):
        code = KILLER.replace("{condition}", condition)
        done = subprocess.run([sys.executable, "-c", code, str(root), str(memory)], capture_output=True, text=True)
        if done.returncode != -signal.SIGKILL:
            return deaths, done.stderr.strip()
    raise AssertionError("it does not come to an end")


@pytest.mark.slow
def test_a_photo_that_ends_its_process_three_times_is_set_aside_and_named(tmp_path):
    deaths, said = until_it_lives(tmp_path, "len(images) and (Means.extract(self, images) == poison).all(1).any()")
    assert said == ""
    assert deaths <= 5
    store = store_in(tmp_path)
    records = [json.loads(path.read_text()) for path in store.folder.glob("*.json") if path.name != "key.json"]
    assert [list(record["failures"].values()) for record in records if record["failures"]] == [
        ["the process that reads it ended, 3 times"]
    ]
    assert len(held(store)) == COUNT


@pytest.mark.slow
def test_a_network_that_never_starts_is_not_blamed_on_photos(tmp_path):
    deaths, said = until_it_lives(tmp_path, "True")
    assert "before it read a photo" in said
    assert deaths == 12
    deaths, said = until_it_lives(tmp_path / "memory", "__import__('time').sleep(0.3) is None", memory=1 << 20)
    assert "of 0.0 GiB in use" in said
    assert deaths == 3


@pytest.mark.slow
def test_processes_killed_at_random_lose_and_double_nothing(tmp_path):
    rng = np.random.default_rng(int(os.environ.get("SEED", "0")))
    condition = f"len(images) and np.random.default_rng().random() < {rng.uniform(0.02, 0.05)}"
    _, said = until_it_lives(tmp_path, condition)
    assert said == ""
    assert len(held(store_in(tmp_path))) == COUNT == len(np.unique(held(store_in(tmp_path))))


def test_what_a_dead_process_left_is_read_with_care(shop, digests, tmp_path):
    store = store_in(tmp_path)
    shards, _ = plan_shards(store, np.arange(COUNT), digests)
    note = store.folder / "going" / f"{shards[0].stem}.note"
    note.parent.mkdir(parents=True)
    alone = {"span": [2, 3], "deaths": {"2": 2}, "memory": 95, "limit": 100}
    for text in ("", "torn {", json.dumps({"span": [0, 40]}), json.dumps({"span": [3, 9], "suspects": [[0, 40]]})):
        note.write_text(text)
        assert compute_shard(store, shop.images, shards[0])
        for path in store.folder.glob(f"{shards[0].stem}.*"):
            path.unlink()
    note.write_text(json.dumps(alone))
    assert compute_shard(store, shop.images, shards[0])
    found = computed(shop, Means(), tmp_path)
    assert "ran out of memory" in found.reasons[2]
    assert sorted(found.reasons) == [2, 11, 20]
    note.write_text(json.dumps({"aside": {str(row): "x" for row in range(6)}}))
    (store.folder / f"{shards[0].stem}.json").unlink()
    with pytest.raises(RunError, match="more than 5 photos"):
        compute_shard(store, shop.images, shards[0])
