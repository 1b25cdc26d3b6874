"""Tables: one row per sample, one column per feature; a column may hold labels, another names."""

import os
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io.arff

from common.errors import UserError, unknown
from loaders.readers import (
    LABEL_NAMES,
    MISSING,
    Reading,
    Record,
    check_any,
    few,
    label_vector,
    reading,
    require,
)
from loaders.text import as_numbers, depth, is_number, may_name_rows, parse, without_lists


def read_text(path: str | os.PathLike, how: Reading, like: dict | None = None) -> Record:
    """Read .csv, .tsv, .txt, .data, also compressed, and .xlsx: the separator is found."""
    names, columns, notes, header = parse(path)
    return _record(path, names, columns, how, notes, header, like)


FRAMES = {
    ".parquet": pd.read_parquet,
    ".feather": pd.read_feather,
    ".json": partial(pd.read_json, precise_float=True, dtype=False),
    ".jsonl": partial(pd.read_json, precise_float=True, dtype=False, lines=True),
    ".dta": pd.read_stata,
    ".sas7bdat": partial(pd.read_sas, encoding="infer"),
}


def read_columns(path: Path, how: Reading, like: dict | None = None) -> Record:
    """Read a format that pandas knows, by the file's ending: one of FRAMES."""
    ending = path.suffix.lower()
    if ending in (".parquet", ".feather"):
        require(path, "pyarrow")
    with reading(path, f"a {ending[1:]} table"):
        frame = FRAMES[ending](path)
    check_any(path, not frame.empty)
    frame, rows, notes = _without_index(path, frame, how)
    columns = []
    for _, column in frame.items():
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            if column.hasnans or column.dtype.kind == "f":
                column = pd.Series(column.to_numpy(np.float64, na_value=np.nan))
            columns.append(pd.Series(column.to_numpy()))
        elif column.map(depth).any():
            columns.append(column)
        else:
            text = column.astype("str").where(column.notna(), "")
            columns.append(text if may_name_rows(str(column.name)) else as_numbers(text))
    names = [str(name) for name in frame.columns]
    return _record(path, names, columns, how, notes, True, like, rows)


def _without_index(path, frame, how):
    """Return a frame without its index, the names of rows that it gives, or None, and notes.

    A level of it that is asked for as labels, or to be ignored, becomes a column.
    """
    if all(isinstance(name, int | np.integer) for name in frame.columns) and all(
        isinstance(name, str) for name in frame.index
    ):
        raise UserError(
            f"{path}: its rows are named {few(frame.index)} and its columns by numbers, "
            "expected a row for each sample (pandas: orient='records')"
        )
    if isinstance(frame.index, pd.RangeIndex):
        return frame.reset_index(drop=True), None, []
    asked = {str(name).lower() for name in (how.label_column, *how.ignore_columns)}
    for name in [one for one in frame.index.names if one and str(one).lower() in asked]:
        if frame.index.nlevels == 1:
            return frame.reset_index(), None, []
        frame = frame.reset_index(level=name)
    keys = frame.index if frame.index.nlevels > 1 else [(key,) for key in frame.index]
    rows = tuple("/".join(map(str, key)) for key in keys)
    named = few([name for name in frame.index.names if name is not None])
    notes = [f"the table's index{f' ({named})' if named else ''} is no feature"]
    return frame.reset_index(drop=True), rows if len(set(rows)) == len(rows) else None, notes


def read_arff(path: str | os.PathLike, how: Reading, like: dict | None = None) -> Record:
    """Read Weka's .arff: numeric attributes and nominal ones."""
    with reading(path, "an ARFF file"):
        rows, attributes = scipy.io.arff.loadarff(path)
    check_any(path, len(rows))
    columns = [
        pd.Series(rows[name])
        if rows[name].dtype.kind == "f"
        else as_numbers(pd.Series(rows[name].astype(str)).replace("?", ""))  # a missing value
        for name in attributes.names()
    ]
    return _record(path, attributes.names(), columns, how, [], True, like)


# ---- the same for all tables ------------------------------------------------------------------


def _find(path, names, wanted, what):
    """Return the index of a column given by its name, or by its number from 1."""
    lowered = [name.lower() for name in names]
    for some, key in ((names, wanted), (lowered, wanted.lower())):
        if key in some:
            return some.index(key)
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    raise UserError(f"{path}: {unknown(what, wanted, names)}, or a number from 1 to {len(names)}")


