"""What fitting a linear SVM takes, counted before: memory, blocks of categories, bytes and operations of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

from shelfbench.base.errors import InputError
from shelfbench.base.processor import cores, free_memory
from shelfbench.data.rows import IN_MEMORY
from shelfbench_baselines.margins import LANES, LEAST_BYTES, SHARE
from shelfbench_baselines.quasi_newton import MEMORY
from shelfbench_baselines.squared_hinge import ROWS

# Problems whose features take no more than this, and whose margins no more than `LEAST_BYTES`, are solved in memory.
FEATURES_BYTES = 2**30
# What the descent may take for its weights, directions and memory of steps, if a share of the free memory allows it.
DESCENT_BYTES = 2 * 2**30
# Rows that lengths of steps are found on, and the most that their features take.
SAMPLE, SAMPLE_BYTES = 2**15, 2**28
# With more features, the preconditioner is a diagonal.
GRAM_LIMIT = 8192
# Arrays of weights, float64, that a descent holds at a time beside the steps that it remembers.
ARRAYS = 16
# Steps of the slowest category at each value of C with 100,000 rows, and the power of the rows by which they become
# more: what was measured on drawn features (results/scale/svm-estimate.csv). Others may need more or fewer.
STEPS, GROWTH = 13.3, 0.15
# Passes over the features beside the steps: moments, and the gradient at the beginning of each block.
FIRST = 2


def fits(count: int, dimensions: int, classes: int) -> bool:
    """Tell whether a problem is small enough to be solved in memory, on any machine alike.

    Parameters
    ----------
    count : int
        Rows.
    dimensions : int
        Features.
    classes : int
        Categories.

    Returns
    -------
    bool
    """
    width = -(-classes // LANES) * LANES
    return 8 * count * width <= LEAST_BYTES and 4 * count * dimensions <= FEATURES_BYTES


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What fitting the linear SVM takes, as far as it can be counted before.

    Attributes
    ----------
    streamed : bool
        Whether features are gone through in blocks of rows.
    memory : int
        Peak bytes beside the process's own, and beside features that a run holds in memory or maps.
    width, blocks : int
        Categories of a block, and blocks.
    reads : int
        How often a sweep over all categories reads the features.
    sweep_bytes : int
        Bytes of features that such a sweep reads.
    sweep_flops : float
        Floating-point operations of its products.
    passes : int
        About how often the whole fit reads the features, from the disk where the system does not hold them. Where it
        is not streamed they are in memory, and it is 1.
    """

    streamed: bool
    memory: int
    width: int
    blocks: int
    reads: int
    sweep_bytes: int
    sweep_flops: float
    passes: int

    def check(self, free: int | None = None) -> None:
        """Refuse a fit that would not fit into memory.

        Parameters
        ----------
        free : int, optional
            Bytes of memory that are free; those of this machine by default.

        Raises
        ------
        InputError
            If it would not fit; the message says what it takes.
        """
        room = free_memory() if free is None else free
        if self.memory > room:
            raise InputError(
                f"fitting the linear SVM takes {self.memory / 2**30:.1f} GiB of memory, and {room / 2**30:.1f} GiB "
                "are free",
                "end other programs, use a machine with more memory, or give fewer values to svm.C",
            )


def footprint(count: int, dimensions: int, classes: int, *, values: int = 5, free: int | None = None) -> Footprint:
    """Count what fitting a linear SVM on the CPU takes, before anything is computed.

    A plan asks this of a classifier that has a method `footprint`, as `LinearSVM` has; that one asks before it begins.

    Parameters
    ----------
    count : int
        Training images.
    dimensions : int
        Their features.
    classes : int
        Categories.
    values : int
        Values of C.
    free : int, optional
        Bytes of memory that are free; those of this machine by default.

    Returns
    -------
    Footprint
    """
    streamed = not fits(count, dimensions, classes)
    room = free_memory() if free is None else free
    path = 8 * (dimensions + 1) * classes * (values + 1)
    gram = (8 + 4 * 5) * (dimensions + 1) ** 2 if dimensions <= GRAM_LIMIT else 0
    if streamed:
        width = min(widest(dimensions, sample_size(count, dimensions), room), -(-classes // LANES) * LANES)
        of_sample = 4 * dimensions * sample_size(count, dimensions)
        block = width * _bytes_each(dimensions, sample_size(count, dimensions))
        threads = cores() * (ROWS * 4 * ((1 + 3) * dimensions + width) + 2 * 8 * dimensions * width)
        memory = path + gram + of_sample + block + threads
    else:
        width = -(-classes // LANES) * LANES
        features = 4 * count * dimensions
        # features that stay on disk otherwise are read into memory
        memory = path + gram + 8 * count * width + 8 * ARRAYS * (dimensions + 1) * width
        memory += features if features > IN_MEMORY else 0
    blocks = -(-classes // width)
    reads = blocks if streamed else 2 * blocks
    return Footprint(
        streamed=streamed,
        memory=memory,
        width=width,
        blocks=blocks,
        reads=reads,
        sweep_bytes=reads * 4 * count * dimensions,
        sweep_flops=4.0 * count * dimensions * classes,
        passes=1 + blocks * (FIRST - 1 + round(values * STEPS * (count / 1e5) ** GROWTH)) if streamed else 1,
    )


def sample_size(count: int, dimensions: int) -> int:
    """Count the rows of the sample that lengths of steps are found on."""
    return min(count, SAMPLE, max(ROWS, SAMPLE_BYTES // (4 * max(1, dimensions))))


def widest(dimensions: int, sample: int, room: float) -> int:
    """Count the categories of a block, a multiple of `LANES`, for which there is memory if `room` bytes are free."""
    share = min(DESCENT_BYTES, max(SHARE * room, LEAST_BYTES))
    return max(LANES, int(share // _bytes_each(dimensions, sample)) // LANES * LANES)


def _bytes_each(dimensions: int, sample: int) -> int:
    """Count the bytes that a category of a block takes."""
    return (dimensions + 1) * (8 * ARRAYS + 2 * 4 * MEMORY) + 8 * sample
