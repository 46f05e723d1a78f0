"""Keys of categories and products: which cells are none, which are the same, and which look as if they should be."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError

# Texts that may mean that there is no category; they are taken as they stand, and a note names them.
PERHAPS_NONE = {
    *("-", "-1", "?", "#n/a", "<na>", "n/a", "na", "nan", "nil", "none", "null"),
    *("undefined", "unknown", "unlabeled", "unlabelled", "uncategorized", "uncategorised"),
    *("(blank)", "(empty)", "(none)", "--", "—", "blank", "empty", "n.a.", "not set", "tbd", "[]", "{}"),
    *("\\n", "#div/0!", "#name?", "#null!", "#num!", "#ref!", "#value!"),
}
# Numbers that often mean that there is no category.
_NO_CODE = {99, 127, 255, 999, 9999, 32767, 65535}
# How many examples a note gives.
EXAMPLES = 3

_ACCENTS = re.compile("[\u0300-\u036f]")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\W_]+(?=\d)")
_AND = re.compile(r"\b(?:and|und|et)\b", re.IGNORECASE)
_WHOLE = re.compile(r"0*(\d+)(?:[.,]0+)?")
# As spreadsheets show a number of more than eleven digits.
_ROUNDED = re.compile(r"\d[.,]\d+E\+\d+", re.IGNORECASE)


def as_key(value: object) -> str:
    """Turn a value into the text that identifies a category or a product.

    Parameters
    ----------
    value : object
        Integers that pandas turned into floats, because another row has no value, become integers again.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If the value is not a scalar.
    """
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not pd.api.types.is_scalar(value):
        raise TypeError("not a scalar")
    return str(value)


def clean(text: str) -> str:
    """Return a key as it is compared: composed (NFC) and without blanks around it."""
    return text.strip().strip("\ufeff\u200b").strip() if text.isascii() else _composed(text)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().strip("\ufeff\u200b").strip()


@dataclass(frozen=True)
class Keys:
    """Keys of a column, row by row.

    Attributes
    ----------
    names : tuple of str
        The keys, sorted.
    code : ndarray of int32, shape (rows,)
        Into `names`; -1 for a cell that is empty.
    notes : tuple of str
        What was taken as the same, and what looks alike but was not.
    """

    names: tuple[str, ...]
    code: np.ndarray
    notes: tuple[str, ...]


def plain_values(values: pd.Series, what: str, where: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Number the distinct texts of a column.

    Parameters
    ----------
    values : Series, shape (rows,)
        Scalars; empty lists count as no value.
    what : str
        What the column contains, for messages.
    where : Series of str, shape (rows,)
        Names each row.

    Returns
    -------
    code : ndarray of int64, shape (rows,)
        Into `texts`; -1 for a missing value.
    texts : list of str
        As the cells spell them.

    Raises
    ------
    InputError
        If a value is not a scalar; the message names its row.
    """
    objects = values.astype(object)
    try:
        codes, unique = pd.factorize(objects.to_numpy())
        texts = [as_key(value) for value in unique]
    except TypeError:  # lists and the like: the empty ones are no value, the others are refused
        cells: list[object] = [_scalar(value) for value in objects]
        odd = next((row for row, value in enumerate(cells) if not pd.api.types.is_scalar(value)), None)
        if odd is not None:
            raise InputError(
                f"{where.iloc[odd]}: the {what} {str(cells[odd])[:60]!r} is not a plain value", "write text or a number"
            ) from None
        codes, unique = pd.factorize(np.fromiter(cells, object, len(cells)))
        texts = [as_key(value) for value in unique]
    return np.asarray(codes, np.int64), texts


def _scalar(value: object) -> object:
    """Return a value, or None for an empty list."""
    return None if isinstance(value, list | tuple | np.ndarray) and not len(value) else value


