"""Photos on a page: the most confident errors (Figure 6, also as a gallery), labels to check, one category's errors."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from shelfbench.base.errors import InputError
from shelfbench.base.grid import percent
from shelfbench.base.storage import load_json, write_json, write_whole
from shelfbench.report.data import ERRORS, RunData
from shelfbench.report.errors import surest_frame
from shelfbench.report.fonts import wrapped
from shelfbench.report.render import fill
from shelfbench.report.section import NamedFigure, Section

_THUMBNAIL = 128  # pixels at most
_LETTERS = 7  # points


@dataclass(frozen=True)
class _Photo:
    """A thumbnail, and the row of a table that it shows."""

    thumbnail: bytes
    row: dict[str, Any]


def surest_photos(data: RunData) -> Section | None:
    """Figure 6 (C, Fig. 6: ambiguous products), and its thumbnails with a switch that hides all photos.

    Parameters
    ----------
    data : RunData
        If products cannot be photographed, the thumbnails that the run left are shown.

    Returns
    -------
    Section or None
        None if there are no photos.

    Raises
    ------
    InputError
        If the thumbnails that the run left are damaged.
    """
    surest = data.once(surest_frame)
    taken = _take(data, surest)
    heading = f"{data.numbered('Figure 6', 'Most confident errors')}: true category → predicted category"
    html = _thumbnails(data, "confusions", taken, heading)
    figures = (NamedFigure(name="figure6", draw=lambda: _figure6(taken), on_page=False),) if taken else ()
    return Section(title=ERRORS, html=html, figures=figures) if html else None


def label_photos(data: RunData, rows: pd.DataFrame) -> Markup:
    """Thumbnails of products whose label is to be checked; empty if there are no photos.

    Parameters
    ----------
    data : RunData
        As for `surest_photos`.
    rows : DataFrame
        With ``product_id``, ``category`` (its label), ``predicted`` and ``probability``.

    Returns
    -------
    Markup

    Raises
    ------
    InputError
        As for `surest_photos`.
    """
    return _thumbnails(data, "suspects", _take(data, rows), "Label → suggested label")


def grouped_photos(data: RunData, rows: pd.DataFrame) -> Markup:
    """Thumbnails of errors in groups; nothing is kept in the run directory.

    Parameters
    ----------
    data : RunData
        As for `surest_photos`.
    rows : DataFrame
        As for `label_photos`, with ``group``, a heading, and ``note``, a few more words on each.

    Returns
    -------
    Markup
        Empty if there are no photos.
    """
    groups: dict[str, list[_Photo]] = {}
    for image, row in _take(data, rows):
        groups.setdefault(row["group"], []).append(_Photo(_jpeg(image), row))
    shown = [(heading, _captioned(photos)) for heading, photos in groups.items()]
    return fill("thumbnails", groups=shown) if shown else Markup()


def _take(data: RunData, rows: pd.DataFrame | None) -> list[tuple[Image.Image, dict[str, Any]]]:
    """Photos of the products of some rows, at most 256 pixels wide and high, with their rows."""
    if data.photograph is None or rows is None:
        return []
    found = []
    for row in rows.to_dict("records"):
        photo = data.photograph(row["product_id"])
        if photo is not None:
            image = photo.convert("RGB")
            image.thumbnail((256, 256))
            found.append((image, {str(key): value for key, value in row.items()}))
    return found


def _thumbnails(data: RunData, name: str, taken: Sequence[tuple[Image.Image, dict[str, Any]]], heading: str) -> Markup:
    """Show photos that were just taken, and keep them; or those that the run left."""
    folder = data.run.path / "figures" / name
    if taken:
        photos = [_Photo(_jpeg(image), row) for image, row in taken]
        _keep(folder, photos)
    else:
        photos = _kept(folder)
    return _shown(folder, photos, heading) if photos else Markup()


def _keep(folder: Path, photos: list[_Photo]) -> None:
    """Keep the thumbnails for reports made without the data, with a list of what they show."""
    listed = folder / f"{folder.name}.json"
    # the list is deleted first and written last, so that it never lists photos of another run
    listed.unlink(missing_ok=True)
    for stale in folder.glob("*.jpg"):
        stale.unlink()
    entries = []
    for number, photo in enumerate(photos, start=1):
        file = f"{number:02d}.jpg"
        write_whole(folder / file, lambda aside, photo=photo: aside.write_bytes(photo.thumbnail))  # type: ignore[misc]
        entries.append({"file": file, **photo.row})
    write_json(listed, entries)


def _kept(folder: Path) -> list[_Photo]:
    """Thumbnails that the run left."""
    listed = folder / f"{folder.name}.json"
    if not listed.is_file():
        return []
    try:
        entries = load_json(listed)
        return [_Photo((folder / Path(entry["file"]).name).read_bytes(), entry) for entry in entries]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise _damaged(folder, error) from error


def _shown(folder: Path, photos: list[_Photo], heading: str) -> Markup:
    try:
        return fill("thumbnails", groups=[(heading, _captioned(photos))])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def _captioned(photos: list[_Photo]) -> list[dict[str, Any]]:
    """Photos as the template shows them."""
    return [
        {
            "data": base64.b64encode(photo.thumbnail).decode("ascii"),
            "category": photo.row["category"],
            "predicted": photo.row["predicted"],
            "probability": percent(float(photo.row["probability"])),
            "product": photo.row["product_id"],
            "note": photo.row.get("note", ""),
        }
        for photo in photos
    ]


def _damaged(folder: Path, error: Exception) -> InputError:
    listed = folder / f"{folder.name}.json"
    return InputError(f"{listed} cannot be read ({error})", "delete its folder and run the study again")


def _jpeg(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=85)
    return written.getvalue()


def _figure6(shown: list[tuple[Image.Image, dict[str, Any]]]) -> Figure:
    """Gallery of confident confusions."""
    across = min(6, len(shown))
    down = -(-len(shown) // across)
    # a photo, and five lines of text above it
    height = min(9.6 / across, 1.6) + 5 * 1.35 * _LETTERS / 72
    figure = Figure(figsize=(9.6, height * down + 0.1), layout="constrained")
    width = 72 * 9.6 / across - 10
    grid = np.atleast_1d(np.asarray(figure.subplots(down, across))).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (image, row) in zip(grid, shown, strict=False):
        axes.imshow(np.asarray(image))
        axes.set_title(
            f"{wrapped(row['category'], width, _LETTERS, 2)}\n"
            f"{wrapped('→ ' + row['predicted'], width, _LETTERS, 2)}\n{_sure(row['probability'])} sure",
            fontsize=_LETTERS,
            fontweight="normal",
            pad=3,
            loc="center",
        )
    return figure


def _sure(probability: float) -> str:
    return "> 99.9%" if probability > 0.9995 else percent(probability)
