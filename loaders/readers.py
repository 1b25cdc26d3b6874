"""What files hold, as arrays, and a user's own data in the project's units.

Letters: n samples, h rows, w columns, c channels, d inputs.
"""

import csv
import os
import warnings
from contextlib import contextmanager, suppress
from numbers import Integral

import h5py
import numpy as np
from PIL import Image

from common.errors import UserError

# ---- reading files ----------------------------------------------------------------------------


def one_line(error):
    """Return an error's message as one line of bounded length."""
    text = " ".join(str(error).split()).partition("; use `")[0] or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


@contextmanager
def reading(path, kind):
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


def check_rows(path, found, expected):
    if found != expected:
        raise UserError(f"{path}: {found:.8g} rows found, {expected} rows expected (truncated?)")


@contextmanager
def open_numpy(path):
    """Give an array or an open archive, recognised by content; Python objects are refused."""
    with reading(path, "a NumPy file"), open(path, "rb") as file:
        magic = file.read(4)
        if magic not in (b"\x93NUM", b"PK\x03\x04", b"PK\x05\x06"):
            raise UserError(f"{path}: starts with {magic!r}, expected a NumPy .npy or .npz file")
        file.seek(0)
        yield np.load(file, allow_pickle=False)


def _pick(path, names, read):
    """Return (x, y or None) from a file of named arrays; `read(name)` gives one of them."""

    def joined(*keys):
        keys = [key for key in keys if key in names]
        with reading(path, f"an array ({' then '.join(keys)})"):
            parts = [np.asarray(read(key)) for key in keys]
            if len({part.dtype.kind for part in parts}) > 1:  # they may not share one unit
                found = " and ".join(part.dtype.name for part in parts)
                raise UserError(f"{path}: {' and '.join(keys)} hold {found}, expected one dtype")
            return np.concatenate(parts) if parts else None

    if "x" in names:
        return joined("x"), joined("y")
    if "x_train" in names:
        return joined("x_train", "x_test"), joined("y_train", "y_test")
    if len(names) == 1:
        return joined(*names), None
    raise UserError(
        f"{path}: holds the arrays {sorted(names)}, expected x [and y], or x_train [with "
        "y_train, x_test, y_test], or a single array"
    )


def read_numpy(path):
    with open_numpy(path) as stored:
        if isinstance(stored, np.ndarray):
            return stored, None
        return _pick(path, stored.files, stored.__getitem__)


def read_hdf5(path):
    def read(name):
        if not isinstance(file[name], h5py.Dataset):
            raise UserError(f"{path}: {name!r} is a group, expected an array")
        text = h5py.check_string_dtype(file[name].dtype)
        return file[name].asstr()[()].astype(str) if text else file[name][()]

    with reading(path, "an HDF5 file"), h5py.File(path, "r") as file:
        return _pick(path, list(file), read)


def _is_number(cell):
    with suppress(ValueError):
        float(cell)
        return True
    return False


def _header(path, cells):
    """Return (whether a table's first line names its columns, index of the label column)."""
    labels = [i for i, cell in enumerate(cells) if cell.strip().lower() in ("label", "y", "class")]
    words = [cell for cell in cells if not _is_number(cell)]
    if len(labels) > 1:
        raise UserError(f"{path}: {len(labels)} label columns in line 1, expected at most one")
    if words and not labels and len(words) < len(cells):
        raise UserError(f"{path}: {words[0]!r} in line 1, expected only numbers or only names")
    if words and not all(cell.strip() for cell in cells):
        raise UserError(f"{path}: a column without a name (row numbers?), expected a name for each")
    return bool(words), labels[0] if labels else None


def _read_csv(path):
    """Read a table of numbers; a header may name one column label, y or class."""
    codes = {}  # label as written -> 0, 1, ... in order of appearance
    with reading(path, "a CSV table"), open(path, encoding="utf-8-sig", newline="") as file:
        cells = next(csv.reader([file.readline()]), [])
        header, column = _header(path, cells)
        coded = {column: lambda cell: codes.setdefault(cell.strip(), len(codes))}
        options = {"delimiter": ",", "comments": None, "quotechar": '"', "ndmin": 2}
        if column is not None:
            options["converters"] = coded
        if not header:
            file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty table; an error below
            table = np.loadtxt(file, **options)
    if not table.size or table.shape[1] != len(cells):
        found = f"rows of {table.shape[1]} values" if table.size else "no rows"
        expected = f"{len(cells)} in each, as in line 1" if cells else "a table of numbers"
        raise UserError(f"{path}: {found}, expected {expected}")
    if column is None:
        return table, None
    labels = np.array(list(codes))
    for kind in (np.int64, np.float64):  # numbers if all of them are, so that 10 follows 9
        with suppress(ValueError, OverflowError):
            labels = labels.astype(kind)
            break
    return np.delete(table, column, axis=1), labels[table[:, column].astype(int)]


_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")


