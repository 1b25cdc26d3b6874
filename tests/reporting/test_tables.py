"""A user's tables: their settings, phases that start over with a smaller rate, GMM-stable."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from conftest import uncompiled
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris, make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from common.errors import TrainingFailed
from experiments.options import VECTOR_METHOD
from models import METHODS, build, load, preset
from models.baselines import stable
from models.core.monitor import Monitor
from models.core.networks import AUTOENCODERS, dense_autoencoder
from models.settings.fields import SGD, Adam

IRIS, SPECIES = load_iris(return_X_y=True)
QUICK = {"pairs": 3, "n_init": 5, "mixture_n_init": 2}  # of GMM-stable
SHORT = {"pretrain_epochs": 2, "maxiter": 4, "update_interval": 2, "n_init": 2, "batch_size": 50}


@pytest.fixture(scope="module")
def small():
    """Small networks, not compiled."""
    before = dict(AUTOENCODERS)
    AUTOENCODERS["fc"] = lambda *args: dense_autoencoder(*args, widths=(9,))
    with uncompiled():
        yield
    AUTOENCODERS.update(before)


# ---- settings ---------------------------------------------------------------------------------


def test_settings_of_vectors():
    published, own = preset("FcIDEC"), preset("FcIDEC", vectors=True)
    assert (published.pretrain_optimizer, published.scale_inputs) == (SGD(1.0, 0.9), False)
    assert own.pretrain_optimizer == own.optimizer == Adam(1e-3) and own.scale_inputs
    changed = {"pretrain_optimizer", "optimizer", "scale_inputs"}
    fields = [f.name for f in dataclasses.fields(own)]
    assert {n for n in fields if getattr(own, n) != getattr(published, n)} == changed
    assert "scale_inputs" not in published.to_dict()  # hashes are as before
    assert build("FcIDEC", 3, vectors=True).config == own
    assert own.changed({"pretrain_optimizer": "sgd"}).pretrain_optimizer == SGD()
    for method in ("LADDER-IM", "IMSAT-VAT", "DeepRIM"):
        changed = dataclasses.replace(preset(method), scale_inputs=True)
        assert preset(method, vectors=True) == changed
    for method in ("k-means", "VaDE", "SpectralSAT"):
        assert preset(method, vectors=True) == preset(method)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("method", ["FcIDEC", VECTOR_METHOD])
def test_any_unit_and_constant_columns(small, method, unit):
    x = np.column_stack([IRIS * unit, np.full(len(IRIS), 7 * unit)])
    settings = SHORT if method == "FcIDEC" else QUICK
    fits = [build(method, 3, vectors=True, **settings).fit(some) for some in (x, x + 1e4 * unit)]
    assert set(fits[0].labels_) == {0, 1, 2}
    assert fits[0].predict(x).tolist() == fits[0].labels_.tolist()
    assert adjusted_rand_score(*[fit.labels_ for fit in fits]) > 0.9  # float32 of 10,000 rounds


# ---- a phase that starts over -----------------------------------------------------------------


class Watch(Monitor):
    """Keeps warnings, and stops the fit at a step once a phase has started over."""

    def __init__(self, at=None):
        self.warnings, self.at = [], at

    def warn(self, text):
        self.warnings.append(text)

    def progress(self, phase, step):
        if self.warnings and (phase, step) == self.at:
            raise KeyboardInterrupt


def diverging(monitor=None, *, scaled=True, folder=None, method="FcIDEC", **others):
    """Return a model, unfitted, whose rate is far too large at first."""
    settings = SHORT | {"pretrain_optimizer": SGD(1e2, 0.9), "scale_inputs": scaled}
    return build(
        method,
        3,
        vectors=True,
        monitor=monitor,
        run_dir=folder,
        checkpoint_seconds=0,
        **settings | others,
    )


@pytest.mark.parametrize(
    ("phase", "changes"),
    [("pretrain", {}), ("cluster", {"pretrain_optimizer": Adam(), "optimizer": SGD(1e3, 0.9)})],
)
def test_a_phase_starts_over(small, tmp_path, phase, changes):
    x = StandardScaler().fit_transform(IRIS)
    whole = diverging(watch := Watch(), **changes).fit(x)
    assert watch.warnings and len(watch.warnings) <= 3
    for line in watch.warnings:
        assert f"{phase} starts over with a learning rate of" in line and "\n" not in line
    again = diverging(second := Watch(), **changes).fit(x)
    assert second.warnings == watch.warnings
    assert (again.labels_ == whole.labels_).all()
    with pytest.raises(KeyboardInterrupt):
        diverging(Watch((phase, 3)), folder=tmp_path, **changes).fit(x)
    rest = diverging(third := Watch(), folder=tmp_path, **changes).fit(x)
    assert len(third.warnings) < len(watch.warnings)  # the rate is in the checkpoint
    assert (rest.labels_ == whole.labels_).all()
    assert np.array_equal(rest.transform(x), whole.transform(x))


def test_a_growing_loss_counts_on_scaled_inputs_alone(small):
    """A named set's run that comes to its end is left as it is, wherever its loss has gone."""
    x = StandardScaler().fit_transform(IRIS)

    def fit(**changes):
        model = diverging(watch := Watch(), pretrain_epochs=3, maxiter=0, **changes)
        weights = model.pretrain_loss
        model.pretrain_loss = lambda *args: {
            name: 1e3 ** tf.cast(args[2][1] >= 6, tf.float32) * loss
            for name, loss in weights(*args).items()
        }
        try:
            model.fit(x)
        except TrainingFailed as error:
            return watch.warnings, str(error)
        return watch.warnings, None

    slow = {"pretrain_optimizer": Adam(1e-5)}
    warnings, error = fit(**slow)
    assert len(warnings) == 3 and "the loss has grown from" in warnings[0]
    assert "grown" in error and "smaller --pretrain-lr" in error
    assert fit(scaled=False, **slow) == ([], None)


