"""Random shift and rotation of image batches, inside the TensorFlow graph.

The transform is the one of Keras 2.1's ImageDataGenerator(width_shift_range=0.1,
height_shift_range=0.1, rotation_range=10), with which the DEC-DA and ASPC-DA papers' code was run:
per image and per visit theta ~ U(-10, 10) degrees, row shift ~ U(-0.1, 0.1) * height, column shift
~ U(-0.1, 0.1) * width, one composed affine map, bilinear, edges replicated.

Departures: docs/methods/dec-da.md
"""

import math

import tensorflow as tf

from common.errors import UserError
from common.shapes import image_shape

CENTER_OFFSET = {"original": 0.5, "true": -0.5}


def affine_rows(
    u: tf.Tensor,
    height: int,
    width: int,
    shift_rows: float,
    shift_columns: float,
    rotation: float,
    center: str = "original",
) -> tf.Tensor:
    """Turn uniform draws into the affine maps from output to input pixels.

    Output pixel (r, q) samples the input at R(theta) ((r, q) - o + t) + o, with
    R = [[cos, -sin], [sin, cos]]: shift first, then rotate about o.

    Parameters
    ----------
    u : float tensor (b, 3) in [-1, 1)
        Draws for the angle, the row shift and the column shift.
    height, width : int
        Pixels.
    shift_rows, shift_columns : float
        Largest shift, pixels.
    rotation : float
        Largest angle, degrees.
    center : {"original", "true"}
        o is (height, width)/2 + 0.5 as in the released code, or - 0.5.

    Returns
    -------
    float tensor (b, 6)
        (m00, m01, b0, m10, m11, b1): input row = m00 r + m01 q + b0, input column likewise.
    """
    theta = u[:, 0] * (rotation * math.pi / 180.0)
    t0, t1 = u[:, 1] * shift_rows, u[:, 2] * shift_columns
    o0, o1 = height / 2 + CENTER_OFFSET[center], width / 2 + CENTER_OFFSET[center]
    cos, sin = tf.cos(theta), tf.sin(theta)
    b0 = cos * (t0 - o0) - sin * (t1 - o1) + o0
    b1 = sin * (t0 - o0) + cos * (t1 - o1) + o1
    return tf.stack([cos, -sin, b0, sin, cos, b1], axis=1)


@tf.function(jit_compile=True, autograph=False)
def resample(x: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Sample each image at its affine map, bilinear, edges replicated.

    Equal to scipy.ndimage.affine_transform(order=1, mode="nearest") per channel. Compiled by XLA
    into one loop over pixels: about a quarter of the time of ImageProjectiveTransformV3 on CPU.

    Parameters
    ----------
    x : float32 tensor (b, h, w, c), h and w at least 2
    rows : float32 tensor (b, 6), from `affine_rows`

    Returns
    -------
    float32 tensor (b, h, w, c)
    """
    b, (h, w, c) = tf.shape(x)[0], x.shape[1:]
    m00, m01, b0, m10, m11, b1 = (v[:, None, None] for v in tf.unstack(rows, axis=1))
    r = tf.range(h, dtype=x.dtype)[None, :, None]
    q = tf.range(w, dtype=x.dtype)[None, None, :]
    row = tf.clip_by_value(m00 * r + m01 * q + b0, 0.0, h - 1.0)  # (b, h, w)
    column = tf.clip_by_value(m10 * r + m11 * q + b1, 0.0, w - 1.0)
    top = tf.minimum(tf.floor(row), h - 2.0)
    left = tf.minimum(tf.floor(column), w - 2.0)
    down, right = (row - top)[..., None], (column - left)[..., None]
    image = tf.range(b)[:, None, None] * (h * w)
    corner = image + tf.cast(top, tf.int32) * w + tf.cast(left, tf.int32)
    pixels = tf.reshape(x, (-1, c))

    def at(offset):
        return tf.gather(pixels, corner + offset)  # (b, h, w, c)

    upper = at(0) * (1 - right) + at(1) * right
    lower = at(w) * (1 - right) + at(w + 1) * right
    return upper * (1 - down) + lower * down


class RandomShiftRotate:
    """One random affine map per image and visit, for batches of images or of flat images.

    Parameters
    ----------
    shift : float in [0, 1)
        Largest shift as a fraction of the side, rows and columns drawn apart.
    rotation : float in [0, 180]
        Largest angle, degrees, either way.
    shift_pixels : float, optional
        Largest shift in pixels; takes the place of `shift`.
    center : {"original", "true"}
        Centre of rotation, see `affine_rows`.
    """

    def __init__(
        self,
        shift: float = 0.1,
        rotation: float = 10.0,
        shift_pixels: float | None = None,
        center: str = "original",
    ):
        self.shift, self.rotation = shift, rotation
        self.shift_pixels, self.center = shift_pixels, center

    def draw(self, b: int | tf.Tensor, seed: tf.Tensor | tuple[int, int]) -> tf.Tensor:
        """Return uniform draws (b, 3) in [-1, 1): angle, row shift, column shift.

        `seed` is an int pair; the numbers depend on it alone, on every device.
        """
        return tf.random.stateless_uniform((b, 3), seed, -1.0, 1.0, alg="philox")

    def __call__(self, x: tf.Tensor, seed: tf.Tensor | tuple[int, int]) -> tf.Tensor:
        """Return augmented copies of `x`.

        Parameters
        ----------
        x : float32 tensor (b, h, w, c) or (b, d)
            Flat samples must be square images of 1 or 3 channels (channels last).
        seed : int tensor (2,)

        Returns
        -------
        float32 tensor, the shape of `x`

        Raises
        ------
        UserError
            If flat samples are not square, or a side has fewer than 2 pixels.
        """
        if x.shape.rank == 2:
            images = tf.reshape(x, (-1, *image_shape(x.shape[1:])))
            return tf.reshape(self(images, seed), (-1, x.shape[1]))
        h, w = x.shape[1], x.shape[2]
        if min(h, w) < 2:
            raise UserError(f"images of {h}x{w} pixels cannot be shifted: expected at least 2x2")
        pixels = self.shift_pixels
        shifts = (self.shift * h, self.shift * w) if pixels is None else (pixels, pixels)
        u = self.draw(tf.shape(x)[0], seed)
        return resample(x, affine_rows(u, h, w, *shifts, self.rotation, self.center))
