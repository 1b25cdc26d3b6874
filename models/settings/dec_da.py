"""Settings of DEC-DA (Guo et al., ACML 2018): DEC, IDEC, DCN, k-means on codes.

Sources: [P] paper, [C] released code. No TensorFlow here.

Departures: docs/methods/dec-da.md
"""

from dataclasses import dataclass, replace

from models.settings.base import PretrainConfig
from models.settings.fields import IN_ORDER, SGD, Adam, pretrain, setting, unused
from models.settings.method import Method


@dataclass(frozen=True)
class Config(PretrainConfig):
    """Everything that decides a run's result besides method, data, K and seed.

    L = alpha * Lr + beta * Lc (DEC-DA sec. 3); Lr is the reconstruction error, a mean over inputs
    and batch, Lc the clustering loss, summed over clusters (KL) or latent dimensions (distance)
    and averaged over the batch.
    """

    aug_cluster: bool = setting(False, "augment in clustering")
    optimizer: SGD | Adam = setting(SGD(0.01, 0.9), "optimizer of clustering")
    alpha: float = setting(0.0, "weight of the reconstruction loss in clustering", ge=0)
    beta: float = setting(1.0, "weight of the clustering loss", ge=0)
    maxiter: int = setting(20000, "clustering steps at most", ge=0)
    update_interval: int | None = setting(140, "steps between refreshes of the targets", ge=1)
    tol: float = setting(1e-3, "stop below this share of changed labels", ge=0)


@dataclass(frozen=True)
class DECConfig(Config):
    """DEC's and IDEC's: those of `Config`, and the order of batches."""

    shuffle: bool = setting(False, IN_ORDER, omit="hash")


@dataclass(frozen=True)
class DCNConfig(Config):
    """DCN's: targets of one epoch, and no reconstruction term."""

    clustering_protocol = 2  # 1: each epoch's centre was the mean of the last codes: collapse

    alpha: float = unused(0.0, "its loss has no reconstruction term", ge=0)
    update_interval: int | None = setting(
        None, "steps between refreshes of the targets (default one epoch)", ge=1
    )


@dataclass(frozen=True)
class AEConfig(PretrainConfig):
    """k-means on the codes of an auto-encoder, which may be a denoising one."""

    noise: float = pretrain(
        0.0, "share of the inputs set to 0, a draw a batch", ge=0, lt=1, omit="key"
    )


# Fc: SGD(1.0, 0.9), 500 epochs, batch 256 [P 4.1, C]; Conv: Adam default, 500 epochs [P 4.1, C].
FC = {"network": "fc", "pretrain_optimizer": SGD(1.0, 0.9)}
CONV = {"network": "conv", "pretrain_optimizer": Adam(1e-3)}
BOTH = {"aug_pretrain": True, "aug_cluster": True}

FC_DEC = DECConfig(**FC, alpha=0.0, beta=1.0, optimizer=SGD(0.01, 0.9))  # [P 4.1, C]
FC_IDEC = DECConfig(**FC, alpha=1.0, beta=0.1, optimizer=SGD(1.0, 0.9))  # [P 4.1, C]
FC_DCN = DCNConfig(**FC, beta=1.0, optimizer=Adam(1e-4))  # [P]
CONV_DEC = DECConfig(**CONV, alpha=0.0, beta=1.0, optimizer=Adam(1e-3))  # [P 4.1, C]
CONV_IDEC = DECConfig(**CONV, alpha=1.0, beta=0.1, optimizer=Adam(1e-3))  # [P 4.1, C]
# k-means on the codes of an auto-encoder, pretrained as FcDEC's (Table 5). The noise of the
# denoising one is not given; 20 % is that of DEC's pretraining [P dec].
AE = AEConfig(**FC)

DIGITS = {"digits": {"pretrain_epochs": 250}}  # ours: a run of a minute or two; in no paper
# Steps between refreshes of the targets [C run_exp].
FEW, MANY = {"update_interval": 30}, {"update_interval": 140}
INTERVALS = {"mnist": MANY, "fmnist": MANY, "mnist-test": FEW, "usps": FEW} | DIGITS
BY_SIZE = {0: FEW, 20000: MANY}


def _dec(path, settings):
    return Method(path, settings, "dec-da", by_dataset=INTERVALS, by_size=BY_SIZE)


def _dcn(settings):
    return Method("models.dec:DCN", settings, "dec-da", by_dataset=DIGITS)


def _ae(settings):
    return Method("models.ae:AEKMeans", settings, "dec-da", by_dataset=DIGITS)


# "-DA" augments both stages and changes nothing else [P 4.1].
METHODS = {
    "FcDEC": _dec("models.dec:DEC", FC_DEC),
    "FcDEC-DA": _dec("models.dec:DEC", replace(FC_DEC, **BOTH)),
    "FcIDEC": _dec("models.dec:IDEC", FC_IDEC),
    "FcIDEC-DA": _dec("models.dec:IDEC", replace(FC_IDEC, **BOTH)),
    "FcDCN": _dcn(FC_DCN),
    "FcDCN-DA": _dcn(replace(FC_DCN, **BOTH)),
    "ConvDEC": _dec("models.dec:DEC", CONV_DEC),
    "ConvDEC-DA": _dec("models.dec:DEC", replace(CONV_DEC, **BOTH)),
    "ConvIDEC": _dec("models.dec:IDEC", CONV_IDEC),
    "ConvIDEC-DA": _dec("models.dec:IDEC", replace(CONV_IDEC, **BOTH)),
    "AE+k-means": _ae(AE),
    "DAE+k-means": _ae(replace(AE, noise=0.2)),
    "AE+k-means-DA": _ae(replace(AE, aug_pretrain=True)),
}
