"""Folders of photos without a table: which level of folders is the category, and which is the split."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.data.sources.contents import Contents, Parts, path_of, shown
from shelfbench.data.sources.missing_files import ARCHIVES
from shelfbench.data.sources.split_words import split_of, split_within

# More photos than this share outside of the folders of categories are not strays.
STRAYS = 0.1
# What photos may be in that are not read, and what to do about it.
PACKED = (
    (ARCHIVES, "unpack, and give the folder"),
    ((".arrow", ".feather"), "save it as Parquet (of a Hugging Face dataset: dataset.to_parquet('train.parquet'))"),
    (
        (".tfrecord", ".tfrecords", ".rec", ".lmdb", ".mdb", ".h5", ".hdf5", ".npz", ".npy", ".pkl", ".pickle", ".mat"),
        "save its photos as files in a folder per category, or as Parquet",
    ),
    ((".xls", ".ods", ".xlsb", ".numbers"), "save it as *.xlsx, or as CSV UTF-8"),
)
# Names that say where photos come from or what form they have, and hardly what they show.
_FORMAL = re.compile(
    r"(?i:images?|imgs?|photos?|pictures?|pics?|jpe?gs?|pngs?|jpegimages|raw|crops?|cropped|resized|originals?|thumbs?|"
    r"thumbnails?|masks?|labels?|annotations?|segmentations?|batch|part|shard|chunk|fold|page|album|folder|dir|dcim|"
    r"new folder|uploads?|data|files?)[\s_.-]*(?:\(?\d+\)?)?"
    r"|[1-9]\d\d[A-Z_]{5}"  # the folders of a camera
    r"|(?:19|20)\d\d([_.-])\d\d(?:\1\d\d)?"
)
# trainA, testA
_GLUED = re.compile(r"(train|test|val|dev|eval)")


@dataclass(frozen=True)
class Nesting:
    """What folders mean.

    Attributes
    ----------
    roles : tuple of str
        Of each level of folders, from the top down: ``category``, ``split``, ``product_id``, ``level1``, ... or ``-``.
    notes : tuple of str
        What is not certain.
    """

    roles: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def categories(self, held: Contents) -> int:
        """Count the categories of photos that lie in such folders."""
        at = self.roles.index("category")
        return len({parts[at] for parts in held.images if len(parts) > at})


def nesting_of(held: Contents, folders: str = "") -> Nesting:
    """Find out what the folders of photos mean.

    Parameters
    ----------
    held : Contents
    folders : str
        What the settings say that they mean; empty to find out.

    Returns
    -------
    Nesting

    Raises
    ------
    InputError
        If there is no category, or if the folders can be read in two ways; the message names both.
    """
    if not held.count():
        raise _no_photos(held)
    if folders:
        return Nesting(tuple(folders.split("/")))
    base = _unwrapped(held, ())
    notes = [f"the folders are read from {path_of(base)}, the only folder with photos"] if base else []
    names = held.children(base)
    if not names:
        raise InputError(
            f"{held.root} contains {number_of(held.count(), 'image')} but no category",
            "put each image into a folder named after its category, or list them in metadata.csv",
        )
    parts, more = _parts(held, base, names)
    notes += more
    tops = [(*base, name) for name in names] if parts else [base]
    roles = ["-"] * len(base) + (["split"] if parts else [])
    if parts and (depth := _inner(held, tops)):
        tops = [_unwrapped(held, top) for top in tops]
        roles += ["-"] * depth
    notes += _strays(held, tops)
    levels, more = _levels(held, tops, roles)
    if parts and levels == ["category"]:
        _all_new(held, tops, [*roles, *levels])
    roles += levels
    notes += more
    _not_formal(held, roles)
    around = [base[:depth] for depth in range(len(base) + 1)]
    for top in dict.fromkeys([*around, *tops]):
        notes += _empty(held, top)
    return Nesting(tuple(roles), tuple(notes))


def _no_photos(held: Contents) -> InputError:
    """Say what lies in a folder without photos, and how it becomes a catalogue."""
    others = list(map(path_of, held.files(lambda _: True)))
    for suffixes, remedy in PACKED:
        if found := [name for name in others if name.lower().endswith(suffixes)]:
            return InputError(f"{held.root} contains no product images, but {shown(found, 3)}", remedy)
    return InputError(
        f"{held.root} contains no product images",
        "give a *.bson file, *.parquet or *.tar files, a table of paths, or a folder with one subfolder per category",
    )


def _unwrapped(held: Contents, parts: Parts) -> Parts:
    """Follow folders that contain one folder and few photos, down to the one that contains several or photos."""
    while len(held.images.get(parts, ())) <= STRAYS * held.count(parts):
        children = held.children(parts)
        if len(children) != 1:
            break
        below = (*parts, children[0])
        # a folder with photos is a category, unless that would be the only one
        if held.images.get(below) and len(held.children(below)) < 2:
            break
        parts = below
    return parts


def _inner(held: Contents, tops: Sequence[Parts]) -> int:
    """Count the folders between the parts of a split and their categories: train/images/shoes, train/train/shoes."""
    inner = [_unwrapped(held, top)[len(top) :] for top in tops]
    if len(set(map(len, inner))) > 1:
        return 0
    same = all(
        len(set(names)) == 1 or all(name.lower() == top[-1].lower() for name, top in zip(names, tops, strict=True))
        for names in zip(*inner, strict=True)
    )
    return len(inner[0]) if same else 0


def _question(held: Contents, problem: str, choices: str) -> InputError:
    return InputError(f"{held.root}: {problem}", f"say what the folders mean, with --set dataset.folders={choices}")


def _parts(held: Contents, base: Parts, names: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether the folders are the parts of a split."""
    whole = {name: split_of(name) for name in names if split_of(name)}
    words = {name: split_of(name) or split_within(name) for name in names}
    parts = {word for word in words.values() if word}
    nested = [name for name in names if held.children((*base, name))]
    strangers = [name for name in names if not words[name]]
    choices = "/".join([*["-"] * len(base), "category"])
    if not strangers and (whole or ("train" in parts and len(parts) > 1)):
        flat = [name for name in names if name not in nested]
        if flat and nested:
            raise _question(
                held,
                f"{shown(flat)} and {shown(nested)} are named after parts of a split, but only {shown(nested)} "
                f"{'contains' if len(nested) == 1 else 'contain'} folders of categories",
                f"{choices} if they are categories; otherwise move the photos without a category elsewhere",
            )
        if flat:
            raise _question(
                held,
                f"{shown(names)} are named after parts of a split, but contain no folders of categories",
                f"{choices} if they are categories; otherwise list the photos in metadata.csv with their categories",
            )
        notes = []
        for part in sorted(parts):
            same = [name for name in names if words[name] == part]
            if len({_word(name) for name in same}) > 1:
                raise _question(
                    held,
                    f"{shown(same)} are all named after {part}",
                    f"{choices} if they are categories; otherwise leave one of them",
                )
            if len(same) > 1:
                notes.append(f"{shown(same)} are read as one part of the split, {part}")
        return True, notes
    glued = {found[1] for name in names if (found := _GLUED.match(name.lower()))}
    if len(glued) > 1 and not nested and all(_GLUED.match(name.lower()) for name in names):
        raise _question(
            held,
            f"the names of {shown(names)} begin like parts of a split",
            f"{choices} if they are categories; otherwise list the photos in metadata.csv with their categories",
        )
    suspicious = {name: word for name, word in words.items() if word and (name in whole or len(parts) > 1)}
    if not suspicious:
        return False, []
    toy = list(suspicious) if set(map(str.lower, suspicious)) == {"train"} else []
    if toy and not nested:
        return False, [
            f"{toy[0]} is read as a category, since {shown(strangers, 3)} beside it are not parts of a split"
        ]
    if whole or nested:
        raise _question(
            held,
            f"it contains split folders, but also {shown(strangers)}: {shown(suspicious)} may be part of a split or "
            f"{'a category' if len(suspicious) == 1 else 'categories'}",
            f"{choices} if they are categories; otherwise move the others elsewhere",
        )
    return False, []


