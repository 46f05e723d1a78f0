"""One line about the data that a result leaves out: photos that cannot be read, products without a label, and so on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from shelfbench.base.screen import printable
from shelfbench.data.embedding_names import NO_EMBEDDING
from shelfbench.data.images import NEEDS_HEIF
from shelfbench.data.repeated import CONTRADICTING
from shelfbench.runs.data_record import DatasetRecord
from shelfbench.runs.record import SplitRecord

_GROUPS = 5
# Reasons in fewer words, so that those that differ only in numbers count together.
_SHORTER = (
    (re.compile(r".*(?:truncat|unexpected end|incomplete).*", re.IGNORECASE), "truncated"),
    (re.compile(r"(?:the file|a link to a file that) does not exist"), "missing"),
    (re.compile(r"the file is empty"), "empty"),
    (re.compile(r"no permission to read .*"), "without permission to read"),
    (re.compile(r"\d+ x \d+ pixels, (more than .*)"), r"of \1 pixels"),
    (re.compile(r"no photo is named|the table names no file"), "not named in the table"),
    (
        re.compile(r"an? (folder|video|archive|damaged .* image|[^,]*(?= drawing))( drawing)?(?:, not a photo)?"),
        r"\1\2(s)",
    ),
    (re.compile(r"an? (.*), which is not read: .*"), r"\1(s)"),
    (re.compile(r"(?:an? )?(.*), not a photo"), r"\1"),
    (re.compile(r"(?:only|null|no) .*"), r"with \g<0>"),
)


def data_line(dataset: DatasetRecord, split: SplitRecord) -> str:
    """Say how much of the data cannot be used, or cannot be right.

    Parameters
    ----------
    dataset : DatasetRecord
    split : SplitRecord

    Returns
    -------
    str
        One line in plain English; empty if there is nothing to say.
    """
    parts = []
    given = sum(entry.reason == NO_EMBEDDING for entry in dataset.unreadable)
    if given:
        parts.append(f"{_number(given, 'row')} {'has' if given == 1 else 'have'} no embedding")
    if photos := (dataset.unreadable_images or 0) - given:
        why = grouped(entry.reason for entry in dataset.unreadable if entry.reason != NO_EMBEDDING)
        parts.append(f"{_number(photos, 'photo')} could not be read{f': {why}' if why else ''}")
        if any(entry.reason == NEEDS_HEIF for entry in dataset.unreadable):
            # whoever installs it and repeats the command gets the run without these photos
            parts.append("once it is installed, choose another --out, since this run keeps what it has")
    if products := dataset.unlabelled or 0:
        parts.append(f"{_number(products, 'product')} {'has' if products == 1 else 'have'} no label")
    if products := int(dataset.duplicates.get(CONTRADICTING, 0)):
        such = printable(str(dataset.duplicates.get("such_as", "")))
        parts.append(
            f"{_number(products, 'product')} {'shares' if products == 1 else 'share'} a photo with one of another "
            f"category ({such}): a wrong label, categories that overlap, or a picture that stands for a missing photo"
        )
    if categories := split.untrained.categories:
        held_out = {"validation": split.untrained.validation, "test": split.untrained.test}
        wrong = " and ".join(f"{count:,} {part}" for part, count in held_out.items() if count)
        one = sum(held_out.values()) == 1
        names = split.untrained.names
        more = ", ..." if len(names) < categories else ""
        named = f" ({', '.join(names)}{more})" if names else ""
        have = "has" if categories == 1 else "have"
        parts.append(
            f"{_number(categories, 'category', 'categories')}{named} {have} no training product, so {wrong} "
            f"product{'' if one else 's'} cannot be right"
        )
    return "; ".join(parts)


def grouped(reasons: Iterable[str]) -> str:
    """Count reasons that say the same, the most frequent first.

    Parameters
    ----------
    reasons : iterable of str

    Returns
    -------
    str
        ``10 truncated, 2 empty``.
    """
    counts = Counter(map(_shorter, reasons)).most_common()
    shown = [
        f"{count:,}{' ×' if reason[:1].isdigit() else ''} {reason.removesuffix('(s)')}"
        f"{'s' * (count > 1 and reason.endswith('(s)'))}"
        for reason, count in counts[:_GROUPS]
    ]
    if rest := sum(count for _, count in counts[_GROUPS:]):
        shown.append(f"{rest:,} for other reasons")
    return ", ".join(shown)


def _shorter(reason: str) -> str:
    reason = re.sub(r" *\([^)]*\)", "", reason)
    for pattern, words in _SHORTER:
        if (match := pattern.fullmatch(reason)) is not None:
            return match.expand(words)
    return reason


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