def category_keys(values: pd.Series, where: pd.Series) -> Keys:
    """Return the keys of a column of categories.

    Keys are compared composed (NFC) and without blanks around them. Empty cells and blanks are no category; nor is -1
    where all others are numbers from 0.

    Parameters
    ----------
    values : Series, shape (rows,)
    where : Series of str, shape (rows,)
        Names each row, for messages.

    Returns
    -------
    Keys

    Raises
    ------
    InputError
        If a value is not a scalar; the message names its row.
    """
    codes, texts = plain_values(values, "category", where)
    cleaned = [clean(text) for text in texts]
    names = sorted(set(cleaned) - {""})
    said = []
    if "-1" in names and len(names) > 1 and all(name.isdecimal() for name in names if name != "-1"):
        count = int(np.isin(codes, [code for code, text in enumerate(cleaned) if text == "-1"]).sum())
        few = "1 photo has" if count == 1 else f"{count:,} photos have"
        said = [f"{few} the category -1 among numbers from 0, which was taken as none"]
        names.remove("-1")
    number = {name: code for code, name in enumerate(names)}
    translate = np.array([*(number.get(text, -1) for text in cleaned), -1], np.int32)
    code = translate[codes]
    counts = dict(zip(names, np.bincount(code[code >= 0], minlength=len(names)).tolist(), strict=True))
    return Keys(tuple(names), code, (*said, *merged(texts), *near_misses(counts), *doubtful(counts), *garbled(names)))


def merged(texts: Sequence[str]) -> list[str]:
    """Say which spellings were taken as one key: 'Café' composed and decomposed, 'bars' and 'bars '."""
    spellings = Counter(clean(text) for text in set(texts))
    several = sorted(key for key, count in spellings.items() if count > 1 and key)
    notes = [f"{spellings[key]} spellings of {key!r} were taken as one category" for key in several[:EXAMPLES]]
    if len(several) > EXAMPLES:
        notes.append(f"{len(several) - EXAMPLES:,} more categories had several spellings, which were taken as one")
    return notes


def alike(key: str) -> str:
    """Return a form that is equal for keys that may be one by mistake: case, accents, punctuation, a plural.

    So are numbers (7, 7.0 and 07), ``and``, ``&`` and a blank, and what HTML writes in its own way (``&amp;``).
    """
    if number := _WHOLE.fullmatch(key):
        return number[1]
    key = _AND.sub(" ", html.unescape(key.replace("\0", "")))
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", key))).casefold()
    text = re.sub(r"[\W_]+", "", _BETWEEN_DIGITS.sub("\0", text).replace("\0", "0x0"))
    return text[:-1] if len(text) > 3 and text.endswith("s") and not text.endswith("ss") else text


