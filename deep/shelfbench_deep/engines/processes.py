"""Several processes that compute one program together; only JAX does that, and only this file knows how.

Every function here that several processes have to call together says so. They wait for each other, and a process that
ends takes the others with it: the training is then started again, and resumes from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.errors import InputError, RunError, first_line
from shelfbench.base.processes import this_process

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# Seconds that a process waits for the others to start, and after which one that is silent counts as dead.
_START, _SILENT = 1800, 100
_meetings = count()


def join(engine: str) -> None:
    """Connect this process to the others, which wait for it; before anything is computed.

    Parameters
    ----------
    engine : str
        What Keras runs on.

    Raises
    ------
    InputError
        If Keras runs on another engine, or the others cannot be reached.
    """
    here = this_process()
    if here.count == 1:
        return
    if engine != "jax":
        raise InputError(
            f"{here.count} processes are to train together, and Keras runs on {engine}",
            "set KERAS_BACKEND=jax",
        )
    import jax

    try:
        jax.distributed.initialize(
            here.address,
            here.count,
            here.number,
            initialization_timeout=_START,
            heartbeat_timeout_seconds=_SILENT,
        )
    except RuntimeError as error:
        raise InputError(
            f"process {here.number} of {here.count} does not reach the first one at "
            f"{here.address} ({first_line(error)})",
            "start all processes, and give each the address of the first",
        ) from error
    if len(jax.devices()) != here.count * len(jax.local_devices()):
        raise InputError(
            f"{here.count} processes have {len(jax.devices())} devices together, and this one has "
            f"{len(jax.local_devices())}",
            "give each process as many",
        )


def _meet() -> None:
    """Wait until all processes are here: what they do together next waits for half a minute only."""
    from jax._src import distributed

    client = distributed.global_state.client
    assert client is not None  # only processes that have joined come here
    client.wait_at_barrier(f"shelfbench-{next(_meetings)}", 1000 * _START)


@contextmanager
def kept_together() -> Iterator[None]:
    """Say in one line that another process ended or was too slow, whatever JAX says of it."""
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        here = this_process()
        raise RunError(
            f"process {here.number} of {here.count} has lost the others ({first_line(error)})",
            "start all processes again: the training resumes from its last checkpoint",
        ) from error


def part_company() -> None:
    """Wait for the other processes, and go on alone; all call it together."""
    import jax

    jax.distributed.shutdown()


def own_share(rows: np.ndarray, parts: int = 1) -> np.ndarray:
    """Select the rows that this process reads: of each of some equal parts, one after the other, its own piece.

    Parameters
    ----------
    rows : ndarray, shape (n,)
        The same in every process; `parts` times the number of processes divides n.
    parts : int

    Returns
    -------
    ndarray, shape (n / processes,)
    """
    here = this_process()
    return rows if here.count == 1 else rows.reshape(parts, here.count, -1)[:, here.number].ravel()


def gathered(value: np.ndarray) -> np.ndarray:
    """Give every process the arrays of all, one after the other; all call it together, with equal shapes.

    Parameters
    ----------
    value : ndarray, shape (n, ...)

    Returns
    -------
    ndarray, shape (processes x n, ...)
    """
    if this_process().count == 1:
        return value
    from jax.experimental import multihost_utils

    _meet()
    return np.asarray(multihost_utils.process_allgather(value, tiled=True))


def of_first(value: np.ndarray) -> np.ndarray:
    """Give every process the array of the first one; all call it together, with equal shapes."""
    if this_process().count == 1:
        return value
    found: np.ndarray = gathered(value[None])[0]
    return found


def agreed(what: str, *values: float) -> None:
    """Make sure that all processes have the same numbers; all call it together.

    Parameters
    ----------
    what : str
        What the numbers say, for the message.
    *values : float

    Raises
    ------
    InputError
        If they do not.
    """
    found = gathered(np.array([values], np.float32))
    if (found != found[0]).any():
        raise InputError(
            f"the processes that train together do not agree on {what}",
            "give all the same study and data, and a SHELFBENCH_CACHE that they share",
        )


def outputs_of_all(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Compute a network's outputs for the images of all processes; all call it together, with equal shapes.

    Parameters
    ----------
    model : keras.Model
        Built in the distribution of `shelfbench_deep.engines.native.distributed`.
    images : ndarray, shape (n, ...)
        Those of this process.

    Returns
    -------
    ndarray, shape (processes x n, ...)
    """
    import jax

    from shelfbench_deep.engines.keras import keras

    distribution = keras.distribution.distribution()
    layout = distribution.get_data_layout(images.shape).backend_layout
    whole = jax.make_array_from_process_local_data(layout, images)
    return np.asarray(
        _forward(model)(_values(model.trainable_variables), _values(model.non_trainable_variables), whole)
    )


def _values(variables: list[Any]) -> list[Any]:
    return [variable.value for variable in variables]


def _forward(model: keras.Model) -> Any:
    """Compile a network's outputs, a copy of them on each device; kept with the network."""
    import jax

    from shelfbench_deep.engines.keras import keras

    if not hasattr(model, "_outputs_of_all"):
        mesh = keras.distribution.distribution().device_mesh.backend_mesh
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

        def forward(trainable: Any, rest: Any, images: Any) -> Any:
            return model.stateless_call(trainable, rest, images, training=False)[0]

        model._outputs_of_all = jax.jit(forward, out_shardings=everywhere)
    return model._outputs_of_all
