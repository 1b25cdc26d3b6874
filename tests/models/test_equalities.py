"""Training loops against restatements in NumPy: 20 steps, weights to 1e-6, labels equal.

The restatements follow the papers' equations and the order of the released loops
(docs/methods), in float64, with gradients derived by hand. Of the project they take the initial
weights, the centres that k-means gives, and the batches drawn; all else is computed here.
"""

from functools import partial

import numpy as np
import pytest

from models import build, preset
from models.core import autoencoder, networks
from models.core.monitor import Monitor
from models.core.networks import dense_autoencoder
from models.settings.base import SGD, Adam

N, D, Z, K, BATCH = 60, 7, 3, 4, 12
PASS = N // BATCH  # steps
COMMON = {"latent_dim": Z, "batch_size": BATCH, "n_init": 3, "tol": 0.0}


@pytest.fixture
def x(monkeypatch):
    """Samples (n, d) in four groups, with small networks in place of the Fc ones."""

    def small(*args):
        return dense_autoencoder(*args, widths=(6, 5))

    monkeypatch.setitem(networks.AUTOENCODERS, "fc", small)
    monkeypatch.setitem(autoencoder.AUTOENCODERS, "fc", small)
    rng = np.random.default_rng(5)
    groups = 1.5 * rng.random((K, D))[rng.integers(K, size=N)]
    return (groups + 0.4 * rng.random((N, D))).astype(np.float32)


class Log(Monitor):
    """Keeps the labels of every refresh."""

    def __init__(self):
        self.labels = []

    def row(self, phase, step, values, labels=None):
        if phase == "cluster" and labels is not None:
            self.labels.append(np.asarray(labels))

    def note(self, text):
        pass


def observed(method, x, hook, **settings):
    """Fit a method; return the model, its log, its state before the first step, its batches.

    hook: "pretrain_loss" or "loss", whose steps are observed. State: weights of encoder and
    decoder, and centres. Batches: indices of samples, one array a step.
    """
    log = Log()
    order = {"shuffle": False} if hasattr(preset(method), "shuffle") else {}  # as released
    model = build(method, K, config=None, monitor=log, **COMMON | order | settings)
    inner, start, batches = getattr(model, hook), [], []

    def watched(batch, targets, seed):
        if not start:
            start.extend([weights(model.encoder), weights(model.decoder)])
            start.append(np.asarray(model.centers, np.float64).copy())
        distances = np.abs(x[None] - np.asarray(batch)[:, None]).sum(axis=2)
        batches.append(distances.argmin(axis=1))
        return inner(batch, targets, seed)

    setattr(model, hook, watched)
    model.fit(x)
    return model, log, start, batches


def weights(network):
    """Return [W, b, W, b, ...] of a network, float64 copies."""
    return [np.asarray(v, np.float64).copy() for v in network.trainable_variables]


def forward(w, x):
    """Return the layers' outputs [x, h1, ..., last] of a network: ReLU inside, linear last."""
    outputs = [x.astype(np.float64)]
    for i in range(0, len(w), 2):
        h = outputs[-1] @ w[i] + w[i + 1]
        outputs.append(np.maximum(h, 0) if i + 2 < len(w) else h)
    return outputs


