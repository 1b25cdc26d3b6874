"""VaDE: the terms of its bound restated by sampling, its prior, its schedule, runs and files."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import user_error
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from metrics import acc
from models import build, load, preset
from models.core import autoencoder, base
from models.core.networks import AUTOENCODERS, dense_autoencoder
from models.settings.base import pretrain_key
from models.settings.fields import SGD, Adam
from models.vade import (
    EPSILON,
    Steps,
    bernoulli_error,
    cluster_divergence,
    log_joint,
    log_responsibilities,
    mixture_divergence,
)

K, N, Z = 3, 90, 4


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        widths = {"widths": (30, 30, 40)}
        patch.setitem(AUTOENCODERS, "fc", lambda *a: dense_autoencoder(*a, **widths))
        yield


@pytest.fixture(scope="module")
def samples():
    """Samples float32 (N, 16) in [0, 1], three patterns with a little noise, and whose they are."""
    rng = np.random.default_rng(1)
    y = np.tile(np.arange(K), N // K)
    patterns = rng.random((K, 16)) > 0.5
    return (0.9 * patterns[y] + 0.1 * rng.random((N, 16))).astype(np.float32), y


@pytest.fixture(scope="module")
def parts():
    """Float32 log pi (K,), mu (K, Z), log s_c^2 (K, Z), m (5, Z), log s^2 (5, Z)."""
    rng = np.random.default_rng(3)
    log_pi = np.log(rng.dirichlet(np.ones(K)))
    shapes = [(K, Z), (K, Z), (5, Z), (5, Z)]
    return [a.astype(np.float32) for a in (log_pi, *(rng.normal(size=s) for s in shapes))]


def make(**changes):
    settings = {
        "pretrain_epochs": 30,
        "batch_size": 30,
        "cluster_batch_size": 30,
        "epochs": 4,
        "latent_dim": Z,
        "pretrain_optimizer": Adam(0.01),
    }
    return build("VaDE", K, random_state=5, **settings | changes)


@pytest.fixture(scope="module")
def cache(samples, tmp_path_factory):
    """The folder of the pretraining of 30 epochs that most tests start from, made once."""
    folder = tmp_path_factory.mktemp("cache")
    make(epochs=0, cache_dir=folder).fit(samples[0])
    return folder


@pytest.fixture(scope="module")
def trained(samples, cache):
    """A model of 40 epochs."""
    return make(epochs=40, cache_dir=cache).fit(samples[0])


# ---- the equations ------------------------------------------------------------------------------


def test_gamma_is_bayes_rule(parts):
    log_pi, mu, log_s, z, _ = parts
    joint = log_pi + norm.logpdf(z[:, None], mu, np.exp(log_s / 2)).sum(axis=2)
    np.testing.assert_allclose(log_joint(z, log_pi, mu, log_s), joint, rtol=1e-5)
    gamma = np.exp(log_responsibilities(z, log_pi, mu, log_s))
    np.testing.assert_allclose(gamma.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(gamma, np.exp(joint - logsumexp(joint, axis=1)[:, None]), rtol=1e-4)


def test_gamma_and_its_divergence_are_finite_far_from_all_means(parts):
    log_pi, mu, log_s, z, _ = parts
    log_gamma = log_responsibilities(1e6 * z, log_pi, mu, log_s)
    assert np.isfinite(log_gamma).all()
    np.testing.assert_allclose(np.exp(log_gamma).sum(axis=1), 1, rtol=1e-6)
    assert np.isfinite(cluster_divergence(log_gamma, log_pi))


def test_the_terms_are_minus_the_bound_by_sampling(parts):
    """E_q[log q(z|x) + log q(c|x) - log p(z|c) - log p(c)] (eq. 8 without x), gamma given."""
    log_pi, mu, log_s, m, log_v = parts
    rng = np.random.default_rng(0)
    gamma = rng.dirichlet(np.ones(K), size=len(m)).astype(np.float32)
    z = m + np.exp(log_v / 2) * rng.normal(size=(200_000, *m.shape))  # (draws, 5, Z)
    log_q = norm.logpdf(z, m, np.exp(log_v / 2)).sum(axis=2)
    log_p = [norm.logpdf(z, mu[c], np.exp(log_s[c] / 2)).sum(axis=2) for c in range(K)]
    gaps = np.stack([(log_q - p).mean(axis=0) for p in log_p], axis=1)  # (5, K)
    gaussian = mixture_divergence(gamma, m, log_v, mu, log_s)
    assert float(gaussian) == pytest.approx((gamma * gaps).sum(axis=1).mean(), rel=5e-3)
    clusters = (gamma * (np.log(gamma) - log_pi)).sum(axis=1).mean()
    assert float(cluster_divergence(np.log(gamma), log_pi)) == pytest.approx(clusters, rel=1e-4)


def test_the_gaussian_terms_are_those_of_equation_12(parts):
    log_pi, mu, log_s, m, log_v = parts
    gamma = np.exp(log_responsibilities(m, log_pi, mu, log_s))
    squares = (np.exp(log_v)[:, None] + (m[:, None] - mu) ** 2) / np.exp(log_s)
    terms = 0.5 * (gamma[:, :, None] * (log_s + squares)).sum(axis=(1, 2))
    terms -= 0.5 * (1 + log_v).sum(axis=1)
    found = float(mixture_divergence(gamma, m, log_v, mu, log_s))
    assert found == pytest.approx(terms.mean(), rel=1e-5)


def test_the_reconstruction_is_binary_cross_entropy():
    rng = np.random.default_rng(0)
    x, logits = rng.random((6, 7)).astype(np.float32), 3 * rng.normal(size=(6, 7))
    p = 1 / (1 + np.exp(-logits))
    wanted = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1).mean()
    assert float(bernoulli_error(x, logits.astype(np.float32))) == pytest.approx(wanted, rel=1e-5)
    assert float(bernoulli_error(np.ones((1, 1), "f"), np.full((1, 1), 1e4, "f"))) == 0


def test_one_draw_a_sample_from_the_steps_seed(samples, cache):
    x, _ = samples
    model = make(epochs=0, cache_dir=cache).fit(x)
    seeds = [tf.constant(pair) for pair in ([5, 1], [5, 1], [5, 2])]
    one, same, other = ({n: float(v) for n, v in model.loss(x, {}, s).items()} for s in seeds)
    assert one == same and one["reconstruction"] != other["reconstruction"]
    model.variance_head.layers[0].bias.assign(np.full(Z, -40.0))  # no noise
    log_gamma = log_responsibilities(model.encode(x), *model.prior())
    losses = model.loss(x, {}, seeds[0])
    expected = bernoulli_error(x, model.decoder(model.encode(x)))
    assert float(losses["reconstruction"]) == pytest.approx(float(expected), rel=1e-4)
    expected = cluster_divergence(log_gamma, model.prior()[0])
    assert float(losses["cluster_kl"]) == pytest.approx(float(expected), rel=1e-3)


# ---- settings and schedule ----------------------------------------------------------------------


def test_preset_is_the_released_one():
    c = preset("VaDE", "mnist", 70000)
    assert (c.network, c.latent_dim, c.cluster_batch_size, c.alpha) == ("fc", 10, 100, 1)
    assert (c.optimizer, c.decay, c.decay_epochs, c.least_lr) == (Adam(0.002), 0.9, 10, 2e-4)
    assert (c.likelihood, c.epochs, c.tol, c.total_steps(700)) == ("bernoulli", 300, 0, 210000)
    c = preset("VaDE", "reuters10k", 10000)
    assert (c.likelihood, c.epochs, c.decay, c.decay_epochs) == ("gaussian", 15, 0.5, 5)
    keys = {pretrain_key(preset("VaDE", d), (9,), "x", 0)[0] for d in ("mnist", "reuters10k")}
    assert len(keys) == 2


def test_the_rate_falls_every_ten_epochs_to_the_least():
    rate = Steps(0.002, 7000, 0.9, 2e-4)
    found = [float(rate(step)) for step in (0, 6999, 7000, 14000, 210000)]
    np.testing.assert_allclose(found, [0.002, 0.002, 0.0018, 0.00162, 2e-4], rtol=1e-5)
    assert float(Steps(1e-4, 10, 0.9, 2e-4)(0)) == pytest.approx(1e-4)  # not raised to the least


def test_the_optimizer_has_the_schedule(samples, cache, monkeypatch, eager):
    made = []
    trainer = base.Trainer

    def kept(*args, **others):
        made.append(args[4])
        return trainer(*args, **others)

    monkeypatch.setattr(base, "Trainer", kept)
    make(epochs=3, decay_epochs=1, decay=0.5, least_lr=0.0, cache_dir=cache).fit(samples[0])
    (optimizer,) = made
    assert int(optimizer.iterations) == 9 and optimizer.epsilon == EPSILON
    assert float(optimizer.learning_rate) == pytest.approx(0.002 * 0.5**3)
    assert make(optimizer=SGD(0.1, 0.5)).cluster_optimizer(90).momentum == 0.5


# ---- runs ---------------------------------------------------------------------------------------


def test_it_starts_from_a_diagonal_mixture_on_the_codes(samples, cache):
    model = make(epochs=0, cache_dir=cache).fit(samples[0])
    z = model.pretrained_codes_.astype(np.float64)
    seed = autoencoder.derive_seed(5, autoencoder.INITIALIZE)
    mixture = GaussianMixture(K, covariance_type="diag", random_state=seed).fit(z)
    log_pi, means, log_variances = model.prior()
    np.testing.assert_allclose(np.exp(log_pi), mixture.weights_, rtol=1e-5)
    np.testing.assert_allclose(means, mixture.means_, rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_variances), mixture.covariances_, rtol=1e-4)
    assert np.array_equal(model.labels_, mixture.predict(z))
    assert np.array_equal(model.labels_, model.initial_labels_)
    np.testing.assert_allclose(model.memberships(samples[0]), mixture.predict_proba(z), atol=1e-3)


def variables(model):
    """Return the arrays of the networks and of the mixture."""
    networks = (model.encoder, model.variance_head, model.decoder)
    found = [v for network in networks for v in network.trainable_variables]
    return [np.asarray(v) for v in (*found, model.centers, *model.extra_state().values())]


def test_it_finds_three_patterns_and_trains_all_it_has(samples, cache, trained):
    x, y = samples
    model = trained
    assert acc(y, model.labels_) == 1 and model.n_iter_ == 120 and not model.converged_
    before, after = map(variables, (make(epochs=0, cache_dir=cache).fit(x), model))
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    q = model.memberships(x)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    assert np.array_equal(q.argmax(axis=1), model.labels_)


def test_the_bound_rises(samples, cache, trained):
    x, _ = samples
    model = make(epochs=0, cache_dir=cache).fit(x)
    seeds = [tf.constant([7, i]) for i in range(20)]

    def bound(model):
        return -np.mean([sum(map(float, model.loss(x, {}, seed).values())) for seed in seeds])

    assert bound(trained) > bound(model) + 0.5


def test_a_loaded_model_is_the_fitted_one(samples, trained, tmp_path):
    x, model = samples[0], trained
    model.save(tmp_path / "model.h5")
    again = load(tmp_path / "model.h5")
    new = x[:7] * np.float32(0.9)
    assert np.array_equal(again.predict(x), model.labels_)
    assert np.array_equal(again.memberships(new), model.memberships(new))
    for one, other in zip(again.posterior(new), model.posterior(new), strict=True):
        assert np.array_equal(one, other)


def test_the_auto_encoder_of_plain_keras_gives_the_means_of_pixels(samples, trained, tmp_path):
    trained.save_keras(tmp_path)
    found = keras.models.load_model(tmp_path / "autoencoder.keras")(samples[0])
    logits = trained.decoder(trained.encode(samples[0]))
    np.testing.assert_allclose(found, tf.sigmoid(logits), rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_bits(samples, eager):
    short = {"pretrain_epochs": 2, "epochs": 2}
    one, two = (make(**short).fit(samples[0]) for _ in range(2))
    assert np.array_equal(one.memberships(samples[0]), two.memberships(samples[0]))
    assert all(map(np.array_equal, variables(one), variables(two)))
    other = make(**short)
    other.random_state = 6
    assert not np.array_equal(
        other.fit(samples[0]).memberships(samples[0]), one.memberships(samples[0])
    )


def test_values_out_of_range_are_refused_before_training_unless_gaussian(
    samples, cache, tmp_path, eager
):
    x = 3 * samples[0]
    told = ("VaDE of data with values from ", "expected values in [0, 1], or --likelihood gaussian")
    with user_error(*told):
        make(run_dir=tmp_path).fit(x)
    assert not list(tmp_path.rglob("ae_weights.h5"))
    short = {"pretrain_epochs": 2, "epochs": 2}
    assert math.isfinite(make(likelihood="gaussian", **short).fit(x).cluster_centers_.sum())
    donor = make(epochs=0, cache_dir=cache).fit(samples[0])
    donor.save_autoencoder(tmp_path / "ae.h5")
    with user_error(*told):
        make(pretrained_weights=tmp_path / "ae.h5").fit(x)


def test_a_collapsed_component_is_told(samples, cache, monkeypatch):
    def collapse(self, z):
        raise ValueError("ill-defined empirical covariance")

    monkeypatch.setattr(GaussianMixture, "fit_predict", collapse)
    with user_error("VaDE of 90 samples in 3 clusters: a component collapsed"):
        make(cache_dir=cache).fit(samples[0])
