"""A job: what workers need to compute shards, in files that they read from the cache.

Through the scheduler go only the name of the job's folder, the hash of what is in it, and the number of a shard.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import cache_dir
from shelfbench.base.version import __version__
from shelfbench.data.catalogue import ImageBytes
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.shards import Shard, Store
from shelfbench.data.shared_folder import shared_folder

WORK, POSITIONS, DIGESTS, BOUNDS = "work.pickle", "positions.npy", "digests.npy", "bounds.npy"
# Where the caches and the engine are; workers take them over.
VARIABLES = ("SHELFBENCH_CACHE", "SHELFBENCH_DATA", "KERAS_BACKEND", "KERAS_HOME", "HF_HOME", "TORCH_HOME")
# Packages that decide what features are; others may differ between machines.
PACKAGES = (
    "numpy",
    "pillow",
    "simplejpeg",
    "cykooz.resizer",
    "pillow-heif",
    "scikit-image",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "timm",
    "openvino",
    "onnxruntime",
    "distributed",
)


class CannotSend(Exception):
    """What computes the features cannot be pickled."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is sent to workers.

    Attributes
    ----------
    folder : str
        With the job's files.
    sha256 : str
        Of the file that is unpickled, so that nothing but what this run wrote ever is.
    """

    folder: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Work:
    """The file of a job.

    Attributes
    ----------
    store : dict
        The arguments of a `FeatureStore`, and its key.
    images : ImageBytes
    variables : dict of str to str
    folder : str
        The working directory.
    """

    store: dict[str, Any]
    images: ImageBytes
    variables: dict[str, str]
    folder: str


@contextmanager
def written(store: Store, images: ImageBytes, shards: Sequence[Shard]) -> Iterator[Job]:
    """Write a job into the cache; it is removed at the end, and so are those of processes that have ended.

    Parameters
    ----------
    store : Store
    images : ImageBytes
    shards : sequence of Shard

    Yields
    ------
    Job

    Raises
    ------
    CannotSend
        If what computes the features cannot be pickled.
    """
    work = Work(
        store={
            "extractor": store.extractor,
            "images": store.images,
            "root": store.folder.parent.absolute(),
            "key": store.key,
        },
        images=images,
        variables=_variables(),
        folder=str(Path.cwd()),
    )
    with shared_folder() as folder:
        job = sealed(work, folder)
        np.save(folder / POSITIONS, np.concatenate([shard.positions for shard in shards]))
        np.save(folder / DIGESTS, np.concatenate([shard.digests for shard in shards]))
        np.save(folder / BOUNDS, np.cumsum([0, *(len(shard.positions) for shard in shards)]))
        (folder / "stems").write_text("\n".join(shard.stem for shard in shards), encoding="ascii")
        yield job


def sealed(work: object, folder: Path) -> Job:
    """Pickle work into a folder; the hash that goes along makes sure that nothing else is ever unpickled.

    Parameters
    ----------
    work : object
    folder : Path

    Returns
    -------
    Job

    Raises
    ------
    CannotSend
        If it cannot be pickled.
    """
    try:
        content = pickle.dumps(work)
    except Exception as error:  # whatever a plug-in holds that cannot be pickled
        raise CannotSend(str(error)) from error
    (folder / WORK).write_bytes(content)
    return Job(folder=str(folder), sha256=hashlib.sha256(content).hexdigest())


def unsealed(job: Job) -> Any:
    """Read what `sealed` wrote, on a worker.

    Parameters
    ----------
    job : Job

    Returns
    -------
    object

    Raises
    ------
    InputError
        If the file is not to be seen from here, or is another one.
    """
    folder = Path(job.folder)
    try:
        content = (folder / WORK).read_bytes()
    except OSError:
        raise InputError(
            f"a worker on {socket.gethostname()} does not see the cache {folder.parent.parent}",
            "put it where all machines see it at the same path (SHELFBENCH_CACHE)",
        ) from None
    if hashlib.sha256(content).hexdigest() != job.sha256:
        raise InputError(f"{folder / WORK} is not what the run wrote", "start the run again")
    return pickle.loads(content)  # written by this very run: the hash is sent along


def _variables() -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
        "SHELFBENCH_CACHE": str(cache_dir().absolute()),
    }


def versions() -> dict[str, str]:
    """Return the versions of what decides about features in this process."""
    found = {"shelfbench": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


class OpenedJob:
    """A job in a worker's process.

    Parameters
    ----------
    job : Job

    Raises
    ------
    InputError
        If its files or the photos are not to be seen from here, or the features would be others.
    """

    def __init__(self, job: Job) -> None:
        folder, here, work = Path(job.folder), socket.gethostname(), unsealed(job)
        os.environ.update(work.variables)
        self.images = work.images
        _check_photos(work, here)
        extractor = work.store["extractor"]
        if hasattr(extractor, "workers"):
            extractor.workers = 1  # this process is one of many; Dask forbids it to start others
        quiet = Console(quiet=True)
        self.store = FeatureStore(extractor, work.store["images"], quiet, workers=1, root=work.store["root"])
        if self.store.key != work.store["key"]:
            raise InputError(
                f"a worker on {here} would compute other features: {_differing(self.store.key, work.store['key'])}",
                "install the same versions everywhere",
            )
        self._positions, self._digests = (np.load(folder / name, mmap_mode="r") for name in (POSITIONS, DIGESTS))
        self._bounds = np.load(folder / BOUNDS)
        self._stems = (folder / "stems").read_text(encoding="ascii").split("\n")

    def shard(self, number: int) -> Shard:
        """Return one of the job's shards."""
        part = slice(int(self._bounds[number]), int(self._bounds[number + 1]))
        return Shard(self._stems[number], np.array(self._positions[part]), np.array(self._digests[part]))


def _check_photos(work: Work, here: str) -> None:
    """Make sure that the first and the last file of the photos are here."""
    files = work.images.files
    for file in (*files[:1], *files[-1:]):
        if not file.is_absolute() and Path.cwd() != Path(work.folder):
            raise InputError(
                f"{file} is a relative path, and a worker on {here} works in {Path.cwd()}",
                f"give the full path of the data, or start the workers in {work.folder}",
            )
        if not file.exists():
            raise InputError(
                f"a worker on {here} does not see {file}", "put the data where all machines see them at the same path"
            )


def _differing(one: Any, other: Any, prefix: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        found = (_differing(one.get(key), other.get(key), f"{prefix}{key}.") for key in {**one, **other})
        return "; ".join(filter(None, found))
    return "" if one == other else f"{prefix.rstrip('.')} is {one} there and {other} here"
