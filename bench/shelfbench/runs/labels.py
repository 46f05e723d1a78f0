"""What a network is called in tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def network_label(backend: str, settings: Mapping[str, Any]) -> str:
    """Name the network of a backend in few words.

    Parameters
    ----------
    backend : str
        Its name in the run.
    settings : mapping
        Those that it was built from.

    Returns
    -------
    str
        A file by its name, a network of a library by its address; empty for the study's own network of the papers,
        and for embeddings that are given.
    """
    if not (address := backend.partition("@")[2]):
        own = str((settings.get("backbone") or {}).get("name", ""))
        address = own if any(mark in own for mark in ":./\\") else ""
    if address.startswith("features:"):  # these are the features of Table 4
        return ""
    if not address.endswith((".onnx", ".keras")):
        return address
    path = PurePath(address)
    # model.onnx in a folder onnx is what networks are called that come from the same converter
    folders = [folder for folder in path.parent.parts if folder not in ("onnx", "..", "/", "~")]
    return f"{folders[-1]}/{path.name}" if folders and path.stem.startswith("model") else path.name
