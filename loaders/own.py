"""A user's own file or folder in the project's units, and the record of what was done to it.

Letters: n samples, h rows, w columns, c channels, d inputs.
"""

import math
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.shapes import rounded
from loaders.arrays import read_hdf5, read_matlab, read_matrix_market, read_numpy, read_svmlight
from loaders.folders import read_folder
from loaders.readers import Reading, as_labels, check_values, few, printable
from loaders.tables import FRAMES, read_arff, read_columns, read_text, without_missing
from loaders.text import COMPRESSED, WORKBOOKS

TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")
TABLES = (
    dict.fromkeys((*TEXT, *WORKBOOKS), read_text)
    | dict.fromkeys(FRAMES, read_columns)
    | {".arff": read_arff}
    | dict.fromkeys((".svmlight", ".libsvm", ".svm"), read_svmlight)
)
ARRAYS = (
    dict.fromkeys((".npz", ".npy"), read_numpy)
    | dict.fromkeys((".h5", ".hdf5", ".h5ad"), read_hdf5)
    | {".mat": read_matlab, ".mtx": read_matrix_market}
)
# What a model reads new data by as it read its own.
KEPT = [name for name in Reading.__dataclass_fields__ if name not in ("label_column", "array")]
UNEVEN = 0.95  # share of the variance that makes the units of columns doubtful
TINY = 0.1  # deviation of all columns together, below which they are divided by it


def read_own(
    path: Path, how: Reading | None = None, like: dict | None = None
) -> tuple[np.ndarray, np.ndarray | None, str, tuple | None, dict, list[str]]:
    """Return a user's data in this project's units; UserError if it is not as expected.

    `like` is `prepared` of the data that a model was fitted on: columns are found by their names,
    and shape and scale are those of that data.

    Returns
    -------
    (x, labels, name, rows, prepared, notes)
        float32 (n, ...), int64 (n,) or None, the file's name without its ending, names of the
        samples or None, a dict for JSON, a list of lines.
    """
    given, like = how or Reading(), like or None
    how = _merged(given, like)
    record, name = _read(path, given, how, like)
    means = without_missing(path, record, how, like)
    x = _images(path, record.x, how, record.notes)
    check_values(path, x, least=1 if like else 2)
    x, standard = _standardized(path, x, how, like, record)
    x, scale = _in_units(path, x, record.notes, like)
    _check_shape(path, x, like)
    try:
        y = as_labels(path, record.y, len(x), record.notes)
    except UserError:
        if not like:
            raise
        y = None  # of new samples, which need none
        record.notes.append("labels are not complete and are left out")
    if not like and len(x) > 1 and (x == x[0]).all():
        record.notes.append("all samples are the same")
    prepared = {
        "shape": list(x.shape[1:]),
        "columns": record.columns,
        "means": means,
        "scale": scale,
        "standard": standard,
        "reading": asdict(replace(how, label_column=None)),
    }
    rows = record.rows and tuple(map(printable, record.rows))
    return x, y, name, rows, prepared, record.notes


def _merged(how, like):
    """Return how to read a file for a model: as its own data, but for what is asked for now."""
    if not like:
        return how
    changes = {}
    for key in KEPT:
        value = like.get("reading", {}).get(key)
        if value is not None and getattr(how, key) == getattr(Reading, key):
            changes[key] = tuple(value) if isinstance(value, list) else value
    if like.get("columns"):  # they are found by name: what is ignored may be lacking
        changes["ignore_columns"] = how.ignore_columns
    return replace(how, **changes)


