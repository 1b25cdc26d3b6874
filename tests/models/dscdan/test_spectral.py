"""SpectralNet's equations, DSCDAN's, and the cut that chooses eigenvectors."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.linalg import subspace_angles

from models.core.functional import (
    class_divergence,
    contrastive_loss,
    gaussian_divergence,
    js_information,
    negative_entropy,
    squared_error,
)
from models.core.graphs import eigenvectors, lowest_cut, neighbor_graph, normalized_cut
from models.core.optimizers import make as make_optimizer
from models.dscdan.networks import dense_network, global_discriminator, local_discriminator
from models.dscdan.spectral import (
    affinity,
    by_qr,
    gram_factor,
    orthonormalization,
    orthonormalize,
    pairwise_squared_distances,
    spectral_loss,
)
from models.dscdan.spectralnet import pairs
from models.settings.base import Adam

RNG = np.random.default_rng(0)
FULL = RNG.dirichlet(np.ones(6), 80)


def float32(a):
    return tf.constant(np.asarray(a), tf.float32)


# -- orthonormal outputs --------------------------------------------------------------------------

BATCHES = {
    "full rank": FULL,
    "a row again and again": np.repeat(FULL[:1], 80, axis=0),
    "two columns the same": np.c_[FULL[:, :5], FULL[:, 4]],
    "a column of zeros": np.c_[FULL[:, :5], np.zeros(80)],
    "all zero": np.zeros((80, 6)),
    "nearly constant": 0.1 + 1e-6 * FULL,
    "tiny": 1e-18 * FULL,
    "huge": 1e12 * FULL,
    "as many rows as columns": FULL[:6],
    "one-hot with an empty class": np.eye(6)[RNG.integers(0, 5, 80)],
}


@pytest.mark.parametrize("kind", BATCHES)
def test_outputs_are_orthonormal_and_gradients_finite(kind):
    y = float32(BATCHES[kind])
    with tf.GradientTape() as tape:
        tape.watch(y)
        out = orthonormalize(y)
        loss = tf.reduce_sum(out * tf.range(6.0))
    out64 = np.asarray(out, np.float64)
    np.testing.assert_allclose(out64.T @ out64 / len(out64), np.eye(6), atol=1e-4)
    assert np.isfinite(tape.gradient(loss, y)).all()
    assert np.isfinite(orthonormalization(y)).all()


def test_cholesky_and_qr_agree():
    """Columns span the same space; with R's diagonal positive they are the same."""
    y = tf.constant(FULL)
    lower, deficient = gram_factor(y)
    assert not bool(deficient)
    cholesky = np.linalg.solve(lower, FULL.T).T
    plain, _ = np.linalg.qr(FULL)
    assert subspace_angles(cholesky, plain).max() < 1e-6
    np.testing.assert_allclose(by_qr(y), cholesky, atol=1e-9)
    np.testing.assert_allclose(orthonormalize(y), np.sqrt(80) * cholesky, atol=1e-6)


def test_orthonormalization_is_what_the_batch_gets():
    y = FULL @ np.asarray(orthonormalization(FULL))
    np.testing.assert_allclose(y, orthonormalize(tf.constant(FULL)), atol=1e-8)
    np.testing.assert_allclose(y.T @ y, 80 * np.eye(6), atol=1e-8)


def test_values_that_are_not_finite_stay_so():
    """The trainer then says that the loss is not finite; nothing is raised in the graph."""
    assert np.isnan(orthonormalize(float32(np.full((9, 3), np.nan)))).any()


# -- the graph and the loss -----------------------------------------------------------------------


def loop_affinity(z, neighbors, sigma, scale_neighbor):
    n, w = len(z), np.zeros((len(z), len(z)))
    d = np.array([[((a - b) ** 2).sum() for b in z] for a in z])
    ranked = [sorted((d[i, j], j) for j in range(n) if j != i) for i in range(n)]
    if sigma is None:
        sigma = np.median([np.sqrt(row[scale_neighbor - 1][0]) for row in ranked])
    for i in range(n):
        for distance, j in ranked[i][:neighbors]:
            w[i, j] += np.exp(-distance / (2 * sigma**2)) / 2
            w[j, i] += np.exp(-distance / (2 * sigma**2)) / 2
    return w


