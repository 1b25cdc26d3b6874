"""Tables as text: their separator, header, decimal points and numbers are found."""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from loaders.readers import LABEL_NAMES, MISSING, check_any, reading, require

SEPARATORS = (",", ";", "\t", "|")
COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
WORKBOOKS = {".xlsx": ("openpyxl",), ".ods": ("odf", "odfpy")}  # ending -> package, for `require`
csv.field_size_limit(2**31 - 1)  # of the module's 128 KB long lists of numbers have more
NAMES_OF_ROWS = ("id", "index", "idx", "row", "rowid", "row_id", "row number", "name", "filename")


def is_number(cell: str) -> bool:
    with suppress(ValueError):
        float(cell)
        return "_" not in cell  # which Python allows in numbers
    return False


def _decoded(path, notes):
    opened = COMPRESSED.get(Path(path).suffix.lower(), open)
    with reading(path, "a CSV table"), opened(path, "rb") as file:
        raw = file.read()
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return raw.decode("utf-16")
        if b"\0" in raw[:4096]:
            raise ValueError("it holds bytes that are no text")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if not raw[:1].isascii() or sum(b >= 128 for b in raw[:4096]) > len(raw[:4096]) / 4:
                raise
            notes.append(f"read as Latin-1, as it is not UTF-8 ({error.reason})")
            return raw.decode("latin-1")


def _from_workbook(path, notes):
    """Return the first sheet of a workbook, .xlsx or .ods, as comma-separated text."""
    require(path, *WORKBOOKS[Path(path).suffix.lower()])
    with reading(path, "a workbook"), pd.ExcelFile(path) as book:
        if len(book.sheet_names) > 1:
            notes.append(f"only the first of {len(book.sheet_names)} sheets is read")
        sheet = pd.read_excel(book, header=None, dtype=str, na_filter=False)
        return sheet.to_csv(index=False, header=False)


def _without_comments(text, notes):
    """Return the text after its first lines that start with #, and how many they are.

    The last of them is the header, without its #, if the next line is none and has as many cells.
    """
    lines = io.StringIO(text).readlines() if text.startswith("#") else [text]
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)
    if not count:
        return text, 0
    last, rest = lines[count - 1].lstrip("#").lstrip(" "), "".join(lines[count:])
    separator = _separator(rest)
    both = (last, *lines[count : count + 1])
    if separator == " ":
        cells = [_words(line) for line in both]
    else:
        cells = [row for _, row in _split("".join(both), separator)]
    header = len(cells) == 2 and len(cells[0]) == len(cells[1]) and not _has_header(cells[1], [])
    count -= header
    if count:
        notes.append(f"lines at the top that start with # left out: {count}")
    return (last if header else "") + rest, count


def _without_head(text, notes):
    """Return the text without what stands above a table, how many lines that is, and a separator.

    Empty lines, lines that start with #, and the line sep=; that Excel writes are left out.
    """
    told = re.match(r"sep=(.)\n", text)
    text = text[told.end() :] if told else text
    text, empty = _without_empty(text)
    text, comments = _without_comments(text, notes)
    text, more = _without_empty(text)
    return text, bool(told) + empty + comments + more, told[1] if told else None


def _without_empty(text):
    """Return the text without its first lines that are empty, and how many they are."""
    empty = re.match(r"(?:[ \t]*\n)*", text).group()
    return text[len(empty) :], empty.count("\n")


def _words(line):
    """Return the parts of a line that blanks separate, quoted ones with their quotes."""
    return re.findall(r'"[^"]*"|\S+', line)


