import dataclasses
import json
import math

import numpy as np
import pytest

from common.errors import UserError
from models import METHODS, build
from models.settings.aspc import ASPCConfig
from models.settings.base import PretrainConfig, digest
from models.settings.dec_da import AEConfig, Config
from models.settings.fields import SGD, Adam
from models.settings.presets import CONFIGS as EVERY
from models.settings.presets import preset

LAYERWISE = ("SAE+k-means", "DEC", "IDEC", "DCN")  # in test_layerwise.py
CONFIGS = {name: c for name, c in EVERY.items() if isinstance(c, Config) and name not in LAYERWISE}
FC_PRETRAIN, CONV_PRETRAIN = SGD(1.0, 0.9), Adam(1e-3)
# PAPERS.md 3.2-3.4: method, network, augmented, pretraining, clustering, alpha, beta.
TABLE = [
    ("FcDEC", "fc", False, FC_PRETRAIN, SGD(0.01, 0.9), 0, 1),
    ("FcDEC-DA", "fc", True, FC_PRETRAIN, SGD(0.01, 0.9), 0, 1),
    ("FcIDEC", "fc", False, FC_PRETRAIN, SGD(1.0, 0.9), 1, 0.1),
    ("FcIDEC-DA", "fc", True, FC_PRETRAIN, SGD(1.0, 0.9), 1, 0.1),
    ("FcDCN", "fc", False, FC_PRETRAIN, Adam(1e-4), 0, 1),
    ("FcDCN-DA", "fc", True, FC_PRETRAIN, Adam(1e-4), 0, 1),
    ("ConvDEC", "conv", False, CONV_PRETRAIN, Adam(1e-3), 0, 1),
    ("ConvDEC-DA", "conv", True, CONV_PRETRAIN, Adam(1e-3), 0, 1),
    ("ConvIDEC", "conv", False, CONV_PRETRAIN, Adam(1e-3), 1, 0.1),
    ("ConvIDEC-DA", "conv", True, CONV_PRETRAIN, Adam(1e-3), 1, 0.1),
]
# PAPERS.md 4.2 and 7.5-7.6: method, network, augmented, self-paced, initialisation.
ASPC_TABLE = [
    ("BasicDC", "fc", False, False, "k-means"),
    ("ASPC", "fc", False, True, "k-means"),
    ("ASPC-DA", "fc", True, True, "k-means"),
    ("ASPC-DA-SC", "fc", True, True, "spectral"),
    ("ASPC-DA-AC", "fc", True, True, "agglomerative"),
    ("ASPC-DA-GMM", "fc", True, True, "gmm"),
    ("ASPC-DA-RCC", "fc", True, True, "k-means"),  # of no effect: it is RCC
    ("ConvASPC", "conv", False, True, "k-means"),
    ("ConvASPC-DA", "conv", True, True, "k-means"),
]
# PAPERS.md 7.3, Table 5: method -> (augmented, noise).
AE_TABLE = {"AE+k-means": (False, 0), "DAE+k-means": (False, 0.2), "AE+k-means-DA": (True, 0)}
# What the papers or the authors' code say of the baselines.
BASELINES = {
    "k-means": {"n_init": 20},
    "NMF": {},
    "SC-Ncut": {},
    "AC": {},
    "GMM": {},
    "GMM-stable": {},
    "SC-LS": {"landmarks": 1000, "n_neighbors": 5, "sigma": None, "n_init": 10},
    "AC-GDL": {"n_neighbors": 20, "scale": 1.0},
    "RCC": {"n_neighbors": 10, "metric": "cosine", "maxiter": 100},
    "UMAP+HDBSCAN": {
        "n_neighbors": 30,
        "min_dist": 0.0,
        "components": 2,
        "min_samples": 10,
        "min_share": 500 / 70000,
    },
}
# PAPERS.md 3.4: data set, samples, update interval of the DEC and IDEC methods.
INTERVALS = [
    ("mnist", 70000, 140),
    ("fmnist", 70000, 140),
    ("mnist-test", 10000, 30),
    ("usps", 9298, 30),
]


# -- the papers' settings -------------------------------------------------------------------------

KINGDRA = (
    "KINGDRA-LADDER-IM",
    "KINGDRA-LADDER-DOT",
    "LADDER-IM",
    "LADDER-IM-ensemble",
    "LADDER-DOT",
    "IMSAT-RPT",
    "IMSAT-VAT",
)  # in test_kingdra.py


