"""What scikit-learn and Keras ask of estimators."""

import copy
import io
import os
import pickle
import re
import subprocess
import sys
import warnings
from functools import partial

import joblib
import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from conftest import ROOT, uncompiled, user_error
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted
from test_bits import DUAL, JOINT, RUNS, STEPS, small_networks
from test_resume import SETTINGS

from common.errors import UserError
from models import METHODS, build, load
from models.core import networks, novelty
from models.settings.base import SGD, Adam

X = np.random.default_rng(0).random((70, 8, 8, 1), dtype=np.float32)
# scikit-learn's checks that fail, and why: docs/estimators.md
NO_DEFAULT = {"check_parameters_default_constructible"}
NO_RULE = {
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_fit_idempotent",
}
SPARSE = {"check_estimator_sparse_array", "check_estimator_sparse_matrix"}
OWN = {
    "SC-Ncut": NO_RULE,
    "AC": NO_RULE,
    "AC-GDL": NO_RULE | SPARSE,
    "RCC": NO_RULE | SPARSE | {"check_clustering"},  # it parts blobs of two columns
    "UMAP+HDBSCAN": NO_RULE | SPARSE,
    "N2D": NO_RULE - {"check_fit_idempotent"},  # UMAP places new samples together
    "NMF": {"check_clustering"},
}
# Some eighty fits a class: of two batches a pass or more, but of no more passes than need be.
# Without momentum there are less than half as many variables to make.
FEW = STEPS | {
    "pretrain_epochs": 1,
    "n_init": 1,
    "maxiter": 2,
    "pretrain_optimizer": SGD(1e-4, 0.0),
    "optimizer": SGD(0.01, 0.0),
}
QUICK = {
    "FcDEC": FEW,
    "LADDER-IM": RUNS["LADDER-IM"]
    | {
        "rounds": 1,
        "widths": (9,),
        "denoising_costs": (1000.0, 10.0, 0.1),
        "optimizer": Adam(0.05),
    },
    "k-means": {"n_init": 2},
    "NMF": {},
    "GMM": {},
    "GMM-stable": {"n_init": 1, "mixture_n_init": 1, "maxiter": 5, "pairs": 1},
    "SC-Ncut": {"n_init": 2},
    "SC-LS": {"landmarks": 5, "n_init": 2},
    "AC": {},
    "AC-GDL": {},
    "RCC": {},
}
SPECTRAL_NET = SETTINGS["SpectralNet"] | {"optimizer": Adam(1e-3), "maxiter": 60}
SLOW = {
    "VaDE": SETTINGS["VaDE"]
    | {"likelihood": "gaussian", "pretrain_epochs": 60, "scale_inputs": True},
    "ASPC": SETTINGS["ASPC-DA"],
    "ASPC-DA-RCC": SETTINGS["ASPC-DA-RCC"],
    "FcIDEC": STEPS,
    "UMAP+HDBSCAN": {},
    "SpectralNet": SPECTRAL_NET,
    "KINGDRA-LADDER-IM": RUNS["KINGDRA-LADDER-IM"],
    **{
        name: SETTINGS[name]
        for name in (
            "FcDCN",
            "AE+k-means",
            "SAE+k-means",
            "DEC",
            "DCN",
            "N2D",
            "DeepRIM",
            "IMSAT-VAT",
            "SpectralSAT",
            "ConvAE+MI+RS",
            "DSCDAN",
        )
    },
}
KINDS = {
    "FcDEC-DA": STEPS,
    "ConvDEC": STEPS,
    "DSCDAN": JOINT | {"pretrain_epochs": 1, "maxiter": 2},
    "ConvAE+RS": DUAL,
    "SpectralNet": RUNS["SpectralNet"],
    "KINGDRA-LADDER-IM": RUNS["KINGDRA-LADDER-IM"] | {"rounds": 1},
    "IMSAT-VAT": RUNS["IMSAT-VAT"],
    "k-means": {},
    "GMM-stable": QUICK["GMM-stable"],
    "SC-LS": {"landmarks": 20},
    "SC-Ncut": {},
    "AC": {},
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(networks, "AUTOENCODERS", dict(networks.AUTOENCODERS))
    from models.core import autoencoder

    monkeypatch.setattr(autoencoder, "AUTOENCODERS", networks.AUTOENCODERS)
    before = dict(networks.AUTOENCODERS)
    import test_bits

    monkeypatch.setattr(test_bits, "AUTOENCODERS", networks.AUTOENCODERS)
    small_networks()
    yield
    networks.AUTOENCODERS.update(before)


def is_rounding(name, error):
    """Whether a check failed by the last bits: some CPUs round a row by its place in the batch."""
    far = re.search(r"Max absolute difference among violations: (\S+)", str(error))
    return name.endswith("_invariance") and far is not None and float(far[1]) < 1e-5


def test_rounding_is_told_from_other_answers():
    for change, small in ((1e-6, True), (1e-3, False)):
        with pytest.raises(AssertionError) as caught:
            np.testing.assert_allclose(np.ones(3), np.ones(3) + change, rtol=1e-7)
        assert is_rounding("check_methods_sample_order_invariance", caught.value) is small
        assert not is_rounding("check_clustering", caught.value)
    assert not is_rounding("check_methods_subset_invariance", ValueError("1e-9"))


def test_every_class_is_checked():
    checked = {METHODS[method].path for method in (QUICK | SLOW)}
    assert checked == {row.path for row in METHODS.values()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", QUICK | SLOW)
def test_scikit_learn_has_nothing_to_say(eager, method, monkeypatch):
    if method in SLOW and not os.environ.get("CHECK_ALL"):
        pytest.skip("CHECK_ALL=1 checks every class: some minutes")
    if method in ("N2D", "UMAP+HDBSCAN"):
        pytest.importorskip("umap")
    if method in QUICK:  # a layer will do: many networks are made
        shallow = partial(networks.dense_autoencoder, widths=(9,))
        monkeypatch.setitem(networks.AUTOENCODERS, "fc", shallow)
    k = 3 if method == "AC-GDL" else 4  # it needs more samples than some checks have for 4
    model = build(method, k, **(QUICK | SLOW)[method])
    found = check_estimator(model, on_fail=None, on_skip=None)
    failed = {one["check_name"]: one["exception"] for one in found if one["status"] == "failed"}
    failed = {name: error for name, error in failed.items() if not is_rounding(name, error)}
    expected = NO_DEFAULT | OWN.get(method, set())
    if model.config.needs_images:
        told = {
            name: f"{error} {error.__cause__ or error.__context__}"
            for name, error in failed.items()
            if name not in expected
        }
        assert not {n: e for n, e in told.items() if not re.search("image|network|sparse", e)}
    else:
        assert failed.keys() == expected
        assert len([one for one in found if one["status"] == "passed"]) > 40


def test_the_exceptions_are_in_the_docs():
    page = (ROOT / "docs" / "estimators.md").read_text()
    assert all(f"`{name}`" in page for name in NO_DEFAULT | NO_RULE | SPARSE)


@pytest.mark.parametrize("method", KINDS)
def test_copies_of_all_kinds(method, tmp_path):
    """Of models whose steps ran uncompiled, and whose networks are compiled when they predict."""
    model = build(method, 3, **KINDS[method])
    assert clone(model).config == model.config
    assert pickle.loads(pickle.dumps(model)).get_params() == model.get_params()
    with uncompiled():
        model.fit(X)
    assert (model.predict(X) == model.labels_).all()
    data = pickle.dumps(model)
    assert b"tensorflow" not in data
    stream = io.BytesIO()
    joblib.dump(model, stream)
    stream.seek(0)
    model.save(tmp_path / "model.h5")
    others = [pickle.loads(data), copy.deepcopy(model), joblib.load(stream)]
    for other in [*others, load(tmp_path / "model.h5")]:
        assert (other.predict(X) == model.labels_).all()
        assert (other.labels_ == model.labels_).all() and other.n_iter_ == model.n_iter_
        assert np.array_equal(other.predict_proba(X), model.predict_proba(X))
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, atol=1e-5)
    assert len(model.get_feature_names_out()) == model.transform(X).shape[1]


def test_settings_are_parameters():
    model = build("FcDEC", 3, **STEPS)
    assert {"tol", "lr", "pretrain_epochs", "n_clusters"} <= set(model.get_params())
    model.set_params(maxiter=3, lr=0.5, pretrain_optimizer="adam")
    assert model.config.maxiter == 3 and model.config.optimizer.lr == 0.5
    assert model.get_params()["pretrain_optimizer"] == "adam"
    plain = {"lr": 0.5, "maxiter": 3, "pretrain_optimizer": "adam"}
    assert build("FcDEC", 3, **STEPS | plain).config == model.config
    with user_error("momentum", "adam has none"):
        build("FcDEC", 3, pretrain_optimizer="adam", pretrain_momentum=0.5)
    for wrong in ({"maxitr": 3}, {"maxiter": -1}, {"optimizer": None}):
        with pytest.raises(ValueError) as caught:
            model.set_params(**wrong)
        assert "\n" not in str(caught.value)


def test_grid_search_and_pipeline():
    x = X.reshape(70, 64)
    search = GridSearchCV(
        build("GMM-stable", 2, **QUICK["GMM-stable"]),
        {"n_init": np.arange(1, 3), "n_clusters": [2, 3]},
        cv=2,
        scoring=lambda model, x: model.predict_proba(x).max(axis=1).mean(),
    ).fit(x)
    assert set(search.best_params_) == {"n_init", "n_clusters"}
    pipeline = make_pipeline(StandardScaler(), build("k-means", 3)).fit(x)
    again = pickle.loads(pickle.dumps(pipeline))
    assert (again.predict(x) == pipeline.predict(x)).all()


def test_frames_nullable_numbers_and_sparse_data():
    frame = pd.DataFrame({"a": [1, 2, 8, 9], "b": [0.5, 1, 7, 8]}).convert_dtypes()
    model = build("k-means", 2).set_output(transform="pandas").fit(frame)
    assert list(model.feature_names_in_) == ["a", "b"]
    assert isinstance(model.transform(frame), pd.DataFrame)
    assert (model.predict(frame) == model.labels_).all()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a"]])
    frame.loc[1, "b"] = pd.NA
    with pytest.raises(UserError, match="column 'b': 1 of 4 values are missing"):
        model.fit(frame)
    x = scipy.sparse.csr_matrix(np.eye(6))
    assert len(build("k-means", 2).fit(x).predict(x)) == 6


@pytest.mark.parametrize("method", ["k-means", "AC", "IMSAT-VAT", "SpectralSAT", "FcDEC"])
def test_a_frame_is_fitted_without_a_warning(method, eager):
    frame = pd.DataFrame(X.reshape(70, 64)[:, :9], columns=list("abcdefghi"))
    small = RUNS["IMSAT-VAT"] if method == "IMSAT-VAT" else QUICK.get(method, {})
    small = {"maxiter": 2, "fit_steps": 2, "n_init": 1} if method == "SpectralSAT" else small
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build(method, 3, **small).fit(frame)
    assert list(model.feature_names_in_) == list("abcdefghi")
    assert (model.predict(frame) == model.labels_).all()


def test_a_fit_that_fails_leaves_no_model(eager):
    """What was fitted before, and what was made until then, do not count."""
    x = X.reshape(70, 64)
    model = build("IMSAT-VAT", 3, **RUNS["IMSAT-VAT"] | {"neighbor": 10}).fit(x)
    with user_error("neighbor=10: expected less than n_samples=8"):
        model.fit(x[:8])
    for use in (model.predict, model.transform, model.save):
        with pytest.raises(NotFittedError, match="call fit first"):
            use(x)
    vade = build("VaDE", 3, pretrain_epochs=1, epochs=1)
    with user_error("expected values in"):
        vade.fit(x * 100)
    with pytest.raises(NotFittedError):
        check_is_fitted(vade)


def test_another_fit_forgets_the_data_of_the_first(tmp_path):
    x = X.reshape(70, 64)
    model = build("k-means", 2).fit(x)
    model.kept_, model.prepared_ = novelty.references(x), {"note": "of x"}
    model.save(tmp_path / "first.h5")
    other = load(tmp_path / "first.h5")
    assert other.prepared_ == {"note": "of x"} and "samples" in other.kept_
    other.fit(x + 1000).save(tmp_path / "second.h5")
    again = load(tmp_path / "second.h5")
    assert not hasattr(again, "prepared_") and "samples" not in again.kept_


def test_numbers_that_float32_rounds_are_told():
    """Seconds since 1970: neighbours in float32 are 128 s apart."""
    x = np.random.default_rng(0).normal(size=(40, 2)) * [30.0, 1.0] + [1.7e9, 5.0]
    with pytest.warns(UserWarning, match="columns 0: their numbers differ little for their size"):
        build("k-means", 2).fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("k-means", 2).fit(x - [1.7e9, 0])


@pytest.mark.parametrize("method", ["AC", "AC-GDL"])
def test_memberships_are_by_distances_to_the_means(method):
    x = X.reshape(70, 64)
    model = build(method, 4).fit(x)
    means = np.stack([x[model.labels_ == j].mean(axis=0) for j in range(4)])
    q = 1 / (1 + np.square(x[:, None] - means).sum(axis=2))
    expected = q / q.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(x), expected, rtol=1e-4)


