"""corpora.py: documents by hand, files as scikit-learn caches them, the real ones."""

import io
import pickle
import tarfile
import zlib
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse
from conftest import user_error
from sklearn.utils import Bunch

import datasets
from loaders import corpora, fetching

pytestmark = pytest.mark.usefixtures("nowhere")


# ---- 20 Newsgroups: the vectors -----------------------------------------------------------------

TEXTS = [
    "apple apple apple pear",
    "Apple pear, the fig",  # a stop word, a capital
    "computer computer computer computer fig",
    "kiwi",
]


def test_words_are_the_most_frequent_and_ties_go_by_the_alphabet():
    """apple 4, fig 2, pear 2, kiwi 1: of the tied fig and pear the first is taken."""
    x, kept = corpora.tf_idf(TEXTS, True, n_words=2, least=1)
    assert kept.tolist() == [True, True, True, False]
    assert (x > 0).tolist() == [[True, False], [True, True], [False, True]]


def test_short_documents_are_left_out():
    x, kept = corpora.tf_idf(TEXTS, False, n_words=3, least=3)
    assert kept.tolist() == [True, True, False, False] and len(x) == 2


def test_values_by_hand():
    """idf = 1 + ln((1 + n) / (1 + documents with the word)), n = 2 after the short ones left."""
    x, _ = corpora.tf_idf(TEXTS, True, n_words=3, least=2)
    idf = 1 + np.log(3 / np.array([3, 2, 3]))  # apple, fig, pear
    rows = np.array([[3, 0, 1], [1, 1, 1]]) * idf
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(x, rows * np.sqrt(5 / 2), rtol=1e-6)  # 5 entries in 2 rows
    assert x.dtype == np.float32 and np.isclose((x[x > 0] ** 2).mean(), 1)


def test_values_of_the_papers_inputs_by_hand():
    """(1 + ln tf) idf, rows as they are, all times one number."""
    x, _ = corpora.tf_idf(TEXTS, False, n_words=3, least=2)
    idf = 1 + np.log(3 / np.array([3, 2, 3]))  # apple, fig, pear
    rows = np.array([[1 + np.log(3), 0, 1], [1, 1, 1]]) * idf
    np.testing.assert_allclose(x, rows / np.sqrt((rows**2).sum() / 5), rtol=1e-6)
    assert x.dtype == np.float32 and np.isclose((x[x > 0] ** 2).mean(), 1)


# ---- 20 Newsgroups: files -----------------------------------------------------------------------

WORDS = [f"word{letter}" for letter in "abcdefghijklmnopqrst"]


def post(label):
    """A document whose header must not count: eleven words, the label's own most often."""
    return f"Subject: {WORDS[label % 20]} header\nFrom: me\n\n" + " ".join(
        [WORDS[label % 20]] * 8 + WORDS[:3]
    )


def bunches(labels_train=range(20), labels_test=(3, 1)):
    parts = {"train": list(labels_train), "test": list(labels_test)}
    return {
        part: Bunch(
            data=[post(label) for label in labels],
            target=np.array(labels),
            filenames=np.array([str(i) for i in range(len(labels))]),
            target_names=WORDS,
        )
        for part, labels in parts.items()
    }


def put_news(folder, content=None):
    folder.mkdir(parents=True, exist_ok=True)
    content = zlib.compress(pickle.dumps(content or bunches()))
    (folder / "20news-bydate_py3.pkz").write_bytes(content)
    return folder


@pytest.fixture
def small_news(monkeypatch):
    monkeypatch.setattr(corpora, "_NEWS_ROWS", 22)


@pytest.mark.parametrize("sub", ["20news", ""])
def test_newsgroups_units_and_order(tmp_path, small_news, sub):
    put_news(tmp_path / sub)
    data = datasets.load("20news", tmp_path, download=False)
    assert data.x.shape == (22, 20) and data.x.dtype == np.float32 and data.x.flags.c_contiguous
    assert data.y.tolist() == [*range(20), 3, 1] and data.y.dtype == np.int64
    assert (data.n_clusters, data.is_image, data.note) == (20, False, "")
    assert data.x[5:20].argmax(axis=1).tolist() == list(range(5, 20))  # no header counted
    np.testing.assert_array_equal(data.x[[20, 21]], data.x[[3, 1]])


def test_labels_do_not_enter_x(tmp_path, small_news):
    first = datasets.load("20news", put_news(tmp_path / "a"), download=False)
    other = bunches()
    other["train"].target = other["train"].target[::-1].copy()
    second = datasets.load("20news", put_news(tmp_path / "b", other), download=False)
    assert first.sha256 == second.sha256 and first.y.tolist() != second.y.tolist()


