"""N2D: map and mixture on codes, new samples, saved models, resumption; UMAP itself if there."""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import user_error
from sklearn.mixture import GaussianMixture

from common.errors import UserError
from metrics import acc
from models import build, load, preset
from models.core.networks import AUTOENCODERS, dense_autoencoder
from models.settings.base import pretrain_key
from models.settings.fields import Adam

K, N = 3, 90
LEARNED = {"pretrain_epochs": 20, "batch_size": N, "pretrain_optimizer": Adam(0.03)}
UMAP = importlib.util.find_spec("umap") is not None


class FakeUMAP:
    """In place of umap.UMAP: a projection drawn from its seed."""

    made = []

    def __init__(self, n_components, random_state, **others):
        self.size, self.seed, self.others = n_components, random_state, others

    def fit(self, z):
        self.made.append(self)
        self.matrix = np.random.default_rng(self.seed).normal(size=(z.shape[1], self.size))
        self.embedding_ = self.transform(z)
        return self

    def transform(self, z):
        return (z @ self.matrix).astype(np.float32)


@pytest.fixture(autouse=True)
def small(monkeypatch, eager):
    widths = {"widths": (9,)}
    monkeypatch.setitem(AUTOENCODERS, "fc", lambda *a: dense_autoencoder(*a, **widths))


@pytest.fixture
def umap(monkeypatch):
    monkeypatch.setattr(FakeUMAP, "made", [])
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUMAP))
    return FakeUMAP.made


@pytest.fixture(scope="module")
def samples():
    """Samples float32 (N, 16) of three patterns with a little noise, and whose they are."""
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(K), N // K)
    patterns = rng.random((K, 16)) > 0.5
    return (0.8 * patterns[y] + 0.1 * rng.random((N, 16))).astype(np.float32), y


def make(**changes):
    settings = {"pretrain_epochs": 3, "batch_size": 30}
    return build("N2D", K, random_state=5, **settings | changes)


def test_preset_is_the_released_one():
    c = preset("N2D", "mnist", 70000)
    assert (c.network, c.batch_size, c.pretrain_epochs) == ("fc", 256, 1000)
    assert c.pretrain_optimizer == Adam(1e-3)
    assert (c.n_neighbors, c.min_dist, c.components, c.latent_dim, c.n_init) == (20, 0.0, 0, 0, 1)


def test_codes_and_map_have_as_many_dimensions_as_there_are_clusters(samples, umap):
    x, y = samples
    model = make().fit(x)
    assert model.encode(x).shape == model.transform(x).shape == (N, K)
    assert (umap[0].size, umap[0].others) == (K, {"n_neighbors": 20, "min_dist": 0.0, "n_jobs": 1})
    other = make(latent_dim=5, components=2).fit(x)
    assert other.encode(x).shape == (N, 5) and other.transform(x).shape == (N, 2)
    keys = {pretrain_key(model.config, (16,), "x", 0, k)[0] for k in (K, K + 1)}
    assert len(keys) == 2


def test_labels_are_those_of_a_full_mixture_on_the_map(samples, umap):
    x, y = samples
    model = make(**LEARNED).fit(x)
    mixture = GaussianMixture(K, random_state=umap[0].seed)
    labels = mixture.fit_predict(model.transform(x).astype(np.float64))
    assert np.array_equal(model.labels_, labels) and acc(y, labels) == 1
    np.testing.assert_allclose(
        model.memberships(x), mixture.predict_proba(model.transform(x).astype(np.float64))
    )
    assert np.array_equal(model.cluster_centers_, mixture.means_)
    assert (model.n_iter_, model.converged_, model.other_labels()) == (0, True, {})
    assert np.array_equal(make(**LEARNED).fit(x).labels_, labels)


def test_new_samples_go_through_the_map_in_a_loaded_model_too(samples, umap, tmp_path):
    x, y = samples
    model = make().fit(x)
    model.save(tmp_path / "model.h5")
    again = load(tmp_path / "model.h5")
    assert np.array_equal(again.predict(x), model.labels_) and len(umap) == 1
    assert np.array_equal(again.transform(x), model.transform(x))
    new = x[::-1] + np.float32(0.01)
    expected = umap[0].transform(model.encode(new))
    assert np.array_equal(model.transform(new), expected) and len(umap) == 1
    assert np.array_equal(again.transform(new), expected) and len(umap) == 2
    assert np.array_equal(again.predict(new), model.predict(new))


def test_a_map_that_comes_out_another_way_is_refused(samples, umap, tmp_path, monkeypatch):
    x, _ = samples
    make().fit(x).save(tmp_path / "model.h5")
    monkeypatch.setattr(FakeUMAP, "transform", lambda self, z: z @ self.matrix + 1)
    again = load(tmp_path / "model.h5")
    for _ in range(2):
        with user_error("5 samples that N2D was not fitted to: UMAP's map comes out another way"):
            again.predict(x[:5])
    assert again.predict(x).shape == (N,)


def test_map_and_mixture_of_an_earlier_session_are_taken_up(samples, umap, tmp_path):
    x, _ = samples
    first = make(run_dir=tmp_path).fit(x)
    second = make(run_dir=tmp_path)
    second.fit(x)
    assert len(umap) == 1 and np.array_equal(second.labels_, first.labels_)
    make(run_dir=tmp_path, n_neighbors=4).fit(x)  # another run
    assert len(umap) == 2


def test_what_it_cannot_do_is_told(samples, umap, monkeypatch, tmp_path):
    x, _ = samples
    with user_error("N2D of 4 samples: expected more than 4"):
        make().fit(x[:4])
    with user_error("init='gmm': this method does not start"):
        make(init="gmm")
    with user_error("N2D of 90 samples in 3 clusters: a component collapsed"):
        monkeypatch.setattr(GaussianMixture, "fit", lambda self, x: _raise())
        make().fit(x)
    monkeypatch.setitem(sys.modules, "umap", None)  # as if it were not installed
    with pytest.raises(UserError, match="^N2D needs umap-learn: pip install umap-learn$"):
        make(run_dir=tmp_path).fit(x)
    assert not list(tmp_path.rglob("ae_weights.h5"))  # before it trains


def _raise():
    raise ValueError("ill-defined empirical covariance")


@pytest.mark.skipif(not UMAP, reason="umap-learn is not installed")
def test_umap_itself(samples, tmp_path):
    x, y = samples
    one, two = (make(**LEARNED).fit(x) for _ in range(2))
    assert np.array_equal(one.labels_, two.labels_) and acc(y, one.labels_) > 0.9
    assert np.array_equal(one.transform(x), two.transform(x))
    one.save(tmp_path / "model.h5")
    again, new = load(tmp_path / "model.h5"), x[:20] + np.float32(0.001)
    assert np.array_equal(again.predict(x), one.labels_)
    assert np.array_equal(again.predict(new), one.predict(new))
    assert acc(y[:20], one.predict(new)) > 0.9