def _read(path, given, how, like):
    suffix, name = path.suffix.lower(), path.stem
    if suffix in COMPRESSED and Path(name).suffix.lower() in TEXT:
        suffix, name = Path(name).suffix.lower(), Path(name).stem
    if not os.path.exists(path):
        raise UserError(f"{path}: no such file or folder, expected data to cluster")
    if os.path.isdir(path):
        if suffix in TABLES | ARRAYS:
            raise UserError(f"{path}: is a folder, expected a {suffix} file")
        allowed = ("label_column", "image_size")
        others = [name for name in Reading.__dataclass_fields__ if name not in allowed]
        _refuse(path, given, "a folder of images", others)
        return read_folder(path, how, like), path.resolve().name
    if suffix in TABLES:
        _refuse(path, given, "a table", ("array", "image_size"))
        return TABLES[suffix](path, how, like), name
    if suffix in ARRAYS:
        _refuse(path, given, "a file of arrays", ("ignore_columns", "image_size"))
        return ARRAYS[suffix](path, how), name
    raise UserError(
        f"{path}: unknown ending {suffix!r}, expected {', '.join(TABLES | ARRAYS)} or a folder of "
        "images or of train_X.npy"
    )


def _refuse(path, given, what, options):
    """Raise UserError if one of the options is given, which have no meaning for such a file."""
    for name in options:
        if getattr(given, name) != getattr(Reading, name):
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{path}: {flag} has no meaning for {what}")


def _images(path, x, how, notes):
    """Return rows of numbers as images, or channels moved last, as asked."""
    if how.image_shape is not None and x.ndim == 2:
        h, w, c = how.image_shape
        if x.shape[1] != math.prod(how.image_shape):
            raise UserError(
                f"{path}: {x.shape[1]} values a sample, expected {h}*{w}*{c} = {h * w * c} for "
                f"--image-shape {h} {w} {c}"
            )
        notes.append(f"rows of {x.shape[1]} values taken as images of {h}x{w}x{c}")
        if how.channels_first:
            return x.reshape(len(x), c, h, w).transpose(0, 2, 3, 1)
        return x.reshape(len(x), h, w, c)
    if how.channels_first:
        if x.ndim != 4:
            raise UserError(
                f"{path}: --channels-first with x of shape {x.shape}, expected (n, c, h, w), or "
                "--image-shape H W C for rows of numbers"
            )
        notes.append("channels moved from the first axis of an image to the last")
        x = x.transpose(0, 2, 3, 1)
    if how.image_shape is not None and x.shape[1:] not in (how.image_shape, how.image_shape[:2]):
        raise UserError(
            f"{path}: x has shape {x.shape}, expected {('n', *how.image_shape)}, as "
            "--image-shape says"
        )
    return x


def _in_units(path, x, notes, like):
    """Return (x in the project's units, scale).

    Vectors stay as they are. Images of whole numbers 0 to 255 are divided by 255, unless they
    hold only 0 and 1; other images outside [0, 1] are mapped linearly from the [min, max] of the
    whole array to [0, 1], or from that of the data that a model was fitted on: the scale.
    """
    low, high, whole = float(x.min()), float(x.max()), x.dtype.kind in "ui"
    scale = None
    if x.ndim == 3:
        if not like and min(x.shape[1:]) <= 4 < max(x.shape[1:]):  # series rather than images?
            notes.append(f"taken as {len(x)} grey images of {x.shape[1]} x {x.shape[2]} pixels")
        x = x[..., None]  # (n, h, w, 1)
    if x.ndim == 2:
        if whole and high > 1 and not like:
            notes.append(
                f"whole numbers in [{low:g}, {high:g}] used as they are: only images are "
                "scaled (--image-shape H W C)"
            )
    elif like and like.get("scale"):
        scale = like["scale"]
        x = (x.astype(np.float64) - scale[0]) / ((scale[1] - scale[0]) or 1.0)
        notes.append(f"images scaled by [{scale[0]:g}, {scale[1]:g}], as the fitted ones")
        if x.max() > 2 or x.min() < -1:  # in other units
            raise UserError(
                f"{path}: x spans [{low:g}, {high:g}], expected about "
                f"[{scale[0]:g}, {scale[1]:g}], as the model was fitted on"
            )
    elif low >= 0 and high <= 1:
        if whole and high == 1:
            notes.append("images of only 0 and 1 used as they are")
    elif low >= 0 and high <= 255 and (whole or (like and (x == np.round(x)).all())):
        x = np.divide(x, 255, dtype=np.float32)
    elif like:
        raise UserError(
            f"{path}: x spans [{low:g}, {high:g}], expected images in [0, 1] or whole numbers from "
            "0 to 255, as the model was fitted on"
        )
    else:
        scale = [low, high]
        x = (x.astype(np.float64) - low) / ((high - low) or 1.0)
        notes.append(f"images rescaled from [{low:g}, {high:g}] to [0, 1]")
    return np.ascontiguousarray(x, np.float32), scale


