"""Files of arrays: NumPy, HDF5, MATLAB, sparse matrices."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import h5py
import numpy as np
import scipy.io
import scipy.sparse

from common.errors import UserError, unknown
from common.memory import require_memory
from loaders.readers import LABEL_NAMES, Reading, Record, reading

# Names of samples, in lower case.
SAMPLE_NAMES = (
    "x",
    "data",
    "fea",
    "feat",
    "feature",
    "features",
    "image",
    "images",
    "inputs",
    "samples",
)
ANNDATA_SPARSE = {"csr_matrix": scipy.sparse.csr_matrix, "csc_matrix": scipy.sparse.csc_matrix}
PARTS = (("x_train", "x_test"), ("xtrain", "xtest"), ("train_x", "test_x"))


@contextmanager
def open_numpy(path: str | os.PathLike) -> Iterator[np.ndarray | np.lib.npyio.NpzFile]:
    """Give an array or an open archive, recognised by content; Python objects are refused."""
    with reading(path, "a NumPy file"), open(path, "rb") as file:
        magic = file.read(4)
        if magic not in (b"\x93NUM", b"PK\x03\x04", b"PK\x05\x06"):
            raise UserError(f"{path}: starts with {magic!r}, expected a NumPy .npy or .npz file")
        file.seek(0)
        yield np.load(file, allow_pickle=False)


def _dense(path, matrix, notes):
    """Return a sparse matrix as an array, if that fits into memory."""
    if not scipy.sparse.issparse(matrix):
        return np.asarray(matrix)
    n, d = matrix.shape
    if hasattr(matrix, "check_format"):  # SciPy reads beyond the arrays if indices are wrong
        with reading(path, "a sparse matrix"):
            matrix.check_format()
    require_memory(8.0 * n * d, f"{path}: a sparse matrix of {n} rows and {d} columns, made dense,")
    share = matrix.nnz / max(1, n * d)
    notes.append(f"a sparse matrix, {share:.1%} of it not zero, made dense")
    return matrix.toarray()


def pick(
    path: str | os.PathLike,
    held: dict[str, tuple],
    read: Callable[[str], np.ndarray | scipy.sparse.spmatrix],
    how: Reading,
    notes: list[str],
    matlab: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return (x, y or None) from a file of named arrays.

    `held` has (shape, dtype) by name, `read` gives what a name stands for, and what is left out is
    added to `notes`. Of MATLAB samples may lie along the last axis: the labels tell.
    """
    plain = {}
    for name in held:
        plain.setdefault(name.rpartition("/")[2].lower(), []).append(name)

    def named(names):
        return [one for name in names for one in plain.get(name, [])]

    def joined(keys):
        with reading(path, f"an array ({' then '.join(keys)})"):
            parts = [_dense(path, read(key), notes) for key in keys]
            if len({part.dtype.kind for part in parts}) > 1:  # they may not share one unit
                found = " and ".join(part.dtype.name for part in parts)
                raise UserError(f"{path}: {' and '.join(keys)} hold {found}, expected one dtype")
            return np.concatenate(parts) if len(parts) > 1 else parts[0]

    pair = next((one for one in PARTS if one[0] in plain), ())
    if how.array is not None:
        if how.array not in held:
            raise UserError(f"{path}: {unknown('array', how.array, held)}")
        xs, pair = [how.array], ()
    elif found := named(SAMPLE_NAMES):
        xs, pair = found, ()
    elif pair:
        xs = named(pair)
    else:
        xs = list(held)
        if len(held) > 1:
            xs = [
                name
                for name, (shape, dtype) in held.items()
                if len(shape) >= 2
                and min(shape) > 1
                and np.dtype(dtype).kind in "buif"
                and name not in named(LABEL_NAMES)
            ]
    if len(xs) != 1 and not pair:
        shown = ", ".join(f"{name!r} {shape} {dtype}" for name, (shape, dtype) in held.items())
        raise UserError(
            f"{path}: holds {shown or 'none'}: expected one array of samples, named x or "
            f"{', '.join(SAMPLE_NAMES[1:4])}, or x_train; choose it by --array NAME"
        )
    x = joined(xs)
    ys = _labels(path, held, how, xs, named, pair, x.shape)
    y = joined(ys) if ys else None
    if ys and ys[0].endswith("/codes") and y.dtype.kind == "i" and (y < 0).any():  # of AnnData
        raise UserError(
            f"{path}: {ys[0]!r} is -1 for {(y < 0).sum()} samples, which have no category: "
            "expected one for each"
        )
    if matlab and y is not None and x.ndim > 1 and len(x) != y.size == x.shape[-1]:
        x = np.moveaxis(x, -1, 0)
        notes.append(f"the samples lie along the last axis of {xs[0]!r}")
    others = [f"{name!r} {shape}" for name, (shape, _) in held.items() if name not in xs + ys]
    if others:
        notes.append(f"arrays left out: {', '.join(others)}")
    return x, y


def _labels(path, held, how, xs, named, pair, shape):
    """Return the names of the arrays of labels."""
    if how.label_column is not None:
        if how.label_column == "none":
            return []
        if how.label_column not in held:
            raise UserError(f"{path}: {unknown('array of labels', how.label_column, held)}")
        return [how.label_column]
    if pair:
        return named([name.replace("x", "y") for name in pair])
    ys = [name for name in named(LABEL_NAMES) if name not in xs]
    fitting = [name for name in ys if np.prod(held[name][0]) in (shape[0], shape[-1])]
    ys = fitting if len(ys) > 1 and fitting else ys
    if len(ys) > 1:
        raise UserError(
            f"{path}: {' and '.join(map(repr, ys))} could be the labels: choose by "
            "--label-column NAME"
        )
    return ys


