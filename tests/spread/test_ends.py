"""A photo that ends its worker is set aside and named; one for which memory does not suffice is told from others."""

from pathlib import Path

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.data.feature_store import FeatureStore, image_digests
from shelfbench.data.images import ImageSettings
from shelfbench.spread.dask_spread import spread_over
from tests.data.test_feature_store import Means, catalogue
from tests.helpers.dask_processes import Processes
from tests.helpers.photos import noise_picture, picture
from tests.helpers.poison import POISON, Deadly, Hungry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop():
    data = [noise_picture(number, base=(number, 100, 50)) for number in range(150)]
    data[77] = picture(tuple(POISON.tolist()), size=(20, 20), kind="PNG")
    return catalogue(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extractor", "reason", "said"),
    [
        (Deadly(), "the process that reads it ended, 3 times", "ended; what it was doing is done again"),
        (Hungry(), "the process that reads it ran out of memory", "more than it may, and was ended by its nanny"),
    ],
)
def test_a_photo_that_ends_its_worker_is_named(shop, tmp_path, fresh_cache, capsys, extractor, reason, said):
    digests = image_digests(shop, Console(quiet=True))
    with Processes(tmp_path / "dask", PYTHONPATH=str(ROOT)) as processes:
        for _ in range(2):
            processes.start_worker("--memory-limit", "600MB")
        with spread_over(processes.address, Console()):
            store = FeatureStore(extractor, ImageSettings(), Console(), 1, tmp_path / "store")
            found = store.features(shop, np.arange(150), digests)
    assert list(found.reasons) == [77]
    assert found.reasons[77].startswith(reason)
    alone = FeatureStore(Means(), ImageSettings(), Console(), 1, tmp_path / "alone").features(
        shop, np.arange(150), digests
    )
    others = np.arange(150) != 77
    assert np.array_equal(found.matrix[others], alone.matrix[others])
    words = capsys.readouterr().err
    assert said in words
    assert f"image 77 is set aside: {reason}" in words
