"""Neighbours of images by the tangent distance (Simard, LeCun, Denker, NIPS 5, 1992)."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from common.errors import UserError
from models.core.graphs import nearest_neighbors

SIDE = 64  # pixels, of one channel; images of more values are made smaller
SIZE = 64  # principal components in which distances are measured
ROWS = 200  # samples at a time
RIDGE = 0.01  # singular values below a tenth of the largest count less: flat images have few


def tangent_vectors(images: np.ndarray) -> np.ndarray:
    """Return the derivatives (n, 7, c * h * w) of images (n, c, h, w) by seven small transforms.

    Shifts along both sides, rotation about the centre, scale, the two hyperbolic transforms, and
    the thickness of lines.
    """
    n, h, w = len(images), *images.shape[2:]
    down, right = np.gradient(images, axis=(2, 3))
    y, x = np.meshgrid(np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2, indexing="ij")
    found = (
        right,
        down,
        x * down - y * right,
        x * right + y * down,
        x * right - y * down,
        y * right + x * down,
        right**2 + down**2,
    )
    return np.stack([one.reshape(n, -1) for one in found], axis=1).astype(np.float32)


def _averaged(images, block):
    """Return the means of blocks of block x block pixels of images (n, c, h, w)."""
    if block == 1:
        return images
    n, c, h, w = images.shape
    images = np.pad(images, [(0, 0), (0, 0), (0, -h % block), (0, -w % block)], mode="edge")
    rows, columns = -(-h // block), -(-w // block)
    return images.reshape(n, c, rows, block, columns, block).mean(axis=(3, 5))


def tangent_neighbors(images: np.ndarray, m: int, sigma: float, candidates: int) -> np.ndarray:
    """Return the numbers (n, m) of each image's m nearest others, nearest first.

    The square of the distance of a and b is the mean of the squares of those of b from the plane
    of a's tangents at a, and of a from that of b's at b. It is measured on blurred images, each
    channel by itself, in their first SIZE principal components, to the `candidates` nearest by the
    Euclidean distance.

    Parameters
    ----------
    images : float32 (n, h, w, c), h and w at least 2
        Of more than SIDE^2 / c pixels blocks are averaged first, so that one has no more values.
    m : int
        From 1 to n - 1.
    sigma : float
        Standard deviation of the Gaussian, pixels.

    Raises
    ------
    UserError
        If a side has one pixel.
    """
    n, h, w, c = images.shape
    if min(h, w) < 2:
        raise UserError(f"images of {h}x{w} pixels have no tangents: expected at least 2x2")
    block = math.ceil(max(h, w) * math.sqrt(c) / SIDE)
    images = _averaged(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), block)
    images = gaussian_filter(images, (0, 0, sigma / block, sigma / block))
    flat = images.reshape(n, -1)
    pca = PCA(min(SIZE, *flat.shape), svd_solver="covariance_eigh").fit(flat)
    axes = pca.components_.T.astype(np.float32)
    x = flat @ axes
    planes = np.concatenate(
        [_orthogonal(tangent_vectors(images[i : i + ROWS]) @ axes) for i in range(0, n, ROWS)]
    )
    _, near = nearest_neighbors(x, min(max(candidates, m), n - 1))
    found = np.empty((n, m), np.int64)
    for i in range(0, n, ROWS):
        some = near[i : i + ROWS]  # (b, candidates)
        apart = x[some] - x[i : i + ROWS, None]
        at_own = apart @ planes[i : i + ROWS].transpose(0, 2, 1)  # (b, candidates, 7)
        at_other = np.matmul(planes[some], apart[..., None])[..., 0]
        along = 0.5 * (np.square(at_own).sum(axis=2) + np.square(at_other).sum(axis=2))
        distances = np.square(apart).sum(axis=2) - along
        order = np.argsort(distances, axis=1, kind="stable")[:, :m]
        found[i : i + ROWS] = np.take_along_axis(some, order, axis=1)
    return found


def _orthogonal(vectors):
    """Return rows (n, 7, d) that span those given, orthogonal, shorter where they say little."""
    _, s, v = np.linalg.svd(vectors, full_matrices=False)
    length = s / np.sqrt(np.maximum(s**2 + RIDGE * s[:, :1] ** 2, 1e-12))
    return v * length[..., None]
