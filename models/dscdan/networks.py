"""The networks of DSCDAN: a Gaussian encoder, its decoder, discriminators, and a spectral head.

Departures: docs/methods/dscdan.md
"""

import math

import keras
from keras import layers, ops

from models.core.functional import Tensor
from models.core.networks import POLICIES, _fit, check_images, layer_seeds

SLOPE = 0.2


def strides(depth: int) -> tuple[int, ...]:
    """Return the strides of `depth` convolutions: 2, 1, 2, 1 where there are four."""
    return (2, 2) if depth == 2 else tuple(2 if i in (0, 2) else 1 for i in range(depth))


def dual_autoencoder(
    input_shape: tuple,
    latent_dim: int = 120,
    seed: int = 0,
    precision: str = "float32",
    filters: tuple = (16, 16, 32, 32),
    kernel: int = 3,
) -> tuple[keras.Model, keras.Model]:
    """Build the Gaussian encoder x -> mean, log-variance, feature map, and the decoder z -> x.

    Parameters
    ----------
    input_shape : tuple
        (h, w, c), sides of 4 pixels or more.
    latent_dim, seed : int
    precision : {"float32", "bfloat16"}
    filters : tuple of int
        Channels of the encoder's convolutions, two or more.
    kernel : int
        Side of their kernels.

    Returns
    -------
    (gaussian, decoder) : keras.Model
        (b, h, w, c) -> (b, z), (b, z), (b, h', w', c') and (b, z) -> (b, h, w, c), in (0, 1).

    Raises
    ------
    UserError
        If a sample is not an image, or a side is shorter than 4 pixels.
    """
    check_images(input_shape, 4)
    seeds, policy = layer_seeds(seed), POLICIES[precision]
    steps = strides(len(filters))

    def settings(dtype=policy):
        start = keras.initializers.GlorotUniform(seed=next(seeds))
        return {"kernel_initializer": start, "dtype": dtype}

    def leaky(x):
        return layers.LeakyReLU(SLOPE, dtype=policy)(x)

    x = image = keras.Input(input_shape)
    maps = []
    for n, step in zip(filters, steps, strict=True):
        x = leaky(layers.Conv2D(n, kernel, step, "same", **settings())(x))
        maps.append(x)
    x = layers.Flatten(dtype=policy)(x)
    mean = layers.Dense(latent_dim, name="mean", **settings("float32"))(x)
    log_variance = layers.Dense(latent_dim, name="log_variance", **settings("float32"))(x)
    local = layers.Activation("linear", dtype="float32")(maps[-1])
    gaussian = keras.Model(image, [mean, log_variance, local], name="gaussian")

    sides = [input_shape[:2], *(m.shape[1:3] for m in maps)]
    x = code = keras.Input((latent_dim,))
    x = layers.Dense(math.prod(maps[-1].shape[1:]), **settings())(x)
    x = layers.Reshape(maps[-1].shape[1:], dtype=policy)(x)
    for i in reversed(range(len(filters))):
        n, step = filters[i], steps[i]
        if step == 1:  # a transposed convolution of stride 1 is a convolution
            x = leaky(layers.Conv2D(n, kernel, 1, "same", **settings())(x))
        else:
            up = layers.Conv2DTranspose(n, kernel, step, "same", **settings())
            x = _fit(leaky(up(x)), sides[i], policy)
    x = layers.Conv2D(
        input_shape[2], kernel, 1, "same", activation="sigmoid", **settings("float32")
    )(x)
    return gaussian, keras.Model(code, x, name="decoder")


def _stack(x, widths, seeds, last):
    """Return x through dense layers with ReLU and a last one of (units, activation)."""
    for width in widths:
        start = keras.initializers.GlorotUniform(seed=next(seeds))
        x = layers.Dense(width, "relu", kernel_initializer=start)(x)
    start = keras.initializers.GlorotUniform(seed=next(seeds))
    return layers.Dense(last[0], last[1], kernel_initializer=start)(x)


def dense_network(
    size: int, widths: tuple, last: tuple[int, str], seed: int = 0, name: str | None = None
) -> keras.Model:
    """Build size - widths - last: ReLU inside, `last` is (units, activation)."""
    x = keras.Input((size,))
    return keras.Model(x, _stack(x, widths, layer_seeds(seed), last), name=name)


def global_discriminator(
    size: int, latent_dim: int, seed: int = 0, widths: tuple = (120, 120, 120)
) -> keras.Model:
    """Build T1: (b, size) and codes (b, z) -> logits (b, 1)."""
    a, z = keras.Input((size,)), keras.Input((latent_dim,))
    x = layers.Concatenate()([a, z])
    return keras.Model([a, z], _stack(x, widths, layer_seeds(seed), (1, None)), name="T1")


def local_discriminator(
    map_shape: tuple, latent_dim: int, seed: int = 0, widths: tuple = (120, 120, 120)
) -> keras.Model:
    """Build T2: feature maps (b, h, w, c) and codes (b, z) -> logits (b, h, w, 1).

    1x1 convolutions of the maps with the code beside every pixel. The first one is the sum of what
    the map gives and what the code gives, which is computed once a sample.
    """
    seeds = layer_seeds(seed)
    c, z = keras.Input(map_shape), keras.Input((latent_dim,))
    # Glorot's bound for the two parts' concatenation.
    bound = math.sqrt(6 / (map_shape[-1] + latent_dim + widths[0]))

    def first(bias):
        start = keras.initializers.RandomUniform(-bound, bound, seed=next(seeds))
        return layers.Dense(widths[0], use_bias=bias, kernel_initializer=start)

    x = layers.Add()([first(True)(c), layers.Reshape((1, 1, widths[0]))(first(False)(z))])
    x = layers.ReLU()(x)
    return keras.Model([c, z], _stack(x, widths[1:], seeds, (1, None)), name="T2")


class ClassMeans(layers.Layer):
    """The trainable means mu_y (k, z) of the classes' codes, zero at first."""

    def __init__(self, k: int, latent_dim: int):
        super().__init__(name="means")
        self.means = self.add_weight(shape=(k, latent_dim), initializer="zeros", name="means")
        self.built = True

    def call(self, z: Tensor) -> Tensor:
        """Return (z_i - mu_y)^2, (b, k, z)."""
        return ops.square(z[:, None, :] - self.means[None])
