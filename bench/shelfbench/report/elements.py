"""What the pages are made of: pieces of HTML, escaped, and the document around them."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from shelfbench.base.grid import MISSING


def document(title: str, body: str) -> str:
    """A whole page in the house's style, in one file; its tables sort by their columns."""
    style, script = (
        (files("shelfbench.report") / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)} · shelfbench</title>",
        f"<style>\n{style}</style>",
        "</head>",
        f"<body>\n<main>\n{body}\n</main>\n<script>\n{script}</script>\n</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def header(title: str, *lines: str) -> str:
    """The page's head: its title, and HTML below it."""
    return "\n".join(["<header>", f"<h1>{html.escape(title)}</h1>", *lines, "</header>"])


def encoded(path: Path) -> str:
    """A file's bytes, to stand in a page."""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def picture(path: Path, caption: str, kind: str = "chart") -> str:
    """A figure with its caption; inside an <img> no script of an SVG can run."""
    mime = "image/png" if path.suffix == ".png" else "image/svg+xml"
    data = encoded(path)
    caption = html.escape(caption)
    image = f'<img class="{kind}" alt="{caption}" src="data:{mime};base64,{data}">'
    return f'<figure class="chart"><div class="pan">{image}</div><figcaption>{caption}</figcaption></figure>'


def section(title: str, inside: str) -> str:
    """A part of the page; nothing where there is nothing inside."""
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{inside}\n</section>" if inside else ""


def details(summary: str, inside: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{html.escape(summary)}</summary>\n{inside}\n</details>"


def text(text: str, kind: str = "") -> str:
    """A paragraph."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{html.escape(text)}</p>"


def pairs(rows: Iterable[tuple[str, object]]) -> str:
    """Names and values; those without a value are left out."""
    inside = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>\n"
        for name, value in rows
        if value not in (None, "", MISSING)
    )
    return f"<dl>\n{inside}</dl>" if inside else ""


def status(entry: dict[str, Any]) -> str:
    """Status of a backend, and why."""
    status = str(entry.get("status", MISSING))
    return f"{status} ({entry['reason']})" if entry.get("reason") else status


def flat(value: Any) -> str | None:
    """A small JSON value in words: groups 17, images 36; a long list is counted."""
    if isinstance(value, dict):
        return ", ".join(
            f"{str(key).replace('_', ' ')} " + (f"({flat(inner)})" if isinstance(inner, dict) else str(flat(inner)))
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return ", ".join(str(flat(inner)) for inner in value) if len(value) <= 12 else f"{len(value)} entries"
    if isinstance(value, float):
        return f"{value:.4g}"
    return None if value is None else str(value)