@pytest.mark.parametrize("settings", [(3, None, 1), (4, 2.62, 1), (2, None, 5)], ids=str)
@pytest.mark.parametrize("n", [20, 21])
def test_affinity_against_a_loop(n, settings):
    z = RNG.normal(size=(n, 4)).astype(np.float32)
    w = np.asarray(affinity(tf.constant(z), *settings))
    np.testing.assert_allclose(w, loop_affinity(z.astype(float), *settings), rtol=2e-4, atol=1e-6)
    assert np.array_equal(w, w.T) and not np.diag(w).any()
    assert ((w > 0).sum(axis=1) >= settings[0]).all()


def test_the_graph_of_a_batch_takes_no_more_than_its_square():
    """Bit for bit what sums of one-hot rows give, which took `neighbours` times as much."""
    b, neighbors = 50, 20
    z = float32(RNG.normal(size=(b, 4)))
    d = pairwise_squared_distances(z)
    far = tf.linalg.set_diag(d, tf.fill([b], d.dtype.max))
    places = tf.math.top_k(-far, neighbors)[1]
    w = tf.reduce_sum(tf.one_hot(places, b), axis=1) * tf.exp(-d / (2.0 * tf.constant(1.5**2)))
    assert np.array_equal(affinity(z, neighbors, 1.5), 0.5 * (w + tf.transpose(w)))
    traced = tf.function(lambda z: affinity(z, neighbors)).get_concrete_function(z)
    outputs = [t for op in traced.graph.get_operations() for t in op.outputs]
    sizes = [t.shape.num_elements() for t in outputs if t.shape.is_fully_defined()]
    assert len(sizes) > 20 and max(sizes) <= b * b


def test_affinity_of_equal_and_of_few_samples():
    with tf.GradientTape() as tape:
        z = tf.ones((5, 3))
        tape.watch(z)
        w = affinity(z, 2)
        loss = tf.reduce_sum(w)
    assert np.asarray(w).sum() == 10  # every row's two neighbours, weight 1
    assert np.isfinite(tape.gradient(loss, z)).all()
    assert np.asarray(affinity(float32([[0.0], [1.0]]), 9)).shape == (2, 2)


def test_spectral_loss_by_hand():
    w = float32([[0, 1, 0], [1, 0, 0.5], [0, 0.5, 0]])
    y = float32([[0, 0], [3, 4], [3, 0]])
    assert float(spectral_loss(w, y)) == pytest.approx((2 * 25 + 2 * 0.5 * 16) / 3)
    np.testing.assert_allclose(
        pairwise_squared_distances(y), [[0, 25, 9], [25, 0, 16], [9, 16, 0]], atol=1e-5
    )


def test_the_head_learns_the_cut():
    """Four far groups: the loss comes near that of the true cut, 0."""
    places = [[0, 0], [9, 9], [0, 9], [9, 0]]
    z = np.concatenate([RNG.normal(size=(20, 2)) + place for place in places]).astype("f")
    head, optimizer = dense_network(2, (16, 16), (4, "tanh"), seed=1), make_optimizer(Adam(1e-2))
    w = affinity(tf.constant(z), 3)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = spectral_loss(w, orthonormalize(head(z)))
        optimizer.apply(tape.gradient(loss, head.trainable_variables), head.trainable_variables)
        return loss

    optimizer.build(head.trainable_variables)
    losses = [float(step()) for _ in range(150)]
    assert losses[-1] < 0.2 * losses[0]


# -- information ----------------------------------------------------------------------------------


def test_information_of_logits_by_hand():
    assert float(js_information(tf.zeros((3, 1)), tf.zeros((3, 1)))) == pytest.approx(
        -2 * np.log(2)
    )
    best = js_information(tf.fill((3, 1), 50.0), tf.fill((3, 1), -50.0))
    assert float(best) == pytest.approx(0, abs=1e-6)


def learned(correlation, network, seen):
    """The information that a discriminator finds between two Gaussians in 60 steps."""
    optimizer = make_optimizer(Adam(1e-2))
    optimizer.build(network.trainable_variables)

    @tf.function
    def step(i):
        draw = tf.random.stateless_normal((2, 128, 2), [1, i])
        a, b = draw[0], correlation * draw[0] + (1 - correlation**2) ** 0.5 * draw[1]
        with tf.GradientTape() as tape:
            value = js_information(network([seen(a), b]), network([seen(a), tf.roll(b, 1, axis=0)]))
            loss = -value
        weights = network.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
        return value

    values = [float(step(tf.constant(i))) for i in range(60)]
    return np.mean(values[-10:])


