"""Datasets by name or path: which reader opens them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.locking import waiting
from shelfbench.base.storage import cache_dir, fingerprint
from shelfbench.base.using import used
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.fetch import fetch
from shelfbench.data.formats import ENDINGS, FORMATS
from shelfbench.data.named import NamedDataset, find_named, named_datasets
from shelfbench.data.sources.elsewhere import brought_here, is_elsewhere
from shelfbench.data.sources.folder import read_folder
from shelfbench.data.sources.nesting import PACKED
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.generator import GeneratorSettings


def is_drawn(settings: GeneratorSettings) -> bool:
    """Tell whether the catalogue generated with these settings is in the cache."""
    return (_generated_folder(settings) / "generator.json").exists()


def _generated_folder(settings: GeneratorSettings) -> Path:
    from shelfbench.generator.write import VERSION

    described = dataclasses.asdict(settings)
    if settings.counts and Path(settings.counts).is_file():
        described["counts"] = Path(settings.counts).read_text(encoding="utf-8")
    return cache_dir() / "generated" / fingerprint([VERSION, described])


def _generated(settings: GeneratorSettings, workers: int, console: Console) -> Path:
    """Return the folder of the catalogue generated with these settings; generate it if the cache lacks it.

    A photo that has changed on the disk would change results without a word, so a damaged catalogue is drawn anew.
    """
    from shelfbench.generator import generate
    from shelfbench.generator.write import changed_file

    folder = _generated_folder(settings)
    used(folder)
    if not is_drawn(settings) or changed_file(folder):
        with waiting(folder, "the same catalogue", console):
            there = is_drawn(settings)
            changed = changed_file(folder) if there else None
            if changed:
                console.warn(f"{changed} is not what was written; the catalogue is drawn anew")
            if changed or not there:
                generate(folder, settings, console, workers)
    used(folder)
    return folder


def open_path(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    """Open the catalogue at a path, whatever its format.

    Parameters
    ----------
    path : Path
        A file with a suffix among `shelfbench.data.formats.FORMATS`, or a folder in one of the layouts of
        `shelfbench.data.sources.layout`.
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
        if (form := FORMATS.get(path.suffix.lower())) is None:
            known = f"give a folder, or a file that ends in {ENDINGS}"
            remedy = next((remedy for ends, remedy in PACKED if path.name.lower().endswith(ends)), known)
            raise InputError(f"{path} is not a catalogue", remedy)
        return form.read(path, name, settings, console)
    except PermissionError as error:
        raise InputError(f"no permission to read {error.filename}", "change its permissions") from None


def _path_of(name: str, data: Path | None) -> Path:
    """Return the path of a dataset that is not a named one."""
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise InputError(f"{name}: {error}", "write the full path") from None
    if data is not None and not path.exists():
        path = data / name
    if not path.exists() and os.sep not in name:
        raise InputError(
            f"no dataset {name!r}",
            f"choose from {', '.join(named_datasets())}, or give the path of a folder, or of a file that ends in "
            f"{ENDINGS}",
        )
    if not path.exists():
        raise InputError(
            f"{path} does not exist", "correct the path, or list the named datasets with: shelfbench datasets"
        )
    return path


def check_dataset(name: str, data: Path | None) -> None:
    """Make sure that a dataset given by its path is there, without opening it.

    Parameters
    ----------
    name : str
        A named dataset, a path, or a place elsewhere; only a path with a folder or a suffix is looked at.
    data : Path or None
        ``--data``.

    Raises
    ------
    InputError
        If nothing is at the path.
    """
    # a bare word may be a dataset that an experiment finds by itself, as that of ImageNet does
    if (os.sep in name or Path(name).suffix) and not is_elsewhere(name):
        try:
            _path_of(name, data)
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
        if is_elsewhere(settings.name):
            return open_path(brought_here(settings.name, console), settings.name, settings, console), None
        path = _path_of(settings.name, data)
        return open_path(path, settings.name, settings, console), None
    named = datasets[settings.name]
    if named.method == "generate":
        if data is not None:
            raise InputError(
                f"--data {data} does not apply to the generated catalogue",
                f"name a dataset with --dataset; for products of your own, --dataset {data}",
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
