"""Names that are links: which they are, and which of them are followed."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import numpy as np

from shelfbench.base.errors import InputError

WEB = ("http", "https")
# Stores of objects that fsspec knows. What a table says is not trusted: no scheme that reads this machine belongs here.
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory")
FOLLOWED = {*WEB, *STORES}
# "C:\photos" is not a link; "file:/x" without its slashes is not one either, and not a file that exists
_LINK = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+)://")


def scheme_of(name: object) -> str:
    """Return the scheme of a link, in lower case; empty for a path.

    Parameters
    ----------
    name : object
        A cell of a table, or a path.

    Returns
    -------
    str
        ``https``, ``s3`` and so on.
    """
    if not isinstance(name, str) or "://" not in name:
        return ""
    if name.startswith("https://"):  # a million of them take a second otherwise
        return "https"
    match = _LINK.match(name)
    return match.group(1).lower() if match else ""


def is_link(name: object) -> bool:
    """Tell whether a name is a link (``https://...``, ``s3://...``) and not a path."""
    return bool(scheme_of(name))


def host_of(link: str) -> str:
    """Return the server of a link with its port; the bucket, for a store."""
    try:
        return urlsplit(link.strip()).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def schemes_of(names: np.ndarray) -> np.ndarray:
    """Return the scheme of each name of a table.

    Parameters
    ----------
    names : ndarray of object, shape (images,)

    Returns
    -------
    ndarray of object, shape (images,)
        Empty for a path.

    Raises
    ------
    InputError
        If a link is of a kind that is not followed, such as ``file://``.
    """
    schemes = np.array([scheme_of(name) for name in names.tolist()], object)
    for scheme in sorted(set(schemes.tolist()) - {"", *FOLLOWED}):
        row = int(np.flatnonzero(schemes == scheme)[0])
        raise InputError(
            f"{str(names[row])[:200]!r} is a link of the kind {scheme}://, which is not followed in a table",
            f"use http:// or https://, {', '.join(f'{store}://' for store in STORES[:4])}, or paths",
        )
    return schemes