def test_newsgroups_are_looked_for_in_order(tmp_path, small_news, monkeypatch):
    variable = tmp_path / "variable"
    places = [tmp_path / "given", variable, tmp_path / "repository" / "data", tmp_path / "cache"]
    monkeypatch.setenv("DEEP_CLUSTERING_DATA", str(variable))
    for i, place in enumerate(places):
        put_news(place / "20news", bunches(labels_test=(i, i)))
    for i, place in enumerate(places):
        assert datasets.load("20news", places[0], download=False).y[-1] == i
        (place / "20news" / "20news-bydate_py3.pkz").unlink()


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", ["cannot be read as scikit-learn's 20 Newsgroups"]),
        (b"404: not found", ["cannot be read as", "incorrect header"]),
        (zlib.compress(pickle.dumps(bunches()))[:-200], ["cannot be read as", "incomplete"]),
        (zlib.compress(b"text"), ["cannot be read as"]),
        (zlib.compress(pickle.dumps({"train": 1})), ["cannot be read as"]),
        (zlib.compress(pickle.dumps(bunches(labels_test=[1]))), ["21 rows found", "22 rows"]),
        (zlib.compress(pickle.dumps(bunches(labels_test=[1, 20]))), ["labels", "0 to 19"]),
        (zlib.compress(pickle.dumps(bunches([0] * 20))), ["labels", "0 to 19"]),
    ],
    ids=["empty", "text", "cut", "no pickle", "no bunch", "a row less", "class 20", "two classes"],
)
def test_newsgroups_damaged(tmp_path, small_news, capsys, content, words):
    put_news(tmp_path)
    (tmp_path / "20news-bydate_py3.pkz").write_bytes(content)
    with user_error("20news-bydate_py3.pkz", *words):
        datasets.load("20news", tmp_path, download=False)
    assert capsys.readouterr().out == ""  # scikit-learn prints there


def test_documents_that_are_no_text(tmp_path, small_news):
    wrong = bunches()
    wrong["train"].data = [None] * 20
    with user_error("20news-bydate_py3.pkz", "cannot be read"):
        datasets.load("20news", put_news(tmp_path, wrong), download=False)


