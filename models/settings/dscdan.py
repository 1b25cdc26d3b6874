"""Settings of the dual auto-encoder, DSCDAN (Yang et al., CVPR 2019) and SpectralNet.

No TensorFlow here. Departures: docs/methods/dscdan.md
"""

from dataclasses import dataclass, replace

from common.errors import UserError
from models.settings.base import PretrainConfig
from models.settings.dec_da import DIGITS, FC
from models.settings.fields import SGD, Adam, both, either, pretrain, setting, when
from models.settings.method import Method

LABEL_STEPS = 500  # of DSCDAN's head alone, on the labels that it starts from: ours
NOISY = either(
    when("relative"),
    when("mutual"),
    when("code", "draw"),
    when("cluster_relative"),
    when("cluster_mutual"),
    when("compare", "noisy"),
    why="no loss sees noisy codes",
)


@dataclass(frozen=True)
class DualConfig(PretrainConfig):
    """The dual auto-encoder and its pretraining (DSCDAN, eqs. 1-13).

    L = original ||x - g(z)||^2 + relative ||g(z) - g(psi(z))||^2 + prior KL(p(z|x) || N(0, I))
    - mutual (global + local information of x and z); squares and KL are summed over a
    sample's values, everything is a mean over the batch.
    """

    cost = "dual"
    logged = ("relative", "prior", "entropy", "mi_global", "mi_local", "spectral")

    network: str = both("dual", "the auto-encoder", choices=("dual",), offered=False)
    latent_dim: int = both(120, "length of a code", ge=1)
    batch_size: int = pretrain(100, "samples a step of pretraining", ge=1)
    pretrain_optimizer: SGD | Adam = pretrain(Adam(1e-3), "optimizer of pretraining")
    pretrain_epochs: int = pretrain(100, "epochs of pretraining", ge=0)
    filters: tuple = both((16, 16, 32, 32), "channels of the dual encoder's convolutions", ge=1)
    kernel: int = both(3, "side of their kernels, pixels", ge=1)
    original: float = pretrain(2.5, "weight of the reconstruction", gt=0)
    relative: float = pretrain(5.0, "delta, weight of the relative reconstruction", ge=0)
    mutual: float = pretrain(0.01, "beta, weight of the mutual information", ge=0)
    prior: float = pretrain(1.0, "gamma, weight of the prior", ge=0)
    psi: str = both(
        "reparameterised",
        "noise of the codes",
        effect=[NOISY],
        choices=("multiplicative", "reparameterised"),
        key=lambda c: c.relative or c.mutual,
    )
    psi_variance: float = both(
        0.25,
        "variance of the multiplicative noise; its mean is 1",
        ge=0,
        effect=[NOISY, when("psi", "multiplicative")],
        key=lambda c: (c.relative or c.mutual) and c.psi == "multiplicative",
    )
    code: str = both(
        "mean",
        "z under multiplicative noise: mean, or draw of p(z|x)",
        choices=("mean", "draw"),
        omit="key",
    )
    pairs: str = pretrain(
        "input",
        "what the discriminators see with a code: the input (global and local), or the same code "
        "again (as released)",
        choices=("input", "code"),
        effect=[when("mutual")],
    )
    train_discriminators: bool = pretrain(True, "train the discriminators", effect=[when("mutual")])
    prior_of: str = pretrain(
        "standard",
        "prior of the codes: standard, N(0, I), or classes, a Gaussian per class (as released)",
        choices=("standard", "classes"),
        effect=[when("prior")],
    )
    final: str = setting(
        "k-means",
        "labels: k-means on the codes, or argmax of the class head",
        choices=("k-means", "argmax"),
        omit="hash",
        effect=[when("prior"), when("prior_of", "classes", why="there is no class head")],
    )

    def check(self) -> None:
        super().check()
        if type(self) is DualConfig and self.final == "argmax" and not self.pretrains_clusters:
            raise UserError(
                f"final='argmax' with prior_of={self.prior_of!r}, prior={self.prior!r}:"
                " expected a class head, prior_of='classes' and prior > 0"
            )
        if len(self.filters) < 2:
            raise UserError(f"filters={self.filters!r}: expected two or more integers")
        if self.code == "draw" and self.psi != "multiplicative":
            raise UserError(f"code='draw' with psi={self.psi!r}: expected psi='multiplicative'")

    @property
    def pretrains_clusters(self) -> bool:
        """Whether the pretrained weights depend on the number of clusters."""
        return self.prior > 0 and self.prior_of == "classes"

    @property
    def class_head(self) -> tuple:
        """Widths of pretraining's class head before its last layer [C]."""
        return (256,)


