"""Datasets by name or path: where to look for them, how to open them and how to fetch them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import cache_dir, fingerprint, storage_errors
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.sources.cdiscount import read_bson
from shelfbench.data.sources.folder import read_folder
from shelfbench.data.sources.parquet import read_parquet
from shelfbench.data.sources.shards import names_photos
from shelfbench.data.sources.table_catalogue import read_table_file
from shelfbench.data.sources.table_files import TABLE_SUFFIXES
from shelfbench.data.sources.tables import DatasetSettings
from shelfbench.data.sources.webdataset import read_webdataset
from shelfbench.generator import GeneratorSettings


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
        Its origin on the hub.
    patterns : tuple of str
        Files to fetch.
    files : tuple of str
        A folder contains the dataset if a file in it matches each of these patterns.
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
    products: int = 0
    category: str = ""
    product_id: str = ""
    levels: tuple[str, ...] = ()

    def is_in(self, folder: Path) -> bool:
        """Tell whether a folder contains it."""
        return folder.is_dir() and all(any(folder.glob(pattern)) for pattern in self.files)


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
            return folder
    return None


def _place_by_hand(dataset: NamedDataset) -> str:
    return (
        f"download {', '.join(dataset.patterns)} from {dataset.homepage} and put them into "
        f"{cache_dir() / 'datasets' / dataset.name}, or name their folder with --data"
    )


def fetch(name: str, console: Console) -> Path:
    """Download a named dataset into the cache, unless it is already on this machine.

    Parameters
    ----------
    name : str
        Name of a declared dataset.
    console : Console

    Returns
    -------
    Path
        The folder that contains it.

    Raises
    ------
    InputError
        If the name is unknown or the package that fetches it is not installed.
    RunError
        If the network does not answer or access is refused; the message says which files to put where.
    """
    datasets = named_datasets()
    if name not in datasets:
        raise InputError(f"unknown dataset {name!r}", f"choose from: {', '.join(datasets)}")
    dataset = datasets[name]
    if dataset.method == "generate":
        raise InputError(f"{name} needs no download", "a run generates it; to look at it: shelfbench generate DIR")
    if (found := find_named(name, None)) is not None:
        console.log(f"{name} is already at {found}")
        return found
    target = cache_dir() / "datasets" / name
    console.log(f"fetching {dataset.title} ({dataset.size}); licence: {dataset.licence}")
    try:
        with storage_errors(target):
            target.mkdir(parents=True, exist_ok=True)
            if dataset.method == "huggingface":
                from huggingface_hub import snapshot_download

                snapshot_download(
                    dataset.repository,
                    repo_type="dataset",
                    revision=dataset.revision,
                    allow_patterns=list(dataset.patterns),
                    local_dir=target,
                )
            else:
                import kagglehub

                for pattern in dataset.patterns:
                    shutil.copy2(kagglehub.competition_download(dataset.repository, path=pattern), target / pattern)
    except ImportError as error:
        raise InputError(
            f"fetching {name} needs the package {error.name}", "python -m pip install 'shelfbench[fetch]'"
        ) from error
    except (InputError, RunError):
        raise
    except Exception as error:  # each hub raises its own errors without a network, without access or for a missing file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(
            f"{name} could not be fetched ({type(error).__name__}: {reason[:200]})", _place_by_hand(dataset)
        ) from error
    if (found := find_named(name, None)) is None:
        raise RunError(f"the download of {name} into {target} is incomplete", _place_by_hand(dataset))
    return found


def _generated(settings: GeneratorSettings, workers: int, console: Console) -> Path:
    """Return the folder of the catalogue generated with these settings; generate it if the cache lacks it."""
    from shelfbench.generator import generate
    from shelfbench.generator.write import VERSION

    described = dataclasses.asdict(settings)
    if settings.counts and Path(settings.counts).is_file():
        described["counts"] = Path(settings.counts).read_text(encoding="utf-8")
    folder = cache_dir() / "generated" / fingerprint([VERSION, described])
    if not (folder / "generator.json").exists():
        generate(folder, settings, console, workers)
    return folder


def _open_bson(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    return read_bson(path, name, settings.truncated, console)


def _open_parquet(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    """Open one Parquet file, which holds photos or names them."""
    if names_photos(path, settings):
        return read_table_file(path, name, settings, console)
    return read_parquet([path], name, settings, console)


def _open_tar(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    """Open one shard of a WebDataset."""
    return read_webdataset([path], name, settings, console)


Reader = Callable[[Path, str, DatasetSettings, Console], Catalogue]

# Readers of single files by suffix, in small letters.
READERS: dict[str, Reader] = {
    **dict.fromkeys(TABLE_SUFFIXES, read_table_file),
    ".bson": _open_bson,
    ".parquet": _open_parquet,
    ".tar": _open_tar,
}

# Readers of what lies elsewhere, by how its name begins: ``hf:``, ``s3://``.
ELSEWHERE: dict[str, Callable[[str, DatasetSettings, Console], Catalogue]] = {}


def open_path(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    """Open the catalogue at a path, whatever its format.

    Parameters
    ----------
    path : Path
        A file with a suffix among `READERS`, or a folder in one of the layouts of `shelfbench.data.sources.layout`.
    name : str
        Name for messages and the record.
    settings : DatasetSettings
    console : Console

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If the path does not exist or is not a catalogue in a known format.
    """
    try:
        if not path.exists():
            raise InputError(
                f"{path} does not exist", "correct the path, or list the named datasets with: shelfbench datasets"
            )
        if path.is_dir():
            return read_folder(path, name, settings, console)
        if (reader := READERS.get(path.suffix.lower())) is None:
            raise InputError(
                f"{path} is not a catalogue", f"give a folder, or a file that ends in {', '.join(sorted(READERS))}"
            )
        return reader(path, name, settings, console)
    except PermissionError as error:
        raise InputError(f"no permission to read {error.filename}", "change its permissions") from None


def open_dataset(
    settings: DatasetSettings, generated: GeneratorSettings, data: Path | None, workers: int, console: Console
) -> tuple[Catalogue, NamedDataset | None]:
    """Open the dataset of a study.

    Parameters
    ----------
    settings : DatasetSettings
        `name` is a named dataset or a path. A named dataset takes precedence over a folder of the same name in the
        working directory (write ``./NAME`` for the folder).
    generated : GeneratorSettings
        Settings of the generated catalogue.
    data : Path or None
        ``--data``.
    workers : int
        Processes that generate the catalogue.
    console : Console

    Returns
    -------
    Catalogue
    NamedDataset or None
        The declaration of a named dataset.

    Raises
    ------
    InputError
        If there is no such dataset or path, ``--data`` does not apply, or the catalogue cannot be read.
    """
    datasets = named_datasets()
    if settings.name not in datasets:
        for start, reader in ELSEWHERE.items():
            if settings.name.startswith(start):
                return reader(settings.name, settings, console), None
        try:
            path = Path(settings.name).expanduser()
        except RuntimeError as error:
            raise InputError(f"{settings.name}: {error}", "write the full path") from None
        if data is not None and not path.exists():
            path = data / settings.name
        if not path.exists() and os.sep not in settings.name:
            raise InputError(
                f"no dataset {settings.name!r}",
                f"choose from {', '.join(datasets)}, or give the path of a *.bson, Parquet files or a folder",
            )
        return open_path(path, settings.name, settings, console), None
    named = datasets[settings.name]
    if named.method == "generate":
        if data is not None:
            raise InputError(
                f"--data {data} does not apply to the generated catalogue", "name a dataset with --dataset"
            )
        folder = _generated(generated, workers, console)
    else:
        folder = find_named(named.name, data) or fetch(named.name, console)
    defaults = DatasetSettings()
    changed = {
        name: getattr(named, name)
        for name in ("category", "product_id", "levels")
        if getattr(named, name) and getattr(settings, name) == getattr(defaults, name)
    }
    catalogue = open_path(folder, named.name, dataclasses.replace(settings, **changed), console)
    if named.products and len(catalogue.product_id) + catalogue.unlabelled != named.products:
        console.warn(f"{folder} has {len(catalogue.product_id):,} products; all of {named.name} has {named.products:,}")
    return catalogue, named
