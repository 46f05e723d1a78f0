"""Files of embeddings beside a dataset: keyed by image path or product, and whose is unclear is a question."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.datasets import open_path
from shelfbench.data.embeddings import Embeddings
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.vectors import Vectors

QUIET = Console(quiet=True)
WITHOUT = DatasetSettings(photos=False)
VALUES = np.random.default_rng(4).normal(size=(6, 4)).astype(np.float32)
PATHS = [f"shoes/{number}.jpg" for number in range(3)] + [f"hats/{number}.jpg" for number in range(3)]


@pytest.fixture
def shop(tmp_path):
    """Two categories of three files that nobody may open."""
    for name in PATHS:
        path = tmp_path / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "shop"


@pytest.fixture
def products(tmp_path):
    """A table of three products with two rows each."""
    path = tmp_path / "products.csv"
    rows = {"product_id": [1, 1, 2, 2, 3, 3], "category": ["a"] * 4 + ["b"] * 2, "file_name": PATHS}
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def found(dataset, path):
    catalogue = open_path(dataset, "shop", WITHOUT, QUIET)
    return catalogue, Embeddings(str(path), catalogue, WITHOUT, QUIET)


def of_images(dataset, path):
    catalogue, embeddings = found(dataset, path)
    features = embeddings.features(np.arange(len(catalogue.images)))
    return {
        catalogue.images.where(number): features.matrix[number].tolist()
        for number in np.flatnonzero(features.readable).tolist()
    }


def keyed(folder, keys, values=VALUES, by="file_name", name="vectors.parquet"):
    """Write embeddings with their keys."""
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.table({by: keys, "clip": pa.array(list(values), pa.list_(pa.float32()))}), path)
    elif name.endswith(".npz"):
        np.savez(path, clip=values, **{by: np.array(keys)})
    else:
        np.save(path, values)
        pd.DataFrame({by: keys}).to_csv(path.with_suffix(".csv"), index=False)
    return path


@pytest.mark.parametrize("name", ["vectors.parquet", "vectors.npz", "vectors.npy"])
def test_paths_of_images_are_keys(shop, tmp_path, name):
    order = [3, 0, 5, 2, 1, 4]
    written = keyed(tmp_path, [PATHS[number] for number in order], VALUES[order], name=name)
    assert of_images(shop, written) == dict(zip(PATHS, VALUES.tolist(), strict=True))


def test_a_path_may_be_written_in_the_other_way(shop, tmp_path):
    written = keyed(tmp_path, [".\\" + path.replace("/", "\\") for path in PATHS])
    assert of_images(shop, written) == dict(zip(PATHS, VALUES.tolist(), strict=True))


def test_all_images_of_a_product_have_its_embedding_which_is_told(products, tmp_path, capsys):
    written = keyed(tmp_path, [3, 1, 2], VALUES[:3], by="product_id")
    got = of_images(products, written)
    assert [got[path] for path in PATHS] == VALUES[[1, 1, 2, 2, 0, 0]].tolist()
    assert "all photos of a product have the same embedding" in capsys.readouterr().err


def test_text_and_number_are_the_same_product(products, tmp_path):
    written = keyed(tmp_path, ["3", "1", "2"], VALUES[:3], by="product_id")
    assert of_images(products, written)[PATHS[4]] == VALUES[0].tolist()


def test_images_without_a_key_are_left_out_and_others_are_ignored(shop, tmp_path):
    written = keyed(tmp_path, [*PATHS[:4], "elsewhere/9.jpg", "elsewhere/8.jpg"])
    assert sorted(of_images(shop, written)) == sorted(PATHS[:4])


def test_a_key_may_come_twice_with_the_same_embedding(shop, tmp_path):
    written = keyed(tmp_path, [*PATHS, PATHS[0]], [*VALUES, VALUES[0]])
    assert len(of_images(shop, written)) == 6


def test_keys_that_come_often_are_read_at_once(products, tmp_path, monkeypatch):
    """One row for each photo, with the product as its key, is what joining tables makes."""
    written = keyed(tmp_path, [3, 1, 2] * 40, [None, *VALUES[1:3], *VALUES[:3].tolist() * 39], by="product_id")
    reads, blocks = [], Vectors.blocks
    monkeypatch.setattr(Vectors, "blocks", lambda *given: reads.append(1) or blocks(*given))
    got = of_images(products, written)
    assert [got[path] for path in PATHS] == VALUES[[1, 1, 2, 2, 0, 0]].tolist()
    assert len(reads) == 3


def test_a_key_with_two_embeddings_is_refused(shop, tmp_path):
    written = keyed(tmp_path, [*PATHS, PATHS[0]], [*VALUES, VALUES[1]])
    with pytest.raises(InputError, match=r"two different embeddings for one key, in rows 0 and 6"):
        of_images(shop, written)


def test_a_key_that_is_empty_once_has_the_other_embedding(shop, tmp_path):
    written = keyed(tmp_path, [*PATHS, PATHS[0]], [None, *VALUES[1:], VALUES[0]])
    assert of_images(shop, written) == dict(zip(PATHS, VALUES.tolist(), strict=True))


def test_keys_that_are_nowhere_are_shown_beside_those_of_the_dataset(shop, tmp_path):
    written = keyed(tmp_path, [f"/data/{path}" for path in PATHS])
    with pytest.raises(InputError, match=r"its file_name are such as '/data/shoes/0.jpg', and those of shop such as"):
        of_images(shop, written)


def test_a_matrix_by_itself_is_a_question(shop, tmp_path):
    path = tmp_path / "vectors.npy"
    np.save(path, VALUES)
    with pytest.raises(InputError, match=r"unclear whose embeddings its 6 rows are; give one table vectors.csv"):
        of_images(shop, path)
    pd.DataFrame({"file_name": PATHS[:5]}).to_csv(path.with_suffix(".csv"), index=False)
    with pytest.raises(InputError, match=r"has 6 rows, but vectors.csv has 5"):
        of_images(shop, path)


def test_a_key_of_another_name_is_a_question_that_names_it(shop, tmp_path):
    written = keyed(tmp_path, PATHS, by="image_path")
    with pytest.raises(InputError, match=r"no column file_name or product_id .* image_path may be file_name"):
        of_images(shop, written)


def test_two_columns_of_embeddings_are_a_question(shop, tmp_path):
    path = tmp_path / "vectors.parquet"
    cells = pa.array(list(VALUES), pa.list_(pa.float32()))
    pq.write_table(pa.table({"file_name": PATHS, "clip": cells, "dino": cells}), path)
    with pytest.raises(InputError, match=r"columns of embeddings clip, dino; choose: vectors.parquet:clip"):
        of_images(shop, path)
    assert len(of_images(shop, f"{path}:dino")) == 6


class Trap:
    """Would leave a trace if it were loaded."""

    def __reduce__(self):
        return (print, ("executed",))


def test_objects_are_not_loaded(shop, tmp_path, capsys):
    path = tmp_path / "vectors.npy"
    np.save(path, np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects, which are not loaded"):
        of_images(shop, path)
    np.savez(tmp_path / "v.npz", clip=VALUES, file_name=np.array([Trap()] * 6, object))
    with pytest.raises(InputError, match="Python objects, which are not loaded"):
        of_images(shop, tmp_path / "v.npz")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.arange(12).reshape(6, 2), "holds whole numbers"),
        (VALUES[0], "not a matrix with one embedding a row"),
        (np.array(["a"]), "not a matrix with one embedding a row"),
    ],
)
def test_arrays_that_are_no_embeddings_are_one_line(shop, tmp_path, array, message):
    path = keyed(tmp_path, ["x"] * len(array), array, name="vectors.npy")
    with pytest.raises(InputError, match=message):
        of_images(shop, path)


@pytest.mark.parametrize("name", ["vectors.npy", "vectors.npz", "vectors.parquet"])
def test_a_damaged_file_is_one_line(shop, tmp_path, name):
    path = keyed(tmp_path, PATHS, name=name)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=name):
        of_images(shop, path)


def test_a_file_that_changes_after_it_was_opened_is_noticed(shop, tmp_path):
    path = keyed(tmp_path, PATHS)
    _, embeddings = found(shop, path)
    keyed(tmp_path, PATHS, VALUES + 1)
    with pytest.raises(InputError, match="has changed since it was opened"):
        embeddings.features(np.arange(6))


def test_a_file_that_is_not_there_is_one_line(shop, tmp_path):
    with pytest.raises(InputError, match="no file of embeddings"):
        of_images(shop, tmp_path / "none.parquet")
