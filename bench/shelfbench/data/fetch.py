"""Fetching a named dataset: once, checked, and with a note of what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError, first_line
from shelfbench.base.locking import waiting
from shelfbench.base.partial import aside_file
from shelfbench.base.storage import cache_dir, storage_errors
from shelfbench.base.using import used
from shelfbench.data.named import NamedDataset, find_named, named_datasets
from shelfbench.data.sources.hub import download, look_up


def enough_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Parameters
    ----------
    folder : Path
        Where it would be kept; need not exist yet.
    needed : int
        Bytes.
    what : str
        For the message.

    Raises
    ------
    InputError
        If less is free.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise InputError(
            f"{what} takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {folder}",
            "free some space, or choose another disk with SHELFBENCH_CACHE",
        )


def device(path: Path) -> int:
    """Return the disk that a file or a folder is on."""
    return path.stat().st_dev


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
        If the name is unknown, the disk is too small or the package that fetches it is not installed.
    RunError
        If the network does not answer, access is refused (the message says which files to put where), or what came is
        not what the hub publishes.
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
    enough_disk(target, dataset.bytes, f"{name} ({dataset.size})")
    console.log(f"fetching {dataset.title} ({dataset.size}); licence: {dataset.licence}")
    try:
        with storage_errors(target), waiting(target, f"the download of {name}", console) as waited:
            if waited and (found := find_named(name, None)) is not None:
                return found
            target.mkdir(parents=True, exist_ok=True)
            used(target)
            if dataset.method == "huggingface":
                _from_hub(dataset, target, console)
            else:
                _from_kaggle(dataset, target, console)
    except ImportError as error:
        raise InputError(
            f"fetching {name} needs the package {error.name}", "python -m pip install 'shelfbench[fetch]'"
        ) from error
    except (InputError, RunError):
        raise
    except Exception as error:  # each hub raises its own errors without a network, without access or for a missing file
        raise RunError(
            f"{name} could not be fetched ({type(error).__name__}: {first_line(error)})", _place_by_hand(dataset)
        ) from error
    if (found := find_named(name, None)) is None:
        raise RunError(f"the download of {name} into {target} is incomplete", _place_by_hand(dataset))
    return found


def _from_hub(dataset: NamedDataset, target: Path, console: Console) -> None:
    """Download from Hugging Face, check files against what the hub publishes, and count the products."""
    import pyarrow.parquet as pq

    there = look_up(dataset.repository, dataset.revision or None)
    download(there, there.matching(dataset.patterns), target)
    console.log(f"{dataset.name} is revision {there.revision} of {dataset.repository}")
    counted = sum(pq.read_metadata(path).num_rows for path in target.rglob("[!.]*.parquet"))
    if dataset.products and counted != dataset.products:
        console.warn(f"revision {there.revision} has {counted:,} products, not {dataset.products:,}")


def _from_kaggle(dataset: NamedDataset, target: Path, console: Console) -> None:
    """Download from Kaggle, whose package has a cache of its own; what it leaves there is moved, not copied."""
    import kagglehub

    for pattern in dataset.patterns:
        if (target / pattern).exists():
            continue
        kept = Path(kagglehub.competition_download(dataset.repository, path=pattern))
        if not kept.exists():  # moved away by an earlier fetch
            kept = Path(kagglehub.competition_download(dataset.repository, path=pattern, force_download=True))
        size = kept.stat().st_size
        if device(kept) != device(target):
            enough_disk(target, size, f"{pattern} ({size / 1e9:.1f} GB)")
            console.log(
                f"Kaggle's cache ({kept.parent}) is on another disk than {target}: {pattern} is copied and then "
                "removed there (KAGGLEHUB_CACHE can name a folder on the same disk)"
            )
        with aside_file(target / pattern) as aside:
            shutil.move(kept, aside)
            if aside.stat().st_size != size:
                raise RunError(f"{pattern} was not moved whole from {kept}", "fetch it again")
            aside.rename(target / pattern)