def _like_labels(names, written, columns, like):
    """Return the columns whose names are those of labels, and that no model was fitted on."""
    lowered = [name.lower() for name in written]
    kinds = {name: column.dtype.kind for name, column in zip(lowered, columns, strict=True)}
    names_of_labels = set(LABEL_NAMES)
    if {kinds.get("x", ""), kinds.get("y", "")} <= set("iuf"):  # coordinates
        names_of_labels.discard("y")
    fitted = (like or {}).get("columns") or ()
    return [
        i for i, name in enumerate(lowered) if name in names_of_labels and names[i] not in fitted
    ]


def _label_index(path, names, found, how):
    """Return the index of the column of labels, of those found by their names if none is named."""
    if how.label_column == "none":
        return None
    if how.label_column is not None:
        return _find(path, names, how.label_column, "label column")
    if len(found) > 1:
        raise UserError(
            f"{path}: {len(found)} label columns ({few([names[i] for i in found])}), expected at "
            "most one: --label-column NAME chooses, --ignore-columns leaves others out"
        )
    return found[0] if found else None


def _record(path, names, columns, how, notes, header, like, rows=None):
    """Return the record of a table's columns, each numbers or text."""
    written, names = names, _distinct(names)
    ignored = {_find(path, names, one, "column to ignore") for one in how.ignore_columns}
    twice = sorted({name for name in written if written.count(name) > 1 and name})
    if twice:
        notes.append(f"several columns are named {few(twice)}")
    like_labels = _like_labels(names, written, columns, like)
    label = _label_index(path, names, like_labels, how)
    if label in ignored:
        label = None
    n = len(columns[0])
    features = [i for i in range(len(names)) if i != label and i not in ignored]
    if how.label_column not in (None, "none"):
        others = [i for i in like_labels if i in features]
        features = [i for i in features if i not in others]
        if others:
            notes.append(
                f"columns with names of labels left out: {few([names[i] for i in others])}"
            )
    if ignored:
        notes.append(f"columns left out as asked: {few([names[i] for i in sorted(ignored)])}")
    names, columns, features = without_lists(path, names, columns, features, notes)
    for i in list(features):
        column, name = columns[i], names[i].lower()
        if header and name == "" and column.dtype.kind == "O" and (column == "").all():
            features.remove(i)
            notes.append(f"column {i + 1}, empty and without a name, left out")
        elif header and may_name_rows(name):
            shown = repr(names[i]) if names[i] else f"{i + 1}, without a name,"
            if column.is_unique or name != "name":
                features.remove(i)
                rows = tuple(map(str, column)) if rows is None and column.is_unique else rows
                notes.append(f"column {shown} taken as names of the rows, not as a feature")
            else:
                columns[i] = as_numbers(column)
        elif (
            column.dtype.kind in "iu"
            and n > 2
            and column.iloc[0] in (0, 1)
            and (np.diff(column) == 1).all()
        ):
            notes.append(
                f"column {names[i]!r} counts the rows and is used as a feature: "
                f"--ignore-columns {names[i]!r} leaves it out"
            )
    if label is not None:
        if columns[label].map(depth).any():
            raise UserError(
                f"{path}: label column {names[label]!r} holds lists, expected a number or a word "
                "for each sample"
            )
        columns[label] = as_numbers(columns[label])  # so that 10 follows 9
        notes.append(f"labels: column {names[label]!r}")
    if like and like.get("columns"):
        features = _same_columns(path, names, features, like["columns"], header, notes)
    for i in features:
        if columns[i].dtype.kind not in "iufb":
            words = (w for w in columns[i] if w.lower() not in MISSING and not is_number(w))
            raise UserError(
                f"{path}: column {names[i]!r} holds {next(words, '')[:40]!r}, expected numbers; "
                f"--label-column {names[i]!r} takes it as labels, --ignore-columns {names[i]!r} "
                "leaves it out"
            )
    if not features:
        raise UserError(
            f"{path}: no column of numbers besides labels and names of rows, expected at least one"
        )
    kept = [names[i] for i in features]
    kinds = {columns[i].dtype.kind for i in features}
    kind = np.int64 if kinds <= set("iub") and kinds & set("iu") else np.float64
    x = np.stack([columns[i].to_numpy(dtype=kind) for i in features], axis=1)
    y = None
    if label is not None:
        y = columns[label].to_numpy(None if columns[label].dtype.kind in "iufb" else str)
    constant = [name for name, c in zip(kept, x.T, strict=True) if n > 1 and (c == c[0]).all()]
    if constant and not like:
        notes.append(f"columns of one value only: {few(constant)}")
    rows = rows or tuple(str(i + 1) for i in columns[features[0]].index)
    return Record(x, y, rows, kept, notes)


