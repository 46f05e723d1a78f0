"""What training costs on this machine: Table 3 of C, Table 3 of X, and the cost of every backbone.

Runs wherever there are Pillow and Keras with one of its engines, also from a checkout that is not installed; it needs
neither data nor network access::

    PYTHONPATH=bench:baselines:deep KERAS_BACKEND=jax python -m shelfbench_deep.measure --out DIR --minutes 10

and within the study ``timing``. Repeat the command to measure the missing parts of a run that ended early.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import ShelfbenchError
from shelfbench.base.screen import printable, show
from shelfbench_deep.timing.child import TIME_UP
from shelfbench_deep.timing.measuring import measure
from shelfbench_deep.timing.settings import PRECISIONS, TimingSettings

_DEFAULT = TimingSettings()
_NUMBERS = {
    "pixels": "side of the images",
    "batch": "images per step",
    "images": "bottlenecks in an epoch",
    "photo": "side of the JPEG photos",
    "repetitions": "of everything",
    "workers": "number of decoders",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m shelfbench_deep.measure", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the JSON file")
    for name, meaning in _NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=getattr(_DEFAULT, name), metavar="N", help=meaning)
    parser.add_argument("--networks", nargs="*", default=_DEFAULT.networks, metavar="NAME", help="backbones to measure")
    parser.add_argument("--units", nargs="*", type=int, default=_DEFAULT.units, metavar="N", help="2NN to measure")
    parser.add_argument("--precision", default=_DEFAULT.precision, metavar="NAME", help=", ".join(PRECISIONS))
    parser.add_argument(
        "--minutes", type=float, default=math.inf, metavar="N", help="stop after these; what was measured is kept"
    )
    parser.add_argument("--quick", action="store_true", help="few, short repetitions")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure this machine, print a short table, write ``DEVICE.json``.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name; by default those of the process.

    Returns
    -------
    int
        0, also if the time was up; 1 if a part failed; 2 for wrong input.
    """
    options = _parser().parse_args(arguments)
    numbers = {name: getattr(options, name) for name in _NUMBERS}
    try:
        settings = TimingSettings(
            networks=tuple(options.networks),
            units=tuple(options.units),
            precision=options.precision,
            **numbers | ({"repetitions": 2} if options.quick else {}),
            seconds=0.3 if options.quick else _DEFAULT.seconds,
        )
        measured, path = measure(settings, options.out, "", Console(), minutes=options.minutes)
        from shelfbench.report.table3 import short_table

        show(short_table([measured]))
        show(printable(str(path)))
    except ShelfbenchError as error:
        print(f"shelfbench_deep.measure: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    return int(any(part.status != "done" and part.reason != TIME_UP for part in measured.parts))


if __name__ == "__main__":
    sys.exit(main())
