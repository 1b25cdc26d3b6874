"""The auto-encoders: Keras models (encoder, decoder) for a sample's shape.

Both take samples as they come, (h, w, c) or (d,), and the decoder returns the same shape. Each
layer draws its initial weights from a seed of its own, so a network depends on `seed` alone.
Where the precision is bfloat16 the layers compute in it, but for those that give the embedding and
the output; weights are float32 in any case.
"""

import math
from collections.abc import Iterator
from functools import partial

import keras
import numpy as np
from keras import layers

from common.errors import UserError
from models.core.fast_kernels import ThinConv2DTranspose


def layer_seeds(seed: int) -> Iterator[int]:
    """Yield an int seed a layer."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(2**31))


POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # precision -> Keras's policy


def dense_autoencoder(
    input_shape: tuple,
    latent_dim: int = 10,
    seed: int = 0,
    precision: str = "float32",
    widths: tuple = (500, 500, 2000),
) -> tuple[keras.Model, keras.Model]:
    """Build d-500-500-2000-z and its mirror: ReLU inside, linear embedding and output.

    Weights start as U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases at zero (DEC-DA's released code).

    Returns
    -------
    (encoder, decoder) : keras.Model
        (b, *input_shape) -> (b, z) and (b, z) -> (b, *input_shape).
    """
    seeds = layer_seeds(seed)

    def dense(units, activation=None):
        policy = POLICIES[precision if activation else "float32"]
        start = keras.initializers.VarianceScaling(
            1 / 3, mode="fan_in", distribution="uniform", seed=next(seeds)
        )
        return layers.Dense(units, activation, kernel_initializer=start, dtype=policy)

    encoder = [keras.Input(input_shape), layers.Flatten()]
    encoder += [dense(width, "relu") for width in widths] + [dense(latent_dim)]
    decoder = [keras.Input((latent_dim,))]
    decoder += [dense(width, "relu") for width in reversed(widths)]
    decoder += [dense(math.prod(input_shape)), layers.Reshape(input_shape)]
    return keras.Sequential(encoder, name="encoder"), keras.Sequential(decoder, name="decoder")


def check_images(shape: tuple, least: int) -> None:
    """Refuse samples of a shape that are no images with sides of `least` pixels or more."""
    if len(shape) != 3 or min(shape[:2]) < least:
        raise UserError(
            f"samples of shape {tuple(shape)} do not suit a convolutional network: expected "
            f"(height, width, channels) with sides of at least {least} pixels"
        )


def conv_autoencoder(
    input_shape: tuple,
    latent_dim: int = 10,
    seed: int = 0,
    precision: str = "float32",
    filters: tuple = (32, 64, 128),
) -> tuple[keras.Model, keras.Model]:
    """Build conv 5x5x32 - 5x5x64 - 3x3x128, stride 2, linear embedding, and its mirror.

    The third layer pads only where both sides are multiples of 8 (DEC-DA's released code):
    28-14-7-3 and 16-8-4-2 pixels. It also pads where a side is 8, too short for it otherwise. Sides
    that halve unevenly are decoded too large or small, and cropped or padded. Glorot-uniform start,
    ReLU inside, linear output.

    Returns
    -------
    (encoder, decoder) : keras.Model
        (b, h, w, c) -> (b, z) and (b, z) -> (b, h, w, c).

    Raises
    ------
    UserError
        If a sample is not an image, or a side is shorter than 8 pixels.
    """
    check_images(input_shape, 8)
    h, w, channels = input_shape
    fits = (h % 8 == 0 and w % 8 == 0) or min(h, w) < 9  # a 3x3 kernel needs 3 pixels
    third = "same" if fits else "valid"
    seeds = layer_seeds(seed)
    policy = POLICIES[precision]

    def start():
        return keras.initializers.GlorotUniform(seed=next(seeds))

    def conv(n, kernel, padding, kind=layers.Conv2D):
        return kind(
            n, kernel, 2, padding, activation="relu", kernel_initializer=start(), dtype=policy
        )

    up = partial(conv, kind=layers.Conv2DTranspose)
    f1, f2, f3 = filters
    encoder = keras.Sequential(
        [
            keras.Input(input_shape),
            conv(f1, 5, "same"),
            conv(f2, 5, "same"),
            conv(f3, 3, third),
            layers.Flatten(),
            layers.Dense(latent_dim, kernel_initializer=start(), dtype="float32"),
        ],
        name="encoder",
    )
    halves = [tuple(math.ceil(side / 2**i) for side in (h, w)) for i in range(3)]
    small = encoder.layers[2].output.shape[1:3]  # (h, w) after the third convolution
    x = code = keras.Input((latent_dim,))
    width = f3 * small[0] * small[1]
    x = layers.Dense(width, activation="relu", kernel_initializer=start(), dtype=policy)(x)
    x = layers.Reshape((*small, f3), dtype=policy)(x)
    x = _fit(up(f2, 3, third)(x), halves[2], policy)
    x = _fit(up(f1, 5, "same")(x), halves[1], policy)
    last = ThinConv2DTranspose(channels, 5, 2, "same", kernel_initializer=start(), dtype="float32")
    x = _fit(last(x), halves[0])
    return encoder, keras.Model(code, x, name="decoder")


def _fit(x, size, policy="float32"):
    """Crop or zero-pad (at the end of each axis) a feature map (b, h, w, c) to `size`."""
    spare = [have - want for have, want in zip(x.shape[1:3], size, strict=True)]
    if max(spare) > 0:
        x = layers.Cropping2D([(0, max(s, 0)) for s in spare], dtype=policy)(x)
    if min(spare) < 0:
        x = layers.ZeroPadding2D([(0, max(-s, 0)) for s in spare], dtype=policy)(x)
    return x


AUTOENCODERS = {"fc": dense_autoencoder, "conv": conv_autoencoder}
