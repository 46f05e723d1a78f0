"""A network before it is trained: what is compiled, and what decides how much memory that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench_deep.networks.blueprint import Blueprint
from shelfbench_deep.training.objective import Objective
from shelfbench_deep.training.recipes import Recipe

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A network ready to be compiled, and its training data.

    Attributes
    ----------
    model : keras.Model
    blueprint : Blueprint
    recipe : Recipe
    rows : ndarray of int64
        Images to train on, as positions in ``data.train``.
    own_head : bool
        Whether its own layer of logits classifies; otherwise its features go to another classifier.
    chosen : dict
        For the record.
    objective : Objective
        What it learns.
    """

    model: keras.Model
    blueprint: Blueprint
    recipe: Recipe
    rows: np.ndarray
    own_head: bool
    chosen: dict[str, Any]
    objective: Objective

    @property
    def sketch(self) -> Sketch:
        """What decides how much memory its training takes."""
        return Sketch(self.model, self.recipe, len(self.rows))


@dataclass(frozen=True)
class Sketch:
    """What decides how much memory a training takes.

    Attributes
    ----------
    model : keras.Model
        Like the one to be trained, with what stays fixed frozen; its weights do not matter.
    recipe : Recipe
    images : int
        In an epoch.
    """

    model: keras.Model
    recipe: Recipe
    images: int
