"""Every format of a file is opened for `run` and for `classify` alike."""

import io
import json
import tarfile

import bson
import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cli.arguments import parser
from shelfbench.data.formats import ENDINGS, FORMATS, HOLDING
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.to_classify import products_of
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture

PHOTOS = {str(number): noise_picture(number) for number in (11, 12, 13)}
ROWS = [{"file_name": f"{key}.png", "category": "ab"[int(key) % 2], "product_id": key} for key in PHOTOS]
TABLE = pd.DataFrame(ROWS)


def bson_file(path):
    """Cdiscount's, whose categories are numbers."""
    path.with_name("category_names.csv").write_text(
        "category_id,category_level1,category_level2,category_level3\n0,A,B,C\n1,A,B,D\n"
    )
    made = [{"_id": int(key), "category_id": int(key) % 2, "imgs": [{"picture": data}]} for key, data in PHOTOS.items()]
    path.write_bytes(b"".join(map(bson.encode, made)))


def tar_file(path):
    """A shard of a WebDataset."""
    with tarfile.open(path, "w") as archive:
        for row in ROWS:
            key = row["product_id"]
            for suffix, data in (("png", PHOTOS[key]), ("json", json.dumps(row).encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def parquet_file(path):
    """Photos inside, as in the Hub's datasets."""
    TABLE.assign(image=[{"bytes": data, "path": ""} for data in PHOTOS.values()]).drop(columns="file_name").to_parquet(
        path
    )


# how a file of each format is made of the three photos, which lie beside it
WRITTEN = {
    **dict.fromkeys((".csv", ".txt"), lambda path: TABLE.to_csv(path, index=False)),
    **dict.fromkeys((".tsv", ".tab"), lambda path: TABLE.to_csv(path, index=False, sep="\t")),
    **dict.fromkeys((".jsonl", ".ndjson"), lambda path: TABLE.to_json(path, orient="records", lines=True)),
    ".json": lambda path: TABLE.to_json(path, orient="records"),
    **dict.fromkeys((".xlsx", ".xlsm"), lambda path: TABLE.to_excel(path, index=False)),
    ".parquet": parquet_file,
    ".bson": bson_file,
    ".tar": tar_file,
}


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_a_file_is_opened_for_both(tmp_path, suffix):
    for key, data in PHOTOS.items():
        (tmp_path / f"{key}.png").write_bytes(data)
    path = tmp_path / f"shop{suffix}"
    WRITTEN[suffix](path)
    catalogue = opened(path)
    keys = [str(catalogue.product_id[number]) for number in catalogue.image_product]
    assert dict(zip(keys, catalogue.images.read(range(len(keys))), strict=True)) == PHOTOS
    found = products_of([path], DatasetSettings(), Console(quiet=True))
    assert {product.key: product.photos for product in found} == {key: (data,) for key, data in PHOTOS.items()}


def test_who_asks_what_can_be_given_is_told_of_every_format(tmp_path):
    assert set(ENDINGS.split(", ")) == set(FORMATS)
    with pytest.raises(InputError) as nothing_to_run:
        opened(tmp_path)
    with pytest.raises(InputError, match=HOLDING.replace(".", r"\.")) as nothing_to_classify:
        list(products_of([tmp_path], DatasetSettings(), Console(quiet=True)))
    verbs = next(action.choices for action in parser()._actions if action.dest == "verb")
    helps = [
        next(action.help for action in verbs[verb]._actions if action.dest == name)
        for verb, name in (("run", "dataset"), ("classify", "paths"))
    ]
    for told in (str(nothing_to_run.value), *helps):  # which stand where FORMATS cannot be imported
        assert all(f"*{suffix}" in told for suffix in HOLDING.split(", ")), told
        assert "table" in told
    assert str(tmp_path) in str(nothing_to_classify.value)