def test_the_methods():
    assert list(METHODS) == list(EVERY)
    assert sorted(CONFIGS) == sorted(row[0] for row in TABLE + ASPC_TABLE)
    elsewhere = {name for name in EVERY if "DSCDAN" in name or "ConvAE" in name}  # test_dscdan.py
    elsewhere |= {
        "SpectralNet",
        *KINGDRA,
        "N2D",
        "VaDE",
        *LAYERWISE,
        "DeepRIM",
        "SpectralSAT",
        "SpectralSAT-DA",
    }  # test_n2d.py, test_vade.py
    assert set(EVERY) - set(CONFIGS) == {*AE_TABLE, *BASELINES, *elsewhere}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_preset_is_the_papers(row):
    method, network, augmented, pretraining, clustering, alpha, beta = row
    c = preset(method)
    assert (c.network, c.latent_dim, c.batch_size, c.n_init) == (network, 10, 256, 20)
    assert (c.aug_pretrain, c.aug_cluster) == (augmented, augmented)
    assert (c.shift, c.shift_pixels, c.rotation, c.center) == (0.1, None, 10.0, "original")
    assert (c.pretrain_optimizer, c.pretrain_epochs) == (pretraining, 500)
    assert (c.optimizer, c.alpha, c.beta) == (clustering, alpha, beta)
    assert (c.maxiter, c.tol) == (20000, 1e-3)


@pytest.mark.parametrize("row", ASPC_TABLE, ids=lambda row: row[0])
def test_ASPC_preset_is_the_papers(row):
    method, network, augmented, self_paced, init = row
    c = preset(method)
    assert (c.network, c.latent_dim, c.batch_size, c.n_init) == (network, 10, 256, 20)
    assert (c.aug_pretrain, c.aug_cluster) == (augmented, augmented)
    assert (c.shift, c.shift_pixels, c.rotation, c.center) == (0.1, None, 10.0, "original")
    assert c.pretrain_optimizer == (FC_PRETRAIN if network == "fc" else CONV_PRETRAIN)
    assert (c.pretrain_epochs, c.optimizer, c.beta) == (500, Adam(1e-4), 1)
    assert (c.epochs, c.maxiter, c.update_interval, c.tol) == (100, None, None, 1e-3)
    assert (c.self_paced, c.init, c.selection) == (self_paced, init, "clean")
    for dataset, n, _ in INTERVALS:
        assert preset(method, dataset, n).epochs == (10 if dataset == "fmnist" else 100)
        assert preset(method, dataset, n).update_interval is None


@pytest.mark.parametrize("method", AE_TABLE)
def test_AE_preset_is_the_papers(method):
    c = preset(method, "usps", 9298)
    assert (c.network, c.latent_dim, c.batch_size, c.n_init) == ("fc", 10, 256, 20)
    assert (c.pretrain_optimizer, c.pretrain_epochs) == (FC_PRETRAIN, 500)
    assert (c.aug_pretrain, c.noise) == AE_TABLE[method]


@pytest.mark.parametrize("method", BASELINES)
def test_baseline_preset_is_its_authors(method):
    c = preset(method, "mnist", 70000)
    assert {name: getattr(c, name) for name in BASELINES[method]} == BASELINES[method]
    assert not isinstance(c, PretrainConfig) and not c.needs_images and c.pretrain_dict() == {}


@pytest.mark.parametrize("method", [row[0] for row in TABLE])
@pytest.mark.parametrize(("dataset", "n", "interval"), INTERVALS)
def test_update_interval(method, dataset, n, interval):
    expected = None if "DCN" in method else interval
    assert preset(method, dataset, n).update_interval == expected


@pytest.mark.parametrize(("dataset", "n", "interval"), INTERVALS)
def test_update_interval_by_name_alone(dataset, n, interval):
    assert preset("FcDEC", dataset).update_interval == interval


def test_augmentation_is_all_that_DA_changes():
    for method in CONFIGS:
        if method.endswith("-DA"):  # not ASPC-DA-SC and its like, which have no counterpart
            without = dataclasses.replace(CONFIGS[method], aug_pretrain=False, aug_cluster=False)
            assert without == CONFIGS[method.removesuffix("-DA")]


@pytest.mark.parametrize("name", ["fcdec", "FcDEC-da", "dec", "FcDEC ", "ConvDCN", "", None])
def test_method_names_are_exact(name):
    with pytest.raises(UserError, match="unknown method .*choose from .*FcDEC-DA"):
        preset(name)
    with pytest.raises(UserError, match="unknown method"):
        build(name, 10)


