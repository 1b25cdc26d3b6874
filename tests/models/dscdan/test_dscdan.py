"""The contract, and what is their own, of ConvAE and its kin, DSCDAN and SpectralNet."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import uncompiled

from common.errors import UserError
from metrics import acc
from models import METHODS, build, load, preset
from models.core.cost import method_flops
from models.core.graphs import lowest_cut
from models.core.monitor import Monitor
from models.core.networks import AUTOENCODERS, dense_autoencoder
from models.core.weights import arrays_of
from models.dscdan import joint
from models.dscdan.networks import dual_autoencoder
from models.settings.base import Adam, pretrain_key
from models.settings.dscdan import LABEL_STEPS, DSCDANConfig, DualConfig, SpectralNetConfig
from models.settings.presets import CONFIGS

K, N, STEPS = 4, 120, 6
TABLE4 = ["ConvAE", "ConvAE+MI", "ConvAE+RS", "ConvAE+MI+RS"]
JOINT = ["DSCDAN", "DSCDAN-code", "DSCDAN-spectral-init"]
OWN = [*TABLE4, *JOINT, "SpectralNet"]
SMALL = {"pretrain_epochs": 1, "n_init": 2, "batch_size": 40, "latent_dim": 6}
DUAL = SMALL | {"filters": (4, 6)}
SPECTRAL = {"head": (16, 8), "cluster_batch_size": 40, "maxiter": STEPS, "update_interval": 2}
SIAMESE = {"siamese": (12, 5), "siamese_epochs": 2, "siamese_batch": 160}


@pytest.fixture(scope="module", autouse=True)
def small_and_uncompiled():
    """Small networks, and steps that are not compiled: there are only few of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            AUTOENCODERS, "fc", lambda *args: dense_autoencoder(*args, widths=(16, 12, 8))
        )
        patch.setattr(joint, "LABEL_STEPS", 4)
        with uncompiled():
            yield


def settings(method):
    if method == "SpectralNet":
        return SMALL | SPECTRAL | SIAMESE | {"optimizer": Adam(1e-3), "patience": 0}
    if method == "DSCDAN":
        return DUAL | SPECTRAL | {"spectral_steps": 4, "head_starts": 2}
    return DUAL | (SPECTRAL if method in JOINT else {})


class Recorder(Monitor):
    def __init__(self, keep=None):
        self.begins, self.rows, self.keep = [], [], keep or {}

    def __deepcopy__(self, memo):
        return Recorder()

    def begin(self, phase, total, step):
        self.begins.append((phase, total, step))

    def progress(self, phase, step):
        """Copy the run's folder as a kill at this moment would leave it."""
        if (phase, step) in self.keep:
            source, copy = self.keep[phase, step]
            shutil.copytree(source, copy, dirs_exist_ok=True)

    def row(self, phase, step, values, labels=None, others=None):
        self.rows.append((phase, step, dict(values)))


def make(method, keep=None, **others):
    monitor = Recorder(keep)
    return build(method, K, monitor=monitor, **(settings(method) | others))


def state(model):
    kept = {"centers": model.centers} | model.extra_state()
    arrays = arrays_of(model.shared_networks() | model.own_networks())
    arrays |= {name: np.asarray(v) for name, v in kept.items()}
    return arrays | {"labels": model.labels_, "initial": model.initial_labels_}


def same(a, b):
    ours, theirs = state(a), state(b)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name


@pytest.fixture(scope="module")
def x(digits):
    return digits[:N]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("dscdan")


@pytest.fixture(scope="module")
def fitted(x, folders):
    """Return a function: method -> a model fitted once, with its folder as kills leave it."""
    kept = {}

    def get(method):
        if method not in kept:
            run, cache = folders / method, folders / f"{method} cache"
            moments = {
                ("pretrain", 2): (cache, folders / f"{method} in pretraining"),
                ("cluster", 5): (run, folders / f"{method} killed"),
                ("cluster", 11): (run, folders / f"{method} late"),
            }
            if method not in ("DSCDAN", "SpectralNet", "ConvAE+MI+RS"):
                run = cache = None
                moments = None
            kept[method] = make(
                method, moments, run_dir=run, cache_dir=cache, checkpoint_seconds=0
            ).fit(x)
        return kept[method]

    return get


