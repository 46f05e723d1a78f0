"""The list of the cache adds up to the folder, and cleaning removes whole entries that are old, its own and unused."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base import using
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.locking import locked
from shelfbench.base.partial import aside_folder, put_folder
from shelfbench.base.storage import write_text
from shelfbench.base.using import alone, entry_of, used
from shelfbench.cli.main import main
from shelfbench.data.feature_store import Features, FeatureStore, image_digests
from shelfbench.data.images import ImageSettings
from shelfbench.doctor.cache import FOREIGN, LINK, cache_text, entries
from shelfbench.doctor.cleaning import clean, parse_age
from tests.data.test_feature_store import Means, catalogue
from tests.helpers.photos import noise_picture
from tests.torture.rights import powerless

DAY = 86400.0
NOW = 2_000_000_000.0
H = "0123456789abcdef" * 2
# An entry of each kind that is removed: its files, by the number of the entry.
ENTRIES = {
    "features": (
        "features/hog-{h}/key.json",
        "features/hog-{h}/{h}.features.npy",
        "features/hog-{h}/selections/{h}.npy",
    ),
    "path": ("features/nets/my net.onnx-{h}/key.json",),
    "generated": ("generated/{h}/train.bson", "generated/{h}/generator.json"),
    "datasets": ("datasets/shop-{n}/data/part.parquet", "datasets/shop-{n}/.cache/huggingface/x"),
    "hub": ("hub/org--name-{n}/abc/plain/0000.parquet", "hub/org--name-{n}/newest.json"),
    "elsewhere": ("elsewhere/{h}/table.csv",),
    "tuned": ("tuned/full-{h}/checkpoint.safetensors", "tuned/full-{h}/epochs-3-patience-0/tuned.json"),
    "int8": ("int8/net-{h}/network.json",),
    "indexes": ("indexes/{h}.parquet", "indexes/{h}.sha256"),
    "digests": ("digests/{h}.npz",),
    "plans": ("plans/{h}.json",),
    "converted": ("converted/{h}.json",),
}
# What cleaning never touches.
FOREIGN_FILES = (
    *("notes.txt", "features/readme", "features/mine/a.npy", "digests/photo.jpg"),
    *("datasets/cdiscount/train.bson", "locks/{h}.lock"),
)


def let_go() -> None:
    """Give back the folders that this process holds, as its end does."""
    while using._held:
        os.close(using._held.popitem()[1])


def written(root: Path, files: tuple[str, ...], number: int = 0, size: int = 10, age: float = 0.0) -> list[Path]:
    """Write files of an entry, each last used some time before NOW."""
    name = f"{number:032x}"
    made = [root / file.format(h=name, n=number) for file in files]
    if files in (ENTRIES["datasets"], ENTRIES["hub"]):
        note = made[0].parents[1] / "fetched.json"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"files": {made[0].relative_to(note.parent).as_posix(): {}}}))
        made.append(note)
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "newest.json":
            path.write_text('{"revision": "abc", "configs": ["plain"]}')
        elif path.name != "fetched.json":
            path.write_bytes(b"x" * size)
    for path in made:
        for touched in (path, *path.parents):
            if touched == root:
                break
            os.utime(touched, (NOW - age,) * 2)
    return made


def size_of(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


plans = st.lists(st.tuples(st.sampled_from(sorted(ENTRIES)), st.integers(0, 60), st.integers(0, 999)), max_size=12)


@settings(max_examples=25, deadline=None)
@given(plans, st.integers(1, 50))
def test_old_entries_go_and_everything_else_stays(tmp_path_factory, plan, days):
    root = tmp_path_factory.mktemp("cache")
    written(root, FOREIGN_FILES, age=900 * DAY)
    made = {
        (kind, number): (age, written(root, ENTRIES[kind], number, size, age * DAY))
        for number, (kind, age, size) in enumerate(plan)
    }
    before = entries(root)
    assert sum(entry.size for entry in before) == size_of(root)
    assert f"{root}" in cache_text(before, root, NOW)
    told = clean(days * DAY, dry=True, root=root, now=NOW)
    assert sum(entry.size for entry in before) == size_of(root)  # nothing was done
    done = clean(days * DAY, root=root, now=NOW)
    assert [entry.paths for entry in told.removed] == [entry.paths for entry in done.removed]
    assert sum(entry.size for entry in before) - size_of(root) == done.size
    for age, files in made.values():
        assert {path.exists() for path in files} == {age < days}
    assert all((root / file.format(h=f"{0:032x}")).exists() for file in FOREIGN_FILES)
    assert clean(days * DAY, root=root, now=NOW).removed == ()
    assert not list(root.rglob(".partial-*"))


@pytest.mark.parametrize("name", ["labels.json", "own.csv", "abc/plain/own.parquet", f"{'a' * 40}/own.parquet"])
@pytest.mark.parametrize(("kind", "entry"), [("datasets", "shop-0"), ("hub", "org--name-0")])
def test_a_file_of_ones_own_beside_a_download_stays(tmp_path, kind, entry, name):
    files = written(tmp_path, ENTRIES[kind])
    # a download that goes on: one file has come, and there is no note of it yet
    came = tmp_path / kind / entry / ("b" * 40)
    for path in (came / "a.parquet", came / ".cache/huggingface/download/a.parquet.metadata"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    own = tmp_path / kind / entry / name
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("{}")
    assert clean(0, root=tmp_path, now=NOW + 900 * DAY).removed == ()
    assert all(path.exists() for path in (own, *files))
    own.unlink()
    assert len(clean(0, root=tmp_path, now=NOW + 900 * DAY).removed) == 1


def test_the_newest_file_of_an_entry_or_its_last_use_decides(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    [path] = written(tmp_path, ENTRIES["elsewhere"], 1, age=NOW - 1e9)
    old = time.time() - 90 * DAY
    for touched in (path, path.parent):
        os.utime(touched, (old, old))
    [entry] = entries(tmp_path)
    assert entry.used == pytest.approx(old)
    used(path)
    let_go()
    [entry] = entries(tmp_path)
    assert entry.used == pytest.approx(time.time(), abs=60)
    assert path.stat().st_mtime == pytest.approx(old)  # on which the keys of other entries depend


_USER = """
import sys
from pathlib import Path
from shelfbench.base.using import used
used(Path(sys.argv[1]))
print("uses it", flush=True)
sys.stdin.read()
"""


def test_what_a_running_command_uses_stays_until_it_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    files = written(tmp_path, ENTRIES["generated"], 1)
    other = written(tmp_path, ENTRIES["tuned"], 2)
    later = time.time() + 90 * DAY
    with subprocess.Popen(
        [sys.executable, "-c", _USER, str(files[0])], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline()
        done = clean(30 * DAY, root=tmp_path, now=max(later, NOW + 90 * DAY))
        assert [entry.paths for entry in done.in_use] == [(files[0].parent,)]
        assert all(path.exists() for path in files)
        assert not any(path.exists() for path in other)
        assert "in use, stays: generated catalogue" in str(done)
        user.communicate()
    assert clean(30 * DAY, root=tmp_path, now=max(later, NOW + 90 * DAY)).size == 20
    assert not any(path.exists() for path in files)


_MAKER = """
import sys
from pathlib import Path
from shelfbench.base.storage import whole_file
cache, name = Path(sys.argv[1]), "1" * 32
with whole_file(cache / "generated" / name / "train.bson"), whole_file(cache / "tuned" / f"a-{name}" / "x.safetensors"):
    print("makes it", flush=True)
    sys.stdin.read()