def test_seeds_that_are_drawn():
    x = X.reshape(70, 64)
    model = build("k-means", 3, random_state=None).fit(x)
    again = build("k-means", 3, random_state=model.seed_).fit(x)
    assert (model.labels_ == again.labels_).all()
    states = [np.random.RandomState(5) for _ in range(2)]
    one, two = (build("k-means", 3, random_state=state).fit(x) for state in states)
    assert one.seed_ == two.seed_ and (one.labels_ == two.labels_).all()


PLAIN = """
import os, sys
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, numpy as np
for folder in sys.argv[1:]:
    x = np.load(f"{folder}/x.npy")
    encoder = keras.models.load_model(f"{folder}/encoder.keras")
    both = keras.models.load_model(f"{folder}/autoencoder.keras")
    assert both(x).shape == x.shape
    np.save(f"{folder}/z.npy", encoder(x))
    encoder.save_weights(f"{folder}/encoder.weights.h5")
encoder.export(f"{folder}/saved")
classifier = keras.Sequential([encoder, keras.layers.Dense(10, activation="softmax")])
classifier.compile("adam", "sparse_categorical_crossentropy")
classifier.fit(x, np.arange(len(x)) % 10, epochs=1, verbose=0)
assert not any("deep_clustering" in name or name == "models" for name in sys.modules)
"""


