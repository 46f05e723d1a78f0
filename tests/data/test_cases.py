"""Catalogues as real shops have them, each with one difficulty: read as a person would, or one line says why not."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import DIGEST
from shelfbench.data.images import decode
from shelfbench.data.material import gather
from shelfbench.data.split import SplitSettings, make_split
from tests.helpers import cases
from tests.helpers.cases import KINDS, shape
from tests.helpers.catalogues import opened

FIVE = sorted(KINDS)


def case(draw, tmp_path):
    """Open the catalogue that a function draws."""
    root = tmp_path / draw.__name__
    draw(root)
    return opened(root)


def names(catalogue):
    """Names of the categories, sorted."""
    return sorted(category.name for category in catalogue.categories)


def contents(catalogue):
    """The bytes of each image."""
    return catalogue.images.read(np.arange(len(catalogue.images)))


def has_all(catalogue):
    """Whether each of the 5 × 40 photos is read, in the category that it was drawn for."""
    drawn = {cases.encoded(shape(kind, number)): KINDS[kind] for kind in range(5) for number in range(40)}
    read = {
        data: catalogue.categories[catalogue.product_category[product]].name
        for data, product in zip(contents(catalogue), catalogue.image_product.tolist(), strict=True)
    }
    return read == drawn


@pytest.mark.parametrize(
    "draw", [cases.semicolon, cases.backslash, cases.json_lines, cases.table_in_each_part, cases.folder_left_out]
)
def test_tables_of_every_kind_are_one_catalogue(tmp_path, draw):
    catalogue = case(draw, tmp_path)
    assert has_all(catalogue)
    assert len(catalogue.product_id) == 200
    assert catalogue.split is None


def test_what_was_guessed_of_a_table_is_told(tmp_path):
    assert any("images/" in note for note in case(cases.folder_left_out, tmp_path).notes)
    assert any("part-000" in note for note in case(cases.table_in_each_part, tmp_path).notes)


def test_the_encoding_of_windows(tmp_path):
    catalogue = case(cases.cp1252, tmp_path)
    assert names(catalogue) == sorted(["Café", "Été", *KINDS[2:]])
    assert len(catalogue.product_id) == 200


def test_two_forms_of_a_name_are_one_category(tmp_path):
    catalogue = case(cases.two_forms, tmp_path)
    assert names(catalogue) == ["Café", "bars", "cross", "square", "Été"]
    assert np.bincount(catalogue.product_category).tolist() == [40] * 5
    assert any("Caf" in note for note in catalogue.notes)


def test_the_split_of_folders_in_a_table_is_kept(tmp_path):
    catalogue = case(cases.split_by_folder, tmp_path)
    assert pd.Series(catalogue.split).value_counts().to_dict() == {"train": 140, "validation": 30, "test": 30}
    assert has_all(catalogue)


def test_train_and_testing_are_a_split(tmp_path):
    catalogue = case(cases.train_testing, tmp_path)
    assert names(catalogue) == FIVE
    assert pd.Series(catalogue.split).value_counts().to_dict() == {"train": 150, "test": 50}
    assert has_all(catalogue)


def test_hidden_labels_are_none(tmp_path):
    catalogue = case(cases.hidden_labels, tmp_path)
    assert names(catalogue) == FIVE
    assert (len(catalogue.product_id), catalogue.unlabelled) == (170, 30)


def test_paths_without_photos_say_so(tmp_path):
    with pytest.raises(InputError, match="paths, not photos"):
        case(cases.paths_only, tmp_path)
    for kind in range(5):
        for number in range(40):
            cases.put(tmp_path / "paths_only" / f"images/p{kind}_{number}.jpg", cases.encoded(shape(kind, number)))
    assert has_all(opened(tmp_path / "paths_only"))


def test_categories_that_train_lacks_are_counted(tmp_path):
    catalogue = case(cases.untrained_categories, tmp_path)
    digests = np.zeros((len(catalogue.images), 2), np.int64)
    digests[:, 0] = np.arange(len(digests)) + 1
    split = make_split(catalogue, SplitSettings(), 0, digests.view(DIGEST).ravel())
    untrained = gather(catalogue, split).split_record()["untrained"]
    assert untrained == {"categories": 2, "names": ["bars", "cross"], "validation": 0, "test": 16}


def test_every_photo_is_a_product_whatever_its_suffix(tmp_path):
    catalogue = case(cases.odd_suffixes, tmp_path)
    sizes = {
        category.name: count
        for category, count in zip(catalogue.categories, np.bincount(catalogue.product_category), strict=True)
    }
    assert sizes == {"bars": 50, "circle": 40, "cross": 50, "ring": 30, "square": 40, "triangle": 40}
    assert any("Thumbs.db" in note for note in catalogue.notes)


def test_pixels_decide_over_metadata(tmp_path):
    catalogue = case(cases.broken_metadata, tmp_path)
    assert len(catalogue.product_id) == 200
    ids = [str(product) for product in catalogue.product_id]
    for number in range(40):
        at = next(i for i, name in enumerate(ids) if f"p4_{number:03}." in name)
        pixels = decode(catalogue.images.read([at])[0], 64)
        expected = np.asarray(shape(4, number).resize((64, 64), Image.Resampling.BILINEAR), int)
        assert np.abs(np.asarray(pixels, int) - expected).mean() < 12, ids[at]
