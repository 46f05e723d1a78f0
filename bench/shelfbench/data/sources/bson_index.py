"""The index of a Cdiscount BSON file: where every picture is, found without reading the pictures.

Kaggle's documents all have one layout, so the bytes around the pictures are gathered and compared for thousands of
documents at once. A document that differs from that layout in a single byte is read by
`shelfbench.data.sources.bson_document`, which decides what a file means and what is wrong with it. The index is written
by hand because BSON libraries decode one document after the other, pictures included, which takes many times as long.
"""

from __future__ import annotations

import mmap
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.sources.bson_document import BadDocument, document_end, product

# Bytes indexed at once: mapped together and released together.
WINDOW = 1 << 28
# Bytes of a window that each of its chains of documents covers (see `_leap`).
LANE = 1 << 20
# How far from the beginning of a lane a document is searched for.
REACH = 1 << 16
# Lengths that all lanes follow before finished lanes are dropped.
STEPS = 16
# Since Linux 5.14, this maps (and reads) a range at once; Python has no name for it.
MADV_POPULATE_READ = 22
_BEYOND = np.iinfo(np.int64).max
_int32 = struct.Struct("<i").unpack_from

# The layout: int32 of the whole | 10 _id 0 int32 | 04 imgs 0 int32 | pictures | 0 | 10 category_id 0 int32 | 0, where
# a picture is 03 '0' 0 int32 | 05 picture 0 int32 byte | its bytes | 0, and a test file has no category.
# Below, `?` stands for any byte; the length of a record is a multiple of 8 bytes.
_HEAD = b"????\x10_id\0????\x04imgs\0????\x030\0????\x05picture\0????" + b"?" * 5
_NEXT = b"\0\x03?\0????\x05picture\0????" + b"?" * 3  # from the last byte of the picture before
_TAIL = b"????\0\0\x10category_id\0????\0"
_ARRAY, _ITEM = 19, 26  # where imgs and its first picture's document begin, each with its length
_AROUND = 19  # bytes of a picture's document apart from the picture
_LABELLED, _UNLABELLED = 18, 1  # bytes after imgs
_SHORTEST = 64  # of a labelled document of this layout


