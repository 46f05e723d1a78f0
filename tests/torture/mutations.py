"""Damage to bytes, text and JSON, drawn from a generator of random numbers: the same seed does the same damage."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

BOUNDARIES = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))
WORDS = (
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-0",
        "0",
        "-1",
        "1",
        "2",
        "1e-320",
        "0x7f",
        "1_000",
        "99999999999999999999",
        "true",
    ),
    *(
        "false",
        "null",
        "[]",
        "{}",
        "''",
        '""',
        "'''",
        "../..",
        "/etc/passwd",
        "/dev/zero",
        "__class__",
        "NaN",
        "Infinity",
    ),
    *("1.5", "2017-01-01", "12:00", "[[[[", "{a=1}", "=", ".", ",", ";", "#", "\\", "\t"),
)
ODD = ("\0", "\x1b[2J", "\u202e", "\ud800", "é", "e\u0301", "\ufeff", "\u2028", "\x85", "\r", "\n", "\U0001f600")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 1e-320, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400),
    *("", "a", "\0", "\ud800", "../../etc/passwd", "nan", "x" * 5000, "0", "1", [], {}, [[]], [None], {"": None}),
    *(float("nan"), float("inf"), float("-inf")),
)
DEEP = 3000


def damaged_bytes(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Change bytes in one to five places: bits, numbers at their limits, ranges deleted, repeated, moved or spliced."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        size = len(found)
        at = rng.randrange(size + 1)
        kind = rng.randrange(11)
        if kind == 0 and at < size:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < size:
            found[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind in (2, 3):
            form = rng.choice("bhiq")
            width = struct.calcsize(form)
            limited = rng.choice(BOUNDARIES) & ((1 << 8 * width) - 1)
            found[at : at + width] = limited.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 4:
            del found[at : at + rng.choice((1, 2, 4, 8, 100, 1000))]
        elif kind == 5:
            del found[at:]
        elif kind == 6:
            length = rng.choice((1, 4, 16, 200, 2000))
            found[at:at] = found[at : at + length] * rng.choice((1, 1, 2, 30))
        elif kind == 7:
            found[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif kind == 8:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            found[at:at] = other[start : start + rng.choice((4, 32, 500, 5000))]
        elif kind == 9:
            other = rng.choice(others)
            found[at:] = other[min(at, len(other)) :]
        else:
            to, length = rng.randrange(size + 1), rng.choice((1, 4, 16, 256))
            piece = bytes(found[at : at + length])
            found[to : to + len(piece)] = piece
    return bytes(found)


def damaged_text(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Change numbers, words, signs and lines of a text; one time in five, its bytes."""
    if rng.random() < 0.2:
        return damaged_bytes(data, rng, others)
    text = data.decode("utf-8", "surrogateescape")
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.randrange(7)
        if kind < 3:
            pattern = (r"-?\d[\d.e]*", r"[A-Za-z_]\w*", r"[^\w\s]")[kind]
            found = list(re.finditer(pattern, text))
            if found:
                which = rng.choice(found)
                new = rng.choice((*WORDS, rng.choice(found).group(), "", which.group() * 2, rng.choice(ODD)))
                text = text[: which.start()] + new + text[which.end() :]
        elif kind == 3:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice((*ODD, *WORDS, "[" * DEEP, '"' * 3, "x" * 3000)) + text[at:]
        else:
            lines = text.split("\n")
            at = rng.randrange(len(lines))
            if kind == 4:
                lines.insert(at, rng.choice(lines))
            elif kind == 5:
                del lines[at]
            else:
                other = rng.choice(others).decode("utf-8", "surrogateescape").split("\n")
                lines.insert(at, rng.choice(other))
            text = "\n".join(lines)
    return text.encode("utf-8", "surrogatepass" if "\ud800" in text else "surrogateescape")


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        found.append((value, key))
        _places(inner, found)
    return found


def damaged_json(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Replace, delete, rename, move or nest values of JSON; one time in four, its text."""
    if rng.random() < 0.25:
        return damaged_text(data, rng, others)
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = _places(value, [])
        if not places:
            break
        inside, key = rng.choice(places)
        if key not in inside if isinstance(inside, dict) else key >= len(inside):
            continue
        kind = rng.randrange(6)
        if kind < 3:
            inside[key] = rng.choice(VALUES)
        elif kind == 3:
            del inside[key]
        elif kind == 4:
            other, place = rng.choice(places)
            if place in other if isinstance(other, dict) else place < len(other):
                inside[key] = json.loads(json.dumps(other[place]))
        elif isinstance(inside, dict):
            inside[rng.choice(("", "extra", f"{key} ", f"{key}x", "\ud800"))] = rng.choice(VALUES)
        else:
            inside.append(rng.choice(VALUES))
    text = json.dumps(value)
    if rng.random() < 0.02:
        text = text.replace("1", "[" * DEEP + "]" * DEEP, 1)
    return text.encode()
