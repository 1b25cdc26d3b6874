"""Text as tf-idf vectors, the files as scikit-learn's fetchers keep them: 20 Newsgroups.

No label enters x: words are chosen by how often they occur, and one number scales all rows.
"""

import io
import os
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from readers import check_rows, reading

_NEWS_ROWS = 18846  # documents before the short ones are left out
_NEWS_CLASSES = 20


def make_newsgroups(paths, folder):
    """Turn the archive into the file that scikit-learn caches: folder/20news/..."""
    from sklearn.datasets import fetch_20newsgroups

    inside = Path(folder, "20news", "20news_home")  # where scikit-learn looks before it downloads
    inside.mkdir(parents=True)
    os.symlink(paths[0], inside / Path(paths[0]).name)
    fetch_20newsgroups(data_home=inside.parent)


def _newsgroups(path):
    """Return (texts without headers, labels), training documents first."""
    from sklearn.datasets import fetch_20newsgroups

    kind = "scikit-learn's 20 Newsgroups"
    with reading(path, kind), redirect_stdout(io.StringIO()) as printed:
        try:
            found = fetch_20newsgroups(
                data_home=path.parent,
                subset="all",
                shuffle=False,
                remove=("headers",),
                download_if_missing=False,
            )
        except OSError as error:  # scikit-learn prints the reason
            raise ValueError(printed.getvalue().rpartition("_\n")[2] or error) from error
        texts, y = list(found.data), np.asarray(found.target)
        check_rows(path, len(texts), _NEWS_ROWS)
        if not np.array_equal(np.unique(y), np.arange(_NEWS_CLASSES)) or len(y) != len(texts):
            raise ValueError(f"labels {np.unique(y)}, expected 0 to {_NEWS_CLASSES - 1}")
    return texts, y


def tf_idf(texts, n_words=2000, least=10):
    """Return (x, kept): scaled tf-idf of the documents kept, and which are.

    Counts of the `n_words` most frequent words, English stop words and "computer" left out and
    words of equal count in the order of the alphabet; documents of at least `least` such words;
    rows of length 1; then all times one number, so that a non-zero entry has mean square 1.

    Parameters
    ----------
    texts : list of str

    Returns
    -------
    x : ndarray of float32, shape (number kept, n_words)
        Columns in the order of the alphabet.
    kept : ndarray of bool, shape (len(texts),)
    """
    from sklearn.feature_extraction.text import (
        ENGLISH_STOP_WORDS,
        CountVectorizer,
        TfidfTransformer,
    )

    counter = CountVectorizer(stop_words=sorted(ENGLISH_STOP_WORDS | {"computer"}))
    counts = counter.fit_transform(texts)  # (n, all words), words in the order of the alphabet
    total = np.asarray(counts.sum(axis=0)).ravel()
    # Not max_features: it breaks ties by an unstable sort. 18 words share the last place here,
    # and which of them is taken decides whether a document has 10.
    most = np.sort(np.argsort(-total, kind="stable")[:n_words])
    counts = counts[:, most]
    kept = np.asarray(counts.sum(axis=1)).ravel() >= least
    x = TfidfTransformer().fit_transform(counts[kept])  # (n, n_words)
    scale = np.sqrt(x.nnz / x.shape[0])
    return (x * scale).astype(np.float32).toarray(), kept


def read_newsgroups(paths):
    """Return (x, y) of 20 Newsgroups: 18,040 documents, 2,000 words, 20 classes."""
    texts, y = _newsgroups(paths[0])
    with reading(paths[0], "documents"):
        x, kept = tf_idf(texts)
    return x, y[kept].astype(np.int64)
