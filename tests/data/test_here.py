"""The folder that one is in, and other ways of writing a path, are the same catalogue."""

from pathlib import Path

import pytest

from shelfbench.base.console import Console
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.to_classify import products_of
from tests.helpers.cases import put, write_rows
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture

PHOTOS = {f"{part}/{kind}/{n}.png": noise_picture(n) for part in ("train", "test") for kind in "ab" for n in range(2)}


@pytest.mark.parametrize("with_table", [False, True])
@pytest.mark.parametrize("path", [".", "../shop", "../shop/.", "../shop/../shop"])
def test_a_path_may_be_written_in_any_way(tmp_path, monkeypatch, path, with_table):
    root = tmp_path / "shop"
    for name, data in PHOTOS.items():
        put(root / name, data)
    put(root / "notes.pdf", b"%PDF")
    if with_table:
        write_rows(root / "metadata.csv", [[name, name.split("/")[1]] for name in PHOTOS])
    monkeypatch.chdir(root)
    catalogue = opened(Path(path))
    assert dict(zip(catalogue.product_id, catalogue.images.read(range(8)), strict=True)) == PHOTOS
    assert [category.key for category in catalogue.categories] == ["a", "b"]
    assert set(catalogue.split) == {"train", "test"}
    found = products_of([Path(path)], DatasetSettings(), Console(quiet=True))
    assert {product.key: product.photos[0] for product in found} == PHOTOS
