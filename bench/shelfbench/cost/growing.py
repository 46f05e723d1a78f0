"""What work takes for growing numbers of images, and how large a part the time that is left allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Of a single try, so many seconds, but at most this share of it, are taken for what comes before the first image: a
# library that starts, a network that is compiled, what an epoch costs whatever its length. Too large a share makes the
# next part smaller than it could be; too small a one makes all of it seem long, and a share of that is overspent.
_START, _OF_A_TRY = 3.0, 0.8


@dataclass(frozen=True)
class Pace:
    """Seconds that the same work took for several numbers of images, and from them for any larger number.

    Attributes
    ----------
    seen : tuple of (float, float)
        Numbers of images, ascending, and seconds.
    """

    seen: tuple[tuple[float, float], ...] = ()

    def and_(self, images: float, seconds: float) -> Pace:
        """Add what a number of images took; one that was tried before is replaced."""
        kept = [pair for pair in self.seen if pair[0] != images]
        return Pace(tuple(sorted([*kept, (images, seconds)])))

    @property
    def per_image(self) -> float:
        """Seconds of one image more."""
        (first, began), (last, ended) = self.seen[0], self.seen[-1]
        if last == first:
            return (ended - min(_START, _OF_A_TRY * ended)) / max(last, 1)
        return min(max((ended - began) / (last - first), 0.0), ended / last)

    def at(self, images: float) -> float:
        """Predict the seconds of a number of images: on the line through the first and the last that were tried."""
        last, ended = self.seen[-1]
        return max(0.0, ended + self.per_image * (images - last))


def affordable(cost: Callable[[int], float], seconds: float, least: int, most: int) -> int:
    """Find the largest part whose cost stays within some seconds.

    Parameters
    ----------
    cost : callable
        Seconds of a part of so many products; the larger the part, the more.
    seconds : float
        What may be spent.
    least : int
        Smallest part that is asked for.
    most : int
        Largest one.

    Returns
    -------
    int
        0 if even the smallest costs more.
    """
    if least > most or cost(least) > seconds:
        return 0
    while least < most:
        middle = (least + most + 1) // 2
        if cost(middle) <= seconds:
            least = middle
        else:
            most = middle - 1
    return least
