"""The papers' settings: (method, data set) -> a record, each number with its source.

Sources: [P] paper, [C] released code. No TensorFlow here.

Departures: docs/methods/
"""

from dataclasses import replace

from common.errors import UserError, unknown
from models.settings.base import (
    SGD,
    Adam,
    AEConfig,
    ASPCConfig,
    Config,
    GDLConfig,
    GMMConfig,
    KMeansConfig,
    LandmarkConfig,
    NcutConfig,
    NMFConfig,
    PretrainConfig,
    UMAPConfig,
    WardConfig,
)
from models.settings.dscdan import DSCDANConfig, DualConfig, SpectralNetConfig
from models.settings.kingdra import IMSATConfig, KingdraConfig

# Fc: SGD(1.0, 0.9), 500 epochs, batch 256 [P 4.1, C]; Conv: Adam default, 500 epochs [P 4.1, C].
FC = Config(network="fc", pretrain_optimizer=SGD(1.0, 0.9))
CONV = Config(network="conv", pretrain_optimizer=Adam(1e-3), optimizer=Adam(1e-3))

FAMILIES = {
    "FcDEC": replace(FC, alpha=0.0, beta=1.0, optimizer=SGD(0.01, 0.9)),  # [P 4.1, C]
    "FcIDEC": replace(FC, alpha=1.0, beta=0.1, optimizer=SGD(1.0, 0.9)),  # [P 4.1, C]
    "FcDCN": replace(FC, alpha=0.0, beta=1.0, optimizer=Adam(1e-4), update_interval=None),  # [P]
    "ConvDEC": replace(CONV, alpha=0.0, beta=1.0),  # [P 4.1, C]
    "ConvIDEC": replace(CONV, alpha=1.0, beta=0.1),  # [P 4.1, C]
}
# "-DA" augments both stages and changes nothing else [P 4.1].
CONFIGS = {
    name + suffix: replace(config, aug_pretrain=bool(suffix), aug_cluster=bool(suffix))
    for name, config in FAMILIES.items()
    for suffix in ("", "-DA")
}

# ASPC: Adam 1e-4, T = 100, delta = 0.001; stage 1 is FcDEC's [P Table 2, C].
ASPC = ASPCConfig(network="fc", pretrain_optimizer=SGD(1.0, 0.9), optimizer=Adam(1e-4))
ASPC_DA = replace(ASPC, aug_pretrain=True, aug_cluster=True)
CONFIGS |= {
    "BasicDC": replace(ASPC, self_paced=False),  # Table 5, row 1
    "ASPC": ASPC,  # Table 5, row 2
    "ASPC-DA": ASPC_DA,
    "ASPC-DA-SC": replace(ASPC_DA, init="spectral"),  # Table 6
    "ASPC-DA-AC": replace(ASPC_DA, init="agglomerative"),
    "ASPC-DA-GMM": replace(ASPC_DA, init="gmm"),
    # Not in the paper: ASPC over the convolutional auto-encoder, pretrained as ConvDEC's.
    "ConvASPC": replace(ASPC, network="conv", pretrain_optimizer=Adam(1e-3)),
    "ConvASPC-DA": replace(ASPC_DA, network="conv", pretrain_optimizer=Adam(1e-3)),
}

# k-means on the codes of an auto-encoder, pretrained as FcDEC's (DEC-DA, Table 5). The noise of
# the denoising one is not given; 20 % is that of DEC's pretraining [P dec].
AE = AEConfig(network="fc", pretrain_optimizer=SGD(1.0, 0.9))
CONFIGS |= {
    "AE+k-means": AE,
    "DAE+k-means": replace(AE, noise=0.2),
    "AE+k-means-DA": replace(AE, aug_pretrain=True),
    # On the input itself; sources in models/settings/base.py, choices in docs/methods/baselines.md.
    "k-means": KMeansConfig(),
    "NMF": NMFConfig(),
    "SC-Ncut": NcutConfig(),
    "SC-LS": LandmarkConfig(),
    "AC": WardConfig(),
    "AC-GDL": GDLConfig(),
    "GMM": GMMConfig(),
    "UMAP+HDBSCAN": UMAPConfig(),
}