def test_plain_keras_reads_the_networks(tmp_path):
    folders, models = [], []
    for method, scale in (("FcDEC", True), ("ConvDEC-DA", False), ("ConvAE+RS", False)):
        kind = DUAL if method == "ConvAE+RS" else STEPS | {"maxiter": 2}
        kind = kind | {"pretrain_epochs": 1}
        x = X.reshape(70, -1) * 50 + 7 if scale else X
        with uncompiled():
            model = build(method, 3, scale_inputs=scale, **kind).fit(x)
        folder = tmp_path / method
        folder.mkdir()
        np.save(folder / "x.npy", x)
        model.save_keras(folder)
        folders.append(folder)
        models.append(model)
    subprocess.run([sys.executable, "-c", PLAIN, *folders], check=True, cwd=tmp_path)
    for folder, model in zip(folders, models, strict=True):
        codes = model.encode(np.load(folder / "x.npy"))
        np.testing.assert_allclose(np.load(folder / "z.npy"), codes, rtol=1e-4, atol=1e-5)


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "estimators.md").read_text(), re.S)
    assert len(code) == 2
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    with uncompiled():
        model = build("ConvDEC-DA", 3, **STEPS | {"pretrain_epochs": 1, "maxiter": 2}).fit(X)
    model.save_keras("run")
    for part in code:
        names = {"images": X, "few_labels": np.arange(len(X)) % 10}
        with uncompiled():
            exec(part, names)
    assert names["reconstructions"].shape == X.shape
    assert (tmp_path / "encoder_saved_model").is_dir()