def test_unknown_method_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean 'ConvIDEC-DA'"):
        preset("convidec-da")


# -- the record -----------------------------------------------------------------------------------

BAD = [
    (name, value)
    for names, values in [
        (("batch_size", "latent_dim", "n_init", "update_interval"), (0, -3, 2.0, "8", True)),
        (("batch_size", "latent_dim", "n_init"), (None,)),
        (("pretrain_epochs", "maxiter"), (-1, 1.5, "10", False, None, math.nan)),
        (("alpha", "beta", "tol"), (-0.5, math.nan, math.inf, "1", True, None)),
        (("shift",), (-0.1, 1.0, math.nan, "0.1", False, None)),
        (("shift_pixels",), (-3, math.inf, math.nan, "3", True)),
        (("rotation",), (-10, 181, math.nan, "10", True, None)),
        (("network",), ("dense", "FC", "", None, 0)),
        (("center",), ("middle", None, 0.5)),
        (("aug_pretrain", "aug_cluster"), ("no", None, 2)),
        (("optimizer", "pretrain_optimizer"), ("adam", None, 0.01, SGD)),
    ]
    for name in names
    for value in values
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda v: str(v))
def test_bad_value_is_named(name, value):
    with pytest.raises(UserError) as caught:
        Config(**{name: value})
    assert name in str(caught.value) and repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("epochs", value) for value in (0, -1, 1.5, "10", True, None)],
        ("selection", "dirty"),
        ("init", "kmeans"),
        ("init", None),
        ("self_paced", "no"),
        ("update_interval", 30),
        ("maxiter", -1),
        ("batch_size", 0),
    ],
    ids=str,
)
def test_bad_value_of_ASPC_is_named(name, value):
    with pytest.raises(UserError) as caught:
        ASPCConfig(**{name: value})
    assert name in str(caught.value) and repr(value) in str(caught.value)


BAD_BASELINES = [
    (method, name, value)
    for method, name, values in [
        ("AE+k-means", "noise", (-0.1, 1, "0.2", None)),
        ("k-means", "n_init", (0, 2.0, None)),
        ("NMF", "maxiter", (0, 1.5)),
        ("SC-Ncut", "n_neighbors", (1, 2.5)),
        ("SC-LS", "landmarks", (0, 1e3)),
        ("SC-LS", "sigma", (0, -1, math.nan)),
        ("AC-GDL", "scale", (0, math.inf)),
        ("GMM", "covariance", ("round", None)),
        ("GMM", "reg_covar", (-1e-6, "0")),
        ("RCC", "n_neighbors", (0, 2.5)),
        ("RCC", "metric", ("l1", None)),
        ("UMAP+HDBSCAN", "min_share", (-0.1, 1)),
        ("UMAP+HDBSCAN", "components", (0, True)),
    ]
    for value in values
]


@pytest.mark.parametrize(("method", "name", "value"), BAD_BASELINES, ids=str)
def test_bad_value_of_a_baseline_is_named(method, name, value):
    with pytest.raises(UserError) as caught:
        dataclasses.replace(EVERY[method], **{name: value})
    assert name in str(caught.value) and repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["optimizer", "pretrain_optimizer"])
@pytest.mark.parametrize("make", [SGD, Adam])
@pytest.mark.parametrize("lr", [0, -0.01, math.nan, math.inf, True, "0.1", None])
def test_bad_learning_rate_is_named(name, make, lr):
    with pytest.raises(UserError) as caught:
        Config(**{name: make(lr)})
    assert "lr" in str(caught.value) and repr(lr) in str(caught.value)


@pytest.mark.parametrize("momentum", [1, 1.0, -0.1, math.nan, math.inf, True, "0.9", None])
def test_bad_momentum_is_named(momentum):
    with pytest.raises(UserError) as caught:
        Config(optimizer=SGD(0.1, momentum))
    assert f"momentum={momentum!r}" in str(caught.value)


@pytest.mark.parametrize(
    "good",
    [
        {"batch_size": 1, "latent_dim": 1, "n_init": 1, "update_interval": 1},
        {"pretrain_epochs": 0, "maxiter": 0, "alpha": 0, "beta": 0, "tol": 0},
        {"update_interval": None, "shift_pixels": None},
        {"shift": 0, "rotation": 0, "shift_pixels": 0},
        {"shift": 0.99, "rotation": 180, "shift_pixels": 2.5, "tol": 1},
        {"optimizer": SGD(1, 0), "pretrain_optimizer": Adam(1)},
    ],
    ids=str,
)
def test_limits_are_allowed(good):
    config = Config(**good)
    assert {name: getattr(config, name) for name in good} == good


