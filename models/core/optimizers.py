"""Keras's SGD and Adam with the whole update of a variable in one TensorFlow kernel.

Keras composes an update of elementary operations, each a pass over the variable in memory; on a
CPU that is some 8 % of a step of the Fc networks. The formulas, the state and its names are
Keras's own.
"""

import keras
import tensorflow as tf

from models.settings import base as settings


class SGD(keras.optimizers.SGD):
    """v <- momentum v - lr g; w <- w + v."""

    def update_step(self, gradient, variable, learning_rate):
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle, alpha=tf.cast(learning_rate, variable.dtype), delta=gradient
            )
            return
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle, accum=self.momentums[index].value.handle,
            lr=tf.cast(learning_rate, variable.dtype), grad=gradient, momentum=self.momentum,
        )  # fmt: skip


class Adam(keras.optimizers.Adam):
    """m <- m + (1 - b1)(g - m); v <- v + (1 - b2)(g^2 - v); w <- w - lr_t m / (sqrt(v) + eps).

    lr_t = lr sqrt(1 - b2^t) / (1 - b1^t).
    """

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        t = tf.cast(self.iterations.value + 1, variable.dtype)
        beta_1, beta_2 = (tf.constant(b, variable.dtype) for b in (self.beta_1, self.beta_2))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle, beta1_power=tf.pow(beta_1, t),
            beta2_power=tf.pow(beta_2, t), lr=tf.cast(learning_rate, variable.dtype),
            beta1=beta_1, beta2=beta_2, epsilon=self.epsilon, grad=gradient,
        )  # fmt: skip


def make(record):
    """Return a fresh optimizer for a `settings.SGD` or `settings.Adam`."""
    if isinstance(record, settings.SGD):
        return SGD(record.lr, momentum=record.momentum)
    return Adam(record.lr)