# DSCDAN's Table 4; sources of the numbers in models/settings/dscdan.py, docs/methods/dscdan.md.
CONVAE = DualConfig()
CONFIGS |= {
    "ConvAE": replace(CONVAE, relative=0.0, mutual=0.0, prior=0.0),
    "ConvAE+MI": replace(CONVAE, relative=0.0),
    # Without the prior nothing keeps the encoder's own noise from vanishing: the paper's noise.
    "ConvAE+RS": replace(CONVAE, mutual=0.0, prior=0.0, psi="multiplicative"),
    "ConvAE+MI+RS": CONVAE,
    "DSCDAN": DSCDANConfig(head_starts=1),
    # Not in the paper: of five starts of the head the one with the lowest spectral loss.
    "DSCDAN-restarts": DSCDANConfig(head_starts=5),
    # The released code: filters, weights of both stages, graph, labels; see docs/methods/dscdan.md.
    "DSCDAN-code": DSCDANConfig(
        filters=(32, 32, 64, 64), original=2.5, relative=5.0, mutual=0.01, prior=1.0,
        psi="reparameterised", pairs="code", train_discriminators=False, prior_of="classes",
        n_neighbors=4, sigma=2.62, class_means="pretrained", compare="noisy", cluster_original=5.0,
        cluster_relative=2.5, cluster_mutual=0.001, cluster_prior=1.5, cluster_entropy=1.0,
        spectral_steps=0, final="argmax",
    ),
    # Not in the paper: the head starts from spectral clustering of all codes, whose number of
    # eigenvectors the lowest cut chooses.
    "DSCDAN-spectral-init": DSCDANConfig(head_init="spectral", spectral_steps=0),
    # SpectralNet's released settings for MNIST; the auto-encoder is FcDEC's.
    "SpectralNet": SpectralNetConfig(network="fc", pretrain_optimizer=SGD(1.0, 0.9)),
}  # fmt: skip

# The released configs give the ensemble with pseudo-labels; LADDER-IM is the code's class of that
# name, 15 rounds of 3 passes without pseudo-labels [C].
KINGDRA = KingdraConfig()
LADDER = KingdraConfig(rounds=15, epochs_first=3, epochs=3, pseudo_labels=False)
CONFIGS |= {
    "KINGDRA-LADDER-IM": KINGDRA,
    "KINGDRA-LADDER-DOT": replace(KINGDRA, clustering_loss="dot"),
    "LADDER-IM": replace(LADDER, members=1, high=1, low=1),
    "LADDER-IM-ensemble": LADDER,
    "LADDER-DOT": replace(LADDER, members=1, high=1, low=1, clustering_loss="dot"),
    "IMSAT-RPT": IMSATConfig(perturbation="rpt"),
    "IMSAT-VAT": IMSATConfig(),
}
# Kingdra by data set [C configs]; MNIST's for every other one. The second record is of the
# ensemble and its rounds only.
KINGDRA_SETS = {
    "mnist": ({}, {"rounds": 50}),
    "20news": ({"mi_weight": 0.2}, {"rounds": 10, "confidence": 0.0}),
    "cifar10": (
        {"mi_weight": 1.0, "kl_weight": 0.0, "last_bn": True, "optimizer": Adam(0.02)},
        {"rounds": 30, "epochs_first": 1, "epochs": 1, "confidence": 0.0, "vote": "first",
         "mi_weight_later": 0.5},
    ),
    "reuters10k": (
        {"mi_weight": 0.2, "noise_std": 3.0},
        {"rounds": 10, "epochs": 6, "of_ten": (8, 2), "confidence": 0.0},
    ),
    "stl10": (
        {"mi_weight": 0.2, "noise_std": 1.0, "last_bn": True},
        {"rounds": 30, "epochs_first": 6, "epochs": 6, "confidence": 0.0, "mi_weight_later": 0.0},
    ),
}  # fmt: skip

INTERVALS = {"mnist": 140, "fmnist": 140, "mnist-test": 30, "usps": 30}  # steps [C run_exp]
DIGITS_EPOCHS = 250  # ours: a first run of a minute or two; no paper has this set
# Channels and kernels of DSCDAN's Table 2; digits, 8x8 pixels, are in no paper.
DUAL = {"usps": {"filters": (16, 32)}, "ytf": {"kernel": 5}, "digits": {"filters": (16, 32)}}
LARGE = 20000  # samples from which the update interval is 140 steps; 30 below [C run_exp]


