"""Kinds of bad input and the line that each gets: `python benchmarks/bad_input.py` writes them.

Every case is carried out by main.py's own code in this process, in an empty folder; the table is
docs/bad-input.md. A case that ends otherwise than with one line and exit status 2 is an error.
"""

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common import device  # noqa: E402

device.prepare()

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import scipy.io  # noqa: E402
from PIL import Image  # noqa: E402

import main as program  # noqa: E402
from common.errors import UserError  # noqa: E402
from experiments.options import parse  # noqa: E402

X = np.arange(24.0).reshape(8, 3)


def text(content, name="a.csv"):
    """Return what writes a text file."""
    return lambda: Path(name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def arrays(name="a.npz", **held):
    """Return what writes arrays into a file."""

    def write():
        if name.endswith(".npy"):
            np.save(name, *held.values(), allow_pickle=True)
        elif name.endswith(".mat"):
            scipy.io.savemat(name, held)
        elif name.endswith(".npz"):
            np.savez(name, **held)
        else:
            with h5py.File(name, "w") as file:
                for key, value in held.items():
                    file[key] = value

    return write


def picture(name, size=(4, 4), mode="L"):
    """Return what writes an image."""

    def write():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(name)

    return write


def both(*writers):
    return lambda: [write() for write in writers]


def fit():
    """Write fit.csv and the folder run of k-means on it."""
    rows = "\n".join(f"{i},{i * i % 7},{i % 3}" for i in range(12))
    Path("fit.csv").write_text("a,b,c\n" + rows)
    out = ["--data", "fit.csv", "--n-clusters", "2", "--method", "k-means", "--save-dir", "run"]
    with contextlib.redirect_stdout(io.StringIO()):
        program.run(parse([*out, "--quiet"]))


OWN = "--data a.csv --n-clusters 2"
# what is wrong, what makes the files, the words for main.py
CASES = [
    ("no such file", None, "--data nothing.csv --n-clusters 2"),
    ("a .gz that is not compressed", text("1 2", "a.csv.gz"), "--data a.csv.gz --n-clusters 2"),
    ("an unknown ending", text("1 2", "a.docx"), "--data a.docx --n-clusters 2"),
    ("a folder with a file's ending", lambda: os.mkdir("a.csv"), OWN),
    ("an empty table", text(""), OWN),
    ("a table of names only", text("a,b\n"), OWN),
    ("rows of unequal length", text("1,2\n3\n"), OWN),
    ("a column of words", text("a,b\n1,x\n2,z\n"), OWN),
    ("a column of words without a name", text("1,2,red\n3,4,blue\n"), OWN),
    ("two columns of labels", text("a,y,label\n1,0,0\n2,1,1\n"), OWN),
    ("labels alone", text("y\n0\n1\n"), OWN),
    ("a missing value", text("a,b\n1,2\n,3\n"), OWN),
    ("a column without values", text("a,b\n1,\n2,\n"), OWN + " --missing mean"),
    ("an infinite value", text("a,b\n1,2\n3,inf\n"), OWN),
    ("a value beyond 1e15", text("a,b\n1,2\n3,1e300\n"), OWN),
    ("a quote without its end", text('a,b\n1,"2\n3,4\n'), OWN),
    ("a label of a half", text("a,y\n1,0.5\n2,1\n"), OWN),
    ("a sample without its label", text("a,y\n1,cat\n2,\n"), OWN),
    ("one sample", text("a,b\n1,2\n"), OWN),
    ("one image in place of a folder", picture("a.png"), "--data a.png --n-clusters 2"),
    ("bytes in a table", text(b"\x89PNG\0\0\xff\xfe"), OWN),
    ("a label column that is not there", text("a,b\n1,2\n3,4\n"), OWN + " --label-column kind"),
    ("a column to ignore that is not there", text("a,b\n1,2\n3,4\n"), OWN + " --ignore-columns z"),
    ("all columns ignored", text("a\n1\n2\n"), OWN + " --ignore-columns a"),
    ("no labels to count the clusters", text("a,b\n1,2\n3,4\n"), "--data a.csv"),
    ("one label only", text("a,y\n1,0\n2,0\n"), "--data a.csv"),
    ("more clusters than samples", text("a,b\n1,2\n3,4\n"), "--data a.csv --n-clusters 3"),
    ("one cluster", text("a,b\n1,2\n3,4\n"), "--data a.csv --n-clusters 1"),
    ("a range of one", text("a,b\n1,2\n3,4\n"), "--data a.csv --n-clusters 4-4"),
    ("a range above the samples", text("1,2\n3,4\n5,6\n7,8\n"), "--data a.csv --n-clusters 2-9"),
    (
        "a range where K is found",
        text("a,b\n1,2\n3,4\n"),
        OWN[:12] + " --n-clusters 2-3 --method UMAP+HDBSCAN",
    ),
    ("rows that are no such images", text("1,2,3\n4,5,6\n"), OWN + " --image-shape 2 2 1"),
    ("images of two channels", text("1,2\n3,4\n"), OWN + " --image-shape 1 1 2"),
    (
        "--standardize on images",
        arrays(x=[[[1, 2], [3, 4]]] * 3),
        "--data a.npz --n-clusters 2 --standardize",
    ),
    ("--channels-first on rows of numbers", text("1,2\n3,4\n"), OWN + " --channels-first"),
    ("a size for a table", text("1,2\n3,4\n"), OWN + " --image-size 2 2"),
    ("a method for images on a table", text("1,2\n3,4\n"), OWN + " --method ConvDEC-DA"),
    ("a reading option without --data", None, "--label-column y"),
    ("a file and a data set", text("1,2\n3,4\n"), OWN + " --dataset usps"),
    ("an unknown data set", None, "--dataset mnst"),
    ("an unknown method", None, "--method FcDCE"),
    ("a setting of another method", None, "--method k-means --tol 0.1"),
    ("a setting out of range", None, "--method FcDEC --pretrain-epochs -1"),
    ("a negative seed", None, "--seed -1"),
    ("no threads", None, "--threads 0"),
    (
        "Python objects",
        arrays("a.npy", x=np.array([[1, {}]], object)),
        "--data a.npy --n-clusters 2",
    ),
    ("two arrays that may be the samples", arrays(a=X, b=X), "--data a.npz --n-clusters 2"),
    ("an array that is not there", arrays(x=X, z=X), "--data a.npz --n-clusters 2 --array y"),
    ("two arrays of labels", arrays(x=X, label=np.arange(8), gnd=np.arange(8)), "--data a.npz"),
    ("too few labels", arrays(x=X, y=np.arange(5)), "--data a.npz"),
    ("complex numbers", arrays(x=X * 1j), "--data a.npz --n-clusters 2"),
    ("one axis", arrays(x=np.arange(5.0)), "--data a.npz --n-clusters 2"),
    ("five axes", arrays(x=np.ones((2, 1, 1, 1, 1))), "--data a.npz --n-clusters 2"),
    (
        "channels before rows and columns",
        arrays(x=np.ones((4, 3, 5, 5))),
        "--data a.npz --n-clusters 2",
    ),
    ("NaN in an array", arrays(x=np.full((3, 2), np.nan)), "--data a.npz --n-clusters 2"),
    ("an .npz that is text", text("x", "a.npz"), "--data a.npz --n-clusters 2"),
    ("an .h5 that is text", text("x", "a.h5"), "--data a.h5 --n-clusters 2"),
    ("a .mat that is text", text("x", "a.mat"), "--data a.mat --n-clusters 2"),
    ("a .mtx that is text", text("x", "a.mtx"), "--data a.mtx --n-clusters 2"),
    ("a group named x", arrays("a.h5", **{"x/part": X}), "--data a.h5 --n-clusters 2"),
    ("a folder without images", lambda: os.mkdir("pictures"), "--data pictures --n-clusters 2"),
    (
        "images of two sizes",
        both(picture("p/a.png"), picture("p/b.png", (5, 5))),
        "--data p --n-clusters 2",
    ),
    (
        "images on two levels",
        both(picture("p/a.png"), picture("p/q/b.png")),
        "--data p --n-clusters 2",
    ),
    ("a damaged image", both(picture("p/a.png"), text("x", "p/b.png")), "--data p --n-clusters 2"),
    ("--predict without a model", text("1,2\n"), "--predict a.csv"),
    ("a file that is not a model", text("x", "m.h5"), "--predict m.h5 --weights m.h5"),
    (
        "a missing column that the model was fitted on",
        both(fit, text("a,b\n1,2\n")),
        "--predict a.csv --weights run",
    ),
    ("--out in no folder", fit, "--predict fit.csv --weights run --out no/labels.csv"),
    ("--out that is there", both(fit, text("x", "labels.csv")), "--predict fit.csv --weights run"),
    ("--predict and a K", fit, "--predict fit.csv --weights run --n-clusters 5"),
    ("--predict and --data", fit, "--predict fit.csv --data fit.csv --weights run"),
    (
        "a folder of another run",
        fit,
        "--data fit.csv --n-clusters 3 --method k-means --save-dir run",
    ),
    (
        "several trials in the folder of a run",
        fit,
        "--data fit.csv --n-clusters 2 --method k-means --trials 2 --save-dir run",
    ),
]


def line_of(write, words):
    """Return the line that main.py prints of a case; AssertionError if it ends otherwise."""
    errors = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stderr(errors),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        if write is not None:
            write()
        before = errors.tell()
        try:
            status = program.run(parse(words.split()))
            line = errors.getvalue()[before:]
        except UserError as error:
            status, line = error.status, str(error)
        except SystemExit as stop:
            status, line = stop.code, errors.getvalue()[before:].partition("error: ")[2]
    line = line.strip().replace(folder, "FOLDER")
    assert status == 2, (words, status, line)
    assert line and ("\n" not in line or "not found" in line), line
    return line


def table():
    """Return docs/bad-input.md."""
    rows = [
        "# Bad input, and the line it gets",
        "",
        f"{len(CASES)} kinds, each with exit status 2 and nothing written. Made by "
        "`python benchmarks/bad_input.py`.",
        "",
        "| what is wrong | options of `python main.py` | the error message |",
        "| --- | --- | --- |",
    ]
    for what, write, words in CASES:
        line = line_of(write, words).replace("|", "\\|")
        rows.append(f"| {what} | `{words}` | {line} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "bad-input.md").write_text(table(), encoding="utf-8")
    print(f"{len(CASES)} kinds -> docs/bad-input.md")
