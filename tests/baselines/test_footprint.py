"""What a fit takes, told before it begins."""

import pytest

from shelfbench.base.errors import InputError
from shelfbench_baselines.footprint import footprint
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings

GIB = 2**30


@pytest.mark.parametrize("count", [100_000, 1_900_000, 20_000_000])
@pytest.mark.parametrize(("dimensions", "classes"), [(2048, 1000), (1280, 7600), (6800, 1000)])
def test_memory_does_not_grow_with_the_images(count, dimensions, classes):
    found = footprint(count, dimensions, classes, free=20 * GIB)
    model = 4 * (dimensions + 1) * classes * 12  # weights at five values of C, float64, and at the best one
    assert found.streamed
    assert found.memory <= 3.5 * GIB + model
    assert found.memory == footprint(2 * count, dimensions, classes, free=20 * GIB).memory
    assert found.width * found.blocks >= classes
    assert found.sweep_bytes == found.blocks * 4 * count * dimensions


def test_little_memory_means_more_blocks_and_more_readings():
    little, much = (footprint(1_900_000, 2048, 1000, free=free) for free in (2 * GIB, 20 * GIB))
    assert (much.width, much.blocks, much.reads) == (1008, 1, 1)
    assert little.width < much.width
    assert little.reads > 1
    assert little.passes > much.passes
    assert little.memory < much.memory


def test_a_fit_in_memory_reads_its_features_once_and_counts_those_that_it_copies():
    small, copied = footprint(34_884, 1280, 90), footprint(60_000, 3600, 90)
    assert not small.streamed
    assert small.passes == copied.passes == 1
    assert copied.memory > 4 * 60_000 * 3600  # they stay on disk until the fit reads them


def test_a_fit_for_which_there_is_no_memory_is_refused():
    svm = LinearSVM(SVMSettings(C=(1e-3, 1e-2)))
    found = svm.footprint(1_900_000, 2048, 1000, free=GIB)
    assert found == footprint(1_900_000, 2048, 1000, values=2, free=GIB)
    found.check(found.memory)
    with pytest.raises(InputError, match=r"takes 0\.\d GiB of memory, and 0\.2 GiB are free"):
        found.check(GIB // 5)
    svm.footprint(1000, 64, 10).check()