def preset(method, dataset=None, n=None):
    """Return the published settings of a method on a data set.

    Parameters
    ----------
    method : str
        A key of `CONFIGS`, matched exactly.
    dataset : str, optional
        A data set's name, for settings that differ between sets.
    n : int, optional
        Number of samples, which decides the update interval of DEC and IDEC.

    Raises
    ------
    UserError
        If the method is unknown.
    """
    if method not in CONFIGS:
        raise UserError(unknown("method", method, CONFIGS))
    config = CONFIGS[method]
    interval = config.update_interval if isinstance(config, Config) else None
    if interval is not None and (n is not None or dataset in INTERVALS):
        by_size = 140 if (n or 0) >= LARGE else 30
        config = replace(config, update_interval=INTERVALS[dataset] if n is None else by_size)
    if isinstance(config, ASPCConfig) and dataset == "fmnist":
        config = replace(config, epochs=10)  # [C]; the paper says 100 on every set
    if isinstance(config, KingdraConfig):
        network, ensemble = KINGDRA_SETS.get(dataset, KINGDRA_SETS["mnist"])
        config = replace(config, **network, **(ensemble if config.pseudo_labels else {}))
    if isinstance(config, DualConfig):
        changes = dict(DUAL.get(dataset, {}))
        if "filters" in changes:  # the first and the last of the method's own
            changes["filters"] = (config.filters[0], config.filters[-1])
        config = replace(config, **changes)
    elif isinstance(config, PretrainConfig) and dataset == "digits":
        config = replace(config, pretrain_epochs=DIGITS_EPOCHS)
    return config


def without_effect(method, config):
    """Return {setting: why} of the settings that change nothing for a method under a config.

    They are in the config, and in its hash, because methods share records of settings.
    """
    c = config
    found = {}

    def none(names, why, unless=False):
        for name in () if unless else names.split():
            found.setdefault(name, why)

    if isinstance(c, PretrainConfig):
        stages = c.aug_pretrain or getattr(c, "aug_cluster", False)
        none("shift shift_pixels rotation center", "no stage is augmented", stages)
        none("shift", f"shift_pixels={c.shift_pixels:g} takes its place" if c.shift_pixels
             is not None else "", c.shift_pixels is None)  # fmt: skip
        none("center", "there is no rotation", c.rotation)
    if isinstance(c, Config) and (isinstance(c, ASPCConfig) or "DCN" in method):
        none("alpha", "its loss has no reconstruction term")
    if isinstance(c, ASPCConfig):
        none("selection", "every sample is selected", c.self_paced)
        none("selection", "the cluster stage is not augmented", c.aug_cluster)
        none("n_init", f"init={c.init}, not k-means", c.init == "k-means")
    if isinstance(c, DualConfig):
        noisy = [c.relative, c.mutual, c.code == "draw"]
        if isinstance(c, DSCDANConfig):
            noisy += [c.cluster_relative, c.cluster_mutual, c.compare == "noisy"]
        none("psi psi_variance", "no loss sees noisy codes", any(noisy))
        none("psi_variance", f"psi={c.psi}", c.psi == "multiplicative")
        none("pairs train_discriminators", "mutual=0", c.mutual)
        none("prior_of", "prior=0", c.prior)
    if isinstance(c, DSCDANConfig):
        none("head_starts", "spectral_steps=0", c.spectral_steps)
        none("scale_neighbor", f"sigma={c.sigma} takes its place", c.sigma is None)
        none("class_means", "cluster_prior=0", c.cluster_prior)
    if isinstance(c, SpectralNetConfig):
        none("siamese siamese_neighbors siamese_batch siamese_patience", "siamese_epochs=0",
             c.siamese_epochs)  # fmt: skip
        none("scale_neighbor", f"sigma={c.sigma} takes its place", c.sigma is None)
    if isinstance(c, KingdraConfig):
        none("epochs high low confidence", "there are no pseudo-labels", c.pseudo_labels)
        none("vote alignment", "there is one member", c.members > 1)
        none("mi_mu", "clustering_loss=dot", c.clustering_loss == "im")
    if isinstance(c, IMSATConfig):
        none("power_iterations xi", f"perturbation={c.perturbation}", c.perturbation == "vat")
    return found


def refuse_without_effect(method, config, names):
    """Raise UserError if one of the settings that somebody has chosen changes nothing."""
    found = without_effect(method, config)
    for name in names:
        if name in found:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} has no effect for {method}: {found[name]}")