def _separator(text):
    """Return what separates the cells: what gives the first lines the same number, above 1.

    The first line may have one cell less, as R's write.table leaves out the column of row names.
    """
    first = itertools.islice(io.StringIO(text), 21)
    lines = [line.rstrip("\n") for line in first if line.strip()][:20]
    widths = {s: [len(row) for row in csv.reader(lines, delimiter=s) if row] for s in SEPARATORS}
    parts = [_words(line) for line in lines]
    blanks = [len(words) for words in parts]
    if parts and all(w[0] == '"' or w.lower() in MISSING or is_number(w) for w in parts[-1]):
        widths[" "] = blanks
    for short in (0, 1):
        fitting = {s: w[-1] for s, w in widths.items() if _regular(w, short)}
        if fitting:
            return max(fitting, key=fitting.get)
    counts = {s: sum(s in line for line in lines) for s in SEPARATORS}
    top = max(SEPARATORS, key=counts.get)
    if counts[top]:  # ragged lines: the commonest one, that the error may tell
        return top
    regular = _regular(blanks, 0) or _regular(blanks, 1)
    return " " if regular and any(map(is_number, parts[-1])) else ","


def _regular(widths, short):
    """Whether all lines have as many cells, above 1; the first one `short` less, but 2 at least."""
    if not widths or widths[-1] < 2:
        return False
    return set(widths[1:]) <= {widths[-1]} and widths[0] + short == widths[-1] >= 2 + short


def _split(text, separator):
    """Yield (line number, cells) of the lines that are not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for cells in reader:
        if len(cells) > 1 or (cells and (cells[0].strip() or not cells[0])):  # "" is a cell
            yield reader.line_num, cells


def _has_header(cells, notes):
    """Return whether a table's first line names its columns."""
    plain = [cell.strip().lower() for cell in cells]
    if set(plain) & {*LABEL_NAMES, *NAMES_OF_ROWS}:
        return True
    words = [cell for cell in plain if cell not in MISSING and not is_number(cell)]
    if words and len(words) + plain.count("") == len(plain):
        return True
    counted = [str(i) for i in range(len(cells))]
    if len(cells) > 2 and plain == counted:
        notes.append("line 1 counts the columns (0, 1, 2, ...) and is taken as their names")
        return True
    return len(cells) > 2 and plain == ["", *counted[:-1]]  # pandas' numbers beside its index


def parse(path: str | os.PathLike) -> tuple[list[str], list[pd.Series], list[str], bool]:
    """Return the names and columns (pandas' series), the notes, and whether there is a header."""
    notes = []
    workbook = Path(path).suffix.lower() in WORKBOOKS
    raw = _from_workbook(path, notes) if workbook else _decoded(path, notes)
    with reading(path, "a CSV table"):
        text, above, told = _without_head(re.sub("\r\n?", "\n", raw), notes)
        separator = "," if workbook else told or _separator(text)
    if separator == " ":
        text = "\n".join(" ".join(_words(line)) for line in text.split("\n"))
    with reading(path, "a CSV table"):
        lines = _split(text, separator)
        first = next(lines, (1, []))[1]
        check_any(path, first)
        header = _has_header(first, notes)
        width, measure = len(first), 1
        n = int(not header)
        for number, cells in lines:
            n += 1
            if header and n == 1 and len(cells) == width + 1 > 2:  # names of rows, or a last comma
                first = ["", *first] if cells[-1].strip() else [*first, ""]
                width, measure = len(cells), number
            if len(cells) != width:
                raise UserError(
                    f"{path}: {len(cells)} values in line {number + above}, expected {width} as in "
                    f"line {measure + above}"
                )
    check_any(path, n)
    names = [cell.strip() for cell in first] if header else [str(i + 1) for i in range(width)]
    if separator not in (",", " "):
        shown = {"\t": "tabs"}.get(separator, repr(separator))
        notes.append(f"columns are separated by {shown}")
    with reading(path, "a CSV table"):
        frame = pd.read_csv(
            io.StringIO(text, newline=""),
            sep=separator,
            header=None,
            skiprows=int(header),
            dtype=str,
            na_filter=False,
            skipinitialspace=True,
        )
    if len(frame) != n:
        raise UserError(f"{path}: {len(frame)} rows read of {n}, expected all")
    columns = [column.str.strip() for _, column in frame.items()]
    filled = np.any([column != "" for column in columns], axis=0)
    check_any(path, filled.any())
    if not filled.all():
        notes.append(f"rows without any value left out: {n - filled.sum()} of {n}")
        columns = [column[filled] for column in columns]  # rows keep their numbers
    if separator != "," and _decimal_comma(columns):
        notes.append("commas are taken as decimal points")
        pattern = r"^([+-]?\d*),(\d+([eE][+-]?\d+)?)$"
        columns = [column.str.replace(pattern, r"\1.\2", regex=True) for column in columns]
    columns = [
        column if header and may_name_rows(name) else as_numbers(column)
        for name, column in zip(names, columns, strict=True)
    ]
    return names, columns, notes, header


