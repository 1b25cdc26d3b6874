"""Keras's SGD and Adam and one layer, computed by fewer TensorFlow kernels, for speed alone.

No part of any method is here: who checks a method against its paper may read Keras's classes of
the same names in their place.

Keras composes an optimizer's update of elementary operations, each of which reads and writes the
variable in memory; here it is TensorFlow's kernel for the whole update, which saves 4 % of a step
of the Fc networks on a CPU and 2 % of the Conv ones. Formulas, state and its names are Keras's; its
private attributes are used, as of the version in requirements.txt. The layer saves 7 % of a Conv
step (benchmarks/README.md).
"""

import keras
import tensorflow as tf

Rate = tf.Tensor | keras.Variable  # a schedule gives a tensor


class OneDevice:
    """What Keras's two optimizers have in common here: gradients are of one device, no sum is due.

    Keras asks TensorFlow for a sum over devices even where there is one. Each call of it within a
    traced function leaves functions in a table of TensorFlow's that is never emptied.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)


class SGD(OneDevice, keras.optimizers.SGD):
    """v <- momentum v - lr g; w <- w + v, with the whole update of a variable in one kernel."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: Rate) -> None:
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle, alpha=tf.cast(learning_rate, variable.dtype), delta=gradient
            )
            return
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[index].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=self.momentum,
        )


class Adam(OneDevice, keras.optimizers.Adam):
    """m <- m + (1 - b1)(g - m); v <- v + (1 - b2)(g^2 - v); w <- w - lr_t m / (sqrt(v) + eps).

    lr_t = lr sqrt(1 - b2^t) / (1 - b1^t).
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: Rate) -> None:
        index = self._get_variable_index(variable)
        t = tf.cast(self.iterations.value + 1, variable.dtype)
        beta_1, beta_2 = (tf.constant(b, variable.dtype) for b in (self.beta_1, self.beta_2))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(beta_1, t),
            beta2_power=tf.pow(beta_2, t),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


@keras.saving.register_keras_serializable(package="deep_clustering")
class ThinConv2DTranspose(keras.layers.Conv2DTranspose):
    """A 5x5 transposed convolution of stride 2, padding "same", to few channels c.

    It is computed as one 3x3 convolution to 4c channels, one for each pixel in a 2x2 block of
    output pixels, laid out by depth-to-space. Output row 2m + a gets tap t of input row m - d where
    t = 2d + a + 1. The result is Keras's but for rounding; with one channel, TensorFlow's own
    kernel for CPUs takes twice as long.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)  # (5, 5, c, f), tap t at index t
        c, f = kernel.shape[2:]
        taps = tf.reshape(tf.pad(kernel, [[1, 0], [1, 0], [0, 0], [0, 0]]), (3, 2, 3, 2, c, f))
        # (d_y, a_y, d_x, a_x, c, f) -> (d_y, d_x, f, a_y, a_x, c); d runs from -1 to 1.
        taps = tf.transpose(taps, (0, 2, 5, 1, 3, 4))[::-1, ::-1]
        blocks = tf.nn.conv2d(x, tf.reshape(taps, (3, 3, f, 4 * c)), 1, "SAME")
        return tf.nn.depth_to_space(blocks, 2) + self.bias