def _distinct(names):
    """Return names of columns, the second of the same name with .1, the third with .2, ..."""
    found = []
    for name in names:
        new, count = name, 0
        while new and new in found:
            count += 1
            new = f"{name}.{count}"
        found.append(new)
    return found


def _same_columns(path, names, features, fitted, header, notes):
    """Return the columns that a model was fitted on, in that order."""
    exact = {name.lower(): name for name in fitted}
    numbered = fitted == [str(i + 1) for i in range(len(fitted))]  # of a file without a header
    if not header or (numbered and not any(names[i].lower() in exact for i in features)):
        if len(features) != len(fitted):
            raise UserError(
                f"{path}: {len(features)} columns of features, expected "
                f"{len(fitted)}: {few(fitted)}"
            )
        return features
    if not any(names[i] in fitted for i in features) and len(exact) == len(fitted):
        names = [exact.get(name.lower(), name) for name in names]
    lacking = [name for name in fitted if name not in [names[i] for i in features]]
    if lacking:
        raise UserError(f"{path}: lacks the columns {few(lacking)} that the model was fitted on")
    others = [names[i] for i in features if names[i] not in fitted]
    if others:
        notes.append(f"columns that the model does not know left out: {few(others)}")
    by_name = {names[i]: i for i in reversed(features)}
    return [by_name[name] for name in fitted]


def without_missing(
    path: str | os.PathLike, record: Record, how: Reading, like: dict | None = None
) -> dict[str, float]:
    """Replace or leave out the record's missing values, as `how` says; return the columns' means.

    They are those of the columns that the model was fitted on, if any, whether these had missing
    values or not; of a model that keeps none, those of this file.
    """
    x = record.x
    if x.ndim != 2 or x.dtype.kind not in "iufb":
        return {}
    numbers = [str(i) for i in range(x.shape[1])]
    names, rows = record.columns or numbers, record.rows or range(len(x))
    known = (like or {}).get("means", {})
    keys = (like.get("columns") or numbers) if like else names  # of the fitted columns' means
    if len(keys) != len(names):
        return {}  # it is refused for its shape
    holes = np.isnan(x)
    gaps, lacking = holes.any(axis=1), [i for i, some in enumerate(holes.any(axis=0)) if some]
    if how.missing == "drop" and lacking:
        record.x, record.rows = x[~gaps], tuple(str(rows[i]) for i in np.flatnonzero(~gaps))
        record.y = record.y if record.y is None else label_vector(path, record.y, len(x))[~gaps]
        record.notes.append(f"{gaps.sum()} of {len(x)} rows left out for missing values")
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a column that holds nothing
        means = dict(zip(keys, np.nanmean(record.x, axis=0).tolist(), strict=True)) | known
    if how.missing == "drop" or not lacking:
        return means
    if how.missing == "error" and record.columns is None:
        return means  # an array: it is refused with its other values that are no numbers
    text = ", ".join(f"{holes[:, i].sum()} of {len(x)} in column {names[i]!r}" for i in lacking[:3])
    text += f" and {len(lacking) - 3} more columns" if len(lacking) > 3 else ""
    if how.missing == "error":
        raise UserError(
            f"{path}: missing values: {text}, the first in row {rows[int(np.argmax(gaps))]}; "
            "expected a number in each cell: --missing mean puts the column's mean in their "
            "place, --missing drop leaves the rows out"
        )
    for i in lacking:
        if keys[i] not in known and holes[:, i].all():
            way_out = f": --ignore-columns {names[i]!r} leaves it out" if record.columns else ""
            raise UserError(
                f"{path}: column {names[i]!r} has no value at all, expected some{way_out}"
            )
        x[holes[:, i], i] = means[keys[i]]
    whose = "the fitted column" if known else "the column"
    record.notes.append(f"missing values ({text}) replaced by the mean of {whose}")
    return means
