"""Text as tf-idf vectors, the files as scikit-learn's fetchers keep them.

Values owe nothing to labels: words are chosen by how often they occur, rows are scaled alike.

Letters: n documents, d words.
"""

import io
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from loaders.readers import check_rows, reading


def _link(paths, folder):
    """Show downloads to scikit-learn in the folder where it looks before it downloads itself."""
    folder.mkdir(parents=True)
    for path in paths:
        os.symlink(Path(path).resolve(), folder / Path(path).name)


def _most_frequent(total, n_words):
    """Return the columns of the largest totals, ascending; of equal ones those that come first."""
    return np.sort(np.argsort(-total, kind="stable")[:n_words])


# ---- 20 Newsgroups ----------------------------------------------------------------------------

_NEWS_ROWS = 18846  # documents before the short ones are left out
_NEWS_CLASSES = 20


def make_newsgroups(paths: list[Path], folder: Path) -> None:
    """Turn the archive into the file that scikit-learn caches: folder/20news/..."""
    from sklearn.datasets import fetch_20newsgroups

    _link(paths, folder / "20news" / "20news_home")
    fetch_20newsgroups(data_home=folder / "20news")


def tf_idf(
    texts: list[str], unit_rows: bool, n_words: int = 2000, least: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, kept): scaled tf-idf (kept, n_words), float32, and which texts are kept (n,).

    Counts of the `n_words` most frequent words, English stop words and "computer" left out and
    words of equal count in the order of the alphabet, as are the columns; documents of at least
    `least` such words; (1 + log tf) idf, or with `unit_rows` tf idf with rows of length 1; then all
    times one number, so that a non-zero entry has mean square 1.
    """
    from sklearn.feature_extraction.text import (
        ENGLISH_STOP_WORDS,
        CountVectorizer,
        TfidfTransformer,
    )

    counter = CountVectorizer(stop_words=sorted(ENGLISH_STOP_WORDS | {"computer"}))
    counts = counter.fit_transform(texts)  # (n, all words), words in the order of the alphabet
    # Not max_features: it breaks ties by an unstable sort. 18 words share the last place here,
    # and which of them is taken decides whether a document has 10.
    counts = counts[:, _most_frequent(np.asarray(counts.sum(axis=0)).ravel(), n_words)]
    kept = np.asarray(counts.sum(axis=1)).ravel() >= least
    norm = "l2" if unit_rows else None
    x = TfidfTransformer(norm=norm, sublinear_tf=not unit_rows).fit_transform(counts[kept])
    scale = np.sqrt(x.nnz / (x.shape[0] if unit_rows else x.multiply(x).sum()))
    return (x * scale).astype(np.float32).toarray(), kept


def read_newsgroups(unit_rows: bool, paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of 20 Newsgroups: 18,040 documents, 2,000 words, 20 classes.

    Texts are taken without their headers; training documents come first.
    """
    from sklearn.datasets import fetch_20newsgroups

    path, kind = paths[0], "scikit-learn's 20 Newsgroups"
    with reading(path, kind), redirect_stdout(io.StringIO()) as printed:
        try:
            texts, y = fetch_20newsgroups(
                data_home=path.parent,
                subset="all",
                shuffle=False,
                remove=("headers",),
                download_if_missing=False,
                return_X_y=True,
            )
        except OSError as error:  # scikit-learn prints the reason
            raise ValueError(printed.getvalue().rpartition("_\n")[2] or error) from error
        check_rows(path, len(texts), _NEWS_ROWS)
        if not np.array_equal(np.unique(y), np.arange(_NEWS_CLASSES)) or len(y) != len(texts):
            raise ValueError(f"labels {np.unique(y)}, expected 0 to {_NEWS_CLASSES - 1}")
    with reading(path, "documents"):
        x, kept = tf_idf(texts, unit_rows)
    return x, y[kept].astype(np.int64)


# ---- Reuters (RCV1) ---------------------------------------------------------------------------

RCV1 = tuple(
    f"RCV1/{what}_py3.pkl" for what in ("samples", "sample_id", "sample_topics", "topics_names")
)
_RCV1_ROWS = 804414
_REUTERS_ROWS = 10000
_ROOTS = ("CCAT", "ECAT", "GCAT", "MCAT")  # label 0, 1, 2, 3


def make_rcv1(paths: list[Path], folder: Path) -> None:
    """Turn the archives into the four files that scikit-learn caches: folder/RCV1/..."""
    from sklearn.datasets import fetch_rcv1

    _link(paths, folder / "RCV1")
    fetch_rcv1(data_home=folder)


def root_topics(
    topics: csr_matrix | csr_array, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows with exactly one root topic, its number for each of them).

    `topics` (n, topics) holds 0 and 1, `names` the topic of each column.
    """
    columns = [list(names).index(root) for root in _ROOTS]
    has = topics[:, columns].toarray()  # (n, 4)
    rows = np.flatnonzero(has.sum(axis=1) == 1)
    return rows, has[rows].argmax(axis=1)


def frequent_and_scaled(
    weights: csr_matrix | csr_array, n: int, n_words: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, rows): n documents (n, n_words), float32, all ||x||^2 / d = 1, and which (n,).

    Columns are the `n_words` features of `weights` (documents, features) in most documents, of
    equal ones those that come first. Documents with none of them are not drawn; those drawn keep
    their order.
    """
    inside = np.bincount(weights.nonzero()[1], minlength=weights.shape[1])  # documents with each
    weights = weights[:, _most_frequent(inside, n_words)]
    length = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    # RandomState: its stream is the same in every version of NumPy.
    rows = np.sort(np.random.RandomState(seed).choice(np.flatnonzero(length), n, replace=False))
    x = weights[rows].toarray() * (np.sqrt(n_words) / length[rows, None])
    return x.astype(np.float32), rows


def read_reuters10k(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of Reuters-10k: 10,000 documents, 2,000 words, 4 classes."""
    from sklearn.datasets import fetch_rcv1

    with reading(paths[0].parent, "scikit-learn's RCV1"):
        found = fetch_rcv1(data_home=paths[0].parent.parent, download_if_missing=False)
        check_rows(paths[0], found.data.shape[0], _RCV1_ROWS)
        check_rows(paths[2], found.target.shape[0], _RCV1_ROWS)
        rows, y = root_topics(found.target, found.target_names)
        x, chosen = frequent_and_scaled(found.data[rows], _REUTERS_ROWS)
    return x, y[chosen].astype(np.int64)
