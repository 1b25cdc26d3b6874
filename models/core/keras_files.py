"""Networks as files that plain Keras reads, without this project's code."""

import os

import keras
import numpy as np

from models.core.fast_kernels import ThinConv2DTranspose


def plain(network):
    """Return a copy of a network of Keras's own layers, with the same weights."""

    def copy(layer):
        config = layer.get_config()
        if isinstance(layer, ThinConv2DTranspose):
            return keras.layers.Conv2DTranspose.from_config(config)
        return layer.__class__.from_config(config)

    found = keras.models.clone_model(network, clone_function=copy)
    found.set_weights(network.get_weights())
    return found


def save_autoencoder(folder, encoder, decoder, scaling=None):
    """Write encoder.keras, samples -> codes, and autoencoder.keras, samples -> reconstructions.

    Parameters
    ----------
    folder : path
    encoder, decoder : keras.Model
    scaling : (array (d,), float), optional
        Mean of the columns and the number by which all are divided before the encoder; the
        reconstructions are in the unit of the samples again.
    """
    encoder, decoder = plain(encoder), plain(decoder)
    x = keras.Input(encoder.input_shape[1:])
    scaled = x
    if scaling is not None:
        shift, deviation = np.asarray(scaling[0], np.float64), float(scaling[1])
        scaled = keras.layers.Rescaling(1 / deviation, (-shift / deviation).tolist())(x)
    codes = encoder(scaled)
    codes = codes[0] if isinstance(codes, list | tuple) else codes
    back = decoder(codes)
    if scaling is not None:
        back = keras.layers.Rescaling(deviation, shift.tolist())(back)
    keras.Model(x, codes, name="encoder").save(os.path.join(folder, "encoder.keras"))
    keras.Model(x, back, name="autoencoder").save(os.path.join(folder, "autoencoder.keras"))
