"""A classifier with batch normalisation, samples -> logits, and the decay of its learning rate."""

import keras
from keras import layers, ops

from models.core.networks import layer_seeds

FILTERS, UNITS = (32, 64, 128), (1200, 1200)  # of the two networks
STATISTICS = 0.99  # momentum of the running means and variances of batch normalisation, at most


def classifier(shape: tuple, k: int, network: str, seed: int, steps: int) -> keras.Model:
    """Return a Keras model, samples (b, *shape) -> logits (b, k), normalised by the batch.

    The running statistics, which predictions use, are over a tenth of `steps` or less, so that
    they have left their start behind at the end of a short training.
    """
    seeds = layer_seeds(seed)
    momentum = min(STATISTICS, 1 - 10 / max(steps, 20))

    def options():
        return {"use_bias": False, "kernel_initializer": _start(next(seeds))}

    def normalised(x):
        return layers.ReLU()(layers.BatchNormalization(momentum=momentum)(x))

    x = entry = keras.Input(shape)
    if network == "conv":
        for n in FILTERS:
            x = normalised(layers.Conv2D(n, 3, strides=2, padding="same", **options())(x))
    x = layers.Flatten()(x)
    if network == "fc":
        for n in UNITS:
            x = normalised(layers.Dense(n, **options())(x))
    return keras.Model(entry, layers.Dense(k, kernel_initializer=_start(next(seeds)))(x))


def _start(seed):
    return keras.initializers.GlorotUniform(seed=seed)


class Decay(keras.optimizers.schedules.LearningRateSchedule):
    """lr until half of `total` steps are made, then lr * 2 (1 - steps / total)."""

    def __init__(self, lr: float, total: int):
        self.lr, self.total = lr, total

    def __call__(self, step):
        left = 1.0 - ops.cast(step, "float32") / self.total
        return self.lr * ops.clip(2.0 * left, 0.0, 1.0)

    def get_config(self) -> dict[str, float]:
        return {"lr": self.lr, "total": self.total}