# -- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ConvAE+MI+RS", *JOINT, "SpectralNet"])
def test_results_of_fit(fitted, x, method):
    model = fitted(method)
    spectral = method not in TABLE4
    assert model.labels_.shape == (N,) and model.labels_.dtype == np.int64
    assert model.labels_.min() >= 0 and model.labels_.max() < K
    assert np.array_equal(model.predict(x), model.labels_)
    assert np.array_equal(model.predict(x.reshape(N, 64)), model.labels_)
    for i in (0, 7, 50):
        assert model.predict(x[i : i + 1])[0] == model.labels_[i]
    y = model.transform(x)
    assert y.shape == (N, K if spectral else 6) and y.dtype == np.float32
    q = model.memberships(x)
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(q.argmax(axis=1), model.labels_)
    if spectral:
        assert model.n_iter_ == STEPS
        gram = y.astype(float).T @ y / N
        np.testing.assert_allclose(gram, np.eye(K), atol=1e-4)
        assert model.encode(x).shape == (N, 6)
        if method == "DSCDAN-code":
            assert np.array_equal(model.labels_, model.argmax_labels_)
        else:
            d = ((y[:, None].astype(float) - model.cluster_centers_[None]) ** 2).sum(axis=-1)
            assert np.array_equal(d.argmin(axis=1), model.labels_)
    others = model.other_labels()
    assert set(others) == {"refresh", "kmeans"} | (
        {"argmax", "spectral"} if method in JOINT else set()
    )
    assert all(labels.shape == (N,) for labels in others.values())
    assert set(model.seconds_) == {"pretrain", "initialize", "cluster"}
    seen = {name for _, _, values in model.monitor.rows for name in values}
    always = {"loss", "seconds", "changed", "reconstruction", "start_agreement"}
    assert seen - always <= set(model.config.logged)


@pytest.mark.parametrize("method", ["DSCDAN-code", "SpectralNet"])
def test_the_seed_decides_the_weights(method):
    def weights(seed):
        model = make(method, random_state=seed)
        model._build((8, 8, 1))
        return arrays_of(model.shared_networks() | model.own_networks())

    first, again, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    differ = [name for name in first if not np.array_equal(first[name], other[name])]
    assert {name.split("/")[0] for name in first} - {"means"} == {n.split("/")[0] for n in differ}


@pytest.mark.parametrize("method", ["DSCDAN", "SpectralNet"])
def test_resumed_equals_uninterrupted(fitted, x, folders, method):
    first = fitted(method)
    moment = "late" if method == "SpectralNet" else "killed"
    run = folders / f"{method} {moment}"
    model = make(method, run_dir=run, cache_dir=folders / f"{method} cache").fit(x)
    phase, _, step = model.monitor.begins[-1]
    assert phase == "cluster" and step > 0
    same(model, first)
    expected = [row[:2] for row in first.monitor.rows if row[0] == "cluster" and row[1] >= step]
    assert [row[:2] for row in model.monitor.rows if row[0] == "cluster"][-len(expected) :] == (
        expected
    )


def test_siamese_training_resumes(fitted, x, folders):
    """Killed in the first stage: both stages end as if nothing had happened."""
    first = fitted("SpectralNet")
    run = folders / "SpectralNet killed"
    assert (run / "checkpoint-siamese.h5").exists() and not (
        run / "checkpoint-spectral.h5"
    ).exists()
    model = make("SpectralNet", run_dir=run, cache_dir=folders / "SpectralNet cache").fit(x)
    same(model, first)


def test_pretraining_resumes(fitted, x, folders):
    first = fitted("ConvAE+MI+RS")
    cache = folders / "ConvAE+MI+RS in pretraining"
    assert list(cache.glob("*/checkpoint.h5"))
    model = make("ConvAE+MI+RS", cache_dir=cache).fit(x)
    assert model.monitor.begins[0] == ("pretrain", 3, 1)
    same(model, first)


LOADER = """
import sys
import numpy as np
from models import load
from models.core.networks import AUTOENCODERS, dense_autoencoder
from models.core.weights import arrays_of
AUTOENCODERS["fc"] = lambda *args: dense_autoencoder(*args, widths=(16, 12, 8))
folder, *methods = sys.argv[1:]
x = np.load(folder + "/x.npy")
np.savez(folder + "/labels.npz", **{m: load(f"{folder}/{m}.h5").predict(x) for m in methods})
"""


