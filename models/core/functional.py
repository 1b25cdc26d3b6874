"""The equations, as pure functions of tensors: b batch, n samples, k clusters, z latent size.

`models.core.arrays` has distances, Student's kernel and means on NumPy arrays.
"""

import tensorflow as tf
from keras import ops

LARGEST = 2**22  # numbers that one array of differences holds: 16 MB
Tensor = tf.Tensor
CLIP = 1e-7  # Keras's epsilon, to which `kld` clips both distributions


def squared_distances(z: Tensor, centers: Tensor) -> Tensor:
    """Return ||z_i - mu_j||^2, (b, k), of codes (b, z) and centres (k, z).

    Of a whole data set in parts, so that the differences (b, k, z) never take more memory than
    `LARGEST` numbers do; each distance is computed as it would be in one piece.
    """
    b, (k, size) = z.shape[0], centers.shape
    rows = max(1, LARGEST // (k * size))
    if b is not None and b > rows:
        parts = [squared_distances(z[i : i + rows], centers) for i in range(0, b, rows)]
        return ops.concatenate(parts)
    return ops.sum(ops.square(z[:, None, :] - centers[None, :, :]), axis=-1)


def pairwise_squared_distances(a: Tensor) -> Tensor:
    """Return ||a_i - a_j||^2, (b, b), of a (b, z): never below 0, exactly 0 on the diagonal.

    In TensorFlow's own operations: keras.ops has no product with a transposed matrix, and the
    gradient's last bits depend on it.
    """
    squares = tf.reduce_sum(tf.square(a), axis=1)
    d = squares[:, None] + squares[None] - 2.0 * tf.matmul(a, a, transpose_b=True)
    return tf.linalg.set_diag(tf.maximum(d, 0.0), tf.zeros_like(squares))


def soft_assignment(z: Tensor, centers: Tensor) -> Tensor:
    """Return q (b, k), rows summing to 1, of codes (b, z) and centres (k, z).

    Student's t kernel with one degree of freedom (DEC, eq. 1):
    q_ij = (1 + ||z_i - mu_j||^2)^-1 / sum_j' (1 + ||z_i - mu_j'||^2)^-1
    """
    q = 1.0 / (1.0 + squared_distances(z, centers))
    return q / ops.sum(q, axis=1, keepdims=True)


def target_distribution(q: Tensor) -> Tensor:
    """Return p (n, k), rows summing to 1, of q (n, k), rows summing to 1 (DEC, eq. 3).

    p_ij = (q_ij^2 / f_j) / sum_j' (q_ij'^2 / f_j'), f_j = sum_i q_ij over all the rows given: pass
    the whole data set, not a batch.
    """
    weight = ops.square(q) / ops.sum(q, axis=0)
    return weight / ops.sum(weight, axis=1, keepdims=True)


def kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """Return KL(P || Q) = sum_j p_ij log(p_ij / q_ij), a mean over b, of (b, k) each (DEC, eq. 2).

    Both are clipped to [1e-7, 1] first, as Keras's `kld`.
    """
    p, q = ops.clip(p, CLIP, 1.0), ops.clip(q, CLIP, 1.0)
    return ops.mean(ops.sum(p * ops.log(p / q), axis=1))


def mean_squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of (x - y)^2 over every axis (Keras's `mse`, averaged over the batch)."""
    return ops.mean(ops.square(x - y))


def distance_to(z: Tensor, targets: Tensor) -> Tensor:
    """Return ||z_i - t_i||^2, a mean over b, of codes and targets (b, z) (DEC-DA, eq. 11)."""
    return ops.mean(ops.sum(ops.square(z - targets), axis=1))


def running_means(
    centers: Tensor, counts: Tensor, z: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return centres (k, z) and counts (k,) after they have taken up codes (n, z), labels (n,).

    A centre is the mean of all it ever took up (DCN, Yang et al., ICML 2017):
    mu_j <- (c_j mu_j + sum of z_i with label j) / (c_j + n_j), c_j <- c_j + n_j.
    The counts c_j, what each centre counts for so far, are above 0; labels are ints, the rest
    float32.
    """
    member = ops.one_hot(labels, centers.shape[0], dtype="float32")  # (n, k)
    total = counts + ops.sum(member, axis=0)
    taken = centers * counts[:, None] + ops.matmul(ops.transpose(member), z)
    return taken / total[:, None], total


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Return ||x - y||^2, summed over a sample's values, a mean over b, of (b, ...) each.

    DSCDAN, eqs. 11 and 12.
    """
    return ops.sum(ops.square(x - y)) / ops.cast(ops.shape(x)[0], x.dtype)


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, diag(variance)) || N(0, I)), a mean over b, of (b, z) each.

    DSCDAN, eq. 6.
    """
    terms = ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance
    return 0.5 * ops.mean(ops.sum(terms, axis=1))


def class_divergence(p: Tensor, squares: Tensor, log_variance: Tensor) -> Tensor:
    """Return sum_y p(y|z) KL(N(mean, variance) || N(mu_y, I)), a mean over b (DSCDAN, eq. 19).

    Of p (b, k), rows summing to 1, squares (mean - mu_y)^2 (b, k, z) and log_variance (b, z).
    """
    spread = ops.sum(ops.exp(log_variance) - 1.0 - log_variance, axis=1)  # (b,)
    distances = ops.sum(p * ops.sum(squares, axis=2), axis=1)
    return 0.5 * ops.mean(distances + spread)


def negative_entropy(p: Tensor) -> Tensor:
    """Return sum_y p log p, a mean over b, of p (b, k), rows summing to 1.

    The rest of DSCDAN's eq. 19 but for log K.
    """
    return ops.mean(ops.sum(p * ops.log(ops.clip(p, CLIP, 1.0)), axis=1))


def js_information(paired: Tensor, shuffled: Tensor) -> Tensor:
    """Return E[log sigma(T)] over pairs + E[log(1 - sigma(T))] over shuffled pairs (DSCDAN, eq. 8).

    A lower bound, of the mutual information's stand-in, that the discriminator T raises: 0 at best,
    -2 log 2 if it cannot tell them apart. Means over every axis of the logits of T, (b, ...) each:
    with one logit a pixel of a feature map, the local term of eq. 10.
    """
    return -ops.mean(ops.softplus(-paired)) - ops.mean(ops.softplus(shuffled))


def contrastive_loss(a: Tensor, b: Tensor, near: Tensor) -> Tensor:
    """Return a mean over b of max(d - .05, 0)^2 for neighbours, max(1 - d, 0)^2 for negatives.

    d = ||a_i - b_i|| of a and b (b, z); near (b,) is 1 for neighbours, 0 for negatives.
    SpectralNet's released margins.
    """
    d = ops.sqrt(ops.maximum(ops.sum(ops.square(a - b), axis=1), CLIP))
    pull, push = ops.square(ops.maximum(d - 0.05, 0.0)), ops.square(ops.maximum(1.0 - d, 0.0))
    return ops.mean(near * pull + (1.0 - near) * push)
