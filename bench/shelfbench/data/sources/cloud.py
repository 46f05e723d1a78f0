"""Stores of objects (``s3://``, ``gs://`` and others) through fsspec: photos, and folders copied here."""

from __future__ import annotations

import threading
from typing import Any

from shelfbench.base.errors import InputError, RunError, first_line
from shelfbench.data.sources.links import scheme_of
from shelfbench.data.sources.web import LinkError


def file_system(link: str) -> tuple[Any, str]:
    """Return fsspec's file system for a link, and the path in it.

    Parameters
    ----------
    link : str
        ``s3://bucket/path``, ``gs://bucket/path`` and so on.

    Returns
    -------
    AbstractFileSystem
    str

    Raises
    ------
    InputError
        If the package that reads such links is not installed, or nobody knows them.
    RunError
        If the store cannot be reached.
    """
    try:
        import fsspec

        found: tuple[Any, str] = fsspec.core.url_to_fs(link)
        return found
    except ImportError as error:
        raise InputError(
            f"{scheme_of(link)}:// needs another package ({first_line(error)})",
            "python -m pip install 'shelfbench[cloud]'",
        ) from None
    except ValueError as error:
        raise InputError(f"{link[:200]} cannot be opened ({first_line(error)})", "correct the path") from None
    except Exception as error:  # each store raises its own
        raise RunError(
            f"{link[:200]} cannot be opened: {explained(error)}", "check the path, the network and your access"
        ) from None


def explained(error: Exception) -> str:
    """Say in a few words why an object of a store cannot be had."""
    if isinstance(error, FileNotFoundError):
        return "not in the store"
    if isinstance(error, PermissionError):
        return "no permission"
    said = str(error).strip().splitlines()
    return f"the store fails: {type(error).__name__}{f' ({said[0][:100]})' if said else ''}"


class StoreClient:
    """Gets photos from stores, from many threads at once; fsspec has time-outs and retries of its own.

    Parameters
    ----------
    largest : int
        Bytes of the largest photo.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.stopped = threading.Event()

    def __reduce__(self) -> tuple[type[StoreClient], tuple[int]]:
        """Connect anew in each process."""
        return StoreClient, (self._largest,)

    def get(self, link: str) -> bytes:
        """Read one object.

        Parameters
        ----------
        link : str

        Returns
        -------
        bytes

        Raises
        ------
        LinkError
            If it cannot be had.
        """
        store, path = file_system(link)
        try:
            data = bytes(store.cat_file(path, end=self._largest + 1))
        except Exception as error:  # each store raises its own
            lost = not isinstance(error, FileNotFoundError | PermissionError)
            raise LinkError(explained(error), unreachable=lost) from None
        if len(data) > self._largest:
            raise LinkError(f"larger than {self._largest >> 20} MiB")
        if not data:
            raise LinkError("empty object")
        return data