def test_saved_models_predict_the_same_in_a_new_process(fitted, x, tmp_path, new_process):
    methods = ["ConvAE+MI+RS", "DSCDAN", "DSCDAN-code", "SpectralNet"]
    np.save(tmp_path / "x.npy", x)
    for method in methods:
        fitted(method).save(tmp_path / f"{method}.h5")
        model = load(tmp_path / f"{method}.h5")
        assert model.config == fitted(method).config
    new_process(LOADER, tmp_path, *methods)
    labels = np.load(tmp_path / "labels.npz")
    for method in methods:
        assert np.array_equal(labels[method], fitted(method).labels_), method


# -- training -------------------------------------------------------------------------------------


def test_discriminators_are_trained_or_not(fitted):
    """Against those that the same seed starts from."""
    for method, trained in (("ConvAE+MI+RS", True), ("DSCDAN", True), ("DSCDAN-code", False)):
        model = fitted(method)
        start = make(method)
        start._build((8, 8, 1))
        assert set(model.discriminators) == ({"T1", "T2"} if trained else {"T1"})
        for name, network in model.discriminators.items():
            moved = [
                not np.array_equal(a, b)
                for a, b in zip(
                    network.variables, start.discriminators[name].variables, strict=True
                )
            ]
            assert all(moved) if trained else not any(moved), (method, name)


@pytest.mark.parametrize("method", ["DSCDAN", "DSCDAN-code"])
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_gradients_are_finite_on_constant_images(method, value):
    model = make(method)
    model._build((8, 8, 1))
    seed = tf.constant([0, 0])
    x = tf.fill((20, 8, 8, 1), value)
    for loss, weights, variables in (
        (model.pretrain_loss, model.pretrain_weights(), model.pretrain_variables()),
        (model.loss, model.loss_weights(), model.cluster_variables()),
    ):
        with tf.GradientTape() as tape:
            parts = loss(x, {}, seed)
            total = tf.add_n([weight * parts[name] for name, weight in weights.items()])
        gradients = tape.gradient(total, [v.value for v in variables])
        assert all(g is not None and np.isfinite(g).all() for g in gradients)
        assert np.isfinite(total)


