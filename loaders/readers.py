"""What all readers of files share: errors of decoders as one line, checks of values and labels.

Letters: n samples, h rows, w columns, c channels, d inputs.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from numbers import Integral
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.shapes import LARGEST, unusable

# Names of labels in tables and in files of arrays, in lower case.
LABEL_NAMES = (
    "label",
    "labels",
    "y",
    "class",
    "classes",
    "target",
    "targets",
    "species",
    "cluster",
    "clusters",
    "category",
    "gnd",
    "gt",
    "truth",
    "groundtruth",
    "ground_truth",
)


# Words for a missing value, in lower case. A class may be named none, or - beside +.
MISSING_LABELS = ("", "na", "n/a", "#n/a", "nan", "null", "<na>")
MISSING = (*MISSING_LABELS, "?", ".", "-", "none", "-nan")


@dataclass(frozen=True)
class Reading:
    """How a user's file is to be read, where the file does not say it itself.

    Attributes
    ----------
    label_column : str, optional
        Name or number (from 1) of a table's column with labels, or name of an array; "none": the
        file has no labels.
    ignore_columns : tuple of str
        Names or numbers of columns that are no features.
    array : str, optional
        Name of the array with the samples.
    image_shape : tuple (h, w, c), optional
        Rows of numbers are images of this shape.
    channels_first : bool
        Colours come before rows and columns: (n, c, h, w), or planes in a row of numbers.
    image_size : tuple (h, w), optional
        Images of a folder are resized to it.
    missing : {"error", "mean", "drop"}
        What becomes of missing values: refused, replaced by the column's mean, or their rows left
        out.
    standardize : bool
        Columns get mean 0 and variance 1, as scikit-learn's StandardScaler does.
    """

    label_column: str | None = None
    ignore_columns: tuple = ()
    array: str | None = None
    image_shape: tuple | None = None
    channels_first: bool = False
    image_size: tuple | None = None
    missing: str = "error"
    standardize: bool = False

    def __post_init__(self):
        if self.missing not in ("error", "mean", "drop"):
            raise UserError(f"missing={self.missing!r}: expected error, mean or drop")


@dataclass
class Record:
    """What a file holds: the same for every format.

    Attributes
    ----------
    x : ndarray (n, ...)
    y : ndarray (n,) or None
        Labels as written.
    rows : tuple of str, or None
        Names of the samples.
    columns : list of str, or None
        Names of a table's features.
    notes : list of str
        What was left out, changed or taken for something.
    """

    x: np.ndarray
    y: np.ndarray | None = None
    rows: tuple | None = None
    columns: list | None = None
    notes: list = field(default_factory=list)


def printable(name: str) -> str:
    """Return a name with bytes that are no UTF-8, as in files from elsewhere, written as \\x.."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def one_line(error: BaseException) -> str:
    """Return an error's message as one line of bounded length."""
    text = " ".join(str(error).split()).partition("; use `")[0] or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


