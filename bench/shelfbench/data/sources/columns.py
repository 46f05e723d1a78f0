"""Columns of tables, whose headers people write in their own way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from shelfbench.base.errors import InputError

# What people call the column that a role needs; offered in the message, never taken without being asked.
# the likeliest first
USUAL = {
    "file_name": (
        *("image_file_name", "image_file", "image_path", "image_name", "image_url", "image_link", "image_src", "image"),
        *("img_path", "img_url", "img", "photo_path", "photo_url", "photo", "picture_url", "picture"),
        *("bild_url", "bildurl", "bild_link", "bildlink", "bildpfad", "bilddatei", "bild", "foto_url", "foto"),
        *("url_image", "lien_image", "url_imagen", "imagen", "url_immagine", "immagine", "afbeelding"),
        *("filename", "file_path", "filepath", "file", "path", "url", "link"),
        *("dateiname", "dateipfad", "datei", "fichier", "archivo"),
    ),
    "category": (
        *("label", "category_name", "category_id", "class", "class_name", "categories", "labels", "target"),
        *("product_category", "product_type", "article_type", "articletype", "type"),
        *("kategorie", "produktkategorie", "warengruppe", "artikelgruppe", "produktgruppe", "produkttyp"),
        *("catégorie", "categorie", "categoría", "categoria"),
    ),
    "product_id": (
        *("sku", "product", "article_id", "item_id", "id", "product_number", "product_code", "item_number", "handle"),
        *("artikelnr", "artikel_nr", "artikelnummer", "artikel_id", "art_nr", "produkt_id", "produktnummer"),
        *("id_produit", "code_article", "référence", "id_producto", "id_prodotto", "ean", "gtin"),
    ),
    "split": (
        *("set", "part", "subset", "partition", "data_split", "data_set", "dataset", "split_name", "split_set"),
        *("data_partition", "usage", "phase", "fold", "train_test"),
    ),
}
# Columns that say of each row whether it is in a part of the split.
FLAGS = tuple(
    f"{start}{part}" for start in ("is_", "in_") for part in ("train", "training", "valid", "validation", "val", "test")
)

# Characters of a column's name in a message; a file that is not a table may have one of megabytes.
_LONGEST = 60
_GAP = re.compile(r"[\s\-_]+")


def plain_header(name: str) -> str:
    """Return the form in which headers are compared: ``File Name``, ``file-name`` and `` FILE_NAME `` are the same.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    text = unicodedata.normalize("NFKC", name).strip().strip("\ufeff\u200b").casefold()
    return _GAP.sub("_", text)


def find_column(name: str, present: Sequence[str], where: str) -> str | None:
    """Find a column by its name; if none is spelled exactly so, by its name in any case and with any separator.

    Parameters
    ----------
    name : str
        The column that is wanted.
    present : sequence of str
        The columns that the table has.
    where : str
        Name of the table, for messages.

    Returns
    -------
    str or None
        The column as the table spells it; None if there is none.

    Raises
    ------
    InputError
        If several columns may be meant.
    """
    exact = list(present).count(name)
    if exact > 1:
        raise InputError(f"{where} has the column {name!r} more than once", "rename one of them")
    if exact:
        return name
    alike = [column for column in present if plain_header(column) == plain_header(name)]
    if len(alike) > 1:
        raise InputError(
            f"{where} has the columns {' and '.join(map(repr, alike))}, which may both be {name!r}",
            "rename one of them",
        )
    return alike[0] if alike else None


def listed(present: Sequence[str]) -> str:
    """List the columns that a table has, for messages: the first twenty of them."""
    more = f" and {len(present) - 20} more" if len(present) > 20 else ""
    names = [name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "..." for name in present[:20]]
    return ", ".join(name if name and name.isprintable() else repr(name) for name in names) + more


def usual(role: str, present: Sequence[str]) -> list[str]:
    """Return the columns whose names people often give to a role, the likeliest first.

    Parameters
    ----------
    role : str
        A key of `USUAL`.
    present : sequence of str
        The columns that the table has.

    Returns
    -------
    list of str
    """
    forms = {plain_header(column).rstrip("."): column for column in present if list(present).count(column) == 1}
    return [forms[name] for name in USUAL.get(role, ()) if name in forms]


def setting(role: str, column: str) -> str:
    """Return the option that names a column, quoted for a shell where that is necessary."""
    quote = "'" if re.search(r"[^\w.\-]", column) else ""
    return f"--set {quote}dataset.{role}={column}{quote}"


def suggestion(roles: str | Sequence[str], present: Sequence[str]) -> str:
    """Return the remedy for missing columns: their settings, with the names of columns that people often use for them.

    Parameters
    ----------
    roles : str or sequence of str
        Names of the settings within ``dataset``.
    present : sequence of str
        The columns that the table has.

    Returns
    -------
    str
    """
    wanted = [roles] if isinstance(roles, str) else list(roles)
    likely = {role: found[0] for role in wanted if (found := usual(role, present))}
    ones = "the right one" if len(wanted) == 1 else "the right ones"
    settings = " ".join(setting(role, likely.get(role, "COLUMN")) for role in wanted)
    return f"name {ones}{', perhaps' if likely else ''} with {settings}"
