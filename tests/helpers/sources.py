"""Where the source roots are, for processes that tests start."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT), *(str(ROOT / name) for name in ("bench", "baselines", "deep"))])