def test_losses_by_hand():
    """Against the equations in NumPy, on the networks' own outputs."""
    model = make("DSCDAN", psi="multiplicative", psi_variance=0.0)
    model._build((8, 8, 1))
    x = np.random.default_rng(0).random((12, 8, 8, 1)).astype(np.float32)
    mean, log_variance, local = (np.asarray(a) for a in model.gaussian(x))
    assert local.shape == (12, 2, 2, 6)
    seed = tf.constant([3, 4])
    parts = {k: float(v) for k, v in model.pretrain_loss(x, {}, seed).items()}
    rebuilt = np.asarray(model.decoder(mean))
    assert parts["reconstruction"] == pytest.approx(((x - rebuilt) ** 2).sum() / 12, rel=1e-4)
    assert parts["relative"] == pytest.approx(0, abs=1e-6)  # no noise
    prior = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1).mean()
    assert parts["prior"] == pytest.approx(prior, rel=1e-3)

    def softplus(a):
        return np.log1p(np.exp(np.asarray(a, np.float64))).mean()

    strange = np.roll(mean, 1, axis=0)
    t1, t2 = model.discriminators["T1"], model.discriminators["T2"]
    flat = x.reshape(12, -1)
    expected = softplus(-t1([flat, mean])) + softplus(t1([flat, strange]))
    assert parts["mi_global"] == pytest.approx(expected, rel=1e-4)
    expected = softplus(-t2([local, mean])) + softplus(t2([local, strange]))
    assert parts["mi_local"] == pytest.approx(expected, rel=1e-4)
    joint = {k: float(v) for k, v in model.loss(x, {}, seed).items()}
    p = np.asarray(model.head(mean), np.float64)
    spread = 0.5 * (np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    expected = (0.5 * (mean**2).sum(axis=1) + spread).mean()  # the means are zero still
    assert joint["prior"] == pytest.approx(expected, rel=1e-3)
    assert joint["entropy"] == pytest.approx((p * np.log(p)).sum(axis=1).mean(), rel=1e-4)
    assert set(joint) == set(model.loss_weights())
    noisy = make("DSCDAN", psi="multiplicative", psi_variance=0.25)
    noisy._build((8, 8, 1))
    z, psi = map(np.asarray, noisy.codes(tf.ones((4000, 6)), tf.zeros((4000, 6)), seed))
    assert psi.mean() == pytest.approx(1, abs=0.02) and psi.var() == pytest.approx(0.25, rel=0.05)
    assert (z == 1).all()


def test_class_means_are_fitted_or_kept(fitted):
    means = np.asarray(fitted("DSCDAN").means.means)
    assert means.shape == (K, 6) and (np.abs(means).sum(axis=1) > 0).all()
    assert "means" in fitted("DSCDAN-code").shared_networks()
    assert "means" in fitted("DSCDAN").own_networks()


def test_a_head_trained_on_spectral_labels_gives_them(monkeypatch):
    """What DSCDAN-spectral-init starts from; compiled, as these are many steps."""
    monkeypatch.setattr(joint, "LABEL_STEPS", LABEL_STEPS)
    places = np.repeat(3 * np.eye(6)[:K], 30, axis=0)
    z = (places + np.random.default_rng(0).normal(scale=0.3, size=places.shape)).astype("f")
    model = make("DSCDAN-spectral-init", optimizer=Adam(1e-2))
    model._monitor = Recorder()
    model._build((8, 8, 1))
    labels, _, _ = lowest_cut(z, K, model.config.n_init, 0)
    assert acc(np.repeat(np.arange(K), 30), labels) == 1
    tf.config.run_functions_eagerly(False)
    model.start_head(z, 0)
    tf.config.run_functions_eagerly(True)
    assert np.array_equal(np.argmax(model.head.outputs(z), axis=1), labels)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_of_several_starts_the_head_with_the_lowest_loss_stays(steps):
    z = np.random.default_rng(0).normal(size=(120, 6)).astype("f")
    model = make("DSCDAN", head_starts=4, spectral_steps=steps)
    model._monitor, losses, heads = Recorder(), [], []
    model._build((8, 8, 1))
    train = model.train_head

    def remember(*args):
        found = train(*args)
        losses.append(found[0])
        heads.append(model.head.network.get_weights())
        return found

    model.train_head = remember
    model.start_head(z, 0)
    assert len(set(losses)) == 4
    best = heads[int(np.argmin(losses))]
    assert all(map(np.array_equal, model.head.network.get_weights(), best))
    assert not np.array_equal(heads[0][0], heads[1][0])


# -- names, settings, costs -----------------------------------------------------------------------


def test_the_presets_are_the_papers():
    c = preset("DSCDAN", "mnist-test", 10000)
    assert (c.filters, c.kernel, c.latent_dim) == ((16, 16, 32, 32), 3, 120)
    assert (c.original, c.relative, c.mutual, c.prior) == (2.5, 5, 0.01, 1)
    assert (c.cluster_relative, c.cluster_mutual, c.cluster_prior) == (5, 0.01, 1)
    assert (c.batch_size, c.pretrain_epochs, c.pretrain_optimizer) == (100, 100, Adam(1e-3))
    assert (c.cluster_batch_size, c.maxiter, c.optimizer) == (1024, 5000, Adam(1e-3))
    assert (c.psi, c.pairs, c.train_discriminators, c.n_neighbors, c.sigma) == (
        "reparameterised",
        "input",
        True,
        3,
        None,
    )
    assert c.head == (1024, 1024, 512) and c.update_interval == 100
    assert (c.spectral_steps, c.head_starts) == (300, 1)
    assert preset("DSCDAN-restarts", "usps") == dataclasses.replace(
        preset("DSCDAN", "usps"), head_starts=5
    )
    assert preset("ConvAE+RS", "usps").psi == "multiplicative"  # without the prior's hold on std
    assert preset("DSCDAN", "usps", 9298).filters == (16, 32)
    assert preset("DSCDAN", "ytf", 10000).kernel == 5
    code = preset("DSCDAN-code", "mnist-test", 10000)
    assert (code.filters, code.psi, code.pairs) == ((32, 32, 64, 64), "reparameterised", "code")
    assert (code.original, code.relative, code.prior, code.mutual) == (2.5, 5, 1, 0.01)
    assert (code.cluster_original, code.cluster_relative, code.cluster_prior) == (5, 2.5, 1.5)
    assert (code.cluster_mutual, code.n_neighbors, code.sigma, code.final) == (
        0.001,
        4,
        2.62,
        "argmax",
    )
    assert not code.train_discriminators and preset("DSCDAN-code", "usps").filters == (32, 64)
    s = preset("SpectralNet", "mnist", 70000)
    assert (s.head, s.siamese, s.n_neighbors) == ((1024, 1024, 512), (1024, 1024, 512, 10), 2)
    assert (s.update_interval, s.maxiter, s.patience, s.drop) == (100, 40000, 20, 0.1)


def test_table_4_switches_terms_off():
    on = {m: {n for n in ("relative", "mutual", "prior") if getattr(CONFIGS[m], n)} for m in TABLE4}
    assert on == {
        "ConvAE": set(),
        "ConvAE+MI": {"mutual", "prior"},
        "ConvAE+RS": {"relative"},
        "ConvAE+MI+RS": {"relative", "mutual", "prior"},
    }


def test_pretraining_is_shared_where_it_is_the_same():
    key = {m: pretrain_key(CONFIGS[m], (28, 28, 1), "x", 0, 10)[0] for m in OWN}
    assert key["DSCDAN"] == key["ConvAE+MI+RS"] == key["DSCDAN-spectral-init"]
    assert len({key[m] for m in [*TABLE4, "DSCDAN-code"]}) == 5
    assert key["SpectralNet"] == pretrain_key(CONFIGS["FcDEC"], (28, 28, 1), "x", 0)[0]
    code = CONFIGS["DSCDAN-code"]
    assert pretrain_key(code, (28, 28, 1), "x", 0, 9)[0] != key["DSCDAN-code"]
    joint = dataclasses.replace(CONFIGS["DSCDAN"], n_neighbors=5, cluster_mutual=0.0, head=(8,))
    assert pretrain_key(joint, (28, 28, 1), "x", 0)[0] == key["DSCDAN"]
    for name, value in {
        "psi": "multiplicative",
        "filters": (8, 8),
        "pairs": "code",
        "train_discriminators": False,
    }.items():
        other = dataclasses.replace(CONFIGS["DSCDAN"], **{name: value})
        assert pretrain_key(other, (28, 28, 1), "x", 0)[0] != key["DSCDAN"], name
    paper = dataclasses.replace(CONFIGS["DSCDAN"], psi="multiplicative")
    for name, value in {"psi_variance": 1.0, "code": "draw"}.items():
        a, b = (
            pretrain_key(config, (28, 28, 1), "x", 0)[0]
            for config in (paper, dataclasses.replace(paper, **{name: value}))
        )
        assert a != b, name


@pytest.mark.parametrize("method", OWN)
def test_round_trip_and_estimate(method):
    config = CONFIGS[method]
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert method in METHODS
    pretraining, clustering = method_flops(config, 10000, 784, 10)
    assert 1e13 < pretraining < 1e15
    assert 0 < clustering < 1e12 if method in TABLE4 else 1e13 < clustering < 1e15


BAD = (
    [
        (DualConfig, name, value)
        for names, values in [
            (("filters",), ((), (16,), (16, 0), (16, 2.5), "16", None, (16, True))),
            (("kernel",), (0, 2.5, "3")),
            (("relative", "mutual", "prior", "psi_variance"), (-0.1, float("nan"), "1", None)),
            (("original",), (0, -1)),
            (("psi", "pairs", "prior_of", "code", "network"), ("none", None, 1)),
            (("train_discriminators",), ("no", None, 1)),
            (("code",), ("draw",)),  # without multiplicative noise
        ]
        for name in names
        for value in values
    ]
    + [
        (DSCDANConfig, name, value)
        for names, values in [
            (("head",), ((), (0,), "8", (1.5,))),
            (
                ("cluster_batch_size", "n_neighbors", "scale_neighbor", "update_interval"),
                (0, 1.5, "2"),
            ),
            (("maxiter", "spectral_steps"), (-1, 2.5)),
            (("head_starts",), (0, 2.5)),
            (("sigma",), (0, -1, "a")),
            (("tol", "cluster_relative", "cluster_mutual", "cluster_entropy"), (-1, None)),
            (("spectral",), (0, -1)),
            (("head_init", "class_means", "compare", "final"), ("", None)),
        ]
        for name in names
        for value in values
    ]
    + [
        (SpectralNetConfig, name, value)
        for names, values in [
            (("siamese", "head"), ((), (0,), "8")),
            (("patience", "siamese_epochs", "siamese_patience"), (-1, 0.5)),
            (("drop",), (0, 1, 1.5)),
            (("network",), ("dual",)),
        ]
        for name in names
        for value in values
    ]
)


@pytest.mark.parametrize(("kind", "name", "value"), BAD, ids=str)
def test_bad_value_is_named(kind, name, value):
    with pytest.raises(UserError) as caught:
        kind(**{name: value})
    text = str(caught.value)
    assert name in text and "\n" not in text


def test_joint_information_needs_discriminators():
    with pytest.raises(UserError, match="cluster_mutual=0.01 with mutual=0"):
        DSCDANConfig(mutual=0)


@pytest.mark.parametrize("shape", [(784,), (28, 28), (3, 28, 1)], ids=str)
def test_dual_needs_images_of_four_pixels(shape):
    with pytest.raises(UserError, match="sides of at least 4 pixels"):
        dual_autoencoder(shape)


@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "flat"),
    [
        ((28, 28, 1), (16, 16, 32, 32), 3, 7 * 7 * 32),
        ((16, 16, 1), (16, 32), 3, 4 * 4 * 32),
        ((55, 55, 3), (16, 16, 32, 32), 5, 14 * 14 * 32),
        ((9, 13, 1), (4, 6), 3, 3 * 4 * 6),
    ],
    ids=str,
)
def test_dual_networks_by_hand(shape, filters, kernel, flat):
    gaussian, decoder = dual_autoencoder(shape, 12, filters=filters, kernel=kernel)
    sizes, count = [shape[2], *filters], 0
    for a, b in zip(sizes, sizes[1:], strict=False):
        count += kernel**2 * a * b + b
    assert gaussian.count_params() == count + 2 * (flat * 12 + 12)
    mean, log_variance, local = gaussian(np.zeros((2, *shape), np.float32))
    assert mean.shape == log_variance.shape == (2, 12) and local.shape[-1] == filters[-1]
    out = np.asarray(decoder(mean))
    assert out.shape == (2, *shape) and (out > 0).all() and (out < 1).all()