def test_replace_validates_too():
    with pytest.raises(UserError, match="batch_size=0"):
        dataclasses.replace(Config(), batch_size=0)


def test_frozen():
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.tol = 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.optimizer.lr = 0.5


@pytest.mark.parametrize("method", sorted(CONFIGS))
def test_round_trip_through_json(method):
    config = dataclasses.replace(CONFIGS[method], shift_pixels=3.0, tol=0.25, maxiter=7)
    there = json.loads(json.dumps(config.to_dict()))
    back = type(config).from_dict(there)
    assert back == config and type(back) is type(config)
    assert type(back.optimizer) is type(config.optimizer)
    assert there["maxiter"] == 7  # from_dict leaves its argument as it was
    assert isinstance(there["optimizer"], dict) and "name" in there["optimizer"]


@pytest.mark.parametrize("method", [*AE_TABLE, *BASELINES])
def test_round_trip_of_a_baseline_through_json(method):
    config = EVERY[method]
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_from_dict_names_unknown_settings():
    with pytest.raises(UserError, match="unknown setting 'batchsize'; did you mean 'batch_size'"):
        Config.from_dict({"batchsize": 3})


@pytest.mark.parametrize(
    "record",
    [{"name": "rmsprop", "lr": 0.1}, {"lr": 0.1}, {"name": "adam", "lr": 0.1, "momentum": 0.9}],
    ids=str,
)
def test_from_dict_names_unknown_optimizers(record):
    with pytest.raises(UserError):
        Config.from_dict({"optimizer": record})


def test_float32_is_not_told_and_bfloat16_is():
    """So that runs from before there was a choice keep their hash."""
    assert "precision" not in Config().to_dict() and Config.from_dict({}).precision == "float32"
    half = Config(precision="bfloat16")
    assert half.to_dict()["precision"] == "bfloat16" and Config.from_dict(half.to_dict()) == half


def test_from_dict_validates():
    with pytest.raises(UserError, match="tol=-1"):
        Config.from_dict({"tol": -1})


def test_build_overrides_and_names_unknown_settings():
    model = build("FcDEC", 4, tol=0.5, maxiter=9, cache_dir="there", random_state=3)
    assert (model.config.tol, model.config.maxiter) == (0.5, 9)
    assert (model.n_clusters, model.cache_dir, model.random_state) == (4, "there", 3)
    assert model.config.optimizer == SGD(0.01, 0.9)
    with pytest.raises(UserError, match="unknown setting 'max_iter'; did you mean 'maxiter'"):
        build("FcDEC", 4, max_iter=9)
    with pytest.raises(UserError, match="tol=-1"):
        build("FcDEC", 4, tol=-1)


def test_digits_are_pretrained_for_half_as_long():
    assert preset("FcDEC-DA", "digits", 1797).pretrain_epochs == 250
    assert preset("FcDEC-DA", "usps", 9298).pretrain_epochs == 500
    assert preset("k-means", "digits", 1797) == EVERY["k-means"]


# -- what pretraining depends on ------------------------------------------------------------------


def key(config):
    return digest(config.pretrain_dict())


def test_methods_share_pretraining_by_network_and_augmentation():
    groups = {}
    for method, config in CONFIGS.items():
        groups.setdefault(key(config), set()).add(method)
    assert sorted(map(sorted, groups.values())) == [
        ["ASPC", "BasicDC", "FcDCN", "FcDEC", "FcIDEC"],
        ["ASPC-DA"]
        + [f"ASPC-DA-{start}" for start in ("AC", "GMM", "RCC", "SC")]
        + ["FcDCN-DA", "FcDEC-DA", "FcIDEC-DA"],
        ["ConvASPC", "ConvDEC", "ConvIDEC"],
        ["ConvASPC-DA", "ConvDEC-DA", "ConvIDEC-DA"],
    ]


def test_AE_shares_the_pretraining_of_the_deep_methods_but_for_noise():
    assert key(EVERY["AE+k-means"]) == key(CONFIGS["FcDEC"])
    assert key(EVERY["AE+k-means-DA"]) == key(CONFIGS["FcDEC-DA"])
    assert key(AEConfig(network="conv", pretrain_optimizer=Adam(1e-3))) == key(CONFIGS["ConvDEC"])
    assert key(EVERY["DAE+k-means"]) not in {key(config) for config in CONFIGS.values()}
    assert key(AEConfig(noise=0.1)) != key(AEConfig(noise=0.2))