def _check_shape(path, x, like):
    if like and list(x.shape[1:]) != list(like["shape"]):
        raise UserError(
            f"{path}: samples of shape {x.shape[1:]}, expected {tuple(like['shape'])}, as the "
            "model was fitted on"
        )


def _standardized(path, x, how, like, record):
    """Return (x, None), or (x less a number a column and divided by another, [these, those]).

    By --standardize they are means and deviations. Unasked, columns of numbers that differ too
    little for float32 are centred, and columns of a tiny spread all divided by it. For a model
    they are those of its data.
    """
    if x.ndim != 2:
        if how.standardize:
            raise UserError(f"{path}: --standardize has no meaning for images")
        return x, None
    _check_shape(path, x, like)
    if like:
        if how.standardize and not like.get("reading", {}).get("standardize"):
            raise UserError(
                f"{path}: --standardize, but the model was fitted on columns as they are"
            )
        used = like.get("standard")
    elif how.standardize:
        from sklearn.preprocessing import StandardScaler  # slow to import

        scaler = StandardScaler().fit(x.astype(np.float64))
        used = [scaler.mean_.tolist(), scaler.scale_.tolist()]
        record.notes.append("columns scaled to mean 0 and variance 1")
    else:
        deviation = x.std(axis=0, dtype=np.float64)  # (d,)
        _note_uneven(deviation, record)
        used = _unasked(x, deviation, record)
    if used is None:
        return x, None
    shift, scale = map(np.array, used)  # (d,)
    return (x.astype(np.float64) - shift) / scale, used


def _unasked(x, deviation, record):
    """Return [shifts, scales] of the columns that float32 or a method's constants need, or None."""
    wrong = rounded(x, deviation)
    if wrong.any():
        names = _names(record, np.flatnonzero(wrong))
        record.notes.append(
            f"columns {names} centred, as their numbers differ little for their size"
        )
    spread = float(np.linalg.norm(deviation))
    if 0 < spread < TINY:
        record.notes.append(f"all columns divided by {spread:.3g}, as they differ so little")
    elif wrong.any():
        spread = 1.0
    else:
        return None
    shift = np.where(wrong, x.mean(axis=0, dtype=np.float64), 0)
    return [shift.tolist(), [spread] * len(shift)]


def _names(record, columns):
    return few([record.columns[i] if record.columns else str(i) for i in columns])


def _note_uneven(deviation, record):
    """Note it if at most a tenth of the columns, or one, has more than 95 % of the variance."""
    variance, d = deviation**2, len(deviation)
    top = np.argsort(-variance, kind="stable")[: max(1, d // 10)]
    shares = np.cumsum(variance[top]) / max(variance.sum(), np.finfo(np.float64).tiny)
    if d < 2 or shares[-1] <= UNEVEN:
        return
    top = top[: int(np.argmax(shares > UNEVEN)) + 1]
    has = "has" if len(top) == 1 else "have"
    record.notes.append(
        f"of {d} columns {_names(record, top)} {has} {shares[len(top) - 1]:.1%} of the "
        "variance and will decide the clusters: if units differ, --standardize gives all the same"
    )
