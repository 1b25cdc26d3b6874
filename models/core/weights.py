"""Weights of networks as named arrays."""

import os
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError

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
