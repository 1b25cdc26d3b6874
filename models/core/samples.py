"""Data and K as every estimator checks them. No TensorFlow here."""

import hashlib

import numpy as np

from common.errors import UserError


def as_samples(x: object) -> np.ndarray:
    """Return data as float32 (n, ...), n > 0; UserError unless it is finite numbers."""
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise UserError("data of rows of different lengths: expected an array (n, ...)") from error
    if x.ndim < 2 or x.dtype.kind not in "fiub" or x.size == 0:
        raise UserError(f"data of shape {x.shape}, {x.dtype}: expected numbers (n, ...), n > 0")
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, dtype=np.float32)
    bad = x.size - np.count_nonzero(np.isfinite(x))
    if bad:
        raise UserError(f"{bad} values of the data are NaN or infinite: expected numbers")
    return x


def hash_array(x: np.ndarray) -> str:
    """Return 16 hex digits of the SHA-256 of an array's bytes, shape and type."""
    h = hashlib.sha256(f"{x.shape} {x.dtype}".encode())
    h.update(memoryview(np.ascontiguousarray(x)).cast("B"))
    return h.hexdigest()[:16]


def check_estimator(n_clusters: int, random_state: int, n: int) -> None:
    """Refuse a K or a seed that no estimator can have; n is the number of samples."""
    if not isinstance(random_state, (int, np.integer)) or random_state < 0:
        raise UserError(f"random_state={random_state!r}: expected an integer >= 0")
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, (int, np.integer)):
        raise UserError(f"n_clusters={n_clusters!r}: expected an integer >= 2")
    if not 2 <= n_clusters <= n:
        raise UserError(f"n_clusters={n_clusters}: expected 2 to n_samples={n}")