def may_name_rows(name: str) -> bool:
    """Return whether a column of this name may hold names of rows, which stay as written."""
    return name.lower() in NAMES_OF_ROWS or name == "" or name.lower().startswith("unnamed:")


def _decimal_comma(columns):
    """Whether numbers are written with a comma: some are, and none with a point."""
    found = False
    for column in columns:
        some = column.iloc[:1000]
        found |= bool(some.str.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?").any())
        if some.str.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?").any():
            return False
    return found


def as_numbers(column: pd.Series) -> pd.Series:
    """Return text as numbers, NaN where a value is missing; as it is if any is another word.

    A column that has numbers already stays.
    """
    if column.dtype.kind != "O":
        return column
    lowered = column.str.lower()
    if lowered.str.contains("_", regex=False).eq(True).any():
        return column
    missing = lowered.isin(MISSING)
    if not missing.all() and lowered[~missing].isin(("true", "false")).all():
        return pd.Series(np.where(missing, np.nan, lowered == "true"), column.index)
    with suppress(ValueError, OverflowError):  # of words, and of cells that are lists
        values = column.where(~missing, "nan").to_numpy(dtype=str)
        with suppress(ValueError, OverflowError):  # "nan" is no integer
            return pd.Series(values.astype(np.int64), column.index)
        return pd.Series(values.astype(np.float64), column.index)
    return column


def depth(cell: object) -> int:
    """Return how deep lists are nested in a cell; 2 also for lists of different lengths."""
    try:
        return np.ndim(cell)
    except ValueError:
        return 2


def without_lists(
    path: str | os.PathLike,
    names: list[str],
    columns: list[pd.Series],
    features: list[int],
    notes: list[str],
) -> tuple[list[str], list[pd.Series], list[int]]:
    """Return names, columns and features, for a column of lists one column per entry: name[0], ...

    Lists are arrays, as .parquet holds, or their text, [0.1, 0.2] or [0.1 0.2].
    """
    names, columns, found = list(names), list(columns), []
    for i in features:
        column = columns[i]
        if column.dtype.kind in "iufb" or not any(map(_looks_like_list, column)):
            found.append(i)
            continue
        lists = [_as_list(cell) for cell in column]
        width = max(map(len, lists))
        wrong = next((row for row, one in enumerate(lists) if len(one) != width or not width), None)
        if wrong is not None:
            expected = f"a list of {width} numbers" if width else "a number or a list of them"
            if "..." in str(column.iloc[wrong]):
                expected = "all numbers of the list in place of '...'"
            raise UserError(
                f"{path}: column {names[i]!r} holds {str(column.iloc[wrong])[:40]!r} in row "
                f"{wrong + 1}, expected {expected}; --ignore-columns {names[i]!r} leaves it out"
            )
        notes.append(f"column {names[i]!r} of lists taken as {width} columns")
        found += range(len(columns), len(columns) + width)
        names += [f"{names[i]}[{j}]" for j in range(width)]
        columns += map(pd.Series, np.array(lists, np.float64).T)
    return names, columns, found


def _looks_like_list(cell):
    return cell[:1] + cell[-1:] == "[]" if isinstance(cell, str) else depth(cell) >= 1


def _as_list(cell):
    """Return the numbers of a list or of its text; none if it is no list of numbers."""
    if not _looks_like_list(cell):
        return []
    cells = cell[1:-1].replace(",", " ").split() if isinstance(cell, str) else cell
    with suppress(TypeError, ValueError):
        return [float(one) for one in cells]
    return []
