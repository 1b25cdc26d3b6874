"""Pretraining of DSCDAN's dual auto-encoder against a restatement in NumPy: 20 steps, to 1e-6.

Convolutions, discriminators, mutual information, divergence and noisy codes (eqs. 1 to 13) in
float64, each with a gradient derived by hand. Of the project the restatement takes the initial
weights, the batches and the noise drawn. The steps are SGD's: Adam, which has a restatement in
test_equalities.py, makes much of gradients that are 0 but for rounding.
"""

import numpy as np
import pytest
import tensorflow as tf

from models import build
from models.settings.base import SGD

N, SIDE, Z, BATCH, LR = 60, 5, 3, 12, 0.01
FILTERS, STRIDES = (2, 3, 3), (2, 1, 2)
ORIGINAL, RELATIVE, MUTUAL, PRIOR = 1.0, 0.5, 3.0, 0.2


class Layer:
    """A kernel, a bias or none, their gradients; `act` is "relu", "leaky", "sigmoid" or None."""

    def __init__(self, variables, act=None):
        self.w = [np.asarray(v, np.float64).copy() for v in variables]
        self.g = [np.zeros_like(v) for v in self.w]
        self.act, self.calls = act, []

    def forward(self, x):
        h = self.linear(x) + (self.w[1] if len(self.w) > 1 else 0.0)
        y = {
            None: h,
            "relu": np.maximum(h, 0),
            "leaky": np.where(h > 0, h, 0.2 * h),
            "sigmoid": 1 / (1 + np.exp(-h)),
        }[self.act]
        self.calls.append((x, h, y))
        return y

    def backward(self, g):
        """Take the gradient of the last call's output, give that of its input."""
        x, h, y = self.calls.pop()
        if self.act == "relu":
            g = g * (h > 0)
        elif self.act == "leaky":
            g = np.where(h > 0, g, 0.2 * g)
        elif self.act == "sigmoid":
            g = g * y * (1 - y)
        if len(self.w) > 1:
            self.g[1] += g.reshape(-1, g.shape[-1]).sum(axis=0)
        return self.back(x, g)


class Dense(Layer):
    def linear(self, x):
        return x @ self.w[0]

    def back(self, x, g):
        self.g[0] += x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, g.shape[-1])
        return g @ self.w[0].T


