import math

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from models.core import arrays, functional
from models.core.functional import (
    distance_to,
    kl_divergence,
    mean_squared_error,
    pairwise_squared_distances,
    soft_assignment,
    squared_distances,
    target_distribution,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def distribution(n, k, seed=0):
    q = np.random.default_rng(seed).random((n, k)) + 0.05
    return (q / q.sum(axis=1, keepdims=True)).astype(np.float32)


def loop_distance(a, b):
    return sum((float(s) - float(t)) ** 2 for s, t in zip(a, b, strict=True))


def loop_q(z, centers):
    q = [[1 / (1 + loop_distance(zi, mu)) for mu in centers] for zi in z]
    return np.array([[v / sum(row) for v in row] for row in q])


def loop_p(q):
    n, k = q.shape
    f = [sum(float(q[i, j]) for i in range(n)) for j in range(k)]
    p = [[float(q[i, j]) ** 2 / f[j] for j in range(k)] for i in range(n)]
    return np.array([[v / sum(row) for v in row] for row in p])


def close(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=tolerance, atol=1e-7)


def test_equations_on_arrays_and_on_tensors_agree():
    z, centers = normal(50, 6), normal(7, 6, seed=1)
    distances = arrays.squared_distances(z, centers)
    close(squared_distances(z, centers), distances)
    close(soft_assignment(z, centers), arrays.student_kernel(distances))
    among = np.asarray(pairwise_squared_distances(z))
    np.testing.assert_allclose(among, arrays.squared_distances(z, z), atol=1e-4)
    assert not np.diag(among).any()


# -- against loops --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 99, 100, 101, 2500])
def test_distances_of_many_samples_are_bit_for_bit_those_in_one_piece(monkeypatch, n):
    """And no array of differences is larger than allowed."""
    z, centers = normal(n, 6), normal(7, 6, seed=1)
    whole = np.asarray(ops.sum(ops.square(z[:, None] - centers[None]), axis=-1))
    sizes, square = [], ops.square

    def recorded(differences):
        sizes.append(int(np.prod(differences.shape)))
        return square(differences)

    monkeypatch.setattr(functional, "LARGEST", 100 * 7 * 6)
    monkeypatch.setattr(ops, "square", recorded)
    assert np.array_equal(squared_distances(z, centers), whole)
    assert max(sizes) <= functional.LARGEST and sum(sizes) == n * 7 * 6
    assert np.array_equal(
        soft_assignment(z, centers),
        1 / (1 + whole) / ops.sum(1 / (1 + whole), axis=1, keepdims=True),
    )


def test_more_centres_than_fit_at_once_are_one_sample_at_a_time(monkeypatch):
    z, centers = normal(5, 6), normal(7, 6, seed=1)
    whole = np.asarray(squared_distances(z, centers))
    monkeypatch.setattr(functional, "LARGEST", 10)
    assert np.array_equal(squared_distances(z, centers), whole)


def test_distances_and_soft_assignment_against_loops():
    z, centers = normal(7, 5), normal(3, 5, seed=1)
    expected = [[loop_distance(zi, mu) for mu in centers] for zi in z]
    close(squared_distances(z, centers), expected)
    close(soft_assignment(z, centers), loop_q(z, centers))


def test_target_distribution_against_loops():
    q = distribution(9, 4)
    close(target_distribution(q), loop_p(q))


def test_kl_against_loops():
    p, q = distribution(6, 4), distribution(6, 4, seed=1)
    rows = [sum(a * math.log(a / b) for a, b in zip(*pq, strict=True)) for pq in zip(p, q)]  # noqa: B905
    close(kl_divergence(p, q), sum(rows) / 6)


def test_reconstruction_is_a_mean_over_everything():
    x, y = normal(3, 2, 5, 1), normal(3, 2, 5, 1, seed=1)
    close(mean_squared_error(x, y), loop_distance(x.ravel(), y.ravel()) / 30)


def test_distance_is_a_sum_over_the_embedding_and_a_mean_over_the_batch():
    z, t = normal(4, 3), normal(4, 3, seed=1)
    close(distance_to(z, t), sum(loop_distance(a, b) for a, b in zip(z, t, strict=True)) / 4)


# -- four points by hand --------------------------------------------------------------------------

POINTS = np.array([[0, 0], [1, 0], [3, 0], [1, 2]], np.float32)
CENTERS = np.array([[0, 0], [2, 0]], np.float32)
Q = [[5 / 6, 1 / 6], [1 / 2, 1 / 2], [1 / 6, 5 / 6], [1 / 2, 1 / 2]]


def test_four_points():
    assert np.asarray(squared_distances(POINTS, CENTERS)).tolist() == [
        [0, 4],
        [1, 1],
        [9, 1],
        [5, 5],
    ]
    close(soft_assignment(POINTS, CENTERS), Q)
    # Both clusters have f = 2, so p ~ q^2: 25/36 to 1/36, one to one.
    close(
        target_distribution(np.array(Q, np.float32)),
        [[25 / 26, 1 / 26], [1 / 2, 1 / 2], [1 / 26, 25 / 26], [1 / 2, 1 / 2]],
    )
    one = 25 / 26 * math.log(25 / 26 * 6 / 5) + 1 / 26 * math.log(6 / 26)
    p = target_distribution(soft_assignment(POINTS, CENTERS))
    close(kl_divergence(p, soft_assignment(POINTS, CENTERS)), 2 * one / 4)


def test_frequent_clusters_are_held_back():
    """f = (1.4, 0.6): the second sample prefers the frequent cluster in q, the rare one in p."""
    q = np.array([[0.8, 0.2], [0.6, 0.4]], np.float32)
    close(target_distribution(q), [[48 / 55, 7 / 55], [27 / 55, 28 / 55]])


# -- properties -----------------------------------------------------------------------------------


def test_rows_sum_to_one_far_and_near():
    for scale in (1e-3, 1.0, 1e3):
        q = soft_assignment(normal(50, 10) * scale, normal(7, 10, seed=1) * scale)
        p = target_distribution(q)
        for rows in (np.asarray(q), np.asarray(p)):
            assert rows.shape == (50, 7) and (rows >= 0).all()
            np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)