def _compared(name: str) -> str:
    """A category's name as it is compared between parts."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def _word(name: str) -> str:
    """The letters of a name, without digits and separators."""
    return "".join(letter for letter in name.lower() if letter.isalpha())


def _strays(held: Contents, tops: Sequence[Parts]) -> list[str]:
    """Tell of photos that lie beside the folders of categories."""
    stray = [
        path_of((*parts, name))
        for parts, names in held.images.items()
        for name in names
        if any(parts == top[: len(parts)] for top in tops)
    ]
    if len(stray) > STRAYS * held.count():
        raise InputError(
            f"{held.root}: {len(stray):,} of {held.count():,} photos lie beside the folders of categories "
            f"({shown(stray, 3)})",
            "move them into the folders of their categories, or list all in metadata.csv",
        )
    if not stray:
        return []
    return [f"skipped {number_of(len(stray), 'photo')} beside the folders of categories: {shown(stray, 3)}"]


def _levels(held: Contents, tops: Sequence[Parts], roles: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find which level of folders below the tops is the category; `roles` are those of the levels above."""
    below = {(*top, name): held.children((*top, name)) for top in tops for name in held.children(top)}
    nested = {parts: children for parts, children in below.items() if children}
    deep = {
        parts: children
        for parts, children in nested.items()
        if len(held.images.get(parts, ())) <= STRAYS * held.count(parts)
    }
    if not deep:
        if not nested:
            return ["category"], []
        first, children = next(iter(nested.items()))
        return ["category"], [f"folders within a category, such as {path_of((*first, children[0]))}, belong to it"]
    inner = [name for children in deep.values() for name in children]
    if len(deep) == len(below):
        words = {split_of(name) for name in inner}
        flat = all(not held.children((*parts, name)) for parts, children in deep.items() for name in children)
        if flat and None not in words and len(words) > 1 and "split" not in roles:
            return ["category", "split"], []
        if flat and len(set(inner)) == 1:
            return ["category"], []  # shoes/images/1.jpg, shirts/images/1.jpg
    first, second = next((parts, children[0]) for parts, children in deep.items())
    twice = sorted(name for name, count in Counter(inner).items() if count > len(tops))
    same = f", and several of them contain the same folders ({shown(twice, 3)})" if twice else ""
    choices = ["/".join([*roles, *more]) for more in (["category"], ["level1", "category"], ["category", "product_id"])]
    if any(map(split_of, inner)) and "split" not in roles:
        choices[1] += " or " + "/".join([*roles, "-", "split", "category"])
    elif twice:  # parts of one catalogue, perhaps
        choices[1] += " or " + "/".join([*roles, "-", "category"])
    raise _question(
        held,
        f"photos lie in folders within folders ({path_of((*first, second))}){same}: {first[-1]} or {second} may be "
        "the category",
        f"{choices[0]} for {first[-1]}, {choices[1]} for {second}, or {choices[2]} if {second} is one product",
    )


