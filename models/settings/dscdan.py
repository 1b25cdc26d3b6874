"""Hyper-parameters of the dual auto-encoder, DSCDAN and SpectralNet. No TensorFlow here."""

from dataclasses import dataclass

from common.errors import UserError
from models.settings.base import SGD, Adam, PretrainConfig, setting

LABEL_STEPS = 500  # of DSCDAN's head alone, on the labels that it starts from: ours


@dataclass(frozen=True)
class DualConfig(PretrainConfig):
    """The dual auto-encoder and its pretraining (DSCDAN, eqs. 1-13).

    L = original ||x - g(z)||^2 + relative ||g(z) - g(psi(z))||^2 + prior KL(p(z|x) || N(0, I))
    - mutual (global + local information of x and z); squares and KL are summed over a
    sample's values, everything is a mean over the batch.
    """

    networks = ("dual",)
    logged = ("relative", "prior", "entropy", "mi_global", "mi_local", "spectral")

    network: str = "dual"
    latent_dim: int = 120
    batch_size: int = 100  # in pretraining
    pretrain_optimizer: SGD | Adam = Adam(1e-3)
    pretrain_epochs: int = 100
    filters: tuple = setting((16, 16, 32, 32), "channels of the dual encoder's convolutions")
    kernel: int = setting(3, "side of their kernels, pixels")
    original: float = setting(2.5, "weight of the reconstruction in pretraining")
    relative: float = setting(5.0, "delta, weight of the relative reconstruction in pretraining")
    mutual: float = setting(0.01, "beta, weight of the mutual information in pretraining")
    prior: float = setting(1.0, "gamma, weight of the prior in pretraining")
    psi: str = setting("reparameterised", "noise of the codes: multiplicative or reparameterised")
    psi_variance: float = setting(0.25, "variance of the multiplicative noise; its mean is 1")
    code: str = setting("mean", "z under multiplicative noise: mean, or draw of p(z|x)")
    pairs: str = setting("input", "what the discriminators see beside a code: input (global and "
                         "local) or code (itself, as released)")  # fmt: skip
    train_discriminators: bool = setting(True, "train the discriminators")
    prior_of: str = setting("standard", "prior in pretraining: standard, or classes (as released)")

    def __post_init__(self):
        super().__post_init__()
        self._numbers("filters", 1, integer=True)
        if len(self.filters) < 2:
            raise UserError(f"filters={self.filters!r}: expected two or more integers")
        self._number("kernel", 1, integer=True)
        for name in ("original", "relative", "mutual", "prior", "psi_variance"):
            self._number(name, 0)
        if not self.original:
            raise UserError(f"original={self.original!r}: expected a number > 0")
        self._choice("psi", ("multiplicative", "reparameterised"))
        self._choice("code", ("mean", "draw"))
        if self.code == "draw" and self.psi != "multiplicative":
            raise UserError(f"code='draw' with psi={self.psi!r}: expected psi='multiplicative'")
        self._choice("pairs", ("input", "code"))
        self._choice("prior_of", ("standard", "classes"))
        self._flag("train_discriminators")

    @property
    def pretrains_clusters(self):
        """Whether the pretrained weights depend on the number of clusters."""
        return self.prior > 0 and self.prior_of == "classes"

    def pretrain_dict(self):
        """Return the settings that decide the pretrained weights, and no others."""
        names = ["filters", "kernel", "original", "relative", "mutual", "prior"]
        if self.relative or self.mutual:
            names.append("psi")
            if self.psi == "multiplicative":
                names.append("psi_variance")
        if self.code == "draw":
            names.append("code")
        if self.mutual:
            names += ["pairs", "train_discriminators"]
        if self.prior:
            names.append("prior_of")
        data = self.to_dict()
        return super().pretrain_dict() | {name: data[name] for name in names}


