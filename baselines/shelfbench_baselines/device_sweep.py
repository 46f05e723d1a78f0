"""A sweep on an accelerator for problems whose margins are not kept, through the Array API.

The features stay on the device if half of its free memory holds them. Otherwise they go there in blocks of rows, once
for each sweep: what crosses the bus for a sweep is their size, in float32, plus a gradient for each part of the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shelfbench_baselines.margins import Columns
from shelfbench_baselines.squared_hinge import row_blocks
from shelfbench_baselines.streamed import StreamedHinge

# Rows of a block, of which features and margins are on the device at a time, and the share of its free memory that
# features may take for good.
ROWS = 2**14
SHARE = 1 / 2
# Float32 matrices rows x categories that a block's sweep holds at its peak.
MATRICES = 6


class DeviceSweep:
    """Does the work of `StreamedHinge.sweep` on a device.

    Parameters
    ----------
    device : shelfbench_baselines.device.Device
    problem : StreamedHinge

    Attributes
    ----------
    sent : int
        Bytes of features that have gone to the device so far.
    """

    def __init__(self, device: Any, problem: StreamedHinge) -> None:
        self._device, self._problem = device, problem
        self.sent = 0
        self._parts = list(row_blocks(problem.count, max(ROWS, -(-problem.count // 64))))
        self._labels = [device.put(problem.labels[part].astype(np.int64)) for part in self._parts]
        self.resident = device.name != "cpu" and 4 * problem.count * problem.dimensions <= SHARE * device.free()
        self._held = [self._put(part) for part in self._parts] if self.resident else None

    def _put(self, rows: slice) -> Any:
        with self._problem.blocks.block(rows) as block:
            self.sent += block.nbytes
            return self._device.put(block)

    def rows(self, width: int) -> int:
        """Count the rows of a block of so many columns: fewer than `ROWS` where the device has no room for them."""
        room = SHARE * self._device.free() - 3 * 4 * self._problem.dimensions * width
        each = 4 * (self._problem.dimensions + MATRICES * width)
        return int(np.clip(room // each, 1024, ROWS)) if self._device.free() else 2048

    def __call__(self, weights: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute gradient, loss and active rows; see `StreamedHinge.sweep`."""
        device, xp, problem = self._device, self._device.xp, self._problem
        folded, shift = (device.put(array) for array in problem.folded(columns.spread(weights)))
        names = np.full(columns.width, -2)
        categories = np.flatnonzero(columns.position[:-1] >= 0)
        names[columns.position[categories]] = categories
        here = device.put(names)
        back, sums = np.zeros((problem.dimensions, columns.width)), np.zeros((3, columns.width))
        size = self.rows(columns.width)
        for number, part in enumerate(self._parts):
            part_back: Any = None
            part_sums: Any = None
            for rows in row_blocks(part.stop, size, part.start):
                inside = slice(rows.start - part.start, rows.stop - part.start)
                block = self._put(rows) if self._held is None else self._held[number][inside, :]
                own = self._labels[number][inside][:, None] == here[None, :]
                signs = 1 - 2 * xp.astype(own, xp.float32)
                with device.exact():
                    slack = 1 + signs * (block @ folded + shift)
                    slack = xp.where(slack > 0, slack, xp.zeros_like(slack))
                    signed = slack * signs
                    product = signed.T @ block  # the transposed product is the smaller one
                active = xp.astype(slack > 0, xp.float32)
                three = xp.stack([xp.sum(values, axis=0) for values in (slack * slack, active, signed)])
                part_back = product if part_back is None else part_back + product
                part_sums = three if part_sums is None else part_sums + three
            back += device.get(part_back).T
            sums += device.get(part_sums)
        at = columns.at
        return problem.unfolded(back[:, at], sums[2, at]), sums[0, at], sums[1, at]