class Conv(Layer):
    """3x3, padded so that a side of n becomes ceil(n / stride), the odd zero at the end."""

    def __init__(self, variables, stride, act):
        super().__init__(variables, act)
        self.stride = stride

    def offsets(self, side):
        """Yield (a, b, slice of outputs, slice of inputs) for each place in the kernel."""
        out = -(-side // self.stride)
        top = max((out - 1) * self.stride + 3 - side, 0) // 2
        for a in range(3):
            for b in range(3):
                pairs = []
                for shift in (a, b):
                    there = [
                        (i, i * self.stride + shift - top)
                        for i in range(out)
                        if 0 <= i * self.stride + shift - top < side
                    ]
                    pairs.append(tuple(map(list, zip(*there, strict=True))))
                (oi, ii), (oj, ij) = pairs
                yield a, b, np.ix_(oi, oj), np.ix_(ii, ij)

    def linear(self, x):
        out = -(-x.shape[1] // self.stride)
        h = np.zeros((len(x), out, out, self.w[0].shape[3]))
        for a, b, here, there in self.offsets(x.shape[1]):
            h[:, here[0], here[1]] += x[:, there[0], there[1]] @ self.w[0][a, b]
        return h

    def back(self, x, g):
        below = np.zeros_like(x)
        for a, b, here, there in self.offsets(x.shape[1]):
            up, down = g[:, here[0], here[1]], x[:, there[0], there[1]]
            self.g[0][a, b] += np.einsum("nijc,nijd->cd", down, up)
            below[:, there[0], there[1]] += up @ self.w[0][a, b].T
        return below


class Transposed(Conv):
    """The adjoint of such a convolution of stride 2; kernels are (3, 3, out, in)."""

    def linear(self, x):
        side = x.shape[1] * self.stride
        h = np.zeros((len(x), side, side, self.w[0].shape[2]))
        for a, b, here, there in self.offsets(side):
            h[:, there[0], there[1]] += x[:, here[0], here[1]] @ self.w[0][a, b].T
        return h

    def back(self, x, g):
        below = np.zeros_like(x)
        for a, b, here, there in self.offsets(g.shape[1]):
            up, down = g[:, there[0], there[1]], x[:, here[0], here[1]]
            self.g[0][a, b] += np.einsum("nijd,nijc->dc", up, down)
            below[:, here[0], here[1]] += up @ self.w[0][a, b]
        return below


class ByHand:
    """The whole network, from a model's weights."""

    def __init__(self, model):
        self.sides = [5, 3, 3, 2]

        def pairs(network):
            return [list(layer.variables) for layer in network.layers if layer.variables]

        *convolutions, mean, log_variance = pairs(model.gaussian)
        self.down = [Conv(v, s, "leaky") for v, s in zip(convolutions, STRIDES, strict=True)]
        self.mean, self.log_variance = Dense(mean), Dense(log_variance)
        first, *middle, last = pairs(model.decoder)
        self.first = Dense(first)
        self.up = [
            (Conv if s == 1 else Transposed)(v, s, "leaky")
            for v, s in zip(middle, STRIDES[::-1], strict=True)
        ]
        self.last = Conv(last, 1, "sigmoid")
        *inner, top = pairs(model.discriminators["T1"])
        self.t1 = [Dense(v, "relu") for v in inner] + [Dense(top)]
        map_, code, *inner, top = pairs(model.discriminators["T2"])
        if len(map_) == 1:
            map_, code = code, map_
        self.of_map, self.of_code = Dense(map_), Dense(code)
        self.t2 = [Dense(v, "relu") for v in inner] + [Dense(top)]
        self.layers = [*self.down, self.mean, self.log_variance, self.first, *self.up, self.last]
        self.layers += [*self.t1, self.of_map, self.of_code, *self.t2]
        self.velocity = [np.zeros_like(w) for one in self.layers for w in one.w]

    def decode(self, z):
        h = self.first.forward(z).reshape(len(z), 2, 2, FILTERS[-1])
        for layer, side in zip(self.up, self.sides[-2::-1], strict=True):
            h = layer.forward(h)[:, :side, :side]
        return self.last.forward(h)

    def decoded(self, g):
        """Return the gradient of z, from that of what `decode` gave."""
        g = self.last.backward(g)
        for layer in self.up[::-1]:
            full = layer.calls[-1][2].shape[1]
            g = layer.backward(np.pad(g, ((0, 0), *[(0, full - g.shape[1])] * 2, (0, 0))))
        return self.first.backward(g.reshape(len(g), -1))

    def step(self, x, noise):
        """Make a step on a batch of images x (b, h, w, 1) with noise (b, z)."""
        b = len(x)
        for layer in self.layers:
            layer.g = [np.zeros_like(v) for v in layer.w]
        h = x.astype(np.float64)
        for layer in self.down:
            h = layer.forward(h)
        flat = h.reshape(b, -1)
        mean, log_variance = self.mean.forward(flat), self.log_variance.forward(flat)
        deviation = np.exp(0.5 * log_variance)
        noisy = mean + deviation * noise  # psi(z)

        both = self.decode(np.concatenate([mean, noisy]))
        clean, other = both[:b], both[b:]
        apart = 2 * RELATIVE * (clean - other) / b  # of ||g(z) - g(psi(z))||^2
        of_both = self.decoded(np.concatenate([2 * ORIGINAL * (clean - x) / b + apart, -apart]))
        of_mean, of_noisy = of_both[:b], of_both[b:]

        pairs = np.concatenate([noisy, np.roll(noisy, 1, axis=0)])  # then pairs that are none
        of_pairs = np.zeros_like(pairs)
        size = x[0].size
        t = np.concatenate([np.concatenate([x.reshape(b, -1)] * 2), pairs], axis=1)
        for layer in self.t1:
            t = layer.forward(t)
        g = self.information(t)
        for layer in self.t1[::-1]:
            g = layer.backward(g)
        of_pairs += g[:, size:]

        t = (
            self.of_map.forward(np.concatenate([h] * 2))
            + self.of_code.forward(pairs)[:, None, None]
        )
        first = t
        t = np.maximum(t, 0)
        for layer in self.t2:
            t = layer.forward(t)
        g = self.information(t)
        for layer in self.t2[::-1]:
            g = layer.backward(g)
        g = g * (first > 0)
        of_pairs += self.of_code.backward(g.sum(axis=(1, 2)))
        of_map = self.of_map.backward(g)
        of_noisy += of_pairs[:b] + np.roll(of_pairs[b:], -1, axis=0)

        of_mean += of_noisy + PRIOR * mean / b  # of KL(N(mean, variance) || N(0, I))
        of_log = of_noisy * noise * deviation / 2 + PRIOR * (np.exp(log_variance) - 1) / 2 / b
        g = self.mean.backward(of_mean) + self.log_variance.backward(of_log)
        g = g.reshape(h.shape) + of_map[:b] + of_map[b:]
        for layer in self.down[::-1]:
            g = layer.backward(g)
        pairs = [pair for one in self.layers for pair in zip(one.w, one.g, strict=True)]
        for (w, g), v in zip(pairs, self.velocity, strict=True):
            v[...] = 0.9 * v - LR * g
            w += v

    def information(self, logits):
        """Return the gradient of -MUTUAL (E log sigma(T) + E log(1 - sigma(T'))), T' no pairs."""
        sigma = 1 / (1 + np.exp(-logits))
        half = len(logits) // 2
        g = np.concatenate([sigma[:half] - 1, sigma[half:]])
        return MUTUAL * g / logits[:half].size


@pytest.fixture
def x():
    """Images (n, 5, 5, 1) in [0, 1]: a side that two strides do not divide."""
    return np.random.default_rng(3).random((N, SIDE, SIDE, 1), dtype=np.float32)


def test_pretraining_of_the_dual_auto_encoder(x, eager):
    model = build(
        "ConvAE+MI+RS",
        4,
        latent_dim=Z,
        filters=FILTERS,
        batch_size=BATCH,
        n_init=2,
        pretrain_epochs=4,
        pretrain_optimizer=SGD(LR, 0.9),
        original=ORIGINAL,
        relative=RELATIVE,
        mutual=MUTUAL,
        prior=PRIOR,
        psi="reparameterised",
    )
    inner, steps, hand = model.pretrain_loss, [], []

    def watched(batch, targets, seed):
        if not hand:
            hand.append(ByHand(model))
        pair = tf.random.experimental.stateless_fold_in(seed, 1)
        noise = tf.random.stateless_normal((len(batch), Z), pair, alg="philox")
        steps.append((np.asarray(batch), np.asarray(noise)))
        return inner(batch, targets, seed)

    model.pretrain_loss = watched
    model.fit(x)
    assert len(steps) == 20
    before = [w.copy() for layer in hand[0].layers for w in layer.w]
    for batch, noise in steps:
        hand[0].step(batch, noise)
    after = ByHand(model)
    moved = 0.0
    found = [w for layer in after.layers for w in layer.w]
    expected = [w for layer in hand[0].layers for w in layer.w]
    assert len(found) == len(before) >= 30
    for a, b, start in zip(found, expected, before, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
        moved = max(moved, np.abs(a - start).max())
    assert moved > 0.01
