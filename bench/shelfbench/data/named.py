"""The named datasets: what is declared of each in ``datasets.toml``, and where it is on this machine."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.storage import cache_dir
from shelfbench.base.using import used


@dataclass(frozen=True, kw_only=True)
class NamedDataset:
    """One table of ``datasets.toml``.

    Attributes
    ----------
    name, title, about, homepage, licence, size : str
        Shown to people.
    method : {'generate', 'huggingface', 'kaggle'}
        How it is fetched.
    repository, revision : str
        Its origin on the hub; an unknown revision is empty, and the newest is fetched and noted.
    patterns : tuple of str
        Files to fetch.
    files : tuple of str
        A folder contains the dataset if a file in it matches each of these patterns.
    bytes : int
        Free disk that fetching it takes; 0 if nothing is fetched.
    products : int
        Number of products in the whole dataset; 0 if that depends on settings.
    category, product_id : str
        Names of its columns, if they differ from the defaults.
    levels : tuple of str
        The same for the columns of levels.
    """

    name: str
    title: str
    about: str
    licence: str
    method: str
    files: tuple[str, ...]
    homepage: str = ""
    size: str = ""
    repository: str = ""
    revision: str = ""
    patterns: tuple[str, ...] = ()
    bytes: int = 0
    products: int = 0
    category: str = ""
    product_id: str = ""
    levels: tuple[str, ...] = ()

    def is_in(self, folder: Path) -> bool:
        """Tell whether a folder contains it."""
        return folder.is_dir() and all(
            any(not path.name.startswith(".") for path in folder.glob(pattern)) for pattern in self.files
        )


def named_datasets() -> dict[str, NamedDataset]:
    """Return the declared datasets by name."""
    text = Path(__file__).with_name("datasets.toml").read_text(encoding="utf-8")
    datasets = {}
    for name, table in tomllib.loads(text).items():
        values: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in table.items()}
        datasets[name] = NamedDataset(name=name, **values)
    return datasets


def title_of(name: str) -> str:
    """Return the title of a dataset: what its declaration says, or the name of its file or folder.

    Parameters
    ----------
    name : str
        A named dataset, a path or another address.

    Returns
    -------
    str
    """
    if named := named_datasets().get(name):
        return named.title
    path = Path(name)
    if not path.name or path.name == "..":  # ".", "/" or a path that ends in ".."
        path = path.resolve()
    return (path.stem if path.is_file() else path.name) or name


def find_named(name: str, data: Path | None) -> Path | None:
    """Look for a named dataset in ``--data``, in ``$SHELFBENCH_DATA/NAME`` and in the cache.

    Parameters
    ----------
    name : str
        Name of a declared dataset.
    data : Path or None
        ``--data``; if it is given, nothing else is searched.

    Returns
    -------
    Path or None
        The folder that contains it, if any does.

    Raises
    ------
    InputError
        If ``--data`` is given and does not contain the dataset.
    """
    dataset = named_datasets()[name]
    if data is not None:
        for folder in (data, data / name, data / "data"):
            if dataset.is_in(folder):
                return folder
        problem = "does not exist" if not data.exists() else f"does not contain {name} ({', '.join(dataset.files)})"
        raise InputError(f"--data {data} {problem}", "correct the path, or omit --data to look elsewhere")
    shared = os.environ.get("SHELFBENCH_DATA")
    candidates = [Path(shared).expanduser() / name] if shared else []
    for folder in [*candidates, cache_dir() / "datasets" / name, cache_dir() / "datasets" / name / "data"]:
        if dataset.is_in(folder):
            used(folder)
            return folder
    return None
