"""How far samples lie from those that a model was fitted on. No TensorFlow here."""

import numpy as np

from models.core.arrays import row_blocks, some_rows, squared_distances

KEPT = 1000  # fitted samples that a model keeps
SHARE = 0.999  # of the fitted samples lie nearer than the threshold


def nearest(x: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return the distance (n,) of rows of x (n, d) to the nearest of some samples (m, d)."""
    parts = [squared_distances(b, samples).min(axis=1) for b in row_blocks(x, len(samples))]
    return np.sqrt(np.concatenate(parts))


def references(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return what `is_far` needs to know of the fitted samples x (n, ...), as arrays.

    {"samples": (m, d), m <= KEPT; "threshold": the distance to the nearest of these, itself
    excluded, within which SHARE of the fitted samples lie}.
    """
    x = np.asarray(x, np.float32).reshape(len(x), -1)
    rows = some_rows(len(x), KEPT)
    samples, others = x[rows], np.delete(x, rows, axis=0)
    among = squared_distances(samples, samples)
    np.fill_diagonal(among, np.inf)
    found = np.sqrt(among.min(axis=1))
    if len(others):
        found = np.concatenate([found, nearest(others, samples)])
    threshold = np.quantile(found[np.isfinite(found)], SHARE) if len(x) > 1 else 0.0
    return {"samples": samples, "threshold": np.float64(threshold)}


def is_far(x: np.ndarray, kept: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance (n,) of samples to the nearest kept one, and whether it is far (n,)."""
    found = nearest(np.asarray(x, np.float32).reshape(len(x), -1), kept["samples"])
    return found, found > 1.001 * float(kept["threshold"])