# ---- 20 Newsgroups: download --------------------------------------------------------------------


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Stand in for the download of a small archive; lists what was asked for."""
    asked = []
    archive = tmp_path / "site" / "20news-bydate.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for part, labels in {"train": range(20), "test": (1, 0)}.items():
            for i, label in enumerate(labels):
                name = f"20news-bydate-{part}/{WORDS[label]}/{i}"
                info, content = tarfile.TarInfo(name), post(label).encode("latin1")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))

    def fetch(name, address, checksum):
        asked.append(name)
        (tmp_path / "cache").mkdir(exist_ok=True)
        return archive

    monkeypatch.setattr(fetching, "_fetch", fetch)
    found = "sklearn.datasets._twenty_newsgroups.ARCHIVE"
    from sklearn.datasets import _base
    from sklearn.datasets import _twenty_newsgroups as twenty

    remote = twenty.ARCHIVE._replace(checksum=_base._sha256(archive), url="http://127.0.0.1:1/")
    monkeypatch.setattr(found, remote)
    return asked


def test_newsgroups_download_once(fetched, small_news, tmp_path):
    data = datasets.load("20news")
    assert data.n == 22 and np.bincount(data.y)[:3].tolist() == [2, 2, 1]
    assert fetched == ["20news/20news-bydate.tar.gz"]
    assert [p.name for p in (tmp_path / "cache").rglob("*")] == ["20news", "20news-bydate_py3.pkz"]
    assert datasets.load("20news", download=False).sha256 == data.sha256
    assert len(fetched) == 1


def test_damaged_newsgroups_in_the_cache_are_fetched_again(fetched, small_news, tmp_path):
    put_news(tmp_path / "cache" / "20news")
    (tmp_path / "cache" / "20news" / "20news-bydate_py3.pkz").write_bytes(b"damaged")
    with user_error("20news-bydate_py3.pkz", "cannot be read"):
        datasets.load("20news", download=False)
    assert datasets.load("20news").n == 22 and len(fetched) == 1


def test_scikit_learn_expects_the_archive_that_is_pinned():
    from sklearn.datasets._twenty_newsgroups import ARCHIVE

    ((name, (address, checksum)),) = datasets.SOURCES["20news"].downloads.items()
    assert name.endswith("/" + ARCHIVE.filename)
    assert (address, checksum) == (ARCHIVE.url, "sha256:" + ARCHIVE.checksum)


# ---- 20 Newsgroups: the real one ----------------------------------------------------------------


def test_real_newsgroups(real_data):
    data = datasets.load("20news-l2", real_data, download=False)
    assert data.x.shape == (18040, 2000) and data.x.dtype == np.float32
    assert data.n_clusters == 20 and np.bincount(data.y).tolist() == [
        785,
        905,
        935,
        952,
        916,
        937,
        888,
        948,
        966,
        928,
        957,
        977,
        934,
        941,
        954,
        957,
        891,
        907,
        760,
        602,
    ]
    assert data.x.flags.c_contiguous and data.x.min() == 0 and np.isfinite(data.x).all()
    entries = np.count_nonzero(data.x) / data.n
    np.testing.assert_allclose(np.linalg.norm(data.x, axis=1), np.sqrt(entries), rtol=1e-5)
    assert 7.1 < np.sqrt(entries) < 7.3
    papers = datasets.load("20news", real_data, download=False)
    assert (papers.y == data.y).all() and ((papers.x > 0) == (data.x > 0)).all()
    assert np.isclose((papers.x[papers.x > 0].astype(float) ** 2).mean(), 1)


# ---- Reuters ------------------------------------------------------------------------------------

TOPICS = ["C11", "CCAT", "ECAT", "GCAT", "GVIO", "MCAT"]


def test_one_root_topic_and_its_number():
    has = np.zeros((6, 6), np.uint8)
    has[0, [0, 1]] = 1  # C11 below CCAT
    has[1, [1, 5]] = 1  # two roots
    has[2, [3, 4]] = 1
    has[4, 5] = 1
    has[5, 2] = 1
    rows, y = corpora.root_topics(scipy.sparse.csr_matrix(has), np.array(TOPICS, object))
    assert rows.tolist() == [0, 2, 4, 5] and y.tolist() == [0, 2, 3, 1]


def test_features_in_most_documents_and_rows_of_one_length():
    """In 3, 1, 2, 2, 1 of five documents: columns 0, 2, 3; the last document has none of them."""
    weights = np.array(
        [
            [0.5, 0.0, 0.1, 0.0, 0.0],
            [0.2, 0.9, 0.0, 0.3, 0.0],
            [0.7, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.6, 0.6, 0.0],
            [0.0, 0.0, 0.0, 0.0, 1.0],
        ]
    )
    x, rows = corpora.frequent_and_scaled(scipy.sparse.csr_matrix(weights), 4, n_words=3)
    assert rows.tolist() == [0, 1, 2, 3] and x.dtype == np.float32
    expected = weights[:4][:, [0, 2, 3]]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(x, expected * np.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose((x**2).sum(axis=1) / 3, 1, rtol=1e-6)


def test_ties_of_features_go_to_the_first():
    weights = scipy.sparse.csr_matrix(np.array([[0.1, 0.1, 0.1, 0.0], [0.0, 0.1, 0.1, 0.1]]))
    x, _ = corpora.frequent_and_scaled(weights[:, [3, 0, 1, 2]], 2, n_words=3)
    assert (x > 0).tolist() == [[False, True, True], [True, True, True]]


def test_sample_is_the_same_every_time_and_in_order():
    weights = scipy.sparse.csr_matrix(np.eye(50) + 1e-3)
    _, first = corpora.frequent_and_scaled(weights, 10, n_words=50)
    _, again = corpora.frequent_and_scaled(weights, 10, n_words=50)
    _, other = corpora.frequent_and_scaled(weights, 10, n_words=50, seed=1)
    assert first.tolist() == again.tolist() == sorted(set(first)) != other.tolist()
    assert first.tolist() == [2, 4, 10, 11, 22, 27, 28, 31, 38, 41]  # in every version of NumPy


def rcv1(rows=102):
    """Weights, topics: the i-th document has root topic i % 4, the first and 51st two of them."""
    weights = scipy.sparse.random(rows, 2100, 0.005, "csr", random_state=0)
    topics = np.zeros((rows, 6), np.uint8)
    topics[np.arange(rows), np.array([1, 2, 3, 5])[np.arange(rows) % 4]] = 1
    topics[[0, 50], 1] = topics[[0, 50], 5] = 1
    return weights, scipy.sparse.csr_matrix(topics)


def put_rcv1(folder, weights, topics):
    (folder / "RCV1").mkdir(parents=True)
    ids = np.arange(weights.shape[0], dtype=np.uint32)
    for name, value in zip(
        corpora.RCV1, (weights, ids, topics, np.array(TOPICS, object)), strict=True
    ):
        joblib.dump(value, folder / name)
    return folder


@pytest.fixture
def small_rcv1(monkeypatch):
    monkeypatch.setattr(corpora, "_RCV1_ROWS", 102)
    monkeypatch.setattr(corpora, "_REUTERS_ROWS", 80)


def test_reuters_units_and_order(tmp_path, small_rcv1):
    weights, topics = rcv1()
    data = datasets.load("reuters10k", put_rcv1(tmp_path, weights, topics), download=False)
    assert data.x.shape == (80, 2000) and data.x.dtype == np.float32
    assert data.x.flags.c_contiguous and data.y.dtype == np.int64 and data.n_clusters == 4
    np.testing.assert_allclose((data.x**2).sum(axis=1) / 2000, 1, rtol=1e-4)
    single = np.delete(np.arange(102), [0, 50])
    drawn = single[np.sort(np.random.RandomState(0).choice(100, 80, replace=False))]
    assert data.y.tolist() == (drawn % 4).tolist()


def test_topics_decide_which_documents_but_no_value(tmp_path, small_rcv1):
    weights, topics = rcv1()
    first = datasets.load("reuters10k", put_rcv1(tmp_path / "a", weights, topics), download=False)
    swapped = topics[:, [0, 5, 3, 2, 4, 1]]
    second = datasets.load("reuters10k", put_rcv1(tmp_path / "b", weights, swapped), download=False)
    assert first.sha256 == second.sha256
    assert second.y.tolist() == (3 - first.y).tolist()


@pytest.mark.parametrize(
    "damage, words",
    [
        (
            lambda folder: (folder / corpora.RCV1[0]).write_bytes(b"damaged"),
            ["scikit-learn's RCV1"],
        ),
        (lambda folder: joblib.dump(["CCAT"] * 6, folder / corpora.RCV1[3]), ["'ECAT'"]),
        (lambda folder: joblib.dump(rcv1(99)[0], folder / corpora.RCV1[0]), ["99 rows found"]),
        (lambda folder: joblib.dump(rcv1(99)[1], folder / corpora.RCV1[2]), ["99 rows found"]),
        (lambda folder: joblib.dump(rcv1()[1] * 0, folder / corpora.RCV1[2]), ["cannot be read"]),
        (lambda folder: joblib.dump("text", folder / corpora.RCV1[2]), ["cannot be read"]),
    ],
    ids=["damaged", "topics", "documents lacking", "topics lacking", "no topic", "text"],
)
def test_reuters_damaged(tmp_path, small_rcv1, damage, words):
    damage(put_rcv1(tmp_path, *rcv1()))
    with user_error("RCV1", *words):
        datasets.load("reuters10k", tmp_path, download=False)


def test_reuters_are_made_of_what_is_downloaded(tmp_path, small_rcv1, monkeypatch):
    """scikit-learn's fetcher is shown the archives where it looks for them."""
    (tmp_path / "cache").mkdir()
    asked = []

    def fetch(name, address, checksum):
        asked.append(name)
        path = tmp_path / "cache" / Path(name).name
        path.write_text(name)
        return path

    def fetch_rcv1(data_home, download_if_missing=True):
        if not download_if_missing:
            return original(data_home=data_home, download_if_missing=False)
        for name in asked:
            path = data_home / name
            assert path.read_text() == name
            path.unlink()  # as scikit-learn does
        (data_home / "RCV1").rmdir()
        put_rcv1(data_home, *rcv1())

    import sklearn.datasets

    original = sklearn.datasets.fetch_rcv1
    monkeypatch.setattr(fetching, "_fetch", fetch)
    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", fetch_rcv1)
    first = datasets.load("reuters10k")
    assert len(asked) == 6 and all(path.is_file() for path in (tmp_path / "cache").glob("*.gz"))
    assert datasets.load("reuters10k", download=False).sha256 == first.sha256
    assert {path.name for path in (tmp_path / "cache" / "RCV1").iterdir()} == {
        Path(name).name for name in corpora.RCV1
    }


def test_scikit_learn_expects_the_archives_of_rcv1_that_are_pinned():
    from sklearn.datasets import _rcv1

    expected = {
        f"RCV1/{file.filename}": (file.url, f"sha256:{file.checksum}")
        for file in (*_rcv1.XY_METADATA, _rcv1.TOPICS_METADATA)
    }
    assert datasets.SOURCES["reuters10k"].downloads == expected
