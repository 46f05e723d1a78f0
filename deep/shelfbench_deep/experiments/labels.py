"""The labels that a split's images carry: what the experiment ``multilabel`` learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.data.material import Material


@dataclass(frozen=True)
class Task:
    """The labels to learn.

    Attributes
    ----------
    names : tuple of str
        Labels that some training image carries.
    targets : ndarray of bool, shape (images of the material, labels)
    shares : ndarray of float64, shape (labels,)
        Share of the training images that carry each: the class weights. X weights by how common a class is among social
        media images, by scores that are not public.
    unseen : int
        Labels that train lacks, left out.
    """

    names: tuple[str, ...]
    targets: np.ndarray
    shares: np.ndarray
    unseen: int


def task_of(material: Material) -> Task:
    """Gather the labels of all images of a split.

    Parameters
    ----------
    material : Material

    Returns
    -------
    Task

    Raises
    ------
    InputError
        If the catalogue has no labels.
    """
    catalogue = material.catalogue
    if catalogue.labels is None:
        raise InputError(
            f"{catalogue.name} is read without labels", 'name their columns with --set dataset.labels=["COLUMN", ...]'
        )
    targets = catalogue.labels.targets(catalogue.image_product[material.image])
    train = targets[material.images_of("train")]
    known = np.any(train, axis=0)
    if not known.any():
        raise InputError(
            f"no training image of {catalogue.name} carries a label", "name other columns with --set dataset.labels"
        )
    names = tuple(name for name, kept in zip(catalogue.labels.names, known, strict=True) if kept)
    unseen = int((targets.any(axis=0) & ~known).sum())
    return Task(names, targets[:, known], train[:, known].mean(axis=0), unseen)