@pytest.mark.parametrize("kind", ["global", "local"])
def test_more_information_between_correlated_gaussians(kind):
    widths = (16, 16, 16)
    make, seen = {
        "global": (lambda: global_discriminator(2, 2, 1, widths), lambda a: a),
        "local": (
            lambda: local_discriminator((2, 2, 2), 2, 1, widths),
            lambda a: tf.tile(a[:, None, None], (1, 2, 2, 1)),
        ),
    }[kind]
    independent, correlated = (learned(c, make(), seen) for c in (0.0, 0.95))
    assert correlated > independent + 0.2
    assert independent == pytest.approx(-2 * np.log(2), abs=0.1)


# -- the other terms ------------------------------------------------------------------------------


def test_divergences_by_hand():
    mean, log_variance = float32([[1, 2], [0, 0]]), float32([[0, np.log(2)], [0, 0]])
    expected = 0.5 * (1 + 4 + (2 - 1 - np.log(2))) / 2
    assert float(gaussian_divergence(mean, log_variance)) == pytest.approx(expected, rel=1e-5)
    p = float32([[0.25, 0.75], [1, 0]])
    means = np.array([[0, 0], [1, 1.0]])
    squares = float32((np.asarray(mean)[:, None] - means[None]) ** 2)
    expected = 0.5 * (0.25 * 5 + 0.75 * 1 + (1 - np.log(2)) + 0) / 2
    assert float(class_divergence(p, squares, log_variance)) == pytest.approx(expected, rel=1e-5)
    expected = (0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / 2
    assert float(negative_entropy(p)) == pytest.approx(expected, rel=1e-5)
    assert float(squared_error(tf.ones((2, 3)), tf.zeros((2, 3)))) == 3


def test_contrastive_loss_by_hand():
    a, b = float32([[0.0], [0], [0], [0]]), float32([[0.25], [0.01], [0.5], [2]])
    loss = float(contrastive_loss(a, b, float32([1, 1, 0, 0])))
    assert loss == pytest.approx((0.2**2 + 0 + 0.5**2 + 0) / 4, rel=1e-4)


def test_pairs_are_neighbours_and_strangers():
    z = np.repeat(np.arange(4.0), 5)[:, None] * 10 + np.tile(np.arange(5) * 0.1, 4)[:, None]
    found = pairs(z, 2, 0)
    assert found.shape == (80, 3) and np.bincount(found[:, 2]).tolist() == [40, 40]
    near = found[found[:, 2] == 1]
    far = found[found[:, 2] == 0]
    assert (near[:, 0] // 5 == near[:, 1] // 5).all() and (near[:, 0] != near[:, 1]).all()
    assert (far[:, 0] != far[:, 1]).all()
    assert not {tuple(row[:2]) for row in near} & {tuple(row[:2]) for row in far}
    assert np.array_equal(found, pairs(z, 2, 0)) and not np.array_equal(found, pairs(z, 2, 1))


# -- cuts -----------------------------------------------------------------------------------------


def test_normalized_cut_against_a_loop():
    w = neighbor_graph(RNG.normal(size=(30, 3)), 4)
    labels = RNG.integers(0, 3, 30)
    dense, cut = w.toarray(), 0.0
    assert np.array_equal(dense, dense.T)
    for j in range(3):
        leaves = sum(
            dense[a, b] for a in range(30) for b in range(30) if labels[a] == j != labels[b]
        )
        cut += leaves / sum(dense[a, b] for a in range(30) for b in range(30) if labels[a] == j)
    assert normalized_cut(w, labels) == pytest.approx(cut)


def test_lowest_cut_finds_groups():
    z = np.concatenate([RNG.normal(size=(30, 2)) + shift for shift in ([0, 0], [9, 0], [0, 9])])
    labels, cut, _ = lowest_cut(z, 3, n_init=5)
    assert cut < 0.05 and sorted(np.bincount(labels)) == [30, 30, 30]
    assert all(len(set(labels[i : i + 30])) == 1 for i in (0, 30, 60))
    again, _, _ = lowest_cut(z, 3, n_init=5)
    assert np.array_equal(labels, again)
    rows = eigenvectors(neighbor_graph(z), 4)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