"""


def test_what_is_being_made_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", _MAKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline()
        done = clean(0.0, root=tmp_path, now=time.time() + DAY)
        assert len(done.in_use) == 2
        assert done.removed == ()
        maker.communicate()
    assert maker.returncode == 0
    assert (tmp_path / "generated" / ("1" * 32) / "train.bson").exists()


def test_a_folder_that_is_written_aside_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    path = tmp_path / "int8" / f"net-{H}"
    started = time.monotonic()
    with aside_folder(path) as aside:
        write_text(aside / "network.json", "{}")
        put_folder(aside, path)
    assert time.monotonic() - started < 5
    with alone(path):  # as whoever removes it has it for a moment
        used(path)
    assert time.monotonic() - started < 5
    let_go()


def test_links_are_neither_followed_nor_removed(tmp_path):
    away, root = tmp_path / "away", tmp_path / "cache"
    kept = written(away, ENTRIES["generated"], 1)
    root.mkdir()
    (root / "generated").mkdir()
    (root / "generated" / H).symlink_to(kept[0].parent)
    (root / "features").symlink_to(away)
    inside = written(root, ENTRIES["elsewhere"], 3)
    (inside[0].parent / "link").symlink_to(kept[0])
    found = entries(root)
    assert {entry.kept for entry in found if entry.kind is None} == {LINK}
    assert sum(entry.size for entry in found) == 10
    done = clean(0.0, root=root, now=NOW + DAY)
    assert done.removed == ()
    assert all(path.exists() for path in (*kept, *inside))


def test_an_entry_with_a_stranger_in_it_stays_whole(tmp_path):
    files = written(tmp_path, ENTRIES["features"], 1)
    mine = files[0].with_name("my notes.txt")
    mine.write_text("do not lose this")
    [entry] = entries(tmp_path)
    assert "my notes.txt" in entry.kept
    assert clean(0.0, root=tmp_path, now=NOW + 1e9).removed == ()
    dataset = written(tmp_path, ENTRIES["datasets"], 2)
    extra = dataset[0].with_name("labels.csv")
    extra.write_text("mine")
    assert clean(0.0, root=tmp_path, now=NOW + 1e9).removed == ()
    extra.unlink()
    assert clean(0.0, root=tmp_path, now=NOW + 1e9).size > 0
    assert mine.exists()


def test_features_are_the_same_after_cleaning(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    quiet, cat = Console(quiet=True), catalogue([noise_picture(i) for i in range(6)])

    def features(extractor: Means) -> np.ndarray:
        store = FeatureStore(extractor, ImageSettings("pad"), quiet, 1)
        return store.features(cat, np.arange(6), image_digests(cat, quiet)).matrix

    first, second, third = Means(), Means(), Means()
    before = features(first)
    assert clean(0.0, now=time.time() + DAY).size == 0  # this process uses them
    assert np.array_equal(features(second), before)
    assert second.seen == 0
    let_go()
    assert clean(0.0, now=time.time() + DAY).size > 0
    assert np.array_equal(features(third), before)
    assert third.seen == 6
    let_go()


def test_features_of_a_network_that_is_a_path_stay_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("/nets/a.onnx", "../a.onnx", "nets/a.onnx", "C:\\nets\\a.onnx"):
        extractor = Means()
        extractor.name = name
        folder = FeatureStore(extractor, ImageSettings("pad"), Console(quiet=True), 1).folder
        assert folder.parent == tmp_path / "cache" / "features"
        assert entry_of(folder / "key.json") == folder


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "3.5d", "30 d", "1y", "9999999d", "٣d", "30d\n"])
def test_an_age_that_is_none_is_refused_in_one_line(text, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    assert main(["cache", "--clean", f"--older-than={text}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_ages():
    assert (parse_age("12h"), parse_age("30d"), parse_age("2w")) == (12 * 3600, 30 * DAY, 14 * DAY)


def test_options_that_only_go_with_clean(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "none"))
    assert main(["cache", "--older-than", "3d"]) == 2
    assert main(["cache", "--dry-run"]) == 2
    assert "add --clean" in capsys.readouterr().err
    assert main(["cache"]) == 0
    assert "holds nothing yet" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_a_cache_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "cache"
    path.write_text("")
    with pytest.raises(InputError, match="not a folder"):
        entries(path)


def test_json_tells_the_same(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    written(tmp_path, ENTRIES["tuned"], 1, age=NOW - 1e9)
    written(tmp_path, FOREIGN_FILES[:1])
    assert main(["cache", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == sum(entry["bytes"] for entry in told["entries"]) == size_of(tmp_path)
    assert {entry["kind"]: entry["never_removed_because"] for entry in told["entries"]} == {"tuned": "", None: FOREIGN}
    assert main(["cache", "--clean", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["removed"]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="rights are given up as Linux knows them")
def test_a_cache_that_may_only_be_read_is_read_and_runs_still_keep_out_of_each_other(tmp_path, monkeypatch):
    cache, run = tmp_path / "cache", tmp_path / "run"
    monkeypatch.setenv("SHELFBENCH_CACHE", str(cache))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    quiet = Console(quiet=True)

    def features(count: int) -> Features:
        photos = catalogue([noise_picture(seed) for seed in range(count)])
        store = FeatureStore(Means(), ImageSettings("pad"), quiet, 1)
        return store.features(photos, np.arange(count), image_digests(photos, quiet))

    whole = features(5)
    let_go()
    folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]

    def only_reads() -> None:
        powerless()
        for folder in folders:
            folder.chmod(0o555)
        again = features(5)
        assert not again.computed
        np.testing.assert_array_equal(again.matrix, whole.matrix)
        with locked(run), pytest.raises(InputError, match="another run is working in"), locked(run):
            pass
        with pytest.raises(InputError, match=r"no permission to write .*cache.*SHELFBENCH_CACHE"):
            features(6)

    child = multiprocessing.get_context("fork").Process(target=only_reads)
    child.start()
    child.join()
    for folder in folders:
        folder.chmod(0o755)
    assert child.exitcode == 0
