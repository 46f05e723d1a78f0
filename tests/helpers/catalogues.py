"""Small catalogues in the layouts that the readers accept."""

import bson
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.console import Console
from shelfbench.data.datasets import open_path
from shelfbench.data.sources.settings import DatasetSettings
from tests.helpers.photos import noise_picture

QUIET = Console(quiet=True)


def opened(path, **settings):
    """Open the catalogue at a path with some settings of the section `dataset`."""
    return open_path(path, str(path), DatasetSettings(**settings), QUIET)


def write_bson(folder, documents, names=None):
    """Write documents to `train.bson` with a `category_names.csv` that names their categories, or those given."""
    folder.mkdir(exist_ok=True)
    (folder / "train.bson").write_bytes(b"".join(bson.encode(document) for document in documents))
    names = names or {document["category_id"] for document in documents if "category_id" in document}
    lines = [
        "category_id,category_level1,category_level2,category_level3",
        *(f'{name},"TOP, {name}",MIDDLE,LEAF {name}' for name in sorted(names)),
    ]
    (folder / "category_names.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "train.bson"


def documents(count=12):
    """Make documents of three categories with one to four pictures each."""
    return [
        {
            "_id": 100 + i,
            "category_id": 1000 + i % 3,
            "imgs": [{"picture": noise_picture(10 * i + j)} for j in range(1 + i % 4)],
        }
        for i in range(count)
    ]


def write_shards(
    folder, names=("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"), rows=8, metadata=None, **columns
):
    """Write Parquet shards of pictures in two categories; columns are values or functions of the shard's number."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        table = {
            "category": [f"c{i % 2}" for i in range(rows)],
            "image": [{"bytes": noise_picture(100 * number + i), "path": f"{i}.png"} for i in range(rows)],
        }
        for column, values in columns.items():
            table[column] = values(number) if callable(values) else values
            if table[column] is None:
                del table[column]
        made = pa.table(table)
        pq.write_table(made.replace_schema_metadata(metadata), folder / name, row_group_size=3)
    return folder
