"""Catalogues that are not on this machine: tables and folders behind a link, datasets of the hub.

They are copied into the cache, photos and all, and read there like any other; only the photos of a table are fetched
one by one, as they are read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.grid import number_of
from shelfbench.base.locking import waiting
from shelfbench.base.storage import cache_dir, load_json, storage_errors, write_json, write_text, write_whole
from shelfbench.base.using import used
from shelfbench.data.sources.cloud import explained, file_system
from shelfbench.data.sources.hub import PREFIX, hub_copy
from shelfbench.data.sources.links import WEB, is_link, scheme_of
from shelfbench.data.sources.web import Limits, LinkError, WebClient

_ORIGIN = ".origin"
_LISTING = ".listing.json"
_THREADS = 8
_TABLE = 2 << 30


def is_elsewhere(name: str) -> bool:
    """Tell whether the name of a dataset is a link or a dataset of the hub."""
    return name.startswith(PREFIX) or is_link(name)


def brought_here(name: str, console: Console) -> Path:
    """Copy what lies elsewhere into the cache.

    Parameters
    ----------
    name : str
        ``hf:ORG/NAME``; ``https://...`` of a table or a file; ``s3://...`` and so on, of a file or a folder.
    console : Console

    Returns
    -------
    Path
        The file or the folder in the cache.

    Raises
    ------
    InputError
        If there is nothing, a package is missing, or the disk is too small.
    RunError
        If it cannot be fetched.
    """
    if name.startswith(PREFIX):
        return hub_copy(name, console)
    name = name.strip()
    home = cache_dir() / "elsewhere" / hashlib.sha256(name.rstrip("/").encode()).hexdigest()[:32]
    with waiting(home, f"a copy of {name}", console):
        used(home)
        found = _by_web(name, home, console) if scheme_of(name) in WEB else _by_store(name, home, console)
        used(home)
        return found


def link_of(origin: str, name: str) -> str:
    """Return the link of a photo from its path in a table that was copied here.

    Parameters
    ----------
    origin : str
        Where the table came from (see `origin_of`).
    name : str
        Path relative to it, separated by ``/``.

    Returns
    -------
    str
    """
    return urljoin(origin, quote(name)) if scheme_of(origin) in WEB else origin + name


def origin_of(root: Path) -> str:
    """Return where a table in the cache came from, with a slash at the end; empty for any other folder."""
    if not root.is_relative_to(cache_dir() / "elsewhere"):
        return ""
    try:
        return (root / _ORIGIN).read_text(encoding="utf-8")
    except OSError:
        return ""


def _by_web(link: str, home: Path, console: Console) -> Path:
    """Fetch a file; if the server does not answer, the copy of an earlier run is read."""
    parts = urlsplit(link)
    target = home / (PurePosixPath(unquote(parts.path)).name or "index.html")
    console.log(f"fetching {link}")
    try:
        data = WebClient(Limits(total=600.0, largest=_TABLE)).get(link)
    except LinkError as error:
        reason = error.reason.replace("instead of a photo", "instead of a table")
        if target.exists():
            console.warn(f"{link}: {reason}; the copy of an earlier run is read")
            return target
        raise RunError(
            f"{link} could not be fetched ({reason})", "check the link, or give a file on this machine"
        ) from None
    write_whole(target, lambda aside: aside.write_bytes(data))
    write_text(home / _ORIGIN, urljoin(link, "."))
    return target


def _by_store(link: str, home: Path, console: Console) -> Path:
    """Copy a file or a folder of a store; what is here already and has not changed is not copied again."""
    store, path = file_system(link)
    try:
        single = store.isfile(path)
        found = {path: store.info(path)} if single else store.find(path, detail=True)
    except Exception as error:  # each store raises its own
        raise RunError(
            f"{link} cannot be read: {explained(error)}", "check the path, the network and your access"
        ) from None
    if not found:
        raise InputError(f"{link} does not exist or is empty", "correct the path")
    wanted = dict(_placed(found, "" if single else path, link))
    if single:
        beside = path.rpartition("/")[0] + "/category_names.csv"  # Cdiscount's names of categories
        if path.lower().endswith(".bson") and store.exists(beside):
            wanted["category_names.csv"] = (beside, store.info(beside))
    listing = {name: [info.get("size"), _stamp(info)] for name, (_, info) in wanted.items()}
    before = _read_listing(home / _LISTING)
    lacking = [name for name in wanted if listing[name] != before.get(name) or not (home / name).exists()]
    for stale in {*lacking, *(set(before) - set(wanted))}:
        (home / stale).unlink(missing_ok=True)
    try:
        _copy(store, link, home, {name: wanted[name] for name in lacking}, console)
    finally:  # an interrupted copy goes on with what it lacks
        write_json(home / _LISTING, {name: state for name, state in listing.items() if (home / name).exists()})
    if single:
        write_text(home / _ORIGIN, f"{link.rpartition('/')[0]}/")
        return home / PurePosixPath(path).name
    return home


def _placed(found: dict[str, Any], root: str, link: str) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Give each object its path below the copy."""
    for path, info in found.items():
        name = path[len(root) :].strip("/") if root else PurePosixPath(path).name
        parts = PurePosixPath(name).parts
        if info.get("type") == "directory" or not name:
            continue
        if ".." in parts or "\0" in name or os.path.isabs(name):
            raise InputError(f"{link} contains the name {name!r}, which leads out of it", "rename it")
        yield name, (path, info)


def _stamp(info: dict[str, Any]) -> str:
    """Return what changes when an object does."""
    for key in (
        "ETag",
        "etag",
        "md5Hash",
        "content_md5",
        "LastModified",
        "last_modified",
        "updated",
        "mtime",
        "created",
    ):
        if info.get(key):
            return str(info[key])
    return ""


def _read_listing(path: Path) -> dict[str, Any]:
    try:
        read = load_json(path)
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _copy(store: Any, link: str, home: Path, wanted: dict[str, tuple[str, Any]], console: Console) -> None:
    """Copy objects in threads; each appears whole or not at all."""
    if not wanted:
        return
    size = sum(int(info.get("size") or 0) for _, info in wanted.values())
    with storage_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        used(home)
        free = shutil.disk_usage(home).free
    if size > free:
        raise InputError(
            f"{link} takes {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {home}",
            "free some space, or choose another disk with SHELFBENCH_CACHE",
        )
    console.log(f"copying {number_of(len(wanted), 'file')} ({size / 1e6:,.0f} MB) of {link} into {home}")
    failed: list[str] = []
    stop = threading.Event()

    def one(item: tuple[str, tuple[str, Any]]) -> int:
        name, (path, info) = item
        if stop.is_set():
            return 0
        try:
            write_whole(home / name, lambda aside: store.get_file(path, str(aside)))
        except (InputError, RunError):
            raise
        except Exception as error:  # each store raises its own
            failed.append(f"{path}: {explained(error)}")
        return int(info.get("size") or 0)

    with console.progress(size, f"copying {link}", "bytes") as bar, ThreadPoolExecutor(_THREADS) as pool:
        try:
            for done in pool.map(one, wanted.items()):
                bar.update(done)
        finally:
            stop.set()
    if failed:
        raise RunError(
            f"{len(failed):,} of {len(wanted):,} files of {link} could not be copied ({failed[0][:200]})",
            "run the same command again; it goes on from here",
        )