CLUSTERING = {
    "n_init": 3,
    "init": "gmm",
    "optimizer": Adam(0.5),
    "alpha": 0.3,
    "beta": 0.4,
    "maxiter": 5,
    "update_interval": 7,
    "tol": 0.9,
    "aug_cluster": False,
}
PRETRAINING = {
    "network": "conv",
    "latent_dim": 5,
    "batch_size": 32,
    "aug_pretrain": False,
    "pretrain_shuffles": 1,
    "shift": 0.2,
    "shift_pixels": 3,
    "rotation": 20,
    "center": "true",
    "pretrain_optimizer": SGD(0.5, 0.9),
    "pretrain_epochs": 3,
    "precision": "bfloat16",
    "scale_inputs": True,
}


def test_every_setting_is_of_one_kind():
    names = {f.name for f in dataclasses.fields(Config)}
    assert names == set(CLUSTERING) | set(PRETRAINING)


@pytest.mark.parametrize(("name", "value"), CLUSTERING.items())
def test_clustering_settings_do_not_change_the_pretraining(name, value):
    base = CONFIGS["FcDEC-DA"]
    assert key(dataclasses.replace(base, **{name: value})) == key(base)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 3), ("self_paced", False), ("selection", "augmented"), ("init", "gmm")],
)
def test_settings_of_ASPC_do_not_change_the_pretraining(name, value):
    base = CONFIGS["ASPC-DA"]
    assert key(dataclasses.replace(base, **{name: value})) == key(CONFIGS["FcDEC-DA"])


@pytest.mark.parametrize(("name", "value"), PRETRAINING.items())
def test_pretraining_settings_change_the_pretraining(name, value):
    base = CONFIGS["FcDEC-DA"]
    assert key(dataclasses.replace(base, **{name: value})) != key(base)


@pytest.mark.parametrize(
    "name", ["shift", "shift_pixels", "rotation", "center", "pretrain_shuffles"]
)
def test_augmentation_does_not_matter_where_it_is_off(name):
    base = CONFIGS["FcDEC"]
    assert key(dataclasses.replace(base, **{name: PRETRAINING[name]})) == key(base)


def test_only_augmented_pretraining_has_a_second_protocol():
    """So that weights, keys and rows of the others stay valid."""
    for config in (CONFIGS["FcDEC"], CONFIGS["ConvIDEC"], EVERY["DAE+k-means"]):
        assert (config.pretrain_protocol, config.shuffles) == (1, 1)
    for config in (CONFIGS["FcDEC-DA"], CONFIGS["ASPC-DA"], EVERY["AE+k-means-DA"]):
        assert (config.pretrain_protocol, config.shuffles) == (2, 8)


def test_digest_ignores_the_order_of_keys_and_nothing_else():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert len({digest({"a": v}) for v in (1, 2, "1", None, [1], 1.5)}) == 6
    assert len(digest({}, 7)) == 7


@pytest.mark.parametrize(
    ("method", "changes"),
    [("k-means", {"n_init": 3}), ("FcDEC-DA", {"rotation": 10, "tol": 0.5, "aug_pretrain": True})],
)
def test_numbers_of_numpy_and_integers_are_the_same_settings(method, changes):
    """A grid is np.arange(...); 10 and 10.0 share a pretraining."""
    plain = build(method, 3, **{n: float(v) if n == "rotation" else v for n, v in changes.items()})
    numpy = build(method, 3, **{n: np.array(v)[()] for n, v in changes.items()})
    assert plain.config.to_dict() == numpy.config.to_dict()
    assert json.dumps(plain.config.to_dict()) == json.dumps(numpy.config.to_dict())
    later = build(method, 3).set_params(
        **{n: np.array(v)[()] for n, v in changes.items() if n != "aug_pretrain"}
    )
    assert later.config == plain.config


@pytest.mark.parametrize(
    "changes", [{"high": 10}, {"members": 3, "high": 3}, {"low": 9, "high": 3}]
)
def test_thresholds_that_no_ensemble_can_pass(changes):
    with pytest.raises(UserError, match="expected low <= high < members"):
        build("KINGDRA-LADDER-IM", 3, **changes)
    build("KINGDRA-LADDER-IM", 3, **changes, pseudo_labels=False)


def test_an_ensemble_of_ladders_has_the_published_thresholds():
    some = build("LADDER-IM", 3, members=10, pseudo_labels=True).config
    assert some.thresholds == build("KINGDRA-LADDER-IM", 3).config.thresholds == (9, 1)