@dataclass(frozen=True)
class DSCDANConfig(DualConfig):
    """The dual auto-encoder and the spectral network, trained jointly (DSCDAN, eqs. 14-20)."""

    cost = "dscdan"
    starts_from_clusters = False  # k-means on the codes is only there to compare with; `head_init`

    head: tuple = setting(
        (1024, 1024, 512),
        "widths of the spectral network before its last layer",
        ge=1,
        key=lambda c: c.head_init == "pretrained",
    )
    cluster_batch_size: int = setting(1024, "samples a joint step", ge=1)
    aug_cluster: bool = setting(False, "augment in joint steps")
    optimizer: SGD | Adam = setting(Adam(1e-3), "optimizer of clustering")
    maxiter: int = setting(5000, "joint steps at most", ge=0)
    update_interval: int = setting(100, "steps between two refreshes of the labels", ge=1)
    tol: float = setting(0.0, "stop below this share of changed labels", ge=0)
    n_neighbors: int = setting(
        3, "neighbours of a sample in the batch's graph, itself not counted", ge=1
    )
    sigma: float | None = setting(
        None, "width of the graph's kernel (none: median distance to a neighbour)", ge=1e-6
    )
    scale_neighbor: int = setting(
        1, "which neighbour that is for sigma: 1 the nearest", ge=1, effect=[when("sigma", None)]
    )
    spectral_steps: int = setting(
        300, "steps of the spectral network alone before the joint ones", ge=0
    )
    head_starts: int = setting(
        5,
        "random starts of the spectral network; the one with the lowest spectral loss is kept",
        ge=1,
        effect=[when("spectral_steps")],
    )
    head_init: str = setting(
        "random",
        "start of the head: random, spectral (labels of the spectral clustering with the lowest "
        "cut), or pretrained (the class head)",
        choices=("random", "spectral", "pretrained"),
    )
    class_means: str = setting(
        "fitted",
        "start of the class means: fitted, or pretrained (zero where pretraining has none)",
        choices=("fitted", "pretrained"),
        effect=[when("cluster_prior")],
    )
    compare: str = setting(
        "clean",
        "reconstruction compared with x in joint steps: clean, of z, or noisy, of psi(z)",
        choices=("clean", "noisy"),
    )
    cluster_original: float = setting(2.5, "weight of the reconstruction in joint steps", ge=0)
    cluster_relative: float = setting(5.0, "delta, joint weight of relative reconstruction", ge=0)
    cluster_mutual: float = setting(0.01, "beta, joint weight of the mutual information", ge=0)
    cluster_prior: float = setting(1.0, "gamma, joint weight of the prior of classes", ge=0)
    cluster_entropy: float = setting(
        1.0, "joint weight of the entropy of p(y|z) (paper: gamma, too)", ge=0
    )
    spectral: float = setting(
        1.0, "weight of the spectral loss, sum over pairs / m (paper: sum / m^2)", gt=0
    )
    final: str = setting(
        "k-means",
        "final labels: k-means in the spectral embedding, or argmax",
        choices=("k-means", "argmax"),
    )

    def check(self) -> None:
        super().check()
        if self.cluster_mutual and not self.mutual:
            raise UserError(
                f"cluster_mutual={self.cluster_mutual!r} with mutual={self.mutual!r}: expected "
                "discriminators from pretraining"
            )
        if self.head_init == "pretrained" and not self.pretrains_clusters:
            raise UserError(
                f"head_init='pretrained' with prior_of={self.prior_of!r}, prior={self.prior!r}: "
                "expected a class head from pretraining, prior_of='classes' and prior > 0"
            )

    @property
    def class_head(self) -> tuple:
        """Widths of pretraining's class head: the joint stage's where that goes on with it."""
        return self.head if self.head_init == "pretrained" else super().class_head


SIAMESE = when("siamese_epochs")


