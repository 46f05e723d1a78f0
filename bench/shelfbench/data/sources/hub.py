"""Datasets of the Hugging Face Hub: what the hub says of their files, downloading them, and ``hf:ORG/NAME``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError, ShelfbenchError
from shelfbench.base.locking import waiting
from shelfbench.base.storage import cache_dir, file_sha256, load_json, storage_errors, write_json
from shelfbench.base.using import used

PREFIX = "hf:"
# The branch on which the hub keeps a copy of a dataset in Parquet: CONFIG/SPLIT/0000.parquet.
CONVERTED = "refs/convert/parquet"
NOTE = "fetched.json"
_NAME = re.compile(r"hf:(?P<repository>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[^@:]+))?(?:@(?P<revision>[^@]+))?")


@dataclass(frozen=True)
class HubFile:
    """A file of a dataset; its size in bytes and its SHA-256, where the hub publishes them."""

    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class HubDataset:
    """What the hub says of a dataset.

    Attributes
    ----------
    repository, revision : str
        The revision is a commit.
    files : dict of str to HubFile
    """

    repository: str
    revision: str
    files: dict[str, HubFile]

    def matching(self, patterns: Sequence[str]) -> list[str]:
        """Return the files whose name matches one of these patterns."""
        return [name for name in self.files if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def look_up(repository: str, revision: str | None) -> HubDataset:
    """Ask the hub which files a dataset has.

    Parameters
    ----------
    repository : str
    revision : str or None
        A commit, a branch, or None for the newest.

    Returns
    -------
    HubDataset
    """
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
    files = {
        file.rfilename: HubFile(file.size, getattr(file.lfs, "sha256", None) if file.lfs else None)
        for file in info.siblings or ()
    }
    return HubDataset(repository, str(info.sha), files)


def download(there: HubDataset, wanted: Sequence[str], folder: Path) -> None:
    """Download files of a dataset, check them, and note in ``fetched.json`` what they are.

    Parameters
    ----------
    there : HubDataset
    wanted : sequence of str
    folder : Path
        An interrupted download goes on there.

    Raises
    ------
    RunError
        If a file lacks, or is not as the hub publishes it.
    """
    from huggingface_hub import snapshot_download

    snapshot_download(
        there.repository,
        repo_type="dataset",
        revision=there.revision,
        allow_patterns=list(wanted),
        local_dir=folder,
    )
    noted = {}
    for name in wanted:
        path, published = folder / name, there.files[name]
        if not path.is_file():
            raise RunError(f"{name} of {there.repository} did not come", "run the same command again")
        size, sha256 = path.stat().st_size, file_sha256(path)
        if published.size not in (None, size) or published.sha256 not in (None, sha256):
            path.unlink()
            raise RunError(
                f"{name} of {there.repository} is not what the hub publishes (its size or its SHA-256 differs)",
                "run the same command again",
            )
        noted[name] = {"bytes": size, "sha256": sha256, "checked": published.sha256 is not None}
    write_json(folder / NOTE, {"repository": there.repository, "revision": there.revision, "files": noted})


def hub_copy(name: str, console: Console) -> Path:
    """Return the folder with the Parquet files of a dataset of the hub, fetching them if they are not here.

    Parameters
    ----------
    name : str
        ``hf:ORG/NAME``; with several configurations ``hf:ORG/NAME:CONFIG``; another commit or branch than the newest of
        the hub's conversion to Parquet ``hf:ORG/NAME@REVISION``.
    console : Console

    Returns
    -------
    Path
        A folder with one folder for each part of the split.

    Raises
    ------
    InputError
        If the name is not of this form, the package is not installed, or the dataset has no such files.
    RunError
        If the hub cannot be reached or refuses.
    """
    if (match := _NAME.fullmatch(name)) is None:
        raise InputError(
            f"{name!r} is not a dataset of the hub", "write hf:ORG/NAME, hf:ORG/NAME:CONFIG or ...@REVISION"
        )
    repository, config, revision = match["repository"], match["config"], match["revision"]
    home = cache_dir() / "hub" / repository.replace("/", "--")
    known = home / f"{re.sub(r'[^A-Za-z0-9.-]', '_', revision or 'newest')}.json"
    used(home)
    try:
        if (kept := _kept(known, home, config)) is not None:
            console.log(f"{name} is revision {kept.parent.name}, fetched before (removing {known} asks for the newest)")
            return kept
        there = look_up(repository, revision or CONVERTED)
        config, shards = _shards(there, name, config)
        if any("/partial-" in shard for shard in shards):
            console.warn(f"{name}: the hub converted only the first part of it to Parquet, and that part is read")
        console.log(f"fetching {len(shards):,} Parquet files of {name}, revision {there.revision}")
        with storage_errors(home), waiting(home / there.revision, f"the download of {name}", console):
            home.mkdir(parents=True, exist_ok=True)
            used(home)
            download(there, shards, home / there.revision)
    except ImportError as error:
        raise InputError(
            f"{PREFIX} needs the package {error.name}", "python -m pip install 'shelfbench[fetch]'"
        ) from error
    except ShelfbenchError:
        raise
    except Exception as error:  # the hub raises its own errors without a network, without access or for a wrong name
        said = str(error).strip().splitlines()
        reason = f"{type(error).__name__}{f': {said[0][:200]}' if said else ''}"
        raise RunError(
            f"{name} could not be fetched ({reason})",
            "check the name and the network; or download the Parquet files from "
            f"https://huggingface.co/datasets/{repository}/tree/refs%2Fconvert%2Fparquet and give their folder",
        ) from error
    write_json(known, {"revision": there.revision, "configs": [*_configs(known), config]})
    return home / there.revision / config


def _configs(known: Path) -> list[str]:
    try:
        return list(load_json(known)["configs"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _kept(known: Path, home: Path, config: str | None) -> Path | None:
    """Return the folder that an earlier call fetched, if it is whole and what is meant."""
    configs = _configs(known)
    if config is None and len(configs) != 1:
        return None
    config = config or configs[0]
    if config not in configs:
        return None
    folder = home / load_json(known)["revision"] / config
    return folder if folder.is_dir() else None


def _shards(there: HubDataset, name: str, config: str | None) -> tuple[str, list[str]]:
    """Choose the Parquet files of a configuration; the only one if none is named."""
    shards = [file for file in there.files if file.endswith(".parquet")]
    configs = sorted({file.split("/")[0] for file in shards if "/" in file})
    if not configs:
        raise InputError(
            f"{name}: revision {there.revision} contains no Parquet files in folders",
            "is it an image dataset? give the folder of its files instead",
        )
    if config is None and len(configs) > 1:
        raise InputError(
            f"{name} has {len(configs)} configurations ({', '.join(configs[:8])}{', ...' if len(configs) > 8 else ''})",
            f"name one: hf:{there.repository}:{configs[0]}",
        )
    if config is not None and config not in configs:
        raise InputError(f"{name} has no configuration {config!r}", f"choose from {', '.join(configs[:20])}")
    config = config or configs[0]
    return config, [file for file in shards if file.startswith(f"{config}/")]
