"""The verbs ``doctor`` and ``cache``: what this machine has, and what is kept on it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from shelfbench.base.errors import InputError
from shelfbench.base.screen import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfbench.base.console import Console

# Default of --older-than.
_OLD = "30d"


def add_caring(verb: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Declare the verbs and their options.

    Parameters
    ----------
    verb : callable
        Makes the parser of a verb from its name, summary and example.
    """
    one = verb(
        "doctor",
        "say what this machine has, which engine computes what, and what would make it faster; exit 1 if something is "
        "broken",
        "shelfbench doctor",
    )
    one.add_argument("--deep", action="store_true", help="also load each engine that is installed (a minute or two)")
    one.add_argument("--json", action="store_true", help="for machines")
    one = verb(
        "cache",
        "list what is in the cache, or remove what nobody has used for long",
        "shelfbench cache --clean --older-than 30d --dry-run",
    )
    one.add_argument("--clean", action="store_true", help="remove what is old and not in use")
    one.add_argument(
        "--older-than", metavar="AGE", help=f"last used before that: 12h, 30d, 8w; default: {_OLD} (with --clean)"
    )
    one.add_argument("--dry-run", action="store_true", help="only say what --clean would remove")
    one.add_argument("--json", action="store_true", help="for machines")


def doctor(options: argparse.Namespace, console: Console) -> int:
    """Say what this machine has, what is broken, and what would make it faster."""
    import json

    from shelfbench.doctor.checkup import checkup

    found = checkup(deep=options.deep)
    show(json.dumps(found.described(), indent=2, ensure_ascii=False) if options.json else str(found))
    return 1 if found.broken else 0


def cache(options: argparse.Namespace, console: Console) -> None:
    """List the cache, or clean it."""
    import json

    from shelfbench.base.storage import cache_dir
    from shelfbench.doctor.cache import cache_text, entries
    from shelfbench.doctor.cleaning import clean, parse_age

    if not options.clean and (options.older_than is not None or options.dry_run):
        raise InputError("--older-than and --dry-run say what --clean removes", "add --clean, or leave them out")
    if options.clean:
        cleaned = clean(parse_age(_OLD if options.older_than is None else options.older_than), dry=options.dry_run)
        show(json.dumps(cleaned.described(), indent=2, ensure_ascii=False) if options.json else str(cleaned))
        return
    found, root = entries(), cache_dir()
    if options.json:
        listed = [entry.described() for entry in found]
        described = {"folder": str(root), "bytes": sum(entry.size for entry in found), "entries": listed}
        show(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        show(cache_text(found, root))
