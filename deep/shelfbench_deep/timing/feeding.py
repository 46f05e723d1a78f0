"""Steps on batches that are decoded from JPEG ahead of the device, and how long it waits for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from shelfbench.cost.measurements import Repeated
from shelfbench_deep.timing.settings import TimingSettings
from shelfbench_deep.timing.synthetic import Decoder

# Batches between the decoders and the device: a warm-up must last longer than these.
BUFFERED = 6


@contextmanager
def _on_device(decoder: Decoder) -> Iterator[Callable[[], Any]]:
    """Copy batches to the device ahead of the steps; yield a function that waits for the next one."""
    from shelfbench_deep.engines.native import put

    ready: queue.Queue[Any] = queue.Queue(maxsize=2)
    stop = threading.Event()

    def offer(item: Any) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def feed() -> None:
        try:
            with closing(decoder.batches()) as batches:
                while not stop.is_set():
                    offer(put(next(batches)))
        except BaseException as error:  # passed on to the waiting thread, which raises it
            offer(error)

    def take() -> Any:
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield take
    finally:
        stop.set()
        thread.join()


def fed_from_jpeg(
    stage: str, step: Callable[[Any, Any], Any], decoder: Decoder, labels: Any, *, steps: int, settings: TimingSettings
) -> Repeated:
    """Time steps on batches from JPEG, in one stream: a repetition ends with as many batches ready as it started with.

    Parameters
    ----------
    stage : str
        A key of `shelfbench.cost.timing.STAGES`.
    step : callable
        ``step(images, labels)`` returns a value to wait for.
    decoder : Decoder
    labels : array
        The same for every step; on the device.
    steps : int
        In a repetition.
    settings : TimingSettings

    Returns
    -------
    Repeated
    """
    from shelfbench_deep.engines.native import wait

    def finish(value: Any) -> float:
        wait(value)
        return time.perf_counter()

    def repetition(count: int) -> tuple[float, float]:
        started = time.perf_counter()
        ends: list[Future[float]] = []
        waited = 0.0
        for number in range(count):
            images = take()
            arrived = time.perf_counter()
            if number > 1:
                # two steps in flight keep a device busy; more would only occupy batches
                ends[number - 2].result()
            ends.append(watching.submit(finish, step(images, labels)))
            arrivals.append(arrived)
        finished = [end.result() for end in ends]
        for arrived, idle_since in zip(arrivals, [started, *finished], strict=False):
            waited += max(0.0, arrived - idle_since)
        arrivals.clear()
        return finished[-1] - started, waited

    arrivals: list[float] = []
    with _on_device(decoder) as take, ThreadPoolExecutor(1) as watching:
        warm_up, _ = repetition(max(steps, BUFFERED))
        found = [repetition(steps) for _ in range(settings.repetitions)]
    seconds, waited = zip(*found, strict=True)
    return Repeated(
        stage=stage,
        way="jpeg",
        images=steps * settings.batch,
        steps=steps,
        first=0.0,
        warm_up=warm_up,
        seconds=seconds,
        waited=waited,
    )
