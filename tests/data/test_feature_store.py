"""The feature store: every ingredient is in the key, rows are computed once, and damage is found."""

import json

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.data.catalogue import Absent, Catalogue, Category
from shelfbench.data.feature_store import FeatureStore, digest, image_digests
from shelfbench.data.images import ImageSettings
from tests.helpers.photos import InMemoryImages, noise_picture

QUIET = Console(quiet=True)


class Means:
    """An extractor of the mean colour that counts the images it gets."""

    name, framework, device, batch = "means", "numpy", "cpu", 4

    def __init__(self, pixels=8, gain=1.0, dimensions=3):
        self.pixels, self.gain, self.dimensions, self.seen = pixels, gain, dimensions, 0

    def describe(self):
        return {"gain": self.gain}

    def extract(self, images):
        self.seen += len(images)
        return (images.mean(axis=(1, 2)) * self.gain).astype(np.float32)[:, : self.dimensions]


def catalogue(data):
    count = len(data)
    return Catalogue(
        name="shop",
        categories=(Category("a", "a"),),
        product_id=np.arange(count),
        product_category=np.zeros(count, np.int32),
        image_product=np.arange(count, dtype=np.int32),
        images=InMemoryImages(data),
    )


@pytest.fixture(params=["memory", "disk"])
def kept(request, monkeypatch):
    """Hold features in memory, or in a file however few there are."""
    if request.param == "disk":
        monkeypatch.setattr("shelfbench.data.selection.IN_MEMORY", 0)
    return request.param


@pytest.fixture
def ten():
    return catalogue([noise_picture(i, base=(20 * i, 100, 200 - 15 * i)) for i in range(10)])


def computed(cat, extractor, root, indices=None, fit="pad"):
    store = FeatureStore(extractor, ImageSettings(fit), QUIET, 2, root)
    return store.features(
        cat, np.arange(len(cat.images)) if indices is None else np.asarray(indices), image_digests(cat, QUIET)
    )


