"""Data and K as every estimator checks them. No TensorFlow here."""

import hashlib
import warnings

import numpy as np
from scipy import sparse

from common.errors import UserError
from common.memory import require_memory
from common.shapes import LARGEST, rounded, unusable


def as_samples(x: object) -> np.ndarray:
    """Return data as float32 (n, ...), n > 0: arrays, lists, pandas' frames, sparse matrices.

    Raises
    ------
    UserError
        Unless it is finite numbers, with scikit-learn's words in it where it has a check of that
        kind; a TypeError for complex numbers is scikit-learn's too.
    """
    if sparse.issparse(x):
        n, d = x.shape
        require_memory(8.0 * n * d, f"a sparse matrix of {n} rows and {d} columns, made dense,")
        x = x.toarray()
    x = _numbers(x)
    if np.iscomplexobj(x):
        raise UserError(f"Complex data not supported: {x.dtype}, expected real numbers")
    if x.ndim < 2:
        raise UserError(
            f"data of shape {x.shape}: expected numbers (n, ...), n > 0. Expected 2D array, got "
            f"{x.ndim}D array instead; Reshape your data"
        )
    if x.size == 0:
        raise UserError(
            f"data of shape {x.shape}: Found array with {x.shape[0]} sample(s) and "
            f"{int(np.prod(x.shape[1:]))} feature(s) (shape={x.shape}) while a minimum of 1 is "
            "required: expected numbers (n, ...), n > 0"
        )
    if x.dtype.kind not in "fiub":
        raise UserError(f"data of shape {x.shape}, {x.dtype}: expected numbers (n, ...), n > 0")
    if x.ndim == 2 and x.dtype.kind in "fiu" and x.dtype.itemsize > 4:
        _warn_of_rounding(x)
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, dtype=np.float32)
    bad = np.count_nonzero(unusable(x))
    if bad:
        raise UserError(
            f"{bad} values of the data are NaN, infinite or beyond {LARGEST:g}: expected numbers "
            "within (Input X contains NaN or infinity)"
        )
    return x


def _warn_of_rounding(x):
    """Warn of columns of x (n, d) of which float32, in which all is computed, leaves too little."""
    with np.errstate(all="ignore"):
        wrong = np.flatnonzero(rounded(x, x.std(axis=0, dtype=np.float64)))
    if len(wrong):
        first = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        warnings.warn(
            f"columns {first}: their numbers differ little for their size, and float32 rounds "
            "them: subtract the columns' means first",
            stacklevel=5,
        )


def _numbers(x):
    """Return data as an array of numbers if it can be one."""
    if hasattr(x, "iloc") and hasattr(x, "columns"):  # pandas: a column each, for its name
        columns = []
        for i, name in enumerate(x.columns):
            column = x.iloc[:, i]
            lacking = int(column.isna().sum())
            if lacking:
                raise UserError(
                    f"column {str(name)!r}: {lacking} of {len(x)} values are missing, expected "
                    "finite numbers (Input X contains NaN)"
                )
            values = np.asarray(column.to_numpy())
            if values.dtype.kind in "mM":
                raise UserError(
                    f"column {str(name)!r} holds {values.dtype}: expected numbers, such as days "
                    "since a date"
                )
            if values.dtype.kind not in "fiubc":
                try:
                    values = values.astype(np.float64)
                except (TypeError, ValueError) as error:
                    raise UserError(f"column {str(name)!r}: {error}: expected numbers") from error
            columns.append(values)
        return np.stack(columns, axis=1) if columns else np.empty((len(x), 0))
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise UserError("data of rows of different lengths: expected an array (n, ...)") from error
    if x.dtype.kind == "O":
        try:
            return x.astype(np.float64)
        except ValueError as error:
            raise UserError(f"data of {x.dtype}: {error}: expected numbers") from error
        except TypeError as error:
            raise TypeError(f"{error}: argument must be a string or a number") from error
    return x


def hash_array(x: np.ndarray) -> str:
    """Return 16 hex digits of the SHA-256 of an array's shape, type and bytes."""
    h = hashlib.sha256(f"{x.shape} {x.dtype}".encode())
    h.update(memoryview(np.ascontiguousarray(x)).cast("B"))
    return h.hexdigest()[:16]


def check_estimator(n_clusters: int, random_state: int, n: int) -> None:
    """Refuse a K or a seed that no estimator can have; n is the number of samples."""
    if not isinstance(random_state, (int, np.integer)) or random_state < 0:
        raise UserError(f"random_state={random_state!r}: expected an integer >= 0")
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, (int, np.integer)):
        raise UserError(f"n_clusters={n_clusters!r}: expected an integer >= 1")
    if n < 2:
        raise UserError(f"n_samples={n}: expected at least 2 samples to cluster")
    if not 1 <= n_clusters <= n:
        raise UserError(f"n_clusters={n_clusters}: expected 1 to n_samples={n}")
