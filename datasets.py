"""Data sets by name, `load(name)`, and a user's own data, `load_file(path)`.

Units are fixed here and nowhere else: images are float32 in [0, 1], shape (n, h, w, c); vectors
are float32, shape (n, d), as they come. Order is part of a data set: training samples, then test
samples, as in the files. Labels only score results and count the clusters.

Letters: n samples, h rows, w columns, c channels, d inputs.
"""

import csv
import gzip
import hashlib
import math
import os
import warnings
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from numbers import Integral
from pathlib import Path

import h5py
import numpy as np
import pooch
import requests
from PIL import Image
from sklearn.datasets import load_digits, load_svmlight_file
from urllib3.exceptions import MaxRetryError

from errors import UserError, unknown

ENVIRONMENT = "DEEP_CLUSTERING_DATA"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples ready for a method, and what is known of them.

    Attributes
    ----------
    x : ndarray, float32, contiguous
        Images (n, h, w, c) in [0, 1], or vectors (n, d).
    y : ndarray of int64, shape (n,), or None
        Labels 0, 1, ...
    name : str
    n_clusters : int
    note : str
        What was done to a user's x beyond the usual; empty if nothing.
    """

    x: np.ndarray
    y: np.ndarray | None
    name: str
    n_clusters: int
    note: str = ""

    @property
    def n(self):
        """Number of samples."""
        return len(self.x)

    @property
    def is_image(self):
        """Whether x holds images (n, h, w, c) rather than vectors (n, d)."""
        return self.x.ndim == 4

    @cached_property
    def sha256(self):
        """Hex digest of x: dtype, shape and bytes; labels and name do not count."""
        digest = hashlib.sha256(f"{self.x.dtype.str} {self.x.shape}".encode())
        digest.update(np.ascontiguousarray(self.x))
        return digest.hexdigest()


# ---- reading files ----------------------------------------------------------------------------


def _line(error):
    """Return an error's message as one line of bounded length."""
    text = " ".join(str(error).split()).partition("; use `")[0] or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