def _without_names(path, how):
    """Raise UserError if an array is chosen by its name in a file that has no names."""
    for flag, name in (("--array", how.array), ("--label-column", how.label_column)):
        if name not in (None, "none"):
            raise UserError(f"{path}: {flag} {name!r}: arrays in this file have no names")


def read_numpy(path: str | os.PathLike, how: Reading = Reading()) -> Record:  # noqa: B008 (it is frozen)
    """Read .npy, .npz, and .npz as scipy.sparse.save_npz writes it."""
    notes = []
    with open_numpy(path) as stored:
        if isinstance(stored, np.ndarray):
            _without_names(path, how)
            return Record(stored)
        if {"format", "shape", "data"} <= set(stored.files):
            _without_names(path, how)
            matrix = scipy.sparse.load_npz(path)
            return Record(_dense(path, matrix, notes), notes=notes)
        held = {}
        for name in stored.files:
            try:
                array = stored[name]
                held[name] = (array.shape, array.dtype)
            except ValueError as error:  # Python objects
                raise UserError(f"{path}: {name!r} cannot be read: {error}") from error
        return Record(*pick(path, held, stored.__getitem__, how, notes), notes=notes)


def _read_dataset(array):
    text = h5py.check_string_dtype(array.dtype)
    return array.asstr()[()].astype(str) if text else array[()]


def read_hdf5(path: str | os.PathLike, how: Reading = Reading(), matlab: bool = False) -> Record:  # noqa: B008
    """Read HDF5, with AnnData's sparse X; of MATLAB, version 7.3, with the axes in its order."""
    notes, held = [], {}

    def sparse(group):
        if matlab:
            return isinstance(group, h5py.Group) and "MATLAB_sparse" in group.attrs
        return group.attrs.get("encoding-type") in ANNDATA_SPARSE

    def visit(name, item):
        if name.startswith("#") or sparse(item.parent):
            return
        if sparse(item):
            attrs = item.attrs
            shape = (attrs["MATLAB_sparse"], len(item["jc"]) - 1) if matlab else attrs["shape"]
            held[name] = (tuple(map(int, shape)), np.float64)
        elif isinstance(item, h5py.Dataset):
            held[name] = (item.shape[::-1] if matlab else item.shape, item.dtype)

    def read(name):
        item = file[name]
        if sparse(item):
            keys = ("data", "ir", "jc") if matlab else ("data", "indices", "indptr")
            make = ANNDATA_SPARSE["csc_matrix" if matlab else item.attrs["encoding-type"]]
            return make(tuple(item[key][()] for key in keys), shape=held[name][0])
        return _read_dataset(item).T if matlab else _read_dataset(item)

    with reading(path, "an HDF5 file"), h5py.File(path, "r") as file:
        for name in ("x", "y"):
            if name in file and not isinstance(file[name], h5py.Dataset) and not matlab:
                raise UserError(f"{path}: {name!r} is a group, expected an array")
        file.visititems(visit)
        return Record(*pick(path, held, read, how, notes, matlab), notes=notes)


def read_matlab(path: str | os.PathLike, how: Reading) -> Record:
    """Read a .mat file of any version."""
    if h5py.is_hdf5(path):
        return read_hdf5(path, how, matlab=True)
    notes = []
    with reading(path, "a MATLAB file"):
        os.stat(path)
        stored = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
        held = {name: (v.shape, v.dtype) for name, v in stored.items() if hasattr(v, "dtype")}
        found = pick(path, held, stored.__getitem__, how, notes, matlab=True)
        return Record(*found, notes=notes)


def read_matrix_market(path: str | os.PathLike, how: Reading) -> Record:
    """Read a .mtx file, sparse or dense."""
    notes = []
    _without_names(path, how)
    with reading(path, "a Matrix Market file"):
        return Record(_dense(path, scipy.io.mmread(path), notes), notes=notes)


def read_svmlight(path: str | os.PathLike, how: Reading, like: dict | None = None) -> Record:
    """Read a file of svmlight or libsvm: in each line a label, then number:value of some features.

    Features are numbered from 1, or from 0 if one has that number; for a model as in its own data.
    """
    from sklearn.datasets import load_svmlight_file  # slow to import

    notes, fitted = [], (like or {}).get("columns") or []
    _without_names(path, how)
    if how.ignore_columns:
        raise UserError(f"{path}: --ignore-columns has no meaning for an svmlight file")
    with reading(path, "an svmlight file"):
        d = int(fitted[-1]) + 1 if "".join(fitted).isdecimal() else None
        x, y = load_svmlight_file(str(path), n_features=d, zero_based=True)
        start = int(fitted[0]) if d else int(x[:, :1].nnz == 0)
        x = _dense(path, x[:, start:], notes)
    columns = [str(i) for i in range(start, start + x.shape[1])]
    rows = tuple(str(i + 1) for i in range(len(x)))
    return Record(x, None if how.label_column == "none" else y, rows, columns, notes=notes)