def near_misses(counts: Mapping[str, int]) -> list[str]:
    """Name categories that differ so little that they may be one by mistake.

    Parameters
    ----------
    counts : mapping of str to int
        Rows by key.

    Returns
    -------
    list of str
        A note for each of the first pairs, and how many more there are.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for key in counts:
        if any(letter.isalpha() for letter in key) or _WHOLE.fullmatch(key):
            groups[alike(key)].append(key)
    close = [sorted(keys) for form, keys in sorted(groups.items()) if form and len(keys) > 1]
    notes = []
    for keys in close[:EXAMPLES]:
        said = " and ".join(f"{key!r} ({counts[key]:,} photo{'s' if counts[key] != 1 else ''})" for key in keys)
        notes.append(
            f"{said} are {len(keys) if len(keys) > 2 else 'two'} categories; if they should be one, correct the data"
        )
    if len(close) > EXAMPLES:
        notes.append(f"{len(close) - EXAMPLES:,} more groups of categories differ only in case, accents or punctuation")
    return notes


def doubtful(counts: Mapping[str, int]) -> list[str]:
    """Name categories whose text may mean that there is none."""
    odd = _odd_codes(counts)
    return [
        f"{counts[key]:,} photo{'s have' if counts[key] != 1 else ' has'} the category {key!r}, which was taken as a "
        "category; leave the cell empty if there is none"
        for key in sorted(counts)
        if key.casefold() in PERHAPS_NONE or key in odd
    ]


def garbled(names: Sequence[str]) -> list[str]:
    """Name categories whose letters look as if UTF-8 had been read as Windows-1252 before: ``HÃ¼te``.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    list of str
        A note, if there are any.
    """
    found = [(name, meant) for name in names if (meant := _as_utf8(name)) != name]
    if not found:
        return []
    few = "1 category has a name" if len(found) == 1 else f"{len(found):,} categories have names"
    return [
        f"{few} that another program may have garbled, such as {found[0][0]!r}, which may mean {found[0][1]!r}; if so, "
        "write the table again as UTF-8"
    ]


def _as_utf8(name: str) -> str:
    try:
        return name if name.isascii() else name.encode("cp1252").decode()
    except UnicodeError:
        return name


def _odd_codes(counts: Mapping[str, int]) -> set[str]:
    """Return the negative numbers among others, and one such as 255 behind numbers that have no gap."""
    if not all(re.fullmatch(r"-?\d{1,9}", key) for key in counts):
        return set()
    numbers = sorted(number for key in counts if (number := int(key)) >= 0)
    odd = {key for key in counts if key.startswith("-") and numbers}
    if len(numbers) > 2 and numbers[-1] in _NO_CODE:
        *others, last = numbers
        if others[-1] - others[0] == len(others) - 1 and last > others[-1] + 1:
            odd.add(str(last))
    return odd


def product_keys(values: pd.Series, where: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return the ids of products, row by row.

    Ids are cleaned as categories are, unless that would make two ids one: a note then names them.

    Parameters
    ----------
    values : Series, shape (rows,)
        Without missing values.
    where : Series of str, shape (rows,)
        Names each row, for messages.

    Returns
    -------
    keys : ndarray of object, shape (rows,)
    notes : list of str

    Raises
    ------
    InputError
        If an id is not a scalar or is blank; the message names its row.
    """
    codes, texts = plain_values(values, "product_id", where)
    cleaned = [clean(text) for text in texts]
    if "" in cleaned:
        row = int(np.flatnonzero(codes == cleaned.index(""))[0])
        raise InputError(
            f"{where.iloc[row]} has no product_id", "fill it in, or omit the column if each image is a product"
        )
    # 7 as a number and "7" as text are one product
    distinct = set(texts)
    if any(_ROUNDED.fullmatch(text) for text in distinct) and len(distinct) < len(codes):
        number = next(number for number, text in enumerate(texts) if _ROUNDED.fullmatch(text))
        raise InputError(
            f"{where.iloc[int(np.flatnonzero(codes == number)[0])]}: the product_id {texts[number]!r} was rounded by a "
            "spreadsheet, so that different products may have the same",
            "format the column as text or as a number without decimals, and save the table again",
        )
    notes: list[str] = []
    if len({clean(text) for text in distinct}) == len(distinct):
        texts = cleaned
    else:
        first: dict[str, str] = {}
        pair = next(
            (first[key], text) for text in texts for key in [clean(text)] if first.setdefault(key, text) != text
        )
        notes.append(
            f"{pair[0]!r} and {pair[1]!r} are two products; if they should be one, correct the column product_id"
        )
    return np.array([*texts, None], object)[codes], [*notes, *_same_numbers(distinct)]


def _same_numbers(texts: set[str]) -> list[str]:
    """Name ids that are the same number, written in two ways: 00123 and 123, 7 and 7.0."""
    written = sorted(text for text in texts if text[:1] == "0" or text[-2:] in (".0", ",0"))
    pairs = [
        (text, number[1])
        for text in written
        if (number := _WHOLE.fullmatch(text)) and number[1] != text and number[1] in texts
    ]
    if not pairs:
        return []
    more = f", and so are {len(pairs) - 1:,} more pairs" if len(pairs) > 1 else ""
    return [
        f"{pairs[0][0]!r} and {pairs[0][1]!r} are two products{more}; if they should be one, correct the column "
        "product_id"
    ]
