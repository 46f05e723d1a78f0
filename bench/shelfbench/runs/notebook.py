"""What a notebook shows of an opened run."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

from shelfbench.runs.headline import Headline

if TYPE_CHECKING:
    import pandas as pd


def summary_html(path: Path, summary: str) -> str:
    """Show a run without predictions by its path and its text."""
    return f"<p><b>{html.escape(str(path))}</b></p><pre>{html.escape(summary)}</pre>"


def run_html(path: Path, table4: pd.DataFrame, headline: Headline) -> str:
    """Show a run by its path, Table 4 and what can be promised."""
    table = table4.to_html(index=False, float_format="{:.3f}".format, escape=True, border=0)
    kind = {headline.code: "pre"}
    parts = [(kind.get(part, "p"), html.escape(part.strip())) for part in str(headline).split("\n\n")]
    text = "".join(f"<{tag}>{part}</{tag}>" for tag, part in parts)
    return f"<p><b>{html.escape(str(path))}</b></p>{table}{text}"