def _all_new(held: Contents, tops: Sequence[Parts], roles: Sequence[str]) -> None:
    """Stop at a part of a split without any category of train, whose folder is hardly one of categories."""
    at = roles.index("split")
    found: dict[str, set[str]] = {}
    for top in tops:
        word = str(split_of(top[at]) or split_within(top[at]))
        found.setdefault(word, set()).update(map(_compared, held.children(top)))
    for word, names in sorted(found.items()):
        if "train" in found and names.isdisjoint(found["train"]):
            raise _question(
                held,
                f"train has none of the categories of {word} ({shown(sorted(names))}), which may be photos without a "
                "category",
                f"{'/'.join(roles)} if they are categories; otherwise move them elsewhere",
            )


def _not_formal(held: Contents, roles: Sequence[str]) -> None:
    """Stop where the folders of all categories are called masks, batch_2, 101APPLE, 2024-05-17 and the like."""
    at = roles.index("category")
    names = sorted({parts[at] for parts in held.images if len(parts) > at})
    if len(names) > 1 and all(_FORMAL.fullmatch(name.strip()) for name in names):
        raise _question(
            held,
            f"{shown(names)} do not look like categories",
            f"{'/'.join(roles)} if they are; otherwise list the photos in metadata.csv with their categories",
        )


def _empty(held: Contents, top: Parts) -> list[str]:
    """Tell of folders without photos, and of hidden ones, beside those of the categories."""
    plain, hidden = held.folders_without(top)
    where = f" in {path_of(top)}" if top else ""
    notes = [f"{number_of(len(plain), 'folder')}{where} without photos: {shown(plain)}"] if plain else []
    if hidden:
        notes.append(f"{number_of(len(hidden), 'hidden folder')}{where} not read: {shown(hidden)}")
    return notes