def _read_image(path):
    """Return one image, uint8 (h, w, c), with c = 1 for gray and 3 for colour."""
    with reading(path, "an image"), Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise UserError(f"{path}: mode {image.mode}, expected 8 bits a channel")
        gray = image.mode in ("1", "L", "LA", "La")
        pixels = np.asarray(image.convert("L" if gray else "RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


def _read_kingdra(folder):
    """Read a data set as Kingdra's authors keep it: train_X.npy and, for labels, train_Y.npy."""
    x, y = folder / "train_X.npy", folder / "train_Y.npy"
    return read_numpy(x)[0], read_numpy(y)[0] if os.path.isfile(y) else None


def _read_folder(folder):
    """Read images of one size in sorted order; sub-folders, if any, are the labels.

    A folder with train_X.npy is one of arrays instead.
    """
    if os.path.isfile(folder / "train_X.npy"):
        return _read_kingdra(folder)
    with reading(folder, "a folder of images"):
        os.listdir(folder)  # glob would pass over a folder that may not be read
        paths = [
            path
            for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*"))
            if path.suffix.lower() in _IMAGES
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
        ]
    direct = sum(path.parent == folder for path in paths)
    if not paths or 0 < direct < len(paths):
        raise UserError(
            f"{folder}: {direct} images in it and {len(paths) - direct} in its sub-folders, "
            f"expected some ({' '.join(_IMAGES)}) in one of the two, or train_X.npy"
        )
    first = _read_image(paths[0])
    x = np.empty((len(paths), *first.shape), np.uint8)  # (n, h, w, c)
    for i, path in enumerate(paths):
        image = _read_image(path)
        if image.shape != first.shape:
            raise UserError(
                f"{path}: shape {image.shape} (rows, columns, channels), "
                f"expected {first.shape} as in {paths[0]}"
            )
        x[i] = image
    return x, None if direct else np.array([path.parent.name for path in paths])


# ---- a user's own data ------------------------------------------------------------------------

_READERS = {
    ".npz": read_numpy,
    ".npy": read_numpy,
    ".csv": _read_csv,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
}


def check_values(path, x):
    """Raise UserError unless x holds finite real numbers in a known shape, n >= 2."""
    if x.dtype.kind not in "buif":
        raise UserError(f"{path}: x has dtype {x.dtype}, expected real numbers")
    if x.ndim not in (2, 3, 4) or x.size == 0 or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        raise UserError(
            f"{path}: x has shape {x.shape}, expected vectors (n, d) or images (n, h, w) or "
            "(n, h, w, c) with c = 1 or 3, none of them zero"
        )
    if len(x) < 2:
        raise UserError(f"{path}: x has n = {len(x)} sample, expected at least 2")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            wrong = ~np.isfinite(x.astype(np.float32))
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise UserError(
                f"{path}: x has {wrong.sum()} values that are NaN, infinite or beyond float32, "
                f"the first at {at} ({x[at]}), expected finite numbers"
            )


def _in_units(path, x):
    """Return (x in this module's units, note).

    Vectors stay as they are. Images of whole numbers 0 to 255 are divided by 255, unless they
    hold only 0 and 1; other images outside [0, 1] are mapped linearly from the [min, max] of the
    whole array to [0, 1].
    """
    check_values(path, x)
    low, high, whole, note = float(x.min()), float(x.max()), x.dtype.kind in "ui", ""
    if x.ndim == 3:
        x = x[..., None]  # (n, h, w, 1)
    if x.ndim == 2:
        if whole and high > 1:
            note = f"whole numbers in [{low:g}, {high:g}] used as they are: only images are scaled"
    elif low >= 0 and high <= 1:
        note = "images of only 0 and 1 used as they are" if whole and high == 1 else ""
    elif whole and low >= 0 and high <= 255:
        x = np.divide(x, 255, dtype=np.float32)
    else:
        x = (x.astype(np.float64) - low) / ((high - low) or 1.0)
        note = f"images rescaled from [{low:g}, {high:g}] to [0, 1]"
    return np.ascontiguousarray(x, np.float32), note


def as_labels(path, y, n):
    """Return labels 0, 1, ... (n,), int64, in the order of the sorted values; None stays."""
    if y is None:
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (n,):
        raise UserError(f"{path}: y has shape {y.shape}, expected {(n,)}, a label for each sample")
    if y.dtype.kind not in "buifUS":
        raise UserError(f"{path}: y has dtype {y.dtype}, expected whole numbers or text")
    if y.dtype.kind == "f":
        wrong = (y != np.round(y)) | np.isinf(y)  # NaN differs from itself
    else:
        wrong = (y == y.dtype.type()) & (y.dtype.kind in "US")
    if wrong.any():
        at = int(np.argmax(wrong))
        raise UserError(f"{path}: label {y[at]} of sample {at}, expected a whole number or text")
    return np.unique(y, return_inverse=True)[1].astype(np.int64)


def count_clusters(path, n_clusters, y, n):
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


def read_path(path):
    """Return (x, y, name, note) of a user's file or folder, in this project's units.

    Raises
    ------
    UserError
        For anything that cannot be read or is not as expected.
    """
    suffix = path.suffix.lower()
    if not os.path.exists(path):
        raise UserError(f"{path}: no such file or folder, expected data to cluster")
    if os.path.isdir(path):
        if suffix in _READERS:
            raise UserError(f"{path}: is a folder, expected a {suffix} file")
        name, read = path.resolve().name, _read_folder
    elif suffix in _READERS:
        name, read = path.stem, _READERS[suffix]
    else:
        raise UserError(
            f"{path}: unknown ending {suffix!r}, expected {', '.join(_READERS)} or a folder of "
            "images or of train_X.npy"
        )
    x, y = read(path)
    x, note = _in_units(path, x)
    return x, as_labels(path, y, len(x)), name, note
