"""Images of published data sets: how their files are read.

The readers of MNIST, Fashion-MNIST, USPS and YouTube Faces return (x, y), images float32
(n, h, w, c) in [0, 1] and labels int64 (n,); those of CIFAR-10 and STL-10, which `features` uses,
return the images as uint8.
"""

import gzip
import hashlib
import math
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np

from common.errors import UserError
from loaders.arrays import open_numpy, read_hdf5, read_numpy
from loaders.readers import as_labels, check_rows, reading

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
IDX = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}


def _read_idx(path):
    """Read one gzipped idx file of bytes: 0 0 8 ndim, ndim big-endian sizes, then the values."""
    with reading(path, "a gzipped idx file"), gzip.open(path) as file:
        data = file.read()
    if data[:4] not in (b"\0\0\x08\1", b"\0\0\x08\3") or len(data) < 4 + 4 * data[3]:
        raise UserError(f"{path}: starts with {data[:4]!r}, expected an idx file of bytes")
    n, *row = (int(size) for size in np.frombuffer(data, ">u4", data[3], offset=4))
    values = np.frombuffer(data[4 + 4 * data[3] :], np.uint8)
    check_rows(path, len(values) / max(1, math.prod(row)), n)
    return values.reshape(n, *row)


def read_mnist(
    name: str, parts: tuple[str, ...], paths: list[Path]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of the parts ("train", "test") from one .npz or from four idx files."""
    keys = [f"{letter}_{part}" for letter in "xy" for part in parts]
    if len(paths) == 1:
        where = dict.fromkeys(keys, paths[0])
        with open_numpy(paths[0]) as stored:
            lacking = sorted(set(keys) - set(getattr(stored, "files", ())))
            if lacking:
                raise UserError(f"{paths[0]}: lacks {', '.join(lacking)}, expected Keras's layout")
            arrays = {key: stored[key] for key in keys}
    else:
        where = dict(zip(IDX, paths, strict=True))
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
    with reading(path, "a .jf file"), open(path, encoding="ascii") as file:
        first, *lines = file.read().split("\n")
    if first.split() != ["10", str(width)]:
        raise UserError(f"{path}: first line {first[:40]!r}, expected '10 {width}'")
    lines = [line for line in lines if line.strip()]
    check_rows(path, len(lines) - (lines[-1:] == ["-1"]), rows)
    if lines.pop() != "-1":
        raise UserError(f"{path}: {rows} rows found but no last line -1, expected one (truncated?)")
    with reading(path, "a .jf file"):
        table = np.loadtxt(lines, ndmin=2)
    if table.shape[1] != 1 + width:
        raise UserError(f"{path}: {table.shape[1]} columns found, {1 + width} columns expected")
    return table[:, 1:], table[:, 0]


def _read_libsvm(path, rows):
    """Return (values (rows, 256), labels 0-9) of a .bz2 file whose labels are 1-10."""
    from sklearn.datasets import load_svmlight_file  # scikit-learn takes seconds to import

    with reading(path, "a libsvm file packed by bzip2"):
        x, y = load_svmlight_file(str(path), n_features=_USPS_SIDE**2, zero_based=False)
    check_rows(path, len(y), rows)
    return x.toarray(), y - 1


def _read_usps_npz(path):
    """Return (values (n, 256), labels 0-9, (low, high)), the unit as the values' range has it."""
    found = read_numpy(path)
    x, y = found.x, found.y
    rows = sum(_USPS_ROWS)
    check_rows(path, len(x), rows)
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


def read_usps(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y), train then test, from two .jf, two .bz2 or one .npz file."""
    if paths[0].suffix == ".npz":
        return _usps_part(paths[0], *_read_usps_npz(paths[0]))
    read, unit = (_read_jf, (0, 2)) if paths[0].suffix == ".jf" else (_read_libsvm, (-1, 1))
    both = zip(paths, _USPS_ROWS, strict=True)
    parts = [_usps_part(path, *read(path, rows), unit) for path, rows in both]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


# ---- CIFAR-10 and STL-10 ----------------------------------------------------------------------

_CIFAR10_ROWS = 10000  # in each of six files
_STL10_ROWS = (5000, 8000)  # train, test
_STL10_SIDE = 96


def _members(path, names):
    """Return {name: content} of files in a .tar.gz; what follows the last of them is not read."""
    found = {}
    with reading(path, "a .tar.gz file"), tarfile.open(path, "r:gz") as tar:
        for member in tar:
            if member.name in names:
                found[member.name] = tar.extractfile(member).read()
                if len(found) == len(names):
                    return found
    lacking = ", ".join(name for name in names if name not in found)
    raise UserError(f"{path}: lacks {lacking}, expected the published archive")


def read_cifar10(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Return (uint8 (n, 32, 32, 3), labels) of cifar-10-python.tar.gz, train then test.

    It holds pickles, which can do anything when read: only for a file whose checksum is right.
    """
    batches = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    names = [f"cifar-10-batches-py/{batch}" for batch in batches]
    parts = _members(path, names)
    with reading(path, "CIFAR-10's batches"):
        parts = [pickle.loads(parts[name], encoding="bytes") for name in names]
        x = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
        y = np.concatenate([part[b"labels"] for part in parts]).astype(np.int64)
    check_rows(path, len(x), len(names) * _CIFAR10_ROWS)
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)), y


def read_stl10(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Return (uint8 (n, 96, 96, 3), labels 0-9) of stl10_binary.tar.gz, train then test."""
    names = [f"stl10_binary/{part}_{what}.bin" for part in ("train", "test") for what in "Xy"]
    parts = _members(path, names)
    arrays = [np.frombuffer(parts[name], np.uint8) for name in names]
    for x, y, rows in zip(arrays[::2], arrays[1::2], _STL10_ROWS, strict=True):
        check_rows(path, len(x) / (3 * _STL10_SIDE**2), rows)
        check_rows(path, len(y), rows)
    x = np.concatenate(arrays[::2]).reshape(-1, 3, _STL10_SIDE, _STL10_SIDE)  # (n, c, w, h)
    return np.ascontiguousarray(x.transpose(0, 3, 2, 1)), np.concatenate(arrays[1::2]) - np.int64(1)


# ---- YouTube Faces ----------------------------------------------------------------------------

_YTF_SHAPE = (55, 55, 3)
_YTF_CLASSES = 41


def read_ytf(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of the 41 faces that JULE and DSCDAN use, from one .npz or .h5 file."""
    path = paths[0]
    found = (read_numpy if path.suffix == ".npz" else read_hdf5)(path)
    x, y = found.x, found.y
    if y is None or x.shape[1:] != _YTF_SHAPE or x.dtype.kind not in "uif":
        found = "no y" if y is None else f"x {x.dtype} {x.shape}"
        raise UserError(f"{path}: {found}, expected x (n, 55, 55, 3), numbers, and y (n,)")
    y = as_labels(path, y, len(x))
    if len(np.unique(y)) != _YTF_CLASSES:
        raise UserError(f"{path}: {len(np.unique(y))} classes, expected {_YTF_CLASSES}")
    top = 1 if x.dtype.kind == "f" and x.max() <= 1 else 255
    if not (x.min() >= 0 and x.max() <= top):  # NaN fails both
        raise UserError(f"{path}: values in [{x.min():g}, {x.max():g}], expected in [0, {top}]")
    return (x / np.float32(top)).astype(np.float32), y
