"""What goes to workers, and what they make of it: the address that is given, the files, and what differs."""

import dataclasses
import os
import pickle
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench.data.feature_store import FeatureStore, image_digests
from shelfbench.data.images import ImageSettings
from shelfbench.data.shards import compute_shard, is_done, plan_shards
from shelfbench.spread.cluster import Where, _dashboard
from shelfbench.spread.dask_spread import _Round, spread_over
from shelfbench.spread.job import CannotSend, Job, OpenedJob, versions, written
from tests.data.test_feature_store import QUIET, Means, catalogue
from tests.helpers.photos import noise_picture


@pytest.fixture(scope="module")
def shop():
    return catalogue([noise_picture(number, base=(number, 90, 50)) for number in range(140)])


@pytest.fixture
def store(fresh_cache):
    return FeatureStore(Means(), ImageSettings(), QUIET, 2)


@pytest.fixture
def shards(shop, store):
    return plan_shards(store, np.arange(140), image_digests(shop, QUIET))[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("local:4", Where(local=4)),
        ("tcp://10.0.0.3:8786", Where(address="tcp://10.0.0.3:8786")),
        ("tls://[::1]:8786", Where(address="tls://[::1]:8786")),
        ("scheduler-1.example.org:8786", Where(address="scheduler-1.example.org:8786")),
    ],
)
def test_addresses_are_read(text, found):
    assert Where.read(text) == found


@pytest.mark.parametrize(
    "text", ["", "local", "local:", "local:0", "local:-1", "local:four", "host", "tcp://", "a b:1"]
)
def test_what_is_not_an_address_is_refused(text):
    with pytest.raises(InputError, match="--dask"), spread_over(text, QUIET):
        pass


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (None, ""),
        (b"<h1>Status</h1>", "; dashboard {link}"),
        (b"<p>Dask needs bokeh</p>", "; its dashboard needs bokeh: python -m pip install bokeh"),
    ],
)
def test_an_address_of_a_dashboard_is_said_only_if_one_answers(page, said):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        link = f"http://127.0.0.1:{server.server_port}/status"
        assert _dashboard(link) == said.format(link=link)


def test_a_worker_finds_the_shards_in_the_files_and_nothing_else_is_sent(shop, store, shards):
    with written(store, shop.images, shards) as job:
        assert len(pickle.dumps(job)) < 500
        opened = OpenedJob(pickle.loads(pickle.dumps(job)))
        for number, shard in enumerate(shards):
            there = opened.shard(number)
            assert there.stem == shard.stem
            assert np.array_equal(there.positions, shard.positions)
            assert np.array_equal(there.digests, shard.digests)
        assert compute_shard(opened.store, opened.images, opened.shard(1))
    assert is_done(store, shards[1])
    assert not is_done(store, shards[0])
    assert not os.path.exists(job.folder)


def test_a_job_that_is_not_what_the_run_wrote_is_never_unpickled(shop, store, shards):
    with written(store, shop.images, shards) as job:
        with pytest.raises(InputError, match="is not what the run wrote"):
            OpenedJob(dataclasses.replace(job, sha256="0" * 64))
        with pytest.raises(InputError, match="does not see the cache"):
            OpenedJob(Job(folder=job.folder + "-elsewhere", sha256=job.sha256))


def test_what_a_worker_lacks_is_said(shop, store, shards, tmp_path, monkeypatch):
    photo = tmp_path / "photo.bson"
    photo.write_bytes(b"")
    monkeypatch.setattr(shop.images, "files", (photo,))
    with written(store, shop.images, shards) as job:
        OpenedJob(job)
        photo.unlink()
        with pytest.raises(InputError, match=r"does not see .*photo\.bson"):
            OpenedJob(job)


def test_a_worker_that_would_compute_other_features_is_refused(shop, store, shards, monkeypatch):
    with written(store, shop.images, shards) as job:
        monkeypatch.setattr(Means, "describe", lambda self: {"gain": 2.0})
        with pytest.raises(InputError, match=r"settings\.gain is 2\.0 there and 1\.0 here"):
            OpenedJob(job)


def test_what_cannot_be_pickled_is_not_sent(shop, fresh_cache):
    extractor = Means()
    extractor.hook = lambda: None
    store = FeatureStore(extractor, ImageSettings(), QUIET, 2)
    shards, _ = plan_shards(store, np.arange(140), image_digests(shop, QUIET))
    with pytest.raises(CannotSend), written(store, shop.images, shards):
        pass


def test_jobs_of_processes_that_ended_are_swept(shop, store, shards, fresh_cache):
    with written(store, shop.images, shards) as job:
        left = fresh_cache / "spread" / "left"
        shutil.copytree(job.folder, left)
        with written(store, shop.images, shards):
            assert not left.exists()
            assert os.path.exists(job.folder)


def test_other_versions_are_named():
    seen = {"versions": {**versions(), "numpy": "0.1", "shelfbench": "9.9"}, "problem": None}
    with pytest.raises(InputError, match=r"shelfbench 9\.9 there.*numpy 0\.1 there"):
        _Round._check(None, "tcp://10.0.0.3:1234", seen)
    _Round._check(None, "tcp://10.0.0.3:1234", {"versions": versions(), "problem": None})