@pytest.mark.parametrize("scaled", [True, False])
def test_what_is_said_if_no_rate_helps(small, scaled):
    x = StandardScaler().fit_transform(IRIS)
    watch = Watch()
    with pytest.raises(TrainingFailed) as caught:
        diverging(watch, scaled=scaled, pretrain_optimizer=SGD(1e30)).fit(x)
    assert len(watch.warnings) == 3
    assert "expected a smaller --pretrain-lr, or --pretrain-optimizer adam" in str(caught.value)
    assert ("--scale-inputs" in str(caught.value)) != scaled  # not said of inputs that are scaled


# ---- GMM-stable -------------------------------------------------------------------------------


def accuracy(labels):
    from metrics import acc

    return acc(SPECIES, labels)


def test_stable_takes_covariances_that_can_be_trusted():
    x = StandardScaler().fit_transform(IRIS).astype(np.float32)
    model = build("GMM-stable", 3, pairs=5).fit(x)
    assert model.form_ in ("tied", "full") and set(model.stability_) == set(stable.FORMS)
    assert accuracy(model.labels_) > 0.95 > accuracy(KMeans(3, n_init=20).fit_predict(x)) + 0.1
    assert model.memberships(x).sum(axis=1) == pytest.approx(1)


def test_stable_keeps_k_means_where_they_cannot(digits):
    """On digits the mixture with the lowest BIC is another one for every subsample."""
    model = build("GMM-stable", 10, pairs=3).fit(digits)
    flat = digits.reshape(len(digits), -1)
    assert model.form_ == "k-means"
    same = KMeans(10, n_init=20, random_state=0).fit_predict(flat)
    assert adjusted_rand_score(same, model.labels_) == 1


def test_stable_on_wide_few_or_equal_samples():
    wide, y = make_blobs(90, stable.WIDEST + 1, centers=3, random_state=0)
    model = build("GMM-stable", 3).fit(wide)
    assert model.stability_ == {} and model.form_ == "k-means"
    assert adjusted_rand_score(y, model.labels_) == 1
    for x, k in ((wide[:4], 3), (np.ones((40, 2)), 2), (np.repeat(IRIS[:4], 9, axis=0), 4)):
        labels = build("GMM-stable", k, **QUICK).fit_predict(x)
        assert labels.shape == (len(x),) and labels.max() < k


@pytest.mark.parametrize("form", stable.FORMS)
def test_stable_is_saved(tmp_path, monkeypatch, form):
    monkeypatch.setattr(stable, "FORMS", (form, *[f for f in stable.FORMS if f != form]))
    monkeypatch.setattr(stable.StableMixture, "_stabilities", lambda *_: {form: 1.0})
    model = build("GMM-stable", 3, random_state=2).fit(IRIS)
    model.save(tmp_path / "model.h5")
    other = load(tmp_path / "model.h5")
    assert model.form_ == form and (other.predict(IRIS) == model.labels_).all()
    assert np.array_equal(other.memberships(IRIS), model.memberships(IRIS))


def test_the_default_for_vectors_is_ours():
    assert METHODS[VECTOR_METHOD].ours and not METHODS[VECTOR_METHOD].settings.deep
