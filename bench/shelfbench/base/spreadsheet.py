"""Names in tables that people open in a spreadsheet, which runs a cell that begins like a formula."""

from __future__ import annotations

import re

# what Excel, LibreOffice and Google Sheets take for the start of a formula, as OWASP lists it (CSV injection); blanks
# and marks that cannot be seen may stand before it
_RUNS = re.compile("['\\s\ufeff\u200b\0]*[=+\\-@＝＋－＠]|'*[\t\r\n]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def inert(text: str) -> str:
    """Write a name so that no spreadsheet runs it: with an apostrophe before it if it begins like a formula.

    A plain number such as -5 stays as it is. A name that has an apostrophe there already gets another one, so that the
    first apostrophe before ``=``, ``+``, ``-``, ``@``, a tab or a line break is always ours.

    Parameters
    ----------
    text : str
        A category, a product's id, a path, or anything else that shelfbench did not write itself.

    Returns
    -------
    str
    """
    return f"'{text}" if _RUNS.match(text) and not _NUMBER.fullmatch(text) else text