def test_rows_follow_the_indices_and_are_computed_once(ten, tmp_path, kept):
    first, second = Means(), Means()
    some = computed(ten, first, tmp_path, [7, 2, 5])
    assert first.seen == 3
    assert not some.cached
    everything = computed(ten, second, tmp_path, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    assert second.seen == 7
    assert everything.cached
    assert everything.computed == 7
    assert np.array_equal(everything.matrix[[2, 7, 4]], some.matrix)
    direct = computed(ten, Means(), tmp_path / "other", range(10))
    assert np.array_equal(direct.matrix[::-1], everything.matrix)
    third = Means()
    again = computed(ten, third, tmp_path)
    assert third.seen == 0
    assert again.seconds == pytest.approx(everything.seconds)


def test_order_is_kept_for_any_permutation(ten, tmp_path, kept):
    straight = computed(ten, Means(), tmp_path).matrix
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = rng.permutation(10)[: rng.integers(1, 11)]
        assert np.array_equal(computed(ten, Means(), tmp_path, order).matrix, straight[order])


def test_a_change_of_any_ingredient_is_a_miss(ten, tmp_path):
    computed(ten, Means(), tmp_path)
    for change in (Means(gain=2.0), Means(pixels=9), Means(dimensions=2)):
        computed(ten, change, tmp_path)
        assert change.seen == 10, vars(change)
    renamed = Means()
    renamed.name = "others"
    computed(ten, renamed, tmp_path)
    assert renamed.seen == 10
    for fit in ("crop", "stretch"):
        squared = Means()
        computed(ten, squared, tmp_path, fit=fit)
        assert squared.seen == 10, fit
    pictures = Means()
    changed = catalogue([*ten.images.content[:9], noise_picture(99)])
    computed(changed, pictures, tmp_path)
    assert pictures.seen == 1


def test_equal_images_are_computed_once(tmp_path, kept):
    data = [noise_picture(0), noise_picture(1), noise_picture(0), noise_picture(0)]
    extractor = Means()
    features = computed(catalogue(data), extractor, tmp_path)
    assert extractor.seen == 2
    assert np.array_equal(features.matrix[0], features.matrix[3])
    assert not np.array_equal(features.matrix[0], features.matrix[1])


def test_unreadable_images_are_reported_now_and_later(tmp_path, kept):
    data = [noise_picture(0), b"junk", noise_picture(1), b""]
    for _ in range(2):
        features = computed(catalogue(data), Means(), tmp_path)
        assert features.readable.tolist() == [True, False, True, False]
        assert features.reasons == {1: "not in a known image format", 3: "the file is empty"}
        assert (features.matrix[[1, 3]] == 0).all()
    only = computed(catalogue([b"junk", b"more junk"]), Means(), tmp_path)
    assert not only.readable.any()


def test_each_absent_image_has_its_own_reason_and_one_that_appears_is_read(tmp_path, kept):
    gone, locked = Absent("the file does not exist"), Absent("no permission to read")
    data = [gone, noise_picture(0), locked, b"", gone]
    for _ in range(2):
        features = computed(catalogue(data), Means(), tmp_path)
        assert features.reasons == {0: gone.reason, 2: locked.reason, 3: "the file is empty", 4: gone.reason}
        assert features.readable.tolist() == [False, True, False, False, False]
    nothing = computed(catalogue([locked, gone]), Means(), tmp_path)
    assert nothing.reasons == {0: locked.reason, 1: gone.reason}
    data[0] = noise_picture(1)
    later = computed(catalogue(data), Means(), tmp_path)
    assert later.readable.tolist() == [True, True, False, False, False]
    assert np.array_equal(later.matrix[:2], computed(catalogue(data[:2]), Means(), tmp_path / "x").matrix)


def test_what_an_older_version_refused_is_tried_again_and_nothing_else(tmp_path, kept):
    data = [noise_picture(0), b"junk", noise_picture(1)]
    right = computed(catalogue(data), Means(), tmp_path)
    [folder] = tmp_path.iterdir()
    [record] = [path for path in folder.glob("*.json") if path.name != "key.json"]
    values = json.loads(record.read_text())
    del values["reading"]  # as version 0.1 wrote it
    values["failures"] = dict.fromkeys(values["failures"], "as version 0.1 said")
    values["failures"][digest(data[2]).hex()] = "not a TIFF file"
    record.write_text(json.dumps(values))
    for selection in (folder / "selections").glob("*.json"):  # that version had none
        selection.unlink()
    for tried in (1, 0):
        extractor = Means()
        again = computed(catalogue(data), extractor, tmp_path)
        assert extractor.seen == tried
        assert np.array_equal(again.matrix, right.matrix)
        assert again.reasons == {1: "not in a known image format"}


@pytest.mark.parametrize("damage", ["features", "digests", "json", "list", "flip", "empty"])
def test_damaged_segments_are_computed_again(ten, tmp_path, damage):
    right = computed(ten, Means(), tmp_path).matrix
    [folder] = tmp_path.iterdir()
    if damage == "flip":
        [path] = folder.glob("*.features.npy")
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
    elif damage == "json":
        [path] = [path for path in folder.glob("*.json") if path.name != "key.json"]
        path.write_text("{")
    elif damage == "list":
        [path] = [path for path in folder.glob("*.json") if path.name != "key.json"]
        path.write_text("[]")
    elif damage == "empty":
        [path] = folder.glob("*.digests.npy")
        path.write_bytes(b"")
    else:
        [path] = folder.glob(f"*.{damage}.npy")
        path.write_bytes(path.read_bytes()[:-20])
    extractor = Means()
    assert np.array_equal(computed(ten, extractor, tmp_path).matrix, right)
    assert extractor.seen == 10


def test_an_interrupted_computation_resumes(ten, tmp_path, monkeypatch):
    monkeypatch.setattr("shelfbench.data.feature_store.SEGMENT_IMAGES", 4)

    class Stops(Means):
        def extract(self, images):
            if self.seen >= 8:
                raise KeyboardInterrupt
            return super().extract(images)

    with pytest.raises(KeyboardInterrupt):
        computed(ten, Stops(), tmp_path)
    rest = Means()
    assert np.array_equal(computed(ten, rest, tmp_path).matrix, computed(ten, Means(), tmp_path / "x").matrix)
    assert rest.seen == 2


def test_the_key_is_stored_readably(ten, tmp_path):
    computed(ten, Means(gain=3.0), tmp_path)
    [folder] = tmp_path.iterdir()
    key = json.loads((folder / "key.json").read_text())
    assert key["settings"] == {"gain": 3.0}
    assert key["images"]["fit"] == "pad"


def test_digests_are_hashes_of_the_content_in_order(tmp_path, fresh_cache, image_folder):
    from shelfbench.data.datasets import open_path
    from shelfbench.data.sources.settings import DatasetSettings

    cat = open_path(image_folder, "shop", DatasetSettings(), QUIET)
    before = image_digests(cat, QUIET)
    assert before[3].tobytes() == digest((image_folder / cat.images.where(3)).read_bytes())
    (image_folder / cat.images.where(3)).write_bytes(noise_picture(12345))
    after = image_digests(cat, QUIET)
    assert (before != after).sum() == 1


def test_a_different_image_column_has_different_digests(tmp_path, fresh_cache):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from shelfbench.data.datasets import open_path
    from shelfbench.data.sources.settings import DatasetSettings

    columns = {
        name: [{"bytes": noise_picture(10 * number + i), "path": ""} for i in range(4)]
        for number, name in enumerate(("front", "back"))
    }
    pq.write_table(pa.table({"category": ["a"] * 4, **columns}), tmp_path / "t.parquet")
    front, back = (
        image_digests(open_path(tmp_path / "t.parquet", "t", DatasetSettings(image=name), QUIET), QUIET)
        for name in ("front", "back")
    )
    assert (front != back).all()


@pytest.mark.parametrize("damage", [b"", b"PK", b"PK\x03\x04 garbage", None])
def test_damaged_digests_are_computed_again(tmp_path, fresh_cache, damage):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from shelfbench.data.datasets import open_path
    from shelfbench.data.sources.tables import DatasetSettings

    table = {"category": ["a"] * 9, "image": [{"bytes": noise_picture(i), "path": ""} for i in range(9)]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    cat = open_path(tmp_path / "t.parquet", "t", DatasetSettings(), QUIET)
    right = image_digests(cat, QUIET)
    [kept] = (fresh_cache / "digests").iterdir()
    content = bytearray(kept.read_bytes())
    content[len(content) // 2 - 40] ^= 1
    kept.write_bytes(content if damage is None else damage)
    assert (image_digests(cat, QUIET) == right).all()


def test_stored_digests_depend_on_the_order_of_the_images(tmp_path, fresh_cache):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from shelfbench.data.datasets import open_path
    from shelfbench.data.sources.tables import DatasetSettings

    pq.write_table(
        pa.table(
            {
                "category": ["a"] * 6,
                "one": [1, 2, 3, 4, 5, 6],
                "two": [1, 2, 1, 2, 1, 2],
                "image": [{"bytes": noise_picture(i), "path": ""} for i in range(6)],
            }
        ),
        tmp_path / "t.parquet",
    )
    for column in ("one", "two", "one"):
        cat = open_path(tmp_path / "t.parquet", "t", DatasetSettings(product_id=column), QUIET)
        expected = [digest(data) for data in cat.images.read(range(6))]
        assert [value.tobytes() for value in image_digests(cat, QUIET)] == expected