@contextmanager
def _reading(path, kind):
    """Turn whatever a decoder raises on a file into one line.

    A broken file makes zipfile, zlib, h5py, Pillow or NumPy raise nearly anything, hence
    Exception.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: cannot be read as {kind}: {_line(error)}") from error


@contextmanager
def _open_numpy(path):
    """Give an array or an open archive, told apart by content; Python objects are refused."""
    with _reading(path, "a NumPy file"), open(path, "rb") as file:
        magic = file.read(4)
        if magic not in (b"\x93NUM", b"PK\x03\x04", b"PK\x05\x06"):
            raise UserError(f"{path}: starts with {magic!r}, expected a NumPy .npy or .npz file")
        file.seek(0)
        yield np.load(file, allow_pickle=False)


def _pick(path, names, read):
    """Return (x, y or None) from a file of named arrays; `read(name)` gives one of them."""

    def joined(*keys):
        keys = [key for key in keys if key in names]
        with _reading(path, f"an array ({' then '.join(keys)})"):
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


def _read_numpy(path):
    with _open_numpy(path) as stored:
        if isinstance(stored, np.ndarray):
            return stored, None
        return _pick(path, stored.files, stored.__getitem__)


def _read_hdf5(path):
    def read(name):
        if not isinstance(file[name], h5py.Dataset):
            raise UserError(f"{path}: {name!r} is a group, expected an array")
        text = h5py.check_string_dtype(file[name].dtype)
        return file[name].asstr()[()].astype(str) if text else file[name][()]

    with _reading(path, "an HDF5 file"), h5py.File(path, "r") as file:
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
    with _reading(path, "a CSV table"), open(path, encoding="utf-8-sig", newline="") as file:
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
    with _reading(path, "an image"), Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise UserError(f"{path}: mode {image.mode}, expected 8 bits a channel")
        gray = image.mode in ("1", "L", "LA", "La")
        pixels = np.asarray(image.convert("L" if gray else "RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


def _read_folder(folder):
    """Read images of one size in sorted order; sub-folders, if any, are the labels."""
    with _reading(folder, "a folder of images"):
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
            f"expected some ({' '.join(_IMAGES)}) in one of the two"
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
    ".npz": _read_numpy,
    ".npy": _read_numpy,
    ".csv": _read_csv,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}


def _check_values(path, x):
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
    _check_values(path, x)
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


def _as_labels(path, y, n):
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


def _count_clusters(path, n_clusters, y, n):
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


def load_file(path, n_clusters=None):
    """Load a user's own data: .npz, .npy, .csv, .h5, .hdf5 or a folder of images.

    data/README.md tells what each may hold and how values are scaled.

    Parameters
    ----------
    path : str or Path
    n_clusters : int, optional
        From 2 to n; without it, the number of distinct labels.

    Returns
    -------
    Dataset
        Named after the file without its ending, or after the folder.

    Raises
    ------
    UserError
        For anything that cannot be read or is not as expected.
    """
    path = Path(path).expanduser()
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
            "images"
        )
    x, y = read(path)
    x, note = _in_units(path, x)
    y = _as_labels(path, y, len(x))
    return Dataset(x, y, name, _count_clusters(path, n_clusters, y, len(x)), note)


# ---- MNIST and Fashion-MNIST ------------------------------------------------------------------

# sha256 of the arrays' bytes (uint8, C order), not of the file: the same arrays lie in .npz files
# packed in different ways. The idx files rebuilt from these arrays have the published MD5s.
_ARRAYS = {
    "mnist": {
        "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    },
    "fmnist": {
        "x_train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "y_train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "x_test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "y_test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    },
}
_IDX = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}


def _check_rows(path, found, expected):
    if found != expected:
        raise UserError(f"{path}: {found:.8g} rows found, {expected} rows expected (truncated?)")


def _read_idx(path):
    """Read one gzipped idx file of bytes: 0 0 8 ndim, ndim big-endian sizes, then the values."""
    with _reading(path, "a gzipped idx file"), gzip.open(path) as file:
        data = file.read()
    if data[:4] not in (b"\0\0\x08\1", b"\0\0\x08\3") or len(data) < 4 + 4 * data[3]:
        raise UserError(f"{path}: starts with {data[:4]!r}, expected an idx file of bytes")
    n, *row = (int(size) for size in np.frombuffer(data, ">u4", data[3], offset=4))
    values = np.frombuffer(data[4 + 4 * data[3] :], np.uint8)
    _check_rows(path, len(values) / max(1, math.prod(row)), n)
    return values.reshape(n, *row)


def _read_mnist(name, parts, paths):
    """Return (x, y) of the parts ("train", "test") from one .npz or from four idx files."""
    keys = [f"{letter}_{part}" for letter in "xy" for part in parts]
    if len(paths) == 1:
        where = dict.fromkeys(keys, paths[0])
        with _open_numpy(paths[0]) as stored:
            lacking = sorted(set(keys) - set(getattr(stored, "files", ())))
            if lacking:
                raise UserError(f"{paths[0]}: lacks {', '.join(lacking)}, expected Keras's layout")
            arrays = {key: stored[key] for key in keys}
    else:
        where = dict(zip(_IDX, paths, strict=True))
        arrays = {key: _read_idx(where[key]) for key in keys}
    for key, array in arrays.items():
        raw = array.astype(np.uint8, copy=False) if array.dtype.kind in "ui" else array
        found = hashlib.sha256(np.ascontiguousarray(raw)).hexdigest()
        expected = _ARRAYS[name][key]
        if found != expected:
            raise UserError(
                f"{where[key]}: {key}, {array.dtype} {array.shape}, is not the published {name}: "
                f"sha256 {found[:12]}... found, {expected[:12]}... expected"
            )
    x = np.concatenate([arrays[f"x_{part}"].reshape(-1, 28, 28, 1) for part in parts])
    y = np.concatenate([arrays[f"y_{part}"].ravel() for part in parts])
    return np.divide(x, 255, dtype=np.float32), y.astype(np.int64)


# ---- USPS -------------------------------------------------------------------------------------

_USPS_ROWS = (7291, 2007)  # train, test
_USPS_SIDE = 16


def _read_jf(path, rows):
    """Return (values (rows, 256), labels): a header, a row "label v1 .. v256", a last line -1."""
    width = _USPS_SIDE**2
    with _reading(path, "a .jf file"), open(path, encoding="ascii") as file:
        first, *lines = file.read().split("\n")
    if first.split() != ["10", str(width)]:
        raise UserError(f"{path}: first line {first[:40]!r}, expected '10 {width}'")
    lines = [line for line in lines if line.strip()]
    _check_rows(path, len(lines) - (lines[-1:] == ["-1"]), rows)
    if lines.pop() != "-1":
        raise UserError(f"{path}: {rows} rows found but no last line -1, expected one (truncated?)")
    with _reading(path, "a .jf file"):
        table = np.loadtxt(lines, ndmin=2)
    if table.shape[1] != 1 + width:
        raise UserError(f"{path}: {table.shape[1]} columns found, {1 + width} columns expected")
    return table[:, 1:], table[:, 0]


def _read_libsvm(path, rows):
    """Return (values (rows, 256), labels 0-9) of a .bz2 file whose labels are 1-10."""
    with _reading(path, "a libsvm file packed by bzip2"):
        x, y = load_svmlight_file(str(path), n_features=_USPS_SIDE**2, zero_based=False)
    _check_rows(path, len(y), rows)
    return x.toarray(), y - 1


def _read_usps_npz(path):
    """Return (values (n, 256), labels 0-9, (low, high)), the unit told by the values' range."""
    x, y = _read_numpy(path)
    rows = sum(_USPS_ROWS)
    _check_rows(path, len(x), rows)
    numbers = y is not None and x.dtype.kind in "uif" and y.dtype.kind in "uif"
    if not numbers or x.size != rows * _USPS_SIDE**2 or y.size != rows:
        found = "no y" if y is None else f"y {y.dtype} {y.shape}"
        raise UserError(
            f"{path}: x {x.dtype} {x.shape} and {found}, "
            f"expected numbers ({rows}, {_USPS_SIDE**2}) and ({rows},)"
        )
    y = y.ravel() - 1 if y.max() == 10 else y.ravel()  # libsvm counts from 1
    if x.min() < 0:
        unit = (-1, 1)
    elif x.dtype.kind in "ui" or x.max() > 2:
        unit = (0, 255)
    else:
        unit = (0, 2) if x.max() > 1 else (0, 1)
    return x.reshape(rows, -1), y, unit


