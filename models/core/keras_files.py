"""Networks as files that plain Keras reads, without this project's code."""

import os

import keras
import numpy as np

from models.core.fast_kernels import ThinConv2DTranspose


def plain(network: keras.Model) -> keras.Model:
    """Return a copy of a network of Keras's own layers, with the same weights."""

    def copy(layer):
        config = layer.get_config()
        if isinstance(layer, ThinConv2DTranspose):
            return keras.layers.Conv2DTranspose.from_config(config)
        return layer.__class__.from_config(config)

    found = keras.models.clone_model(network, clone_function=copy)
    found.set_weights(network.get_weights())
    return found


def save_autoencoder(
    folder: str | os.PathLike,
    encoder: keras.Model,
    decoder: keras.Model,
    scaling: tuple[np.ndarray, float] | tuple[()] = (),
) -> None:
    """Write encoder.keras, samples -> codes, and autoencoder.keras, samples -> reconstructions.

    encoder.weights.h5 has the weights of encoder.keras alone. `scaling`: the mean (d,) of the
    columns and the number by which all are divided before the encoder; the reconstructions are in
    the unit of the samples again. Empty: samples stay as they are.
    """
    encoder, decoder = plain(encoder), plain(decoder)
    x = keras.Input(encoder.input_shape[1:])
    codes = encoder(_scaled(x, scaling))
    codes = codes[0] if isinstance(codes, list | tuple) else codes
    back = decoder(codes)
    if scaling:
        shift, deviation = scaling
        back = _rescaling(deviation, shift)(back)
    _write(keras.Model(x, codes, name="encoder"), folder)
    keras.Model(x, back, name="autoencoder").save(os.path.join(folder, "autoencoder.keras"))


def _scaled(x, scaling):
    if not scaling:
        return x
    shift, deviation = scaling
    return _rescaling(1 / deviation, -shift / deviation)(x)


def _rescaling(scale, offset):
    return keras.layers.Rescaling(float(scale), np.asarray(offset, np.float64).tolist())


def save_classifier(
    folder: str | os.PathLike,
    shape: tuple,
    members: list[keras.Model],
    scaling: tuple[np.ndarray, float] | tuple[()] = (),
) -> None:
    """Write classifier.keras, samples of a shape -> probabilities of the clusters, and its weights.

    Members are samples -> logits, each with the clusters in one order; their probabilities are
    averaged. `scaling` is as in `save_autoencoder`.
    """
    x = keras.Input(shape)
    scaled = _scaled(x, scaling)
    some = [keras.layers.Softmax()(plain(member)(scaled)) for member in members]
    p = keras.layers.Average()(some) if len(some) > 1 else some[0]
    _write(keras.Model(x, p, name="classifier"), folder)


def _write(model, folder):
    """Write a model and its weights alone, under its name."""
    model.save(os.path.join(folder, f"{model.name}.keras"))
    model.save_weights(os.path.join(folder, f"{model.name}.weights.h5"))


def dense_classifier(
    shape: tuple, kernels: list[np.ndarray], biases: list[np.ndarray]
) -> keras.Model:
    """Return a Keras model, samples (b, *shape) -> logits (b, k): dense layers with ReLU between.

    Of layers with kernels (d, w) and biases (w,).
    """
    parts = [keras.layers.Dense(len(bias), "relu") for bias in biases[:-1]]
    parts.append(keras.layers.Dense(len(biases[-1])))
    x = keras.Input(shape)
    h = keras.layers.Flatten()(x)
    for part in parts:
        h = part(h)
    model = keras.Model(x, h)
    for part, kernel, bias in zip(parts, kernels, biases, strict=True):
        part.set_weights([kernel, bias])
    return model
