"""Labels of samples as a table, of those a run was fitted on and of new ones."""

import argparse
import os
import sys

import numpy as np
import pandas as pd

import datasets
from common.errors import UserError
from common.files import load_arrays, replacing
from common.logs import logger
from experiments.inputs import load_data, reading_of
from models import METHODS, load
from models.core import novelty


def label_table(
    x: np.ndarray,
    labels: np.ndarray,
    memberships: np.ndarray,
    kept: dict,
    rows: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """Return one row per sample of x (n, ...), labels: int (n,), and memberships (n, k).

    kept: what `models.core.novelty.references` gave of the fitted samples, {} if it is not known;
    rows: names of the samples, default 0, 1, ...

    Returns
    -------
    DataFrame
        sample; label, from 0; certainty, the membership of the sample in its cluster, from 0 to 1;
        distance, in the input space, to the nearest of up to 1,000 fitted samples, and far, whether
        it is larger than for 999 of 1,000 fitted samples: both empty for a model that keeps none.
    """
    columns = {
        "sample": range(len(x)) if rows is None else rows,
        "label": labels,
        "certainty": memberships[np.arange(len(x)), labels].astype(np.float64).round(6),
        "distance": np.full(len(x), np.nan),
        "far": np.full(len(x), ""),
    }
    if "samples" in kept:
        distance, far = novelty.is_far(x, kept)
        columns |= {"distance": distance.round(6), "far": np.where(far, "yes", "no")}
    return pd.DataFrame(columns)


def write_table(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def name_samples(args: argparse.Namespace) -> None:
    """Take --predict FILE as --data FILE, or as --dataset NAME, and check --out."""
    if args.predict in datasets.DATASETS and not os.path.exists(args.predict):
        args.dataset = args.predict
    else:
        args.data = args.predict
    args.out = args.out or "labels.csv"
    _check_out(args.out, args.overwrite)


def open_model(args: argparse.Namespace) -> tuple[str, dict]:
    """Check what is asked of a model; return its path and the record of the data it was fitted on.

    The method is the model's.
    """
    if args.weights is None:
        raise UserError("no --weights: expected --weights FILE (a model_final.h5) or a run folder")
    path = args.weights
    path = os.path.join(path, "model_final.h5") if os.path.isdir(path) else path
    _, about = load_arrays(path)
    method = about.get("method") if about.get("kind") == "model" else None
    if method is not None and args.method not in (None, method):
        raise UserError(f"{path!r} holds a {method} model: expected {args.method}")
    if method not in METHODS:
        load(path)  # says what is wrong
    args.method, args.n_clusters = method, None  # the model has its own
    like = about.get("prepared")
    if not isinstance(like, dict) or not like.get("shape"):
        like = {"shape": about.get("shape", []), "columns": about.get("columns")}
        if args.data is not None:
            logger.warning(
                f"{path} does not say how its data were read: images in [0, 1] or from 0 to 255 "
                "are expected, vectors as they are"
            )
    return path, like


def new_samples(args: argparse.Namespace, like: dict) -> datasets.Dataset:
    """Return the data set of --predict, or of -t, in the units of the fitted data."""
    if args.data is None:
        return load_data(args)
    return datasets.load_file(args.data, like=like, **reading_of(args))


def predict(args: argparse.Namespace, path: str, like: dict) -> None:
    """Write the labels of new samples: `--predict FILE --weights MODEL --out labels.csv`."""
    data = new_samples(args, like)
    if data.note:
        print(f"{data.name}: {data.note}", file=sys.stderr)
    model = load(path)
    table = label_table(
        data.x, model.predict(data.x), model.memberships(data.x), model.kept_, data.rows
    )
    if args.out == "-":
        print(table.to_csv(index=False), end="")
    else:
        write_table(args.out, table)
        sizes = np.bincount(table["label"], minlength=model.n_clusters)
        print(f"{len(table)} samples of {data.name} by {args.method} -> {args.out}")
        print("samples a cluster: " + " ".join(map(str, sizes)))
    far = int((table["far"] == "yes").sum())
    if far:
        logger.warning(
            f"{far} of {len(table)} samples lie farther from all that was fitted than 999 of 1,000 "
            "fitted samples do (column far)"
        )


def _check_out(out, overwrite):
    if out == "-":
        return
    folder = os.path.dirname(os.path.abspath(out))
    if not os.path.isdir(folder):
        raise UserError(f"--out {out!r}: no such folder {folder!r}")
    if os.path.exists(out) and not os.path.isfile(out):
        raise UserError(f"--out {out!r}: is no regular file, expected the name of a CSV file")
    if not os.access(folder, os.W_OK):
        raise UserError(f"--out {out!r}: the folder {folder!r} cannot be written to")
    if os.path.exists(out) and not overwrite:
        raise UserError(f"--out {out!r}: exists; expected another name, or --overwrite")