def _usps_part(path, values, labels, unit):
    """Return images in [0, 1] (n, 16, 16, 1) and labels (n,), after a check of both ranges."""
    low, high = unit
    for what, v, bottom, top in (("values", values, *unit), ("labels from 0", labels, 0, 9)):
        if not (v.min() >= bottom and v.max() <= top):  # NaN fails both
            raise UserError(
                f"{path}: {what} in [{v.min():g}, {v.max():g}], expected in [{bottom}, {top}]"
            )
    x = ((values.astype(np.float64) - low) / (high - low)).astype(np.float32)
    return x.reshape(-1, _USPS_SIDE, _USPS_SIDE, 1), labels.astype(np.int64)


def _read_usps(paths):
    """Return (x, y), train then test, from two .jf, two .bz2 or one .npz file."""
    if paths[0].suffix == ".npz":
        return _usps_part(paths[0], *_read_usps_npz(paths[0]))
    read, unit = (_read_jf, (0, 2)) if paths[0].suffix == ".jf" else (_read_libsvm, (-1, 1))
    both = zip(paths, _USPS_ROWS, strict=True)
    parts = [_usps_part(path, *read(path, rows), unit) for path, rows in both]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


# ---- finding and fetching ---------------------------------------------------------------------

_TIMEOUT = 20  # seconds without an answer
_ATTEMPTS = 3  # at one file, as long as the download begins


@dataclass(frozen=True)
class _Source:
    """How one data set is read, under which names its files may lie, where they come from."""

    read: Callable  # paths -> (x, y)
    layouts: tuple  # of tuples of names relative to a folder; the first complete one is read
    downloads: dict  # name in the user's cache -> (address, checksum); together one layout


def _in(folders, *names):
    """Return a layout for each folder: the names inside it."""
    return tuple(tuple(folder + name for name in names) for folder in folders)


_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
_MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_MD5 = {
    "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197",
    "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",  # Fashion-MNIST's, as below
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_MNIST = _Source(
    read=partial(_read_mnist, "mnist", ("train", "test")),
    layouts=_in(("", "mnist/"), "mnist.npz") + _in(["mnist/"], *_IDX.values()),
    downloads={"mnist.npz": (_KERAS + "mnist.npz", f"sha256:{_MNIST_SHA256}")},
)
_SOURCES = {
    "mnist": _MNIST,
    "mnist-test": replace(_MNIST, read=partial(_read_mnist, "mnist", ("test",))),
    "usps": _Source(
        read=_read_usps,
        layouts=_in(("usps/", ""), "usps_train.jf", "usps_test.jf")
        + _in(("usps/", ""), "usps.bz2", "usps.t.bz2")
        + _in(("usps/", ""), "usps.npz"),
        downloads={
            f"usps/{file}": (_LIBSVM + file, f"md5:{_MD5[file]}")
            for file in ("usps.bz2", "usps.t.bz2")
        },
    ),
    "fmnist": _Source(
        read=partial(_read_mnist, "fmnist", ("train", "test")),
        layouts=_in(("", "fmnist/", "fashion-mnist/"), "fashion_mnist.npz")
        + _in(("fmnist/", "fashion-mnist/"), *_IDX.values()),
        downloads={
            f"fmnist/{file}": (_KERAS + file, f"md5:{_MD5[file]}") for file in _IDX.values()
        },
    ),
}


def _cache():
    return Path(pooch.os_cache("deep-clustering"))


def _folder(value, origin):
    folder = Path(value).expanduser()
    if not os.path.isdir(folder):
        raise UserError(f"{origin} {str(value)!r}: no such folder, expected one with data files")
    return folder


def _places(data_dir):
    """Yield the folders to look in with their origins, in order; the first two must exist."""
    if data_dir is not None:
        yield _folder(data_dir, "data folder"), "given"
    if os.environ.get(ENVIRONMENT):
        yield _folder(os.environ[ENVIRONMENT], ENVIRONMENT), ENVIRONMENT
    yield Path(__file__).resolve().parent / "data", "the repository's"
    yield _cache(), "the user's cache"


def _may_pass(error):
    """Whether a failed download deserves another try: it began and broke off, or came broken."""
    if isinstance(error, requests.ConnectionError):  # with MaxRetryError it never connected
        return not (error.args and isinstance(error.args[0], MaxRetryError))
    passing = (requests.exceptions.ChunkedEncodingError, requests.ReadTimeout)
    return isinstance(error, passing) or type(error) is ValueError  # ValueError: the checksum


def _fetch(name, address, checksum):
    """Return the path of a file in the user's cache, downloaded unless it lies there intact.

    It has a temporary name until its checksum is right, so a partial file never passes for it.
    """
    path = _cache() / name
    pooch.get_logger().setLevel("WARNING")  # the progress bar says enough
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=_TIMEOUT)
    for attempt in range(_ATTEMPTS):
        try:
            pooch.retrieve(address, checksum, path.name, path.parent, downloader=downloader)
            break
        except (OSError, ValueError) as error:  # those of requests are OSErrors
            if attempt == _ATTEMPTS - 1 or not _may_pass(error):
                raise
    return path