def test_the_nearest_centre_has_the_largest_share():
    z, centers = normal(40, 3), normal(5, 3, seed=1)
    q, distance = soft_assignment(z, centers), squared_distances(z, centers)
    assert (np.argmax(q, axis=1) == np.argmin(distance, axis=1)).all()


@pytest.mark.parametrize(
    "q", [np.full((6, 3), 1 / 3), np.eye(3)[[0, 1, 2, 2, 1, 0]]], ids=["uniform", "one-hot"]
)
def test_fixed_points(q):
    q = q.astype(np.float32)
    close(target_distribution(q), q)
    assert float(kl_divergence(target_distribution(q), q)) == pytest.approx(0, abs=1e-6)


def test_targets_are_sharper_and_need_all_rows():
    q = distribution(30, 4)
    p = np.asarray(target_distribution(q))
    assert -(p * np.log(p)).sum() < -(q * np.log(q)).sum()
    assert np.abs(np.asarray(target_distribution(q[:10])) - p[:10]).max() > 1e-3


def test_kl_is_zero_only_where_equal_and_not_symmetric():
    p, q = distribution(5, 3), distribution(5, 3, seed=1)
    assert float(kl_divergence(p, p)) == pytest.approx(0, abs=1e-6)
    for i in range(5):
        assert float(kl_divergence(p[i : i + 1], q[i : i + 1])) > 1e-4
    assert abs(float(kl_divergence(p, q)) - float(kl_divergence(q, p))) > 1e-4


def test_kl_clips_both_as_keras_does():
    p, q = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)
    close(kl_divergence(p, q), (1 - 1e-7) * math.log(1e7))
    close(kl_divergence(q, q), 0)


# -- gradients ------------------------------------------------------------------------------------


def kl_gradients(z, centers, p):
    z, centers = tf.constant(z), tf.constant(centers)
    with tf.GradientTape() as tape:
        tape.watch([z, centers])
        loss = kl_divergence(p, soft_assignment(z, centers))
    return [g.numpy() for g in tape.gradient(loss, [z, centers])]


def test_gradients_are_those_of_the_DEC_paper():
    """Eqs. 4 and 5 with alpha = 1, divided by b: the paper sums over samples, here it is a mean."""
    b, k = 6, 4
    z, centers, p = normal(b, 3), normal(k, 3, seed=1), distribution(b, k)
    q = loop_q(z, centers)
    by_z, by_centers = np.zeros((b, 3)), np.zeros((k, 3))
    for i in range(b):
        for j in range(k):
            pull = 2 * (p[i, j] - q[i, j]) * (z[i] - centers[j])
            pull /= 1 + loop_distance(z[i], centers[j])
            by_z[i] += pull / b
            by_centers[j] -= pull / b
    got_z, got_centers = kl_gradients(z, centers, p)
    np.testing.assert_allclose(got_z, by_z, atol=1e-6)
    np.testing.assert_allclose(got_centers, by_centers, atol=1e-6)


def test_gradients_against_differences():
    z, t = normal(3, 2), normal(3, 2, seed=1)
    for loss in (distance_to, mean_squared_error):
        point = tf.constant(z)
        with tf.GradientTape() as tape:
            tape.watch(point)
            value = loss(point, t)
        numeric = np.zeros_like(z, np.float64)
        for place in np.ndindex(z.shape):
            step = np.zeros_like(z, np.float64)
            step[place] = 1e-4
            numeric[place] = float(loss(z + step, t)) - float(loss(z - step, t))
        np.testing.assert_allclose(tape.gradient(value, point), numeric / 2e-4, rtol=1e-3)


def test_no_pull_where_target_and_output_agree():
    z, centers = normal(5, 3), normal(4, 3, seed=1)
    for gradient in kl_gradients(z, centers, np.asarray(soft_assignment(z, centers))):
        np.testing.assert_allclose(gradient, 0, atol=1e-6)
