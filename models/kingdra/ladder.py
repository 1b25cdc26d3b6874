"""The ladder network of Kingdra's members, and the losses on its predictions.

Letters: b batch, d inputs, k clusters, s paths through the encoder, w a layer's width.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from models.core.functional import Tensor

EPSILON = 1e-10  # of batch normalisation [C]
FLOOR = 1e-8  # of probabilities in logarithms
CHUNK = 4096  # samples of a whole set that pass a layer at a time
Statistics = list[tuple[np.ndarray, np.ndarray]]  # mean and deviation (w,) of each layer


def normalize(z: Tensor) -> Tensor:
    """Return z (..., b, w) less its mean over b, over its standard deviation; nothing is learnt."""
    mean, variance = tf.nn.moments(z, axes=[-2], keepdims=True)
    return (z - mean) * tf.math.rsqrt(variance + EPSILON)


def combine(noisy: Tensor, u: Tensor, a: Tensor) -> Tensor:
    """Return the denoised layer (b, w) from the noisy one and the signal u from above, both (b, w).

    (noisy - m) v + m with m = a1 sig(a2 u + a3) + a4 u + a5, v = a6 sig(a7 u + a8) + a9 u + a10
    (Rasmus et al. 2015, the Gaussian combinator); a is (10, w).
    """
    a1, a2, a3, a4, a5, a6, a7, a8, a9, a10 = tf.unstack(a)
    mean = a1 * tf.sigmoid(a2 * u + a3) + a4 * u + a5
    gain = a6 * tf.sigmoid(a7 * u + a8) + a9 * u + a10
    return (noisy - mean) * gain + mean


def entropy(p: Tensor) -> Tensor:
    """Return H = -sum_j p_j log p_j (...,) of distributions p (..., k), in nats."""
    return -tf.reduce_sum(p * tf.math.log(p + FLOOR), axis=-1)


def information_loss(p: Tensor, mu: float) -> Tensor:
    """Return mean_i H(p_i) - mu H(mean_i p_i) for predictions p (b, k): a scalar >= -mu log k.

    At its least where every p_i is certain and the clusters are even (IMSAT, eq. 7; Kingdra).
    """
    return tf.reduce_mean(entropy(p)) - mu * entropy(tf.reduce_mean(p, axis=0))


def dot_loss(p: Tensor) -> Tensor:
    """Return the mean of (D - I)^2, D the products of the rows of p (b, k) scaled to length 1.

    It makes predictions of different samples orthogonal (Kingdra's released code).
    """
    unit = p * tf.math.rsqrt(tf.reduce_sum(tf.square(p), axis=1, keepdims=True))
    products = tf.matmul(unit, unit, transpose_b=True)  # (b, b)
    return tf.reduce_mean(tf.square(products - tf.eye(tf.shape(p)[0])))


def noise_divergence(clean: Tensor, corrupted: Tensor) -> Tensor:
    """Return the mean KL(softmax(clean) || softmax(corrupted)) of logits (b, k); clean is fixed."""
    clean = tf.nn.log_softmax(tf.stop_gradient(clean))
    difference = clean - tf.nn.log_softmax(corrupted)
    return tf.reduce_mean(tf.reduce_sum(tf.exp(clean) * difference, axis=1))


class Ladder:
    """Dense encoder and decoder with lateral connections; weights are shared by all paths.

    Encoder: z_l = normalize(h_{l-1} W_l) + noise, h_l = relu(z_l + beta_l), no ReLU at the top,
    and no normalisation there unless `last_bn`. Decoder: u_l = normalize(zhat_{l+1} V_l), at the
    top of the corrupted logits, zhat_l = combine(z_l, u_l, a_l). Unlike the standard ladder, zhat
    is not normalised again and the clean target takes gradients [C].

    Parameters
    ----------
    sizes : sequence of int
        d, the hidden layers' widths, k.
    noise_std : float
        Of the Gaussian noise on the inputs and every layer of corrupted paths.
    last_bn : bool
    seed : int
        Decides the initial weights.
    gains : (hidden layers', last one's), optional
        A weight's standard deviation times sqrt(fan-in). None: Glorot normal.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        noise_std: float,
        last_bn: bool,
        seed: int,
        gains: tuple[float, float] | None = None,
    ):
        self.sizes, self.noise_std, self.last_bn = list(sizes), noise_std, last_bn
        pairs = list(zip(self.sizes, self.sizes[1:], strict=False))
        seeds = iter(np.random.default_rng(seed).integers(2**31, size=2 * len(pairs)).tolist())

        def weights(a, b, name, gain=None):
            if gain is None:
                start = keras.initializers.GlorotNormal(next(seeds))
            else:
                start = keras.initializers.RandomNormal(0.0, gain * a**-0.5, next(seeds))
            return keras.Variable(start((a, b)), name=name)

        hidden, last = gains or (None, None)
        self.up = [
            weights(a, b, "up", hidden if layer < len(pairs) else last)
            for layer, (a, b) in enumerate(pairs, 1)
        ]
        self.down = [weights(b, a, "down") for a, b in pairs]
        self.betas = [keras.Variable(np.zeros(b, np.float32), name="beta") for _, b in pairs]
        slopes = np.zeros((10, 1), np.float32)
        slopes[[1, 6]] = 1.0
        self.laterals = [
            keras.Variable(np.tile(slopes, (1, size)), name="lateral") for size in self.sizes
        ]

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables, in a fixed order; all are trained."""
        return [*self.up, *self.down, *self.betas, *self.laterals]

    def encode(
        self, paths: list[Tensor], noisy: int, seed: Tensor
    ) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Return each path's logits [(b, k), ...] and layers [[z_0 (b, d), ..., z_L (b, k)], ...].

        Parameters
        ----------
        paths : list of (b, d)
            What enters each path; each is normalised by itself.
        noisy : int
            How many paths, the last ones, are corrupted.
        seed : int32 (2,)
            Decides the noise.
        """
        s, clean = len(paths), len(paths) - noisy
        b = tf.shape(paths[0])[0]

        def corrupt(z, layer):
            if not (noisy and self.noise_std):
                return z
            fold = tf.random.experimental.stateless_fold_in(seed, layer)
            noise = self.noise_std * tf.random.stateless_normal((noisy, b, z.shape[-1]), fold)
            return z + tf.pad(noise, [[clean, 0], [0, 0], [0, 0]])

        z = h = corrupt(tf.stack(paths), 0)  # (s, b, d)
        layers, top = [tf.unstack(z, num=s)], len(self.up) - 1
        for i, (w, beta) in enumerate(zip(self.up, self.betas, strict=True)):
            z = tf.matmul(tf.reshape(h, (s * b, w.shape[0])), w.value)  # one product for all
            z = tf.reshape(z, (s, b, w.shape[1]))
            z = corrupt(normalize(z) if i < top or self.last_bn else z, i + 1)
            h = z + beta.value
            h = tf.nn.relu(h) if i < top else h
            layers.append(tf.unstack(z, num=s))
        return tf.unstack(h, num=s), list(map(list, zip(*layers, strict=True)))

    def denoising_costs(
        self, clean: list[Tensor], noisy: list[Tensor], logits: Tensor
    ) -> list[Tensor]:
        """Return [C_0, ..., C_L], each mean_b sum_j (zhat - z)^2 / w.

        Parameters
        ----------
        clean, noisy : lists of (b, w)
            The layers of the clean and of a corrupted path.
        logits : (b, k)
            Of the corrupted path.
        """
        costs, u = [], normalize(logits)
        for i in range(len(clean) - 1, -1, -1):
            estimate = combine(noisy[i], u, self.laterals[i].value)
            costs.append(tf.reduce_mean(tf.square(estimate - clean[i])))
            if i:
                u = normalize(tf.matmul(estimate, self.down[i - 1].value))
        return costs[::-1]

    def predict_whole(self, x: Tensor) -> tuple[np.ndarray, Statistics]:
        """Return the clean predictions of a whole set x (n, d) as one batch, and its statistics.

        Kingdra's released code predicts so; with these statistics frozen, `predict` gives one
        sample the same prediction as in that batch. One layer of all samples is kept in memory.

        Returns
        -------
        predictions : float32 array (n, k)
        statistics : list of (mean, deviation), float32 arrays (w,)
            Of each layer before normalisation; their sums are in float64.
        """
        n, found = len(x), []
        parts = [x[begin : begin + CHUNK] for begin in range(0, n, CHUNK)]
        for layer, w in enumerate(self.up):
            total, square = 0.0, 0.0
            for i, part in enumerate(parts):
                parts[i] = tf.matmul(part, w.value)
                z = parts[i].numpy().astype(np.float64)
                total, square = total + z.sum(axis=0), square + np.square(z).sum(axis=0)
            mean = total / n
            deviation = np.sqrt(np.maximum(square / n - mean**2, 0.0) + EPSILON)
            if layer == len(self.up) - 1 and not self.last_bn:
                mean, deviation = np.zeros_like(mean), np.ones_like(deviation)
            found.append((mean.astype(np.float32), deviation.astype(np.float32)))
            for i, z in enumerate(parts):
                parts[i] = self._activate(z, layer, found[layer])
        return np.concatenate([part.numpy() for part in parts]), found

    def predict(self, x: np.ndarray, statistics: Statistics) -> np.ndarray:
        """Return the clean predictions, float32 (n, k), of samples x (n, d)."""
        parts = []
        for begin in range(0, len(x), CHUNK):
            h = tf.convert_to_tensor(x[begin : begin + CHUNK])
            for layer, w in enumerate(self.up):
                h = self._activate(tf.matmul(h, w.value), layer, statistics[layer])
            parts.append(h.numpy())
        return np.concatenate(parts)

    def _activate(self, z, layer, statistics):
        """Return what leaves a layer (b, w): normalised by `statistics`, then ReLU or softmax."""
        mean, deviation = statistics
        z = (z - mean) / deviation + self.betas[layer].value
        return tf.nn.softmax(z) if layer == len(self.up) - 1 else tf.nn.relu(z)
