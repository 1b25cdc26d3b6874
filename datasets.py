"""Data sets by name, `load(name)`, and a user's own data, `load_file(path)`.

Units are fixed here and nowhere else: images are float32 in [0, 1], shape (n, h, w, c); vectors
are float32, shape (n, d), as they come. Order is part of a data set: training samples, then test
samples, as in the files. Labels only score results and count the clusters.

Letters: n samples, h rows, w columns, c channels, d inputs.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pooch
import requests
from sklearn.datasets import load_digits
from urllib3.exceptions import MaxRetryError

from corpora import make_newsgroups, read_newsgroups
from errors import UserError, unknown
from images import IDX, read_mnist, read_usps
from readers import count_clusters, one_line, read_path

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


# ---- a user's own data ------------------------------------------------------------------------


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
    x, y, name, note = read_path(path)
    return Dataset(x, y, name, count_clusters(path, n_clusters, y, len(x)), note)


# ---- finding and fetching ---------------------------------------------------------------------

_TIMEOUT = 20  # seconds without an answer
_ATTEMPTS = 3  # at one file, as long as the download begins


@dataclass(frozen=True)
class _Source:
    """How one data set is read, under which names its files may lie, where they come from."""

    read: Callable  # paths -> (x, y)
    layouts: tuple  # of tuples of names relative to a folder; the first complete one is read
    downloads: dict  # name in the user's cache -> (address, checksum); together one layout,
    make: Callable | None = None  # unless this makes the first: (their paths, folder to fill)
    licence: str = "not stated there"

    @property
    def own(self):
        """The layout that a download ends in."""
        return self.layouts[0] if self.make else tuple(self.downloads)


def _in(folders, *names):
    """Return a layout for each folder: the names inside it."""
    return tuple(tuple(folder + name for name in names) for folder in folders)


_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
_MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_FIGSHARE = "https://ndownloader.figshare.com/files/"  # where scikit-learn keeps its data sets
_NEWS_SHA256 = "8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610"
_MD5 = {
    "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197",
    "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",  # Fashion-MNIST's, as below
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_MNIST = _Source(
    read=partial(read_mnist, "mnist", ("train", "test")),
    layouts=_in(("", "mnist/"), "mnist.npz") + _in(["mnist/"], *IDX.values()),
    downloads={"mnist.npz": (_KERAS + "mnist.npz", f"sha256:{_MNIST_SHA256}")},
    licence="CC BY-SA 3.0",
)
_SOURCES = {
    "mnist": _MNIST,
    "mnist-test": replace(_MNIST, read=partial(read_mnist, "mnist", ("test",))),
    "usps": _Source(
        read=read_usps,
        layouts=_in(("usps/", ""), "usps_train.jf", "usps_test.jf")
        + _in(("usps/", ""), "usps.bz2", "usps.t.bz2")
        + _in(("usps/", ""), "usps.npz"),
        downloads={
            f"usps/{file}": (_LIBSVM + file, f"md5:{_MD5[file]}")
            for file in ("usps.bz2", "usps.t.bz2")
        },
    ),
    "fmnist": _Source(
        read=partial(read_mnist, "fmnist", ("train", "test")),
        layouts=_in(("", "fmnist/", "fashion-mnist/"), "fashion_mnist.npz")
        + _in(("fmnist/", "fashion-mnist/"), *IDX.values()),
        downloads={f"fmnist/{file}": (_KERAS + file, f"md5:{_MD5[file]}") for file in IDX.values()},
        licence="MIT",
    ),
    "20news": _Source(
        read=read_newsgroups,
        layouts=_in(("20news/", ""), "20news-bydate_py3.pkz"),
        downloads={
            "20news/20news-bydate.tar.gz": (_FIGSHARE + "5975967", f"sha256:{_NEWS_SHA256}")
        },
        make=make_newsgroups,
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


def _made(source, downloads):
    """Return the paths of what a source makes of its downloads, in the user's cache."""
    with tempfile.TemporaryDirectory(dir=_cache()) as folder:  # so that no partial file is kept
        source.make(downloads, Path(folder))
        for name in source.own:
            (_cache() / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(folder, name), _cache() / name)
    return [_cache() / name for name in source.own]


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
        + "".join(f"  {address}\n" for address, _ in source.downloads.values())
        + f"licence: {source.licence}"
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
                if not (download and folder == _cache() and names == source.own):
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
        raise _absent(name, looked, faults, f"downloading failed ({one_line(root)})") from error
    return source.read(_made(source, paths) if source.make else paths)


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
    name : {"digits", "mnist", "mnist-test", "usps", "fmnist", "20news"}
    data_dir : str or Path, optional
        Folder to look in first; then the environment variable DEEP_CLUSTERING_DATA, the
        repository's data folder and the user's cache.
    download : bool
        Whether to fetch what lies nowhere from its public source into the user's cache.

    Returns
    -------
    Dataset
        Images (n, h, w, c) or, for "20news", vectors (n, d); as many clusters as classes.

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
