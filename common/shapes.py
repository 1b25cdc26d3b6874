"""Shapes of flat images, range of values. No TensorFlow here."""

import math

import numpy as np

from common.errors import UserError

LARGEST = np.float64(1e15)  # of a value; sums of squares of larger ones overflow in float32


def unusable(x: np.ndarray) -> np.ndarray:
    """Return which values of x, real numbers, are NaN, infinite or beyond LARGEST: bool, as x."""
    return ~((x >= -LARGEST) & (x <= LARGEST))


def rounded(x: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return which columns of x (n, d) float32 rounds by over 1/1000 of their deviation (d,)."""
    coarse = np.finfo(np.float32).eps * np.abs(x).max(axis=0)
    return (deviation > 0) & (coarse > 1e-3 * deviation)


def side_and_channels(d: int) -> tuple[int, int]:
    """Return (side, channels) of a square grey or RGB image of `d` values; UserError if none."""
    for channels in (1, 3):
        side = math.isqrt(d // channels)
        if side > 0 and side * side * channels == d:
            return side, channels
    raise UserError(
        f"flat samples of {d} values are neither a square (side*side) nor an RGB square image "
        "(side*side*3); pass images as (n, height, width, channels)"
    )


def image_shape(shape: tuple) -> tuple[int, int, int]:
    """Return (h, w, c) of samples of a shape, (h, w, c) or (d,); UserError as above."""
    if len(shape) == 3:
        return tuple(shape)
    side, channels = side_and_channels(math.prod(shape))
    return side, side, channels
