"""An optimiser that is given the images of one update in several parts, and updates after the last of them.

Keras' own ``gradient_accumulation_steps`` counts parts where the recipes count updates: its schedule would decay, and
its average of the weights would forget, as many times faster as there are parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras


def in_parts(kind: type[keras.optimizers.Optimizer], parts: int, **settings: Any) -> keras.optimizers.Optimizer:
    """Make an optimiser whose updates take the mean gradient of several parts of equal size.

    Of a cost that is a mean over images, that is the gradient of the whole batch; so is the gradient of a penalty,
    which each part repeats.

    Parameters
    ----------
    kind : type
        A subclass of `keras.optimizers.Optimizer`.
    parts : int
        Of an update; 1 makes the optimiser as it is.
    **settings
        Of the optimiser.

    Returns
    -------
    keras.optimizers.Optimizer
        Its ``iterations`` are updates.
    """
    from shelfbench_deep.engines.keras import keras

    if parts == 1:
        return kind(**settings)
    ops = keras.ops

    class InParts(kind):
        """Schedule and averages go by updates."""

        def _get_current_learning_rate(self) -> Any:
            if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
                return self._learning_rate(self.iterations)
            return super()._get_current_learning_rate()

        def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
            if not self.use_ema:
                return
            whole = ops.equal((self._iterations + 1) % parts, 0)
            later = ops.not_equal(self.iterations, 0)
            for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                kept = ops.where(whole, ops.where(later, self.ema_momentum, 0.0), 1.0)
                kept = ops.cast(kept, variable.dtype)
                average.assign(kept * average + (1 - kept) * variable)

    return InParts(gradient_accumulation_steps=parts, name=kind.__name__.lower(), **settings)
