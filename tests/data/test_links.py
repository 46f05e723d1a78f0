"""Photos behind links: fetched once, several at a time, and what fails has its reason."""

import pickle
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.data.catalogue import Absent
from shelfbench.data.sources.places import bring_all, images_named
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.web import Limits
from tests.helpers.shop_server import WAYS, photo, shop_server

SHORT = Limits(connect=5.0, read=1.0, total=2.5, pause=0.01, largest=100_000, per_host=24, at_once=24)


class Said(Console):
    """Keeps warnings."""

    def __init__(self):
        super().__init__(quiet=True)
        self.said = []

    def warn(self, message):
        self.said.append(message)


def linked(names, tmp_path, console=None, limits=SHORT, **settings):
    return images_named(
        tmp_path, np.array(names, object), DatasetSettings(**settings), console or Console(quiet=True), limits
    )


@pytest.fixture
def shop():
    with shop_server() as server:
        yield server


@pytest.mark.parametrize("links", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_three_links_of_ten_fail_in_ten_ways_and_the_second_run_asks_nobody(links, shop, tmp_path, fresh_cache):
    ways = list(WAYS)
    failing = {3 * i: ways[i % 10] for i in range(3 * links // 10)}  # scattered among the others
    names = [f"{shop.url}/{failing.get(i, 'photo')}/{i}" for i in range(links)]
    console = Said()
    images = linked(names, tmp_path, console)
    started = time.monotonic()
    bring_all(images)
    assert time.monotonic() - started < 60
    read = images.read(np.arange(links))
    for i, data in enumerate(read):
        if i in failing:
            assert data == b""
            assert isinstance(data, Absent)
            assert data.reason.partition(":")[0] == WAYS[failing[i]], names[i]
        else:
            assert data == photo(i)
    (line,) = console.said
    assert line.startswith(f"{3 * links // 10} of {links:,} links failed: ")
    assert all(f"{3 * links // 100} × {reason}" in line for reason in WAYS.values())
    assert "dataset.retry=true" in line

    before = shop.asked.total()
    console = Said()
    again = linked(names, tmp_path, console)
    bring_all(again)
    assert again.read(np.arange(links)) == read
    assert [getattr(data, "reason", "") for data in again.read(np.arange(links))] == [
        getattr(data, "reason", "") for data in read
    ]
    assert shop.asked.total() == before
    assert f"{3 * links // 10} of {links:,} links failed" in console.said[0]


def test_what_passes_is_tried_again_and_redirects_are_followed(shop, tmp_path, fresh_cache):
    names = [f"{shop.url}/{way}/{i}" for i, way in enumerate(["busy", "flaky", "moved", "chunked", "photo"])]
    assert linked(names, tmp_path).read(range(5)) == [photo(i) for i in range(5)]
    assert shop.asked["/flaky/1"] == 3


def test_a_server_that_asks_for_a_pause_is_left_alone_by_all(shop, tmp_path, fresh_cache):
    images = linked([f"{shop.url}/limited/{i}" for i in range(60)], tmp_path, limits=replace(SHORT, per_host=4))
    assert images.read(range(60)) == [photo(i) for i in range(60)]
    assert shop.asked.total() <= 60 + 8  # those on their way when it asked for the first time, and a few that meet


def test_what_is_compressed_on_the_way_is_unpacked_up_to_the_limit(shop, tmp_path, fresh_cache):
    packed, bomb = linked([f"{shop.url}/packed/1", f"{shop.url}/bomb/2"], tmp_path).read([0, 1])
    assert packed == photo(1) + bytes(50_000)
    assert bomb.reason == "larger than 100,000 bytes"


def test_blanks_and_letters_of_any_language_may_stand_in_a_link(shop, tmp_path, fresh_cache):
    names = [f"{shop.url}/photo/4?a b=ü", f"HTTP://{shop.url[7:]}/photo/5"]
    assert linked(names, tmp_path).read([0, 1]) == [photo(4), photo(5)]
    assert linked([f"{shop.url}:x/photo/1", "https:///a.jpg"], tmp_path).read([0])[0].reason == "not a valid link"
    assert linked(["http://[1/a.jpg"], tmp_path).read([0])[0] == b""


def test_failed_links_are_asked_again_only_if_told_to(shop, tmp_path, fresh_cache):
    names = [f"{shop.url}/missing/1", f"{shop.url}/photo/2"]
    assert linked(names, tmp_path).read([0, 1])[0].reason == "404 Not Found"
    asked = shop.asked.copy()
    assert linked(names, tmp_path, retry=True).read([0, 1, 0])[0].reason == "404 Not Found"
    assert shop.asked - asked == {"/missing/1": 1}
    for retry, told in ((False, True), (True, False)):  # what is on already is not advised
        console = Said()
        bring_all(linked(names, tmp_path, console, retry=retry))
        assert ["--set dataset.retry=true" in line for line in console.said] == [told]


def test_several_are_fetched_at_once_and_not_more_of_a_server_than_is_polite(shop, tmp_path, fresh_cache):
    images = linked([f"{shop.url}/slow/{i}" for i in range(40)], tmp_path, limits=replace(SHORT, per_host=3))
    bring_all(images)
    assert shop.most == 3


def test_only_what_is_read_is_fetched(shop, tmp_path, fresh_cache):
    images = linked([f"{shop.url}/photo/{i}" for i in range(50)], tmp_path)
    assert images.read([7, 3, 7]) == [photo(7), photo(3), photo(7)]
    assert sorted(shop.asked) == ["/photo/3", "/photo/7"]


def test_links_and_paths_may_be_mixed_and_sent_to_other_processes(shop, tmp_path, fresh_cache):
    (tmp_path / "a.png").write_bytes(photo(100))
    names = [f"{shop.url}/photo/1", "a.png", f" {shop.url}/photo/2", "b.png"]
    images = linked(names, tmp_path)
    assert images.read([3, 1, 2, 0]) == [b"", photo(100), photo(2), photo(1)]
    assert [images.where(i) for i in (0, 1)] == names[:2]
    assert pickle.loads(pickle.dumps(images)).read([0, 1]) == [photo(1), photo(100)]


@pytest.mark.parametrize("name", ["file:///etc/passwd", "ftp://shop.example/a.jpg", "local:///etc/passwd", "data://x"])
def test_other_links_are_refused(name, tmp_path):
    with pytest.raises(InputError, match="not followed"):
        linked(["a.png", name], tmp_path)


def test_without_a_network_nothing_is_remembered(tmp_path, fresh_cache):
    with shop_server() as gone:
        url = gone.url
    images = linked([f"{url}/photo/{i}" for i in range(30)], tmp_path)
    with pytest.raises(RunError, match=r"none of 30 links could be reached \(.*: connection refused\)"):
        bring_all(images)
    assert not list(fresh_cache.rglob("*.failed"))


def test_a_password_is_not_shown(shop, tmp_path, fresh_cache):
    images = linked([f"http://me:secret@{shop.url[7:]}/photo/1"], tmp_path)
    assert images.read([0]) == [photo(1)]
    assert "secret" not in images.where(0)


def test_a_table_of_links_is_a_catalogue(shop, tmp_path, fresh_cache):
    from shelfbench.data.feature_store import image_digests
    from tests.helpers.catalogues import opened

    folder = tmp_path / "shop"
    folder.mkdir()
    names = [f"{shop.url}/{'missing' if i == 4 else 'photo'}/{i}" for i in range(12)]
    pd.DataFrame({"file_name": names, "category": ["a", "b"] * 6}).to_csv(folder / "metadata.csv", index=False)
    catalogue = opened(folder)
    digests = image_digests(catalogue, Console(quiet=True))
    assert len(np.unique(digests)) == 12
    assert catalogue.images.read([4])[0].reason == "404 Not Found"
    assert catalogue.images.where(0) == names[0]