@contextmanager
def reading(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a file into one line.

    A broken file makes zipfile, zlib, h5py, Pillow or NumPy raise nearly anything, hence
    Exception.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: cannot be read as {kind}: {one_line(error)}") from error


def require(path: str | os.PathLike, module: str, package: str | None = None) -> None:
    """Raise UserError, with the command to install it, if a file's kind needs a missing package.

    `package` is the name it is installed by, if that is not the one it is imported by.
    """
    package = package or module
    try:
        import_module(module)
    except ImportError as error:
        raise UserError(
            f"{path}: {Path(path).suffix} files need the package {package}: pip install "
            f"{package}, or save the table as .csv"
        ) from error


def few(names: Sequence[str], limit: int = 5) -> str:
    """Return names as one short text: 'a', 'b' and 3 more."""
    shown = ", ".join(repr(str(name)) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def check_rows(path: str | os.PathLike, found: float, expected: int) -> None:
    if found != expected:
        raise UserError(f"{path}: {found:.8g} rows found, {expected} rows expected (truncated?)")


def check_any(path: str | os.PathLike, found: object) -> None:
    """Raise UserError if nothing of a table is found, or only empty rows."""
    if not found:
        raise UserError(f"{path}: no rows with values, expected a table of numbers")


def check_values(path: str | os.PathLike, x: np.ndarray, least: int = 2) -> None:
    """Raise UserError unless x holds finite real numbers in a known shape, n >= least."""
    if x.dtype.kind not in "buif":
        raise UserError(f"{path}: x has dtype {x.dtype}, expected real numbers")
    if x.ndim not in (2, 3, 4) or x.size == 0 or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        hint = " (--channels-first?)" if x.ndim == 4 and x.shape[1] in (1, 3) else ""
        raise UserError(
            f"{path}: x has shape {x.shape}, expected vectors (n, d) or images (n, h, w) or "
            f"(n, h, w, c) with c = 1 or 3, none of them zero{hint}"
        )
    if len(x) < least:
        raise UserError(f"{path}: x has n = {len(x)} sample, expected at least {least}")
    wrong = unusable(x)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise UserError(
            f"{path}: x has {wrong.sum()} values that are NaN, infinite or beyond {LARGEST:g}, "
            f"the first at {at} ({x[at]}), expected finite numbers"
        )


def label_vector(path: str | os.PathLike, y: np.ndarray, n: int) -> np.ndarray:
    """Return labels of shape (n,), (n, 1) or (1, n) as (n,); UserError for other shapes."""
    found = y.ravel() if y.ndim == 2 and 1 in y.shape else y
    if found.shape != (n,):
        raise UserError(f"{path}: y has shape {y.shape}, expected {(n,)}, a label for each sample")
    return found


def as_labels(
    path: str | os.PathLike, y: np.ndarray | None, n: int, notes: list | None = None
) -> np.ndarray | None:
    """Return labels 0, 1, ... (n,), int64, in the order of the sorted values; None stays.

    `notes` receives a line on classes named by words that often stand for a missing value.
    """
    if y is None:
        return None
    y = label_vector(path, y, n)
    if y.dtype.kind == "S":
        with reading(path, "labels in UTF-8"):
            y = np.char.decode(y, "utf-8")
    if y.dtype.kind not in "buifU":
        raise UserError(f"{path}: y has dtype {y.dtype}, expected whole numbers or text")
    wrong, hint = np.zeros(n, bool), ""
    if y.dtype.kind == "f":
        wrong = (y != np.round(y)) | np.isinf(y)  # NaN differs from itself
    elif y.dtype.kind == "U":
        hint = " (--label-column none: no labels)"
        wrong = np.isin(np.char.lower(y), MISSING_LABELS)
    if wrong.any():
        at = int(np.argmax(wrong))
        shown = repr(str(y[at])) if hint else y[at]
        raise UserError(
            f"{path}: label {shown} of sample {at}, expected a whole number or text{hint}"
        )
    names, numbers = np.unique(y, return_inverse=True)
    if notes is not None and y.dtype.kind == "U":
        doubtful = [name for name in names if name.lower() in MISSING]
        if doubtful:
            notes.append(f"labels {few(doubtful)} are taken as a class, not as missing")
    return numbers.astype(np.int64)


def count_clusters(
    path: str | os.PathLike, n_clusters: int | None, y: np.ndarray | None, n: int
) -> int:
    """Return the number of clusters: as given, else the number of distinct labels."""
    if n_clusters is None:
        distinct = 0 if y is None else len(np.unique(y))
        if distinct < 2:
            raise UserError(
                f"{path}: {distinct} distinct labels, expected at least 2 to count the clusters "
                "by; pass --n-clusters K"
            )
        return distinct
    if (
        not isinstance(n_clusters, Integral)
        or isinstance(n_clusters, bool)
        or not 2 <= n_clusters <= n
    ):
        raise UserError(
            f"n_clusters={n_clusters!r} should be a whole number from 2 to {n}, "
            f"the number of samples in {path}"
        )
    return int(n_clusters)