def release(view: mmap.mmap) -> None:
    """Release the pages read so far, so that resident memory does not grow with the file."""
    if hasattr(view, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        view.madvise(mmap.MADV_DONTNEED)


def _populate(view: mmap.mmap, start: int, stop: int) -> None:
    """Map a window at once if the system can; a page fault every few pages would cost more than the index."""
    if sys.platform == "linux":
        start -= start % mmap.PAGESIZE
        with suppress(OSError):
            view.madvise(MADV_POPULATE_READ, start, stop - start)


def _records(view: mmap.mmap, at: np.ndarray, size: int) -> np.ndarray:
    """Gather `size` bytes (a multiple of 8) from each offset: little-endian words, shape (size / 8, offsets)."""
    if len(at) == 0:  # the file may be shorter than a record
        return np.empty((size // 8, 0), np.uint64)
    everywhere = np.ndarray(len(view) - size + 1, f"V{size}", view, 0, (1,))
    found: np.ndarray = everywhere[at].view("<u8").reshape(len(at), size // 8).T
    return found


def _same(words: np.ndarray, layout: bytes) -> np.ndarray:
    """Tell which records match a layout in all its known bytes."""
    differs = np.zeros(words.shape[1], np.uint64)
    pattern = np.frombuffer(layout.replace(b"?", b"\0"), "<u8")
    mask = np.frombuffer(bytes(0 if byte == ord("?") else 255 for byte in layout), "<u8")
    for word, known, wanted in zip(words, mask, pattern, strict=True):
        differs |= (word & known) ^ wanted
    found: np.ndarray = differs == 0
    return found


def _signed(words: np.ndarray, byte: int) -> np.ndarray:
    """Read the int32 that begins at a byte of each record."""
    word, shift = divmod(byte, 8)
    value = words[word] >> np.uint64(8 * shift)
    if shift > 4:
        value |= words[word + 1] << np.uint64(64 - 8 * shift)
    found: np.ndarray = value.astype(np.uint32).view(np.int32)
    return found


def _follow(view: mmap.mmap, at: int, stop: int) -> list[int]:
    """Follow the lengths of documents, one by one; return where they end, the last at `stop` or beyond."""
    ends = []
    with suppress(struct.error):  # too few bytes left for a length
        while at < stop and (length := _int32(view, at)[0]) > 4:
            at += length
            ends.append(at)
    if ends and at > len(view):
        ends.pop()
    return ends


def _leap(view: mmap.mmap, start: int, stop: int) -> np.ndarray:
    """Follow the lengths from many places in a window at once, because each length means waiting for memory.

    A lane begins where the bytes look like a document's. Pictures may contain such bytes too, so a lane only counts if
    the lane before it ends exactly where it begins, and so on back to `start`.

    Parameters
    ----------
    view : mmap
        The file.
    start : int
        Where the window begins; a document begins there, too.
    stop : int
        Where the window ends.

    Returns
    -------
    ndarray of int64
        Where documents begin, ascending from `start`; the last may lie at the end of the window.
    """
    size = len(view)
    found = (view.find(b"\x10_id\0", at, at + REACH) - 4 for at in range(start + LANE, stop, LANE))
    begins = np.array([start, *(at for at in found if at >= 0)])
    if len(begins) < 8:
        return begins[:1]
    limits = np.append(begins[1:], stop)
    lengths = np.ndarray(size - 3, "V4", view, 0, (1,))
    table, lanes, at = [begins], np.arange(len(begins)), begins
    while len(lanes) and len(table) < LANE // _SHORTEST:
        before = at
        for _ in range(STEPS):
            at = at + lengths[np.minimum(at, size - 4)].view("<u4")
            row = np.full(len(begins), _BEYOND)
            row[lanes] = at
            table.append(row)
        going = (at < limits[lanes]) & (at - before > 4 * STEPS)
        lanes, at = lanes[going], at[going]
    steps = np.stack(table, axis=1)
    inside = steps < limits[:, None]
    counts = inside.sum(axis=1)
    reached = steps[np.arange(len(steps)), np.minimum(counts, steps.shape[1] - 1)]
    linked = reached == limits
    last = int(np.argmin(linked)) if not linked.all() else len(linked) - 1
    starts = steps[: last + 1][inside[: last + 1]]
    starts = np.append(starts, reached[last])
    ascending = (np.diff(starts) > 4) & (starts[1:] <= size)
    return starts if ascending.all() else starts[: int(np.argmin(ascending)) + 1]


def _boundaries(view: mmap.mmap, start: int, stop: int) -> np.ndarray:
    """Find where the documents of a window begin and where the last one ends."""
    starts = _leap(view, start, stop)
    return np.concatenate([starts, np.array(_follow(view, int(starts[-1]), stop), np.int64)])


@dataclass(kw_only=True)
class _Block:
    """Consecutive documents; the pictures of the regular ones by document and by place in it."""

    regular: np.ndarray
    product_id: np.ndarray
    category: np.ndarray
    labelled: np.ndarray
    count: np.ndarray
    pictures: list[tuple[np.ndarray, int, np.ndarray, np.ndarray]]


def _read_regular(view: mmap.mmap, starts: np.ndarray, ends: np.ndarray) -> _Block:
    """Read the documents that have Kaggle's layout in every byte, and mark them as regular."""
    which = np.flatnonzero(ends - starts >= _SHORTEST)
    at, end = starts[which], ends[which]
    head, tail = _records(view, at, len(_HEAD)), _records(view, end - len(_TAIL), len(_TAIL))
    array_end = at + _ARRAY + _signed(head, _ARRAY)
    picture_length = _signed(head, 39)
    item_length = _signed(head, _ITEM)
    labelled = end - array_end == _LABELLED
    fits = _same(head, _HEAD) & np.where(
        labelled, _same(tail, _TAIL), (end - array_end == _UNLABELLED) & (tail[2] >> np.uint64(40) == 0)
    )
    after = at + _ITEM + item_length
    fits &= (picture_length >= 0) & (item_length - _AROUND == picture_length) & (after < array_end)
    n = len(starts)
    block = _Block(
        regular=np.zeros(n, bool),
        product_id=np.zeros(n, np.int64),
        category=np.zeros(n, np.int64),
        labelled=np.zeros(n, bool),
        count=np.zeros(n, np.int64),
        pictures=[],
    )
    block.pictures.append((which, 0, at + 44, picture_length))
    block.product_id[which] = _signed(head, 9)
    block.category[which] = _signed(tail, 19)
    block.labelled[which] = labelled
    block.count[which] = 1
    block.regular[which] = fits
    place = 0
    more = fits & (after < array_end - 1)
    while more.any():
        which, after, array_end = which[more], after[more], array_end[more]
        place += 1
        fits = (after + 22 < array_end) & (place < 10)
        block.regular[which[~fits]] = False
        which, after, array_end = which[fits], after[fits], array_end[fits]
        head = _records(view, after - 1, len(_NEXT))
        item_length, picture_length = _signed(head, 4), _signed(head, 17)
        fits = _same(head, _NEXT) & (head[0] >> np.uint64(16) & np.uint64(255) == ord("0") + place)
        block.pictures.append((which, place, after + 21, picture_length))
        block.count[which] += 1
        after = after + 3 + item_length
        fits &= (picture_length >= 0) & (item_length - _AROUND == picture_length) & (after < array_end)
        block.regular[which[~fits]] = False
        more = fits & (after < array_end - 1)
    return block


def _index(view: mmap.mmap, bounds: np.ndarray) -> tuple[tuple[np.ndarray, ...], int, int, str]:
    """Index the documents between bounds.

    Parameters
    ----------
    view : mmap
        The file.
    bounds : ndarray of int64
        Where documents begin, and where the last one ends.

    Returns
    -------
    tuple of ndarray
        Ids, categories and numbers of pictures of the products with a category; offsets and lengths of pictures.
    int, int, str
        How many documents were read, how many of them have no category, and what is wrong with the next one.
    """
    starts, ends = bounds[:-1], bounds[1:]
    block = _read_regular(view, starts, ends)
    others: dict[int, list[tuple[int, int]]] = {}
    problem, documents = "", len(starts)
    for i in np.flatnonzero(~block.regular).tolist():
        try:
            identifier, category, pictures = product(view, int(starts[i]), int(ends[i]))
        except (BadDocument, struct.error) as error:
            problem, documents = str(error), i
            break
        others[i] = pictures
        block.product_id[i], block.category[i], block.count[i] = identifier, category or 0, len(pictures)
        block.labelled[i] = category is not None
    labelled = block.labelled[:documents]
    count = np.where(labelled, block.count[:documents], 0)
    first = np.cumsum(count) - count
    offset, length = np.empty(int(count.sum()), np.int64), np.empty(int(count.sum()), np.int32)
    wanted = np.zeros(len(starts), bool)
    wanted[:documents] = block.regular[:documents] & labelled
    for which, place, offsets, lengths in block.pictures:
        chosen = wanted[which]
        where = first[which[chosen]] + place
        offset[where], length[where] = offsets[chosen], lengths[chosen]
    for i, pictures in others.items():
        if labelled[i] and pictures:
            offset[first[i] : first[i] + len(pictures)], length[first[i] : first[i] + len(pictures)] = zip(
                *pictures, strict=True
            )
    arrays = (
        block.product_id[:documents][labelled],
        block.category[:documents][labelled],
        count[labelled].astype(np.int32),
        offset,
        length,
    )
    return arrays, documents, documents - int(labelled.sum()), problem


def scan(path: Path, truncated: str, console: Console) -> tuple[dict[str, np.ndarray], str]:
    """Index a file.

    Parameters
    ----------
    path : Path
        A BSON file that is not empty.
    truncated : {'refuse', 'accept'}
        What to do with a file whose tail cannot be read.
    console : Console

    Returns
    -------
    arrays : dict of ndarray
        Per product with a category: ``product_id``, ``category``, ``count``; per picture: ``offset``, ``length``, in
        bytes; ``unlabelled`` is the number of products without a category.
    note : str
        Where the readable part ends and why; empty if the whole file is read.

    Raises
    ------
    InputError
        If the file is truncated or not Cdiscount's; the message names the offset of the first bad document.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    read = unlabelled = at = 0
    problem = note = ""
    size = path.stat().st_size
    with (
        open(path, "rb") as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view,
        console.progress(size, f"indexing {path.name}", "bytes") as bar,
    ):
        while at < size and not problem:
            stop = min(at + WINDOW, size)
            _populate(view, at, stop)
            bounds = _boundaries(view, at, stop)
            arrays, documents, without, problem = _index(view, bounds)
            parts.append(arrays)
            read, unlabelled = read + documents, unlabelled + without
            bar.update(int(bounds[documents]) - at)
            at = int(bounds[documents])
            if not problem and at < stop:
                try:
                    document_end(view, at, size)
                except (BadDocument, struct.error) as error:
                    problem = str(error)
            release(view)
    if problem:
        problem = f"{path}: bad document at byte {at} (after {read} products): {problem}"
        if truncated != "accept" or read == unlabelled:
            hint = (
                "--set dataset.truncated=accept uses the products before it"
                if read > unlabelled
                else "is this Cdiscount's BSON?"
            )
            raise InputError(problem, f"fetch the file again, or {hint}" if read > unlabelled else hint)
        note = problem + "; the products before it are used"
    names = ("product_id", "category", "count", "offset", "length")
    index = {name: np.concatenate(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)}
    return {**index, "unlabelled": np.asarray([unlabelled])}, note
