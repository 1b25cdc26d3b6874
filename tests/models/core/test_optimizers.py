import keras
import numpy as np
import pytest
import tensorflow as tf

from models.core import optimizers
from models.settings import base as settings

# record, Keras's own optimizer, rounding
PAIRS = {
    "momentum": (settings.SGD(0.1, 0.9), lambda: keras.optimizers.SGD(0.1, momentum=0.9), 0),
    "plain": (settings.SGD(0.1, 0.0), lambda: keras.optimizers.SGD(0.1), 0),
    "adam": (settings.Adam(0.05), lambda: keras.optimizers.Adam(0.05), 1e-5),
}


def compiled(optimizer, variables):
    return tf.function(lambda gradients: optimizer.apply(gradients, variables))


@pytest.mark.parametrize(("record", "expected", "rounding"), PAIRS.values(), ids=PAIRS)
def test_updates_are_kerass(record, expected, rounding):
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=shape).astype("float32") for shape in ((7, 5), (5,))]
    pairs = []
    for optimizer in (optimizers.make(record), expected()):
        variables = [keras.Variable(start) for start in starts]
        optimizer.build(variables)
        pairs.append((optimizer, variables, compiled(optimizer, variables)))
    for _ in range(30):
        gradients = [rng.normal(size=start.shape).astype("float32") for start in starts]
        for _, _, step in pairs:
            step([tf.constant(g) for g in gradients])
    (mine, a, _), (keras_own, b, _) = pairs
    state = [[*a, *mine.variables], [*b, *keras_own.variables]]
    assert len(state[0]) == len(state[1])
    for ours, their in zip(*state, strict=True):
        np.testing.assert_allclose(
            np.asarray(ours), np.asarray(their), rtol=rounding, atol=rounding
        )
    assert all(
        np.abs(np.asarray(v) - start).max() > 0.1 for v, start in zip(a, starts, strict=True)
    )


def test_adam_by_hand():
    w = keras.Variable(np.array([1.0, -2.0], np.float32))
    adam = optimizers.make(settings.Adam(0.1))
    adam.build([w])
    m = v = np.zeros(2)
    value = np.array([1.0, -2.0])
    for t, g in enumerate(([0.5, -1.0], [0.25, 2.0]), start=1):
        g = np.array(g)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        value -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        adam.apply([tf.constant(g, tf.float32)], [w])
    np.testing.assert_allclose(np.asarray(w), value, rtol=1e-5)