def _absent(name, looked, faults, reason):
    """Return the error for data found nowhere; the only message of several lines."""
    source = _SOURCES[name]
    return UserError(
        f"dataset {name!r} not found and {reason}; looked in\n"
        + "".join(f"  {folder} ({origin})\n" for folder, origin in looked)
        + "".join(f"not usable: {fault}\n" for fault in faults)
        + "expected, in one of these folders or in the one given by --data-dir, any one of\n"
        + "".join(f"  {' + '.join(names)}\n" for names in source.layouts)
        + "public source\n"
        + "\n".join(f"  {address}" for address, _ in source.downloads.values())
    )


def _load_files(name, data_dir, download):
    """Return (x, y) from the first place that has the files, else download them."""
    source, looked, faults = _SOURCES[name], [], []
    for folder, origin in _places(data_dir):
        looked.append((folder, origin))
        for names in source.layouts:
            found = [file for file in names if os.path.isfile(folder / file)]
            if len(found) < len(names):
                lacking = ", ".join(file for file in names if file not in found)
                faults += [f"{folder} has {', '.join(found)}, not {lacking}"] if found else []
                continue
            try:
                return source.read([folder / file for file in names])
            except UserError as error:
                if not (download and folder == _cache() and found == list(source.downloads)):
                    raise
                faults.append(str(error))  # our own download, gone bad: fetch it again
    if not download:
        raise _absent(name, looked, faults, "downloading is off")
    try:
        paths = [_fetch(file, *where) for file, where in source.downloads.items()]
    except (OSError, ValueError) as error:
        root = error
        while root.__context__:  # "name resolution" says more than "max retries"
            root = root.__context__
        raise _absent(name, looked, faults, f"downloading failed ({_line(root)})") from error
    return source.read(paths)


def _load_digits(data_dir, download):
    """Return scikit-learn's 8x8 digits, values 0-16 there; no file is needed."""
    digits = load_digits()
    return (digits.images[..., None] / 16).astype(np.float32), digits.target.astype(np.int64)


# name -> loader(data_dir, download) -> (x, y)
DATASETS = {"digits": _load_digits} | {name: partial(_load_files, name) for name in _SOURCES}


def load(name, data_dir=None, download=True):
    """Load a data set by its exact name.

    Parameters
    ----------
    name : {"digits", "mnist", "mnist-test", "usps", "fmnist"}
    data_dir : str or Path, optional
        Folder to look in first; then the environment variable DEEP_CLUSTERING_DATA, the
        repository's data folder and the user's cache.
    download : bool
        Whether to fetch what lies nowhere from its public source into the user's cache.

    Returns
    -------
    Dataset
        Images (n, h, w, 1), labels 0-9, ten clusters.

    Raises
    ------
    UserError
        For an unknown name, a missing folder, files that are damaged or cannot be had.
    """
    if name not in DATASETS:
        raise UserError(unknown("dataset", name, DATASETS))
    if data_dir is not None:
        _folder(data_dir, "data folder")
    x, y = DATASETS[name](data_dir, download)
    return Dataset(np.ascontiguousarray(x), y, name, len(np.unique(y)))
