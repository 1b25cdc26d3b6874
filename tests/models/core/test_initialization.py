"""The start of clustering: each way on blobs, restarts until they agree, what is refused."""

import dataclasses
import importlib.util
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import user_error
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

import metrics
from models import build, preset
from models.core import initialization, networks
from models.core.arrays import cluster_means
from models.core.initialization import init, kmeans
from models.settings.base import INITS, RESTARTED, PretrainConfig, digest
from models.settings.presets import CONFIGS

UMAP = importlib.util.find_spec("umap") is not None
HERE = [how for how in INITS if how != "umap" or UMAP]
K = 3
DEEP = [name for name, config in CONFIGS.items() if isinstance(config, PretrainConfig)]
WITHOUT = [n for n in DEEP if n.startswith("DSCDAN") or n in ("SpectralNet", "N2D", "VaDE")]


@pytest.fixture(scope="module")
def blobs():
    """Codes float32 (90, 4) of three far blobs, and whose they are."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(K), 30)
    centers = 10 * np.eye(K, 4)
    return (centers[y] + rng.normal(size=(90, 4))).astype(np.float32), y


@pytest.fixture(scope="module")
def images(blobs):
    """Images (90, 8, 8, 1) of three patterns with a little noise."""
    y = blobs[1]
    rng = np.random.default_rng(1)
    patterns = (rng.random((K, 8, 8, 1)) > 0.5) * 0.8
    return (patterns[y] + 0.1 * rng.random((90, 8, 8, 1))).astype(np.float32)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of small work wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def narrow(monkeypatch):
    """Auto-encoders of few units."""
    dense = partial(networks.dense_autoencoder, widths=(32, 32, 40))
    convolutional = partial(networks.conv_autoencoder, filters=(8, 8, 8))
    monkeypatch.setitem(networks.AUTOENCODERS, "fc", dense)
    monkeypatch.setitem(networks.AUTOENCODERS, "conv", convolutional)


def hard():
    """Samples (200, 2) without clusters: of 20 starts of k-means in 8 none is the best there is."""
    return np.random.default_rng(0).random((200, 2)).astype(np.float32)


# ---- the ways --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HERE)
def test_each_way_finds_blobs_and_their_means(blobs, how):
    z, y = blobs
    start = init(z, K, how, 5, 0)
    assert metrics.acc(y, start.labels) == 1
    np.testing.assert_allclose(start.centers, cluster_means(z, start.labels, K), atol=1e-4)
    assert start.restarts == (5 if how in RESTARTED else 0)
    again = init(z, K, how, 5, 0)
    assert np.array_equal(again.labels, start.labels)
    assert np.array_equal(again.centers, start.centers)


def test_the_ways_are_scikit_learns():
    z = np.random.default_rng(3).normal(size=(150, 5)).astype(np.float32)
    expected = {
        "k-means": KMeans(4, n_init=3, random_state=7),
        "agglomerative": AgglomerativeClustering(4),
        "spectral": SpectralClustering(
            4, affinity="nearest_neighbors", assign_labels="kmeans", random_state=7
        ),
    }
    for how, model in expected.items():
        assert np.array_equal(init(z, 4, how, 3, 7).labels, model.fit_predict(z)), how


def test_the_mixture_starts_from_the_clusters_of_k_means(monkeypatch):
    """With one restart it is scikit-learn's, which starts from one k-means; with more the start is
    the one of lowest inertia, here another."""
    z = np.random.default_rng(3).normal(size=(150, 5)).astype(np.float32)
    theirs = GaussianMixture(4, random_state=7).fit_predict(z.astype(np.float64))
    one, several = init(z, 4, "gmm", 1, 7), init(z, 4, "gmm", 30, 7)
    assert np.array_equal(one.labels, theirs)
    assert not np.array_equal(several.labels, theirs)
    inertias = [initialization.kmeans(z, 4, restarts, 7)[0].inertia_ for restarts in (1, 30)]
    assert inertias[1] < inertias[0]
    monkeypatch.setattr(initialization, "MOST", 30)
    assert init(z, 4, "gmm", "auto", 7).restarts >= 20


@pytest.mark.parametrize("columns", [1, 3])
def test_the_mixture_takes_small_and_equal_clusters(columns):
    """A cluster of one sample, and one of equal samples: their covariance is 0."""
    z = np.zeros((20, columns), np.float32)
    z[:5], z[5], z[6:] = 9, -50, np.random.default_rng(0).normal(size=(14, columns))
    start = init(z, 3, "gmm", 5, 0)
    assert sorted(np.bincount(start.labels).tolist()) == [1, 5, 14]


@pytest.mark.parametrize("how", ["spectral", "agglomerative"])
def test_many_samples_go_to_the_nearest_centre_of_some(blobs, how, monkeypatch):
    z, y = blobs
    monkeypatch.setattr(initialization, "SAMPLE", 40)
    notes = []
    start = init(z, K, how, 1, 0, notes.append)
    assert metrics.acc(y, start.labels) == 1 and start.labels.shape == (90,)
    assert not np.allclose(
        start.centers, cluster_means(z, start.labels, K), atol=1e-4
    )  # of the 40 only
    assert len(notes) == 1 and "40 of 90" in notes[0]


def test_an_empty_component_keeps_its_own_mean(monkeypatch):
    z = np.array([[0, 0], [2, 0], [8, 8]], np.float32)

    class Mixture:
        means_ = np.array([[1.0, 0.5], [5, 6], [8, 8]])
        reg_covar = 1e-6

        def __init__(self, k):
            pass

        def set_params(self, **params):
            pass

        def fit_predict(self, z):
            return np.array([0, 0, 2])

    monkeypatch.setattr(initialization, "GaussianMixture", Mixture)
    assert init(z, 3, "gmm", 1, 0).centers.tolist() == [[1, 0], [5, 6], [8, 8]]


def test_what_has_no_answer_is_one_line(blobs, monkeypatch):
    with user_error("unknown init 'best'", "k-means", "umap"):
        init(blobs[0], K, "best", 1, 0)
    monkeypatch.setitem(sys.modules, "umap", None)  # as if it were not installed
    with user_error("--init umap needs umap-learn: pip install umap-learn"):
        init(blobs[0], K, "umap", 1, 0)
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace())
    with user_error("init='umap' of 5 samples", "more than 5"):
        init(blobs[0][:5], K, "umap", 1, 0)


def test_a_collapsed_component_is_one_line(monkeypatch):
    def collapse(*args, **others):
        raise ValueError("ill-defined\ncovariance")

    monkeypatch.setattr(initialization.GaussianMixture, "fit_predict", collapse)
    with user_error("init='gmm' of 4 samples in 2 clusters"):
        init(np.zeros((4, 2), np.float32), 2, "gmm", 1, 0)


# ---- restarts until they agree ---------------------------------------------------------------


def test_auto_ends_with_the_first_batch_where_starts_agree(blobs):
    notes = []
    model, restarts = kmeans(blobs[0], K, "auto", 0, notes.append)
    assert restarts == 20
    assert notes[0].startswith("k-means: 20 restarts, the lowest inertia came up ")
    assert metrics.acc(blobs[1], model.labels_) == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_auto_is_better_than_20_restarts_where_they_do_not_agree(seed, monkeypatch):
    monkeypatch.setattr(initialization, "MOST", 60)
    x = hard()
    plain, made = kmeans(x, 8, 20, seed)
    assert made == 20
    model, restarts = kmeans(x, 8, "auto", seed)
    assert 20 < restarts <= 60
    assert model.inertia_ < plain.inertia_
    again, as_many = kmeans(x, 8, "auto", seed)
    assert as_many == restarts and np.array_equal(again.labels_, model.labels_)


def test_autos_first_restarts_are_those_of_20(monkeypatch):
    monkeypatch.setattr(initialization, "MOST", 20)
    x, notes = hard(), []
    model, restarts = kmeans(x, 8, "auto", 0, notes.append)
    assert restarts == 20 and notes[0].startswith("k-means: 20 restarts")
    assert model.inertia_ == pytest.approx(kmeans(x, 8, 20, 0)[0].inertia_, rel=1e-9)


def test_auto_gives_up_at_last(monkeypatch):
    monkeypatch.setattr(initialization, "MOST", 35)
    monkeypatch.setattr(initialization, "AGAIN", 1000)
    assert kmeans(hard(), 4, "auto", 0)[1] == 35


# ---- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["FcDEC", "FcDCN", "ConvIDEC", "BasicDC", "AE+k-means", "ConvAE"]
)
@pytest.mark.parametrize("how", HERE)
def test_methods_start_as_they_are_told(images, blobs, method, how, narrow):
    y = blobs[1]
    settings = {"pretrain_epochs": 0, "n_init": 3, "init": how}
    config = preset(method)
    if hasattr(config, "maxiter"):
        settings["maxiter"] = 0
    model = build(method, K, **settings).fit(images)
    assert metrics.acc(y, model.initial_labels_) == 1
    assert metrics.acc(y, model.labels_) == 1
    assert np.array_equal(model.refresh_labels_, model.labels_)
    assert model.n_init_ == (3 if how in RESTARTED else 0)
    again = build(method, K, **settings).fit(images)
    assert np.array_equal(again.labels_, model.labels_)


def test_the_start_decides_where_training_ends(digits, narrow, eager):
    settings = {"pretrain_epochs": 1, "maxiter": 4, "update_interval": 2, "batch_size": 50}
    found = {
        how: build("FcDEC", 10, n_init=1, init=how, **settings).fit(digits[:150]).labels_.tobytes()
        for how in ("k-means", "gmm", "agglomerative")
    }
    assert len(set(found.values())) == 3


@pytest.mark.parametrize("method", DEEP)
def test_a_start_is_refused_where_none_is_made(method):
    if method in WITHOUT:
        with user_error("init='gmm'", "does not start from a clustering", "expected 'k-means'"):
            dataclasses.replace(preset(method), init="gmm")
    else:
        assert dataclasses.replace(preset(method), init="gmm").init == "gmm"


def test_values_that_no_method_takes():
    for how in ("kmeans", None, 3, ""):
        with user_error("init"):
            build("FcDEC", K, init=how)
    for value in ("many", 0, 2.0, None, True):
        with user_error("n_init=", "expected an integer >= 1 or 'auto'"):
            build("FcDEC", K, n_init=value)
        with user_error("n_init=", "expected an integer >= 1 or 'auto'"):
            build("k-means", K, n_init=value)
    for how in ("spectral", "agglomerative"):
        with user_error("n_init='auto'", f"init='{how}'"):
            build("FcDEC", K, n_init="auto", init=how)
    for method in ("GMM", "SC-Ncut", "SC-LS"):
        with user_error("n_init='auto'", "expected an integer"):
            build(method, K, n_init="auto")


def test_auto_in_a_method_and_in_a_baseline(images, blobs):
    for method, settings in (("FcDEC", {"pretrain_epochs": 0, "maxiter": 0}), ("k-means", {})):
        model = build(method, K, n_init="auto", **settings).fit(images)
        assert model.n_init_ == 20 and metrics.acc(blobs[1], model.labels_) == 1


# config_hash of committed rows, of runs with the published settings.
ROWS = {
    ("FcDEC-DA", "usps"): "7b128f66b87e",
    ("FcIDEC-DA", "usps"): "b444961a47c9",
    ("ConvDEC-DA", "mnist-test"): "0e0ecd59f5ec",
    ("ASPC-DA", "mnist-test"): "68a2e946c712",
    ("ASPC-DA", "usps"): "68a2e946c712",
    ("BasicDC", "usps"): "5b98300923d3",
    ("k-means", "usps"): "774387daa301",
    ("DSCDAN-restarts", "usps"): "4f616ce9d028",
    ("DSCDAN-restarts", "mnist-test"): "e3598d71a46b",
    ("ConvAE", "usps"): "2abf18d0eebe",
    ("ASPC-DA", "digits"): "6008f7d8c5e1",
}


@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_committed_rows_keep_their_hash(row):
    n = {"mnist": 70000, "mnist-test": 10000, "usps": 9298, "digits": 1797}[row[1]]
    config = preset(*row, n)
    assert digest(config.to_dict() | {"weights": None}) == ROWS[row]
    if isinstance(config, PretrainConfig) and row[0] not in WITHOUT:
        other = dataclasses.replace(config, init="umap")
        assert digest(other.to_dict() | {"weights": None}) != ROWS[row]
        assert other.pretrain_dict() == config.pretrain_dict()
        assert type(other).from_dict(other.to_dict()) == other
    assert type(config).from_dict(config.to_dict()) == config