@dataclass(frozen=True)
class DSCDANConfig(DualConfig):
    """The dual auto-encoder and the spectral network, trained jointly (DSCDAN, eqs. 14-20)."""

    starts_from_clusters = False  # k-means on the codes is only there to compare with; `head_init`
    head: tuple = setting((1024, 1024, 512), "widths of the spectral network before its last layer")
    cluster_batch_size: int = setting(1024, "samples a joint step")
    aug_cluster: bool = False
    optimizer: SGD | Adam = Adam(1e-3)
    maxiter: int = 5000  # joint steps at most
    update_interval: int = 100  # steps between two looks at the labels
    tol: float = 0.0  # stop when a smaller share of labels changes between two looks
    n_neighbors: int = 3  # of a sample in the batch's graph, itself not counted
    sigma: float | None = None  # width of its kernel; None: median distance to a neighbour
    scale_neighbor: int = setting(1, "which neighbour gives that distance, 1 the nearest")
    spectral_steps: int = setting(300, "steps of the spectral network alone before the joint ones")
    head_starts: int = setting(5, "starts of these; the lowest spectral loss stays")
    head_init: str = setting("random", "start of the head: random, or spectral (labels of the "
                             "spectral clustering with the lowest cut)")  # fmt: skip
    class_means: str = setting("fitted", "start of the class means: fitted, or pretrained (zero "
                               "where pretraining has none)")  # fmt: skip
    compare: str = setting("clean", "reconstruction set beside x in joint steps: clean or noisy")
    cluster_original: float = setting(2.5, "weight of the reconstruction in joint steps")
    cluster_relative: float = setting(5.0, "delta, of the relative reconstruction")
    cluster_mutual: float = setting(0.01, "beta, of the mutual information")
    cluster_prior: float = setting(1.0, "gamma, of the classes' prior")
    cluster_entropy: float = setting(1.0, "of the classes' entropy; gamma in the paper")
    spectral: float = setting(1.0, "of the spectral loss, sum / m; 1/m more in the paper")
    final: str = setting("k-means", "final labels: k-means in the spectral embedding, or argmax")

    def __post_init__(self):
        super().__post_init__()
        self._numbers("head", 1, integer=True)
        for name in ("cluster_batch_size", "n_neighbors", "scale_neighbor", "head_starts",
                     "update_interval"):  # fmt: skip
            self._number(name, 1, integer=True)
        for name in ("maxiter", "spectral_steps"):
            self._number(name, 0, integer=True)
        for name in ("tol", "cluster_original", "cluster_relative", "cluster_mutual",
                     "cluster_prior", "cluster_entropy", "spectral"):  # fmt: skip
            self._number(name, 0)
        self._number("sigma", 1e-6, optional=True)
        self._choice("head_init", ("random", "spectral"))
        self._choice("class_means", ("fitted", "pretrained"))
        self._choice("compare", ("clean", "noisy"))
        self._choice("final", ("k-means", "argmax"))
        self._flag("aug_cluster")
        self._check_optimizer("optimizer")
        if not self.spectral:
            raise UserError(f"spectral={self.spectral!r}: expected a number > 0")
        if self.cluster_mutual and not self.mutual:
            raise UserError(
                f"cluster_mutual={self.cluster_mutual!r} with mutual={self.mutual!r}: expected "
                "discriminators from pretraining"
            )

    def total_steps(self, steps_per_pass):
        """Return the largest number of joint steps."""
        return self.maxiter


@dataclass(frozen=True)
class SpectralNetConfig(PretrainConfig):
    """SpectralNet (Shaham et al., ICLR 2018) on the codes of a plain auto-encoder."""

    logged = ("contrastive", "spectral", "lr")
    starts_from_clusters = False  # k-means on the codes is only there to compare with

    cluster_batch_size: int = setting(1024, "samples a step of the spectral network")
    head: tuple = setting((1024, 1024, 512), "widths of the spectral network before its last layer")
    optimizer: SGD | Adam = Adam(1e-3)
    maxiter: int = 40000  # steps of the spectral network at most: 400 "epochs" of 100
    update_interval: int = 100  # steps of an "epoch" of it
    patience: int = setting(20, "epochs without improvement before its learning rate drops")
    drop: float = setting(0.1, "factor of a drop")
    n_neighbors: int = 2  # of a sample in the batch's graph, itself not counted
    sigma: float | None = None  # width of its kernel; None: median distance to a neighbour
    scale_neighbor: int = setting(1, "which neighbour gives that distance, 1 the nearest")
    siamese: tuple = setting((1024, 1024, 512, 10), "widths of the siamese network; its output is "
                             "the graph's space")  # fmt: skip
    siamese_neighbors: int = setting(2, "neighbours, and strangers, that a sample is paired with")
    siamese_epochs: int = setting(400, "passes over the pairs at most; 0: the graph of the codes")
    siamese_batch: int = setting(128, "pairs a step of the siamese network")
    siamese_patience: int = setting(10, "epochs without improvement before its rate drops")

    def __post_init__(self):
        super().__post_init__()
        self._numbers("head", 1, integer=True)
        self._numbers("siamese", 1, integer=True)
        for name in ("cluster_batch_size", "update_interval", "n_neighbors", "scale_neighbor",
                     "siamese_neighbors", "siamese_batch"):  # fmt: skip
            self._number(name, 1, integer=True)
        for name in ("maxiter", "patience", "siamese_patience", "siamese_epochs"):
            self._number(name, 0, integer=True)
        self._number("drop", 0.01, below=1)
        self._number("sigma", 1e-6, optional=True)
        self._check_optimizer("optimizer")

    def total_steps(self, steps_per_pass):
        """Return the largest number of steps of the spectral network."""
        return self.maxiter
