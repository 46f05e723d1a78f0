"""The formats of single files, each with what `run` and `classify` need of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.sources.cdiscount import products_in_bson, read_bson
from shelfbench.data.sources.parquet_file import products_in_parquet, read_parquet_file
from shelfbench.data.sources.products import Product
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_catalogue import products_in_tables, read_table_file
from shelfbench.data.sources.table_files import TABLE_SUFFIXES
from shelfbench.data.sources.webdataset import products_in_tar, read_tar


@dataclass(frozen=True)
class Format:
    """How files of one format are read.

    Attributes
    ----------
    read : callable
        ``read(path, name, settings, console)`` returns the `Catalogue` in one file, with its categories.
    products : callable
        ``products(files, root, several, settings, console)`` yields each `Product` of some files, with or without a
        category. One without an id is named by its path below `root`, or by file and row; by the full path if `several`
        paths were given.
    table : bool
        Whether it names photos that lie elsewhere. A folder is read by every file that holds photos itself, and only by
        the tables that are called ``metadata``.
    """

    read: Callable[[Path, str, DatasetSettings, Console], Catalogue]
    products: Callable[[Sequence[Path], Path, bool, DatasetSettings, Console], Iterator[Product]]
    table: bool = False


# By suffix, in small letters.
FORMATS: dict[str, Format] = {
    ".bson": Format(read_bson, products_in_bson),
    **dict.fromkeys(TABLE_SUFFIXES, Format(read_table_file, products_in_tables, table=True)),
    ".parquet": Format(read_parquet_file, products_in_parquet),
    ".tar": Format(read_tar, products_in_tar),
}
# As they are listed for who gives something else: all of them, and those of files that hold photos themselves.
ENDINGS = ", ".join(sorted(FORMATS))
HOLDING = ", ".join(sorted(suffix for suffix, form in FORMATS.items() if not form.table))
