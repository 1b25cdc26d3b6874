"""SpectralNet's equations, as pure functions of tensors: b batch, k clusters, z latent size."""

import numpy as np
import tensorflow as tf

from models.core.functional import Tensor, pairwise_squared_distances

# Smallest eigenvalue of the Gram matrix, as a share of its trace, of a batch of full rank; float64
# then leaves Y^T Y within 1e-7 of m I.
FULL_RANK = 1e-9
JITTERS = (0.0, 1e-9, 1e-8, 1e-6, 1e-4)  # added to the diagonal, shares of the trace
TINY = 1e-30


def affinity(
    z: Tensor, neighbors: int = 3, sigma: float | None = None, scale_neighbor: int = 1
) -> Tensor:
    """Return W, (b, b), symmetric: exp(-||z_i - z_j||^2 / (2 sigma^2)) between neighbours.

    DSCDAN's eq. 14. Row i counts its `neighbors` nearest other samples, ties in data order; W is
    the mean of that and its transpose. Neighbours and sigma are constants to the gradient.

    Parameters
    ----------
    z : (b, z)
    neighbors : int
        At most b - 1 are there.
    sigma : float, optional
        None: the median, over the batch, of the distance to the nearest other sample but
        scale_neighbor - 1.
    scale_neighbor : int
    """
    b = tf.shape(z)[0]
    d = pairwise_squared_distances(z)
    far = tf.linalg.set_diag(tf.stop_gradient(d), tf.fill([b], d.dtype.max))
    wanted = tf.minimum(max(neighbors, scale_neighbor), b - 1)
    nearest, places = tf.math.top_k(-far, wanted)  # (b, neighbours), nearest first
    if sigma is None:
        place = tf.minimum(scale_neighbor, wanted) - 1
        middle = tf.sort(-nearest[:, place])
        half = b // 2
        variance = 0.25 * tf.square(tf.sqrt(middle[(b - 1) // 2]) + tf.sqrt(middle[half]))
    else:
        variance = tf.constant(sigma**2, z.dtype)
    places = places[:, :neighbors]
    rows = tf.repeat(tf.range(b), tf.shape(places)[1])
    pairs = tf.stack([rows, tf.reshape(places, [-1])], axis=1)  # each once
    linked = tf.scatter_nd(pairs, tf.ones_like(rows, z.dtype), [b, b])
    w = linked * tf.exp(-d / (2.0 * tf.maximum(variance, TINY)))
    return 0.5 * (w + tf.transpose(w))


def spectral_loss(w: Tensor, y: Tensor) -> Tensor:
    """Return sum_ij W_ij ||y_i - y_j||^2 / m (DSCDAN, eq. 16, but for one more 1/m).

    w is (b, b), y (b, k) with Y^T Y = m I.
    """
    return tf.reduce_sum(w * pairwise_squared_distances(y)) / tf.cast(tf.shape(y)[0], y.dtype)


def gram_factor(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return L, float64 (k, k), L L^T = Y~^T Y~ + jitter I, and whether any jitter was needed.

    The jitter is the smallest of JITTERS, times the trace, that lifts the smallest eigenvalue to
    FULL_RANK times the trace. Of values y, float64 (b, k), that are not finite L is the identity.
    """
    gram = tf.matmul(y, y, transpose_a=True)
    one = tf.eye(tf.shape(gram)[0], dtype=gram.dtype)
    trace = tf.linalg.trace(gram)
    sound = tf.math.is_finite(trace) & (trace > TINY)
    gram = tf.where(sound, gram, one)
    trace = tf.stop_gradient(tf.where(sound, trace, tf.linalg.trace(one)))
    smallest = tf.stop_gradient(tf.linalg.eigvalsh(gram)[0] / trace)
    jitters = tf.constant(JITTERS, gram.dtype)
    first = tf.argmax(smallest + jitters >= FULL_RANK)  # 0 where none will do: cannot be
    lower = tf.linalg.cholesky(gram + tf.gather(jitters, first) * trace * one)
    return lower, (first > 0) | ~sound


def orthonormalize(y: Tensor) -> Tensor:
    """Return Y (b, k) with Y^T Y = m I whose columns span those of Y~ (DSCDAN, eqs. 17 and 18).

    Y = sqrt(m) Y~ (L^-1)^T, L the Cholesky factor of Y~^T Y~, in float64. Where Y~ has not full
    rank, the value is sqrt(m) Q of Y~ = Q R, which is orthonormal all the same, and the gradient
    that of Cholesky with jitter, which is finite. y is (b, k), b >= k.
    """
    y64 = tf.cast(y, tf.float64)
    root = tf.sqrt(tf.cast(tf.shape(y)[0], tf.float64))
    lower, deficient = gram_factor(y64)
    smooth = root * tf.transpose(tf.linalg.triangular_solve(lower, tf.transpose(y64)))
    exact = tf.cond(
        deficient, lambda: root * by_qr(tf.stop_gradient(y64)), lambda: tf.stop_gradient(smooth)
    )
    return tf.cast(smooth + tf.stop_gradient(exact - smooth), y.dtype)


def by_qr(y: Tensor) -> Tensor:
    """Return Q (b, k) of Y~ = Q R with R's diagonal positive: then Q = Y~ (L^-1)^T of Cholesky."""
    q, r = tf.linalg.qr(y)
    return q * tf.where(tf.linalg.diag_part(r) < 0.0, tf.constant(-1.0, y.dtype), 1.0)


def orthonormalization(y: np.ndarray | Tensor) -> Tensor:
    """Return M, float64 (k, k), with Y = Y~ M orthonormal for the samples given, y (n, k).

    It is applied to other samples as it is. Of a Y~ that has not full rank M is finite, and Y short
    of orthonormal.
    """
    y = tf.cast(y, tf.float64)
    lower, _ = gram_factor(y)
    one = tf.eye(tf.shape(lower)[0], dtype=y.dtype)
    root = tf.sqrt(tf.cast(tf.shape(y)[0], tf.float64))
    return root * tf.transpose(tf.linalg.triangular_solve(lower, one))
