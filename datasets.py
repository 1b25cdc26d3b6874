"""Data sets by name, `load(name)`, and a user's own data, `load_file(path)`.

Units are fixed here and nowhere else: images are float32 in [0, 1], shape (n, h, w, c); vectors
are float32, shape (n, d), as they come. Order is part of a data set: training samples, then test
samples, as in the files. Labels only score results and count the clusters.

Letters: n samples, h rows, w columns, c channels, d inputs.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from common.errors import UserError, unknown
from loaders.fetching import existing_folder, load_files
from loaders.own import read_own
from loaders.readers import Reading, count_clusters
from loaders.sources import SOURCES


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
    named : bool
        Whether it is one of DATASETS, by `load`. A user's file is not, whatever it is called: no
        setting may depend on its name, and its scores stand beside no published number.
    rows : tuple of str, or None
        A user's names of the samples: of files, of an id column, or numbers from 1 of a table's
        rows. None: samples are known by their index.
    prepared : dict
        How a user's file became x, for JSON: `load_file(path, like=prepared)` does the same to
        another file. Empty for named sets.
    held_out : (x, y), or None
        Samples that are not fitted and on which a run is scored, too: of "mnist-train".
    """

    x: np.ndarray
    y: np.ndarray | None
    name: str
    n_clusters: int
    note: str = ""
    named: bool = False
    rows: tuple | None = None
    prepared: dict = field(default_factory=dict)
    held_out: tuple | None = None

    @property
    def source(self) -> str:
        """ "named" for one of DATASETS, "file" for a user's own data."""
        return "named" if self.named else "file"

    @property
    def preset_name(self) -> str | None:
        """The name by which `models.preset` may choose settings; None for a user's own data."""
        return self.name if self.named else None

    @property
    def own_vectors(self) -> bool:
        """Whether it is a user's own data, rows of numbers: some settings are ours for these."""
        return not self.named and not self.is_image

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.x)

    @property
    def is_image(self) -> bool:
        """Whether x holds images (n, h, w, c) rather than vectors (n, d)."""
        return self.x.ndim == 4

    @cached_property
    def sha256(self) -> str:
        """Hex digest of x: dtype, shape and bytes; labels and name do not count."""
        digest = hashlib.sha256(f"{self.x.dtype.str} {self.x.shape}".encode())
        digest.update(np.ascontiguousarray(self.x))
        return digest.hexdigest()


# ---- a user's own data ------------------------------------------------------------------------


def load_file(
    path: str | Path, n_clusters: int | None = None, *, like: dict | None = None, **reading
) -> Dataset:
    """Load a user's own data: a table, a file of arrays or a folder of images.

    docs/own-data.md says what each may hold and how values are scaled.

    Parameters
    ----------
    path : str or Path
    n_clusters : int, optional
        From 2 to n; without it, the number of distinct labels.
    like : dict, optional
        `prepared` of other data: this file is read and scaled as those were, whatever its own
        range; one sample is enough then, and no number of clusters is needed.
    **reading
        Fields of `loaders.readers.Reading`: label_column, ignore_columns, array, image_shape,
        channels_first, image_size, missing, standardize.

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
    x, y, name, rows, prepared, notes = read_own(path, Reading(**reading), like)
    k = n_clusters if like is not None else count_clusters(path, n_clusters, y, len(x))
    return Dataset(x, y, name, k, "; ".join(notes), rows=rows, prepared=prepared)


# ---- by name -----------------------------------------------------------------------------------


def _load_digits(data_dir, download):
    """Return scikit-learn's 8x8 digits, values 0-16 there; no file is needed."""
    from sklearn.datasets import load_digits  # scikit-learn takes seconds to import

    digits = load_digits()
    return (digits.images[..., None] / 16).astype(np.float32), digits.target.astype(np.int64)


# name -> loader(data_dir, download) -> (x, y)
DATASETS = {"digits": _load_digits} | {name: partial(load_files, name) for name in SOURCES}

# name -> (classes, first digits of Dataset.sha256, "" if not known): what published scores are of
PROBLEMS = {
    "digits": (10, "61593b526cf1b18b"),
    "mnist": (10, "698530fccc44deb1"),
    "mnist-train": (10, "8dcd1576acdd99e9"),
    "mnist-test": (10, "63006a6fd65f0576"),
    "usps": (10, "e0edb2e45a4eb4ce"),
    "fmnist": (10, "8d279cf477f2662b"),
    "20news": (20, "422d753efe06d853"),
    "20news-l2": (20, "4adce847b0603a1e"),
    "reuters10k": (4, ""),
    "cifar10": (10, ""),
    "stl10": (10, ""),
    "ytf": (41, ""),
}
HELD_OUT = {"mnist-train": "mnist-test"}  # fitted -> also scored on


def load(name: str, data_dir: str | Path | None = None, download: bool = True) -> Dataset:
    """Load a data set by its exact name.

    Parameters
    ----------
    name : {"digits", "mnist", "mnist-train", "mnist-test", "usps", "fmnist", "20news", \
"20news-l2", "reuters10k", "cifar10", "stl10", "ytf"}
    data_dir : str or Path, optional
        Folder to look in first; then the environment variable DEEP_CLUSTERING_DATA, the
        repository's data folder and the user's cache.
    download : bool
        Whether to fetch what lies nowhere from its public source into the user's cache and,
        for features and text, to make of it what is read.

    Returns
    -------
    Dataset
        Images (n, h, w, c), or vectors (n, d) of text and of the features of "cifar10" and
        "stl10"; as many clusters as classes.

    Raises
    ------
    UserError
        For an unknown name, a missing folder, files that are damaged or cannot be had.
    """
    if name not in DATASETS:
        raise UserError(unknown("dataset", name, DATASETS))
    if data_dir is not None:
        existing_folder(data_dir, "data folder")
    x, y = DATASETS[name](data_dir, download)
    other = DATASETS[HELD_OUT[name]](data_dir, download) if name in HELD_OUT else None
    x, k = np.ascontiguousarray(x), len(np.unique(y))
    return Dataset(x, y, name, k, named=True, held_out=other)
