"""Where the source roots are, for processes that tests start, and what they offer."""

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT), *(str(ROOT / name) for name in ("bench", "baselines", "deep"))])


def entry_points(group: str) -> dict[str, str]:
    """Names and places of what we offer in a group, such as `backends`; other packages may offer more."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["entry-points"][f"shelfbench.{group}"]
