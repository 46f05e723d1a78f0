"""What a network is called in tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

# Characters of a file's name; longer ones leave no room for the rest of a figure.
_LONGEST = 40


def feature_labels(features: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name the features of the backends of a run as Table 4 does, so that no two networks have one name.

    Parameters
    ----------
    features : mapping of str to str
        By backend, the column ``Feature`` of its record.
    settings : mapping of str to mapping
        By backend, those that it was built from.

    Returns
    -------
    dict of str to str
    """
    labels, sources = {}, dict[str, set[str]]()
    for backend, feature in features.items():
        network = network_label(backend, settings[backend])
        labels[backend] = f"{feature} ({network})" if network else feature
        sources.setdefault(labels[backend], set()).add(_address(backend, settings[backend]))
    for backend in [backend for backend, label in labels.items() if len(sources[label]) > 1]:
        # files of the same name in different folders
        address = _address(backend, settings[backend])
        given = address.startswith("features:")
        labels[backend] = f"Embeddings ({address[9:]})" if given else f"{features[backend]} ({address})"
    return labels


def _address(backend: str, settings: Mapping[str, Any]) -> str:
    """Return the backbone that a backend's name or its settings give; empty for a network of the papers."""
    if address := backend.partition("@")[2]:
        return address
    if isinstance(given := settings.get("features"), str):
        return f"features:{given}"
    own = str((settings.get("backbone") or {}).get("name", ""))
    return own if any(mark in own for mark in ":./\\") else ""


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
    address = _address(backend, settings)
    if address.startswith("features:"):  # these are the features of Table 4
        return ""
    if not address.endswith((".onnx", ".keras")):
        return address
    path = PurePath(address)
    name = path.name if len(path.name) <= _LONGEST else f"{path.name[: _LONGEST // 2]}…{path.name[-_LONGEST // 2 :]}"
    # model.onnx in a folder onnx is what networks are called that come from the same converter
    folders = [folder for folder in path.parent.parts if folder not in ("onnx", "..", "/", "~")]
    return f"{folders[-1]}/{name}" if folders and path.stem.startswith("model") else name