CLASSIFIERS = {
    "KINGDRA-LADDER-IM": {"rounds": 1},
    "IMSAT-VAT": {"epochs": 1},
    "DeepRIM": {"epochs": 1},
    "SpectralSAT": {"maxiter": 2, "fit_steps": 2},
    "SpectralSAT-DA": {"maxiter": 2, "fit_steps": 2},
}


@pytest.mark.parametrize("method", CLASSIFIERS)
def test_plain_keras_reads_the_classifiers(method, tmp_path):
    with uncompiled():
        model = build(method, 3, **SETTINGS[method] | CLASSIFIERS[method]).fit(X)
    model.save_keras(tmp_path)
    network = keras.models.load_model(tmp_path / "classifier.keras")
    assert {type(layer).__module__.split(".")[0] for layer in network.layers} == {"keras"}
    p = network(X.reshape(70, *network.input_shape[1:]))
    np.testing.assert_allclose(p, model.memberships(X), atol=1e-5)
    before = [np.asarray(w) for w in network.weights]
    for w in network.weights:
        w.assign(w * 0)
    network.load_weights(tmp_path / "classifier.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(before, network.weights, strict=True))


@pytest.mark.parametrize("method", ["KINGDRA-LADDER-IM", "IMSAT-VAT", "DeepRIM"])
def test_scaled_inputs_have_no_unit(method, tmp_path):
    flat = X.reshape(70, -1)
    own = SETTINGS[method] | CLASSIFIERS[method] | {"scale_inputs": True}
    with uncompiled():
        model, other = (build(method, 3, **own).fit(flat * unit) for unit in (1, 4096))
    p = model.memberships(flat)
    assert np.array_equal(p, other.memberships(flat * 4096))
    other.save(tmp_path / "model.h5")
    other.save_keras(tmp_path)
    for found in (load(tmp_path / "model.h5"), pickle.loads(pickle.dumps(other))):
        assert np.array_equal(found.memberships(flat * 4096), p)
    network = keras.models.load_model(tmp_path / "classifier.keras")
    np.testing.assert_allclose(network(flat * 4096), p, atol=1e-5)


def test_a_phase_that_diverges_starts_over():
    lines = []

    class Monitor:
        def __getattr__(self, name):
            return lambda *args, **others: lines.append(args[0]) if name == "warn" else None

    x = StandardScaler().fit_transform(np.random.default_rng(0).normal(size=(60, 4)) ** 3)
    settings = {"pretrain_epochs": 30, "maxiter": 40, "n_init": 2, "pretrain_lr": 1000.0}
    model = build("FcIDEC", 3, monitor=Monitor())
    settings["lr"] = 1.0
    model.set_params(**settings).fit(x)
    assert len(np.unique(model.labels_)) > 1
    assert any("starts over with a learning rate of 100" in line for line in lines)
    again = build("FcIDEC", 3).set_params(**settings).fit(x)
    assert (again.labels_ == model.labels_).all()