@pytest.mark.parametrize("method", ["DSCDAN", "SpectralNet"])
def test_batches_must_hold_as_many_samples_as_there_are_clusters(x, method):
    with pytest.raises(UserError, match="cluster_batch_size=3: expected >= n_clusters=4"):
        make(method, cluster_batch_size=3).fit(x)


def test_data_that_are_no_images_are_refused():
    with pytest.raises(UserError, match="50 values"):
        make("ConvAE").fit(np.random.default_rng(0).random((20, 50)))


# -- the figure -----------------------------------------------------------------------------------


def test_maps_of_saved_embeddings(tmp_path, monkeypatch):
    import datasets
    from experiments import ledger
    from experiments import run_figure as report
    from reporting import maps

    monkeypatch.setattr(report, "plane", lambda z: (np.arange(50), z[:50, :2]))
    data = datasets.load("digits")
    with pytest.raises(UserError, match="no run of 'digits'"):
        maps.write(tmp_path, "digits")
    rng = np.random.default_rng(0)
    for method, seed in (("DSCDAN", 0), ("DSCDAN", 1), ("ConvAE", 0)):
        folder = tmp_path / "runs" / f"{method}-{seed}"
        folder.mkdir(parents=True)
        row = {
            "method": method,
            "dataset": "digits",
            "seed": seed,
            "status": "ok",
            "k": 10,
            "data_hash": data.sha256[:16],
            "config_hash": "a",
        }
        (folder / "result.json").write_text(json.dumps(row))
        np.save(folder / "labels.npy", data.y)
        np.save(folder / "embedding.npy", rng.normal(size=(data.n, 3)).astype("f"))
    found, _ = ledger.folders(tmp_path / "runs")
    codes, reasons, y = maps.panels(list(found.values()), found, "digits")
    assert set(codes) == {"raw data", "ConvAE", "DSCDAN"} and np.array_equal(y, data.y)
    assert codes["raw data"].shape == (data.n, 64) and reasons["FcDEC"] == "no run"
    first = np.load(tmp_path / "runs" / "DSCDAN-0" / "embedding.npy")
    assert np.array_equal(codes["DSCDAN"], first)
    assert maps.write(tmp_path, "digits").read_bytes()[:4] == b"\x89PNG"
