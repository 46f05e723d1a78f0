"""Names of the parts of a split, as folders, files and cells of tables spell them."""

from __future__ import annotations

import re

# The words that Hugging Face `datasets` knows.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}

_SEPARATORS = re.compile(r"[-._ 0-9]+")


def split_of(name: str) -> str | None:
    """Return the part of a split that a whole name means, such as ``Train``, ``test_2`` or ``val``.

    Parameters
    ----------
    name : str
        Of a folder, or of a file without its suffix.

    Returns
    -------
    {'train', 'validation', 'test'} or None
        None if the name contains anything but one of the words, digits and ``-._`` or blanks.
    """
    words = [word for word in _SEPARATORS.split(name.lower()) if word]
    return SPLIT_NAMES.get(words[0]) if len(words) == 1 else None


def split_within(name: str) -> str | None:
    """Return the part of a split that a word within a name means, such as ``my_train_images``.

    Parameters
    ----------
    name : str
        Of a folder, or of a file without its suffix.

    Returns
    -------
    {'train', 'validation', 'test'} or None
        None if no word of the name is one of the words, or if two of them mean different parts.
    """
    found = {SPLIT_NAMES[word] for word in _SEPARATORS.split(name.lower()) if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None
