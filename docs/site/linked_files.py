"""A hook of MkDocs: the site holds the documents at their places in the repository, and every file that they link to.

So a link such as ``../results/fashion/report.html`` leads to the same file on the forge and in the site, and what
nobody links to is left out. (Plugins that take the whole repository as the folder of documents go through every
environment in it, too.)
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LOG = logging.getLogger("mkdocs.hooks.linked_files")
FIRST = ("*.md", "results/README.md", "docs/*.md", "docs/site/*.css", "docs/site/*.js")
LINK = re.compile(r"\]\(\s*<?([^)\s#>]+)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the documents by those of the repository and what they link to; the theme's files stay."""
    root = Path(config.config_file_path).parent
    theirs = [file for file in files if file.src_dir != config.docs_dir]
    return Files([*theirs, *(_placed(place, root, config) for place in linked(root))])


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Leave tables of runs out of the search, which finds what is said about them."""
    if page.file.src_uri.startswith("results/") and page.file.src_uri != "results/README.md":
        page.meta["search"] = {"exclude": True}
    return markdown


def linked(root: Path) -> list[str]:
    """Paths below `root`, with slashes, of the documents and of all that can be reached from them by links."""
    waiting = [path.relative_to(root).as_posix() for pattern in FIRST for path in sorted(root.glob(pattern))]
    found: dict[str, None] = {}
    while waiting:
        place = waiting.pop(0)
        if place in found:
            continue
        found[place] = None
        if place.endswith(".md"):
            text = (root / place).read_text(encoding="utf-8")
            for target in LINK.findall(text):
                if "://" in target or target.startswith("mailto:"):
                    continue
                path = posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(target)))
                if (root / path).is_file():
                    waiting.append(path)
                else:
                    LOG.warning("%s links to %s, which is not a file", place, target)
    return list(found)


def _placed(place: str, root: Path, config: MkDocsConfig) -> File:
    file = File.generated(config, place, abs_src_path=str(root / place))
    file.generated_by = None  # it is a file like any other, whose changes `mkdocs serve` watches
    return file