@dataclass(frozen=True)
class SpectralNetConfig(PretrainConfig):
    """SpectralNet (Shaham et al., ICLR 2018) on the codes of a plain auto-encoder."""

    cost = "spectralnet"
    logged = ("contrastive", "spectral", "lr")
    starts_from_clusters = False  # k-means on the codes is only there to compare with

    cluster_batch_size: int = setting(1024, "samples a step of the spectral network", ge=1)
    head: tuple = setting(
        (1024, 1024, 512), "widths of the spectral network before its last layer", ge=1
    )
    optimizer: SGD | Adam = setting(Adam(1e-3), "optimizer of clustering")
    maxiter: int = setting(
        40000, 'steps of the spectral network at most: 400 "epochs" of 100', ge=0
    )
    update_interval: int = setting(100, 'steps of an "epoch" of it', ge=1)
    patience: int = setting(20, "epochs without improvement before the learning rate drops", ge=0)
    drop: float = setting(0.1, "factor by which it drops", ge=0.01, lt=1)
    n_neighbors: int = setting(
        2, "neighbours of a sample in the batch's graph, itself not counted", ge=1
    )
    sigma: float | None = setting(
        None, "width of the graph's kernel (none: median distance to a neighbour)", ge=1e-6
    )
    scale_neighbor: int = setting(
        1, "which neighbour that is for sigma: 1 the nearest", ge=1, effect=[when("sigma", None)]
    )
    siamese: tuple = setting(
        (1024, 1024, 512, 10),
        "widths of the siamese network; its output is the graph's space",
        ge=1,
        effect=[SIAMESE],
    )
    siamese_neighbors: int = setting(
        2, "neighbours, and others, that a sample is paired with", ge=1, effect=[SIAMESE]
    )
    siamese_epochs: int = setting(
        400, "passes over the pairs at most; 0: the graph of the codes", ge=0
    )
    siamese_batch: int = setting(128, "pairs a step of the siamese network", ge=1, effect=[SIAMESE])
    siamese_patience: int = setting(
        10, "epochs without improvement before its rate drops", ge=0, effect=[SIAMESE]
    )


# Channels and kernels of DSCDAN's Table 2; digits, 8x8 pixels, are in no paper.
TABLE_2 = {"usps": {"filters": (16, 32)}, "ytf": {"kernel": 5}, "digits": {"filters": (16, 32)}}


def _ae(settings, by_dataset=TABLE_2):
    path = "models.dscdan.autoencoder:ConvAE"
    return Method(path, settings, "dscdan", by_dataset=by_dataset)


def _dscdan(settings, ours=False, by_dataset=TABLE_2):
    return Method("models.dscdan.joint:DSCDAN", settings, "dscdan", ours, by_dataset)


CONVAE = DualConfig()
# The released code: filters, weights of both stages, graph, labels; see docs/methods/dscdan.md.
CODE = DSCDANConfig(
    filters=(32, 32, 64, 64),
    original=2.5,
    relative=5.0,
    mutual=0.01,
    prior=1.0,
    psi="reparameterised",
    pairs="code",
    train_discriminators=False,
    prior_of="classes",
    head_init="pretrained",
    n_neighbors=4,
    sigma=2.62,
    class_means="pretrained",
    compare="noisy",
    cluster_original=5.0,
    cluster_relative=2.5,
    cluster_mutual=0.001,
    cluster_prior=1.5,
    cluster_entropy=1.0,
    spectral_steps=0,
    final="argmax",
)
CODE_SETS = TABLE_2 | {name: {"filters": (32, 64)} for name in ("usps", "digits")}

METHODS = {  # Table 4 of DSCDAN
    "ConvAE": _ae(replace(CONVAE, relative=0.0, mutual=0.0, prior=0.0)),
    "ConvAE+MI": _ae(replace(CONVAE, relative=0.0)),
    # Without the prior nothing keeps the encoder's own noise from vanishing: the paper's noise.
    "ConvAE+RS": _ae(replace(CONVAE, mutual=0.0, prior=0.0, psi="multiplicative")),
    "ConvAE+MI+RS": _ae(CONVAE),
    # The released first stage: its prior of classes, its discriminators, its head's labels.
    "ConvAE+MI+RS-code": _ae(
        replace(
            CONVAE,
            filters=(32, 32, 64, 64),
            pairs="code",
            train_discriminators=False,
            prior_of="classes",
            final="argmax",
        ),
        CODE_SETS,
    ),
    "DSCDAN": _dscdan(DSCDANConfig(head_starts=1)),
    # Not in the paper: of five starts of the head the one with the lowest spectral loss.
    "DSCDAN-restarts": _dscdan(DSCDANConfig(head_starts=5), ours=True),
    "DSCDAN-code": _dscdan(CODE, by_dataset=CODE_SETS),
    # Not in the paper: the head starts from spectral clustering of all codes, whose number of
    # eigenvectors the lowest cut chooses.
    "DSCDAN-spectral-init": _dscdan(
        DSCDANConfig(head_init="spectral", spectral_steps=0), ours=True
    ),
    # SpectralNet's released settings for MNIST; the auto-encoder is FcDEC's.
    "SpectralNet": Method(
        "models.dscdan.spectralnet:SpectralNet",
        SpectralNetConfig(**FC),
        "dscdan",
        by_dataset=DIGITS,
    ),
}