def backward(w, outputs, gradient):
    """Return the gradients of the weights and of the input, from that of the output."""
    found = [None] * len(w)
    for i in range(len(w) - 2, -1, -2):
        below = outputs[i // 2]
        found[i], found[i + 1] = below.T @ gradient, gradient.sum(axis=0)
        gradient = gradient @ w[i].T
        if i:
            gradient = gradient * (below > 0)
    return found, gradient


class Momentum:
    """v <- m v - lr g; w <- w + v."""

    def __init__(self, parameters, lr, momentum):
        self.w, self.lr, self.m = parameters, lr, momentum
        self.v = [np.zeros_like(p) for p in parameters]

    def step(self, gradients):
        for p, v, g in zip(self.w, self.v, gradients, strict=True):
            v[...] = self.m * v - self.lr * g
            p += v


class AdamByHand:
    """m, v, and a step of lr sqrt(1 - .999^t) / (1 - .9^t) m / (sqrt(v) + 1e-7)."""

    def __init__(self, parameters, lr):
        self.w, self.lr, self.t = parameters, lr, 0
        self.m = [np.zeros_like(p) for p in parameters]
        self.v = [np.zeros_like(p) for p in parameters]

    def step(self, gradients):
        self.t += 1
        rate = self.lr * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
        for p, m, v, g in zip(self.w, self.m, self.v, gradients, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * m / (np.sqrt(v) + 1e-7)


def assert_equal_weights(model, encoder, decoder=None, start=None):
    """Compare to 1e-6, and see that the steps moved the weights by far more than that."""
    ours = weights(model.encoder)
    assert max(np.abs(a - b).max() for a, b in zip(ours, start[0], strict=True)) > 1e-3
    for a, b in zip(ours, encoder, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    for a, b in zip(weights(model.decoder), decoder or start[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def copies(start):
    """Return encoder, decoder, centres that may be changed."""
    return [p.copy() for p in start[0]], [p.copy() for p in start[1]], start[2].copy()


def squared(z, centers):
    return ((z[:, None] - centers[None]) ** 2).sum(axis=2)


def student(z, centers):
    """Return q (n, k), Student's kernel (DEC, eq. 1), and 1 / (1 + distance)."""
    kernel = 1 / (1 + squared(z, centers))
    return kernel / kernel.sum(axis=1, keepdims=True), kernel


def mean_squared(x, rebuilt):
    """Return d mse / d rebuilt, the mean over samples and values."""
    return 2 * (rebuilt - x) / x.size


def test_pretraining(x, eager):
    """Mean squared error, SGD with momentum, shuffled (DEC-DA, eq. 8)."""
    model, _, start, batches = observed(
        "FcDEC", x, "pretrain_loss", pretrain_epochs=4, pretrain_optimizer=SGD(0.5, 0.9), maxiter=0
    )
    encoder, decoder, _ = copies(start)
    optimizer = Momentum(encoder + decoder, 0.5, 0.9)
    assert len(batches) == 20 and sorted(np.concatenate(batches[:PASS])) == list(range(N))
    for rows in batches:
        outputs = forward(encoder, x[rows])
        back = forward(decoder, outputs[-1])
        of_decoder, gradient = backward(decoder, back, mean_squared(x[rows], back[-1]))
        of_encoder, _ = backward(encoder, outputs, gradient)
        optimizer.step(of_encoder + of_decoder)
    assert_equal_weights(model, encoder, decoder, start)


@pytest.mark.parametrize(("method", "alpha", "lr"), [("FcDEC", 0.0, 10.0), ("FcIDEC", 1.0, 0.2)])
def test_dec_and_idec(x, eager, method, alpha, lr):
    """Targets from all samples each 6 steps, contiguous batches (DEC, eqs. 1 to 5; IDEC)."""
    beta = 0.1 if alpha else 1.0
    model, log, start, batches = observed(
        method,
        x,
        "loss",
        pretrain_epochs=0,
        optimizer=SGD(lr, 0.9),
        maxiter=20,
        update_interval=6,
        alpha=alpha,
        beta=beta,
    )
    encoder, decoder, centers = copies(start)
    optimizer = Momentum([*encoder, centers, *(decoder if alpha else [])], lr, 0.9)
    labels = []
    for step in range(20):
        if step % 6 == 0:
            q = student(forward(encoder, x)[-1], centers)[0]
            p = q**2 / q.sum(axis=0)
            p /= p.sum(axis=1, keepdims=True)
            labels.append(q.argmax(axis=1))
        rows = np.arange(step * BATCH, (step + 1) * BATCH) % N
        assert (batches[step] == rows).all()
        outputs = forward(encoder, x[rows])
        q, kernel = student(outputs[-1], centers)
        pull = 2 * beta * (kernel * (p[rows] - q))[..., None]  # (DEC, eqs. 4 and 5)
        pull = pull * (outputs[-1][:, None] - centers[None]) / BATCH
        gradient, of_decoder = pull.sum(axis=1), []
        if alpha:
            back = forward(decoder, outputs[-1])
            of_decoder, more = backward(decoder, back, alpha * mean_squared(x[rows], back[-1]))
            gradient = gradient + more
        of_encoder, _ = backward(encoder, outputs, gradient)
        optimizer.step([*of_encoder, -pull.sum(axis=0), *of_decoder])
    assert_equal_weights(model, encoder, decoder, start)
    np.testing.assert_allclose(np.asarray(model.centers), centers, rtol=0, atol=1e-6)
    assert len(log.labels) >= 4 and all(map(np.array_equal, labels, log.labels))
    final = student(forward(encoder, x)[-1], centers)[0].argmax(axis=1)
    assert np.array_equal(model.labels_, final) and len(set(final)) > 1


def test_dcn(x, eager):
    """A pass of steps on the encoder, then labels and running means (DEC-DA, eqs. 11 and 12)."""
    model, log, start, batches = observed(
        "FcDCN", x, "loss", pretrain_epochs=0, optimizer=SGD(0.1, 0.9), maxiter=20
    )
    encoder, _, centers = copies(start)
    optimizer, labels = Momentum(encoder, 0.1, 0.9), []
    counts = np.bincount(model.initial_labels_)
    for step, rows in enumerate(batches):
        if step % PASS == 0:
            z = forward(encoder, x)[-1]
            s = squared(z, centers).argmin(axis=1)
            for code, j in zip(z, s, strict=True):  # one after the other, as DCN's paper has it
                counts[j] += 1
                centers[j] += (code - centers[j]) / counts[j]
            labels.append(s)
        outputs = forward(encoder, x[rows])
        gradient = 2 * (outputs[-1] - centers[s[rows]]) / BATCH
        optimizer.step(backward(encoder, outputs, gradient)[0])
    assert len(batches) == 20
    assert_equal_weights(model, encoder, None, start)
    np.testing.assert_allclose(np.asarray(model.centers), centers, rtol=0, atol=1e-5)
    assert all(map(np.array_equal, labels, log.labels))


@pytest.mark.parametrize(("method", "paced"), [("ASPC", True), ("BasicDC", False)])
def test_aspc(x, eager, method, paced):
    """Fixed centres; all samples in the first epoch, then those below lambda (ASPC, eqs. 10, 16).

    A step's loss is the mean over latent dimensions and over the batch's selected samples.
    """
    epochs = 4
    model, log, start, batches = observed(
        method, x, "loss", pretrain_epochs=0, optimizer=Adam(0.01), epochs=epochs
    )
    encoder, _, centers = copies(start)
    optimizer, labels = AdamByHand(encoder, 0.01), []
    assert len(batches) == 20
    for step, rows in enumerate(batches):
        epoch = step // PASS
        if step % PASS == 0:
            d = squared(forward(encoder, x)[-1], centers)
            s, losses = d.argmin(axis=1), d.min(axis=1)
            v = np.ones(N)
            if epoch and paced:
                v = (losses < losses.mean() + (epoch - 1) / epochs * losses.std()).astype(float)
                assert 0 < v.sum() < N
            labels.append(s)
        outputs = forward(encoder, x[rows])
        share = v[rows] / max(v[rows].sum(), 1)
        gradient = 2 * share[:, None] * (outputs[-1] - centers[s[rows]]) / Z
        optimizer.step(backward(encoder, outputs, gradient)[0])
    assert_equal_weights(model, encoder, None, start)
    np.testing.assert_array_equal(np.asarray(model.centers, np.float64), centers)
    assert len(log.labels) >= epochs and all(map(np.array_equal, labels, log.labels))


# ---- Kingdra's member, IMSAT: NumPy forwards, gradients by complex steps ------------------------


def normal(z):
    """Return z (b, w) less its mean over b, over its deviation; epsilon 1e-10."""
    z = z - z.mean(axis=0)
    return z / np.sqrt((z * z).mean(axis=0) + 1e-10)


def relu(z):
    return np.where(z.real > 0, z, 0)


def log_softmax(z):
    z = z - z.real.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def information(logits, mu):
    """Return mean H(p_i) - mu H(mean p_i), 1e-8 inside the logarithms."""
    p = np.exp(log_softmax(logits))
    mean = p.mean(axis=0)
    entropy = -(p * np.log(p + 1e-8)).sum(axis=1).mean()
    return entropy + mu * (mean * np.log(mean + 1e-8)).sum()


def divergence(fixed, logits):
    """Return the mean KL(softmax(fixed) || softmax(logits))."""
    fixed = log_softmax(fixed)
    return (np.exp(fixed) * (fixed - log_softmax(logits))).sum(axis=1).mean()


def encoded(w, x, noise=None):
    """Return logits and the layers of a path through up-weights and betas: [z0, z1, logits]."""
    up, betas = w["up"], w["betas"]
    noise = noise or [0.0] * (len(up) + 1)
    layers = [x + noise[0]]
    h = layers[0]
    for i, (a, beta) in enumerate(zip(up, betas, strict=True)):
        top = i == len(up) - 1
        z = h @ a
        layers.append((z if top else normal(z)) + noise[i + 1])
        h = layers[-1] + beta
        h = h if top else relu(h)
    return h, layers


def ladder_loss(w, x, noise, fixed, costs, mi_weight, mu):
    """Return the loss of a member (docs/methods/kingdra.md) for a batch and its noise."""
    clean, layers = encoded(w, x)
    corrupted, noisy = encoded(w, x, noise)
    u, total = normal(corrupted), 0.0
    for i in range(len(layers) - 1, -1, -1):
        a = w["laterals"][i]
        m = a[0] / (1 + np.exp(-(a[1] * u + a[2]))) + a[3] * u + a[4]
        v = a[5] / (1 + np.exp(-(a[6] * u + a[7]))) + a[8] * u + a[9]
        estimate = (noisy[i] - m) * v + m
        total = total + costs[i] * ((estimate - layers[i]) ** 2).mean()
        if i:
            u = normal(estimate @ w["down"][i - 1])
    total = total + mi_weight * (information(clean, mu) + information(corrupted, mu))
    return total + divergence(fixed, corrupted)


def complex_gradients(loss, parameters):
    """Return the gradients of a real loss by steps of 1e-30 i: exact to rounding."""
    found = []
    for p in parameters:
        g = np.zeros(p.shape)
        for at in np.ndindex(p.shape):
            p[at] += 1e-30j
            g[at] = loss().imag / 1e-30
            p[at] = p[at].real
        found.append(g)
    return found


def parts(network):
    """Return {kind: [complex copies]} of a ladder network's weights."""
    kinds = {
        "up": network.up,
        "down": network.down,
        "betas": network.betas,
        "laterals": network.laterals,
    }
    return {k: [np.asarray(v, np.complex128) for v in some] for k, some in kinds.items()}


def recorded(monkeypatch):
    """Return a list to which each draw of noise is added."""
    import tensorflow as tf

    inner, drawn = tf.random.stateless_normal, []

    def draw(*args, **others):
        found = inner(*args, **others)
        drawn.append(np.asarray(found, np.float64))
        return found

    monkeypatch.setattr(tf.random, "stateless_normal", draw)
    return drawn


# Not Adam, which magnifies gradients near 0.
SMALL = {"widths": (5, 4), "batch_size": BATCH, "optimizer": SGD(0.02, 0.9)}


def test_a_member_of_kingdra(x, eager, monkeypatch):
    """Ladder, information and KL losses, 20 steps in data order.

    At a rate of .02 the weights move no further (1.27), but magnify a CPU's rounding (to 2.1e-6
    without AVX-512, where .01 has 5.5e-7).
    """
    from models.kingdra.model import Member

    inner, start, drawn = Member.loss, [], recorded(monkeypatch)

    def watched(self, batch, targets, seed):
        if not start:
            start.append(parts(self.network))
        return inner(self, batch, targets, seed)

    monkeypatch.setattr(Member, "loss", watched)
    costs, rate = (10.0, 1.0, 0.1, 0.1), 0.01
    settings = SMALL | {"optimizer": SGD(rate, 0.9), "denoising_costs": costs}
    model = build("LADDER-IM", K, rounds=1, epochs_first=4, shuffle=False, **settings).fit(x)
    (w,) = start
    flat = [*w["up"], *w["down"], *w["betas"], *w["laterals"]]
    before, optimizer = [p.copy() for p in flat], Momentum([p.real for p in flat], rate, 0.9)
    assert len(drawn) == 20 * 4
    for step in range(20):
        batch = x[np.arange(step * BATCH, (step + 1) * BATCH) % N].astype(np.float64)
        noise = [0.3 * one[0] for one in drawn[4 * step : 4 * step + 4]]
        fixed = encoded(w, batch)[0].copy()
        loss = partial(ladder_loss, w, batch, noise, fixed, costs, 0.1, 4.0)
        optimizer.step(complex_gradients(loss, flat))
    ours = [v for some in parts(model.networks[0]).values() for v in some]
    assert max(np.abs(a - b).max() for a, b in zip(flat, before, strict=True)) > 5e-4
    for a, b in zip(ours, flat, strict=True):
        np.testing.assert_allclose(a.real, b.real, rtol=0, atol=2e-6)


def test_imsat_rpt(x, eager, monkeypatch):
    """KL(p(x) || p(x + r)) + lambda (H(Y|X) - mu H(Y)), r random and as long as radius says."""
    from models.kingdra.imsat import IMSAT

    inner, start, seen, drawn = IMSAT.loss, [], [], recorded(monkeypatch)

    def watched(self, batch, targets, seed):
        if not start:
            start.append(parts(self.networks[0]))
            drawn.clear()  # what the initial weights took
        seen.append((np.asarray(batch, np.float64), np.asarray(targets["length"], np.float64)))
        return inner(self, batch, targets, seed)

    monkeypatch.setattr(IMSAT, "loss", watched)
    model = build("IMSAT-RPT", K, epochs=4, neighbor=3, **SMALL).fit(x)
    (w,) = start
    flat = [*w["up"], *w["betas"]]
    optimizer, before = Momentum([p.real for p in flat], 0.02, 0.9), [p.copy() for p in flat]
    third = np.sort(np.sqrt(squared(x.astype(np.float64), x.astype(np.float64))), axis=1)[:, 3]
    assert len(seen) == len(drawn) == 20
    for (batch, lengths), d in zip(seen, drawn, strict=True):
        rows = squared(batch, x.astype(np.float64)).argmin(axis=1)
        np.testing.assert_allclose(lengths, 2.5 * third[rows], rtol=1e-5)
        moved = batch + lengths[:, None] * d / np.linalg.norm(d, axis=1, keepdims=True)
        fixed = encoded(w, batch)[0].copy()

        def loss():
            logits = encoded(w, batch)[0]  # noqa: B023
            kl = divergence(fixed, encoded(w, moved)[0])  # noqa: B023
            return kl + 0.1 * information(logits, 4.0)

        optimizer.step(complex_gradients(loss, flat))
    ours = parts(model.networks[0])
    assert max(np.abs(a - b).max() for a, b in zip(flat, before, strict=True)) > 5e-4
    for a, b in zip([*ours["up"], *ours["betas"]], flat, strict=True):
        np.testing.assert_allclose(a.real, b.real, rtol=0, atol=1e-6)
