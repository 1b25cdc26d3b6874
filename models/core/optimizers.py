"""Optimizers from records of settings: Keras's SGD and Adam, as `fast_kernels` computes them."""

import keras

from models.core.fast_kernels import SGD, Adam
from models.settings import base as settings


def make(record: settings.SGD | settings.Adam) -> keras.optimizers.Optimizer:
    """Return a fresh optimizer for a `settings.SGD` or `settings.Adam`."""
    if isinstance(record, settings.SGD):
        return SGD(record.lr, momentum=record.momentum)
    return Adam(record.lr)
