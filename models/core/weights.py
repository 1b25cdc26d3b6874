"""Weights of networks as named arrays, and pretrained ones that runs share."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError
from common.files import remove_leftovers
from common.locks import locked
from models.core.monitor import Monitor

if TYPE_CHECKING:
    import keras


def arrays_of(networks: "dict[str, keras.Layer]") -> dict[str, np.ndarray]:
    """Return {"name/00": array, ...}: the variables of {name: network}, in their order."""
    return {
        f"{name}/{i:02d}": np.asarray(v)
        for name, network in networks.items()
        for i, v in enumerate(network.variables)
    }


def assign_arrays(
    path: str | os.PathLike,
    arrays: dict[str, np.ndarray],
    networks: "dict[str, keras.Layer]",
    kind: str,
    shape: tuple,
) -> None:
    """Copy a file's arrays, named as by `arrays_of`, into {name: network}, all or none.

    Path, kind of network and shape of its samples are for messages.

    Raises
    ------
    UserError
        If an array is missing or has another shape; it names what differs.
    """
    pairs = []
    for name, network in networks.items():
        there = sum(key.startswith(f"{name}/") for key in arrays)
        if there != len(network.variables):
            raise UserError(
                f"{str(path)!r} holds {there} {name} arrays: expected {len(network.variables)} "
                f"for the {kind!r} network"
            )
        for i, v in enumerate(network.variables):
            array = arrays.get(f"{name}/{i:02d}")
            if array is None:
                raise UserError(f"{str(path)!r} holds no array {name}/{i:02d}: damaged")
            if array.shape != tuple(v.shape):
                raise UserError(
                    f"{str(path)!r} holds {name} weights of shape {array.shape} where the "
                    f"{kind!r} network for samples {shape} has {tuple(v.shape)}"
                )
            pairs.append((v, array))
    for v, array in pairs:
        v.assign(array)


def share(
    folder: str | os.PathLike,
    load: Callable[[str], object],
    train: Callable[[str], object],
    save: Callable[[str], object],
    monitor: Monitor,
) -> None:
    """Take pretrained weights from a folder, or train and put them there.

    One process trains, others that need the same weights wait for it.

    Parameters
    ----------
    load : callable (path)
        Raises UserError if the file is of no use; it is put aside then.
    train : callable (path of a checkpoint)
    """
    os.makedirs(folder, exist_ok=True)
    weights = os.path.join(folder, "ae_weights.h5")
    checkpoint = os.path.join(folder, "checkpoint.h5")

    def waiting():
        monitor.note(f"waiting for another process that pretrains {folder}")

    with locked(os.path.join(folder, "lock"), waiting):
        remove_leftovers(folder)
        if os.path.exists(weights):
            try:
                load(weights)
                monitor.note(f"pretrained weights found: {weights}")
            except UserError as error:
                os.replace(weights, f"{weights}.damaged")
                monitor.warn(f"{error}; put aside as {weights}.damaged, trained again")
        if not os.path.exists(weights):
            train(checkpoint)
            save(weights)
        if os.path.exists(checkpoint):  # also one that a kill after the last write left
            os.remove(checkpoint)
