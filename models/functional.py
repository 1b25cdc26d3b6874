"""The equations, as pure functions of tensors: b batch, n samples, k clusters, z latent size."""

from keras import ops

CLIP = 1e-7  # Keras's epsilon, to which `kld` clips both distributions


def squared_distances(z, centers):
    """Return ||z_i - mu_j||^2, summed over the latent dimensions.

    Parameters
    ----------
    z : (b, z)
    centers : (k, z)

    Returns
    -------
    (b, k)
    """
    return ops.sum(ops.square(z[:, None, :] - centers[None, :, :]), axis=-1)


def soft_assignment(z, centers):
    """Return q_ij, Student's t kernel with one degree of freedom, rows summing to 1.

    q_ij = (1 + ||z_i - mu_j||^2)^-1 / sum_j' (1 + ||z_i - mu_j'||^2)^-1  (DEC, eq. 1).

    Parameters
    ----------
    z : (b, z)
    centers : (k, z)

    Returns
    -------
    (b, k)
    """
    q = 1.0 / (1.0 + squared_distances(z, centers))
    return q / ops.sum(q, axis=1, keepdims=True)


def target_distribution(q):
    """Return p_ij = (q_ij^2 / f_j) / sum_j' (q_ij'^2 / f_j'), f_j = sum_i q_ij  (DEC, eq. 3).

    f_j is a sum over all the rows given: pass the whole data set, not a batch.

    Parameters
    ----------
    q : (n, k), rows summing to 1

    Returns
    -------
    (n, k), rows summing to 1
    """
    weight = ops.square(q) / ops.sum(q, axis=0)
    return weight / ops.sum(weight, axis=1, keepdims=True)


def kl_divergence(p, q):
    """Return KL(P || Q) = sum_j p_ij log(p_ij / q_ij), a mean over b (DEC, eq. 2).

    Both are clipped to [1e-7, 1] first, as Keras's `kld`.

    Parameters
    ----------
    p, q : (b, k)

    Returns
    -------
    scalar
    """
    p, q = ops.clip(p, CLIP, 1.0), ops.clip(q, CLIP, 1.0)
    return ops.mean(ops.sum(p * ops.log(p / q), axis=1))


def mean_squared_error(x, y):
    """Return the mean of (x - y)^2 over every axis (Keras's `mse`, averaged over the batch)."""
    return ops.mean(ops.square(x - y))


def distance_to(z, targets):
    """Return ||z_i - t_i||^2, summed over the latent dimensions, a mean over b (DEC-DA, eq. 11).

    Parameters
    ----------
    z, targets : (b, z)

    Returns
    -------
    scalar
    """
    return ops.mean(ops.sum(ops.square(z - targets), axis=1))
