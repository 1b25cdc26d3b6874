"""Hyper-parameters as data: frozen records in the papers' symbols. No TensorFlow here."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field

from common.errors import UserError, unknown


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum: v <- momentum v - lr g; w <- w + v."""

    lr: float = 0.01
    momentum: float = 0.9
    name: str = field(default="sgd", init=False)


@dataclass(frozen=True)
class Adam:
    """Adam with beta_1 = 0.9, beta_2 = 0.999 and epsilon = 1e-7 (TF 1.10's and Keras 3's)."""

    lr: float = 1e-3
    name: str = field(default="adam", init=False)


OPTIMIZERS = {"sgd": SGD, "adam": Adam}
INITS = ("k-means", "gmm", "spectral", "agglomerative", "umap")  # see models/core/initialization.py


def setting(default, text, kind=None):
    """Return a record's field that main.py offers as a flag, with the help text.

    kind is the type of the flag's value, or of each of its values where the default is a tuple;
    that of the default unless given.
    """
    if kind is None:
        kind = type(default[0] if isinstance(default, tuple) else default)
    return field(default=default, metadata={"help": text, "kind": kind})


def _is_number(value):
    """Whether a value is a finite int or float; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class Settings:
    """What the records of settings have in common: checks, and the way to plain data and back."""

    needs_images = False  # whether samples must have, or be given, the shape of images
    deep = False  # whether the method is a network, with checkpoints in its run folder
    pretrains = False  # whether it starts from an auto-encoder that runs can share
    parallel = False  # whether its threads train members side by side, a thread each
    logged = ()  # what it logs besides runs.LOG_COLUMNS
    # Versions of what the code does with these settings. To be raised when the same settings, data
    # and seed give another result than before: `pretrain_protocol` if pretrained weights change,
    # else `protocol`. No fields: 1 leaves keys and hashes as they were before there were versions.
    protocol = 1
    pretrain_protocol = 1

    def _flag(self, name):
        if not isinstance(getattr(self, name), bool):
            raise UserError(f"{name}={getattr(self, name)!r}: expected True or False")

    def _choice(self, name, choices):
        if getattr(self, name) not in choices:
            raise UserError(unknown(name, getattr(self, name), choices))

    def _number(self, name, least, most=math.inf, below=math.inf, integer=False, optional=False):
        value = getattr(self, name)
        if value is None and optional:
            return
        good = _is_number(value) and (isinstance(value, int) or not integer)
        if not (good and least <= value <= most and value < below):
            limit = f" and <= {most}" if most < math.inf else ""
            limit += f" and < {below}" if below < math.inf else ""
            what = "an integer" if integer else "a number"
            raise UserError(f"{name}={value!r}: expected {what} >= {least}{limit}")

    def _restarts(self):
        """Check `n_init` where it may be "auto"."""
        value = self.n_init
        if value != "auto" and not (isinstance(value, int) and _is_number(value) and value >= 1):
            raise UserError(f"n_init={value!r}: expected an integer >= 1 or 'auto'")

    def _check_optimizer(self, name):
        optimizer = getattr(self, name)
        if not isinstance(optimizer, (SGD, Adam)):
            raise UserError(f"{name}={optimizer!r}: expected SGD(...) or Adam(...)")
        prefix = name.replace("optimizer", "lr")
        if not (_is_number(optimizer.lr) and optimizer.lr > 0):
            raise UserError(f"{prefix}={optimizer.lr!r}: expected a finite number > 0")
        momentum = getattr(optimizer, "momentum", 0.0)
        if not (_is_number(momentum) and 0 <= momentum < 1):
            raise UserError(f"momentum={momentum!r}: expected a number >= 0 and < 1")

    def _numbers(self, name, least, count=None, integer=False):
        """Check a sequence of numbers and keep it as a tuple; count None: one or more."""
        values = getattr(self, name)
        good = isinstance(values, (list, tuple)) and len(values) >= 1
        good = good and (count is None or len(values) == count)
        kinds = (int,) if integer else (int, float)
        good = good and all(_is_number(v) and isinstance(v, kinds) and v >= least for v in values)
        if not good:
            what = ("" if count is None else f"{count} ") + ("integers" if integer else "numbers")
            raise UserError(f"{name}={values!r}: expected {what} >= {least}")
        object.__setattr__(self, name, tuple(values))

    def to_dict(self):
        """Return plain data that JSON can hold; the inverse of `from_dict`."""
        data = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in data.items()}

    def versions(self):
        """Return {name: version} of the protocols above 1."""
        found = {name: getattr(self, name) for name in ("protocol", "pretrain_protocol")}
        return {name: version for name, version in found.items() if version > 1}

    def identity_dict(self):
        """Return what hashes and the identity of a run hold: `to_dict` and `versions`."""
        return self.to_dict() | self.versions()

    @classmethod
    def from_dict(cls, data):
        """Build a config from `to_dict`'s result; UserError names unknown fields."""
        fields = {f.name for f in dataclasses.fields(cls)}
        data = dict(data)
        for name in data:
            if name not in fields:
                raise UserError(unknown("setting", name, sorted(fields)))
        for name in ("optimizer", "pretrain_optimizer"):
            if isinstance(data.get(name), dict):
                record = dict(data[name])
                kind = record.pop("name", None)
                if kind not in OPTIMIZERS:
                    raise UserError(unknown(name, kind, OPTIMIZERS))
                known = [f.name for f in dataclasses.fields(OPTIMIZERS[kind]) if f.init]
                for key in record:
                    if key not in known:
                        raise UserError(unknown(f"setting of {kind}", key, known))
                data[name] = OPTIMIZERS[kind](**record)
        return cls(**data)

    def pretrain_dict(self):
        """Return the settings that decide the pretrained weights: without any, none."""
        return {}


@dataclass(frozen=True)
class PretrainConfig(Settings):
    """The auto-encoder, its pretraining, and the clustering of its codes to start from."""

    starts_from_clusters = True  # whether a clustering of the codes decides the result: `init`
    keeps_init = False  # whether `to_dict` has `init` where it is k-means
    deep = True
    pretrains = True
    networks = ("fc", "conv")  # those to choose from
    pretrains_clusters = False  # whether the pretrained weights depend on the number of clusters

    network: str = "fc"  # "fc": D-500-500-2000-10, "conv": 32-64-128-10
    latent_dim: int = 10
    batch_size: int = 256
    aug_pretrain: bool = False  # augment in pretraining (stage 1)
    shift: float = 0.1  # fraction of the side, either way
    shift_pixels: float | None = None  # pixels, in place of `shift`
    rotation: float = 10.0  # degrees, either way
    center: str = "original"  # centre of rotation: "original" or "true", see augment.py
    pretrain_optimizer: SGD | Adam = SGD(1.0, 0.9)
    pretrain_epochs: int = 500
    n_init: int | str = 20  # restarts of k-means; "auto": until the lowest inertia comes up again
    init: str = "k-means"  # start of clustering, one of INITS; only k-means and umap have restarts
    # Of the layers' arithmetic. With "bfloat16" weights, embedding, output, losses and the
    # optimizer stay float32.
    precision: str = "float32"

    def __post_init__(self):
        self._choice("network", self.networks)
        self._choice("center", ("original", "true"))
        self._choice("precision", ("float32", "bfloat16"))
        self._choice("init", INITS)
        self._restarts()
        if self.init != "k-means" and not self.starts_from_clusters:
            raise UserError(
                f"init={self.init!r}: this method does not start from a clustering of the codes; "
                "expected 'k-means'"
            )
        if self.n_init == "auto" and self.init not in ("k-means", "umap"):
            raise UserError(
                f"n_init='auto' with init={self.init!r}, which has no restarts: expected init "
                "'k-means' or 'umap'"
            )
        for name in ("latent_dim", "batch_size"):
            self._number(name, 1, integer=True)
        self._number("pretrain_epochs", 0, integer=True)
        self._number("shift", 0, below=1)
        self._number("shift_pixels", 0, optional=True)
        self._number("rotation", 0, most=180)
        self._flag("aug_pretrain")
        self._check_optimizer("pretrain_optimizer")

    @property
    def needs_images(self):
        """Whether samples must have, or be given, the shape of images."""
        return self.network != "fc" or self.aug_pretrain

    @property
    def cluster_batch_size(self):
        """Samples a clustering step."""
        return self.batch_size

    def total_steps(self, steps_per_pass):
        """Return the largest number of clustering steps."""
        return 0

    def to_dict(self):
        """Return plain data that JSON can hold; the inverse of `from_dict`.

        The precision is left out where it is float32, and `init` where it is k-means (but for
        ASPC, which always had it): runs from before there was a choice keep their hash.
        """
        data = super().to_dict()
        if self.precision == "float32":
            del data["precision"]
        if self.init == "k-means" and not self.keeps_init:
            del data["init"]
        return data

    def pretrain_dict(self):
        """Return the settings that decide the pretrained weights, and no others."""
        names = ["network", "latent_dim", "batch_size", "pretrain_optimizer", "pretrain_epochs"]
        if self.aug_pretrain:
            names += ["shift", "shift_pixels", "rotation", "center"]
        if self.precision != "float32":
            names.append("precision")
        data = self.to_dict()
        return {name: data[name] for name in ["aug_pretrain", *names]}


@dataclass(frozen=True)
class AEConfig(PretrainConfig):
    """k-means on the codes of an auto-encoder, which may be a denoising one."""

    noise: float = 0.0  # share of the inputs set to 0, a draw a batch; the clean ones are rebuilt

    def __post_init__(self):
        super().__post_init__()
        self._number("noise", 0, below=1)

    def pretrain_dict(self):
        noise = {"noise": self.noise} if self.noise else {}  # without: shared with all others
        return super().pretrain_dict() | noise


@dataclass(frozen=True)
class Config(PretrainConfig):
    """Everything that decides a run's result besides method, data, K and seed.

    L = alpha * Lr + beta * Lc (DEC-DA sec. 3); Lr is the reconstruction error, a mean over inputs
    and batch, Lc the clustering loss, summed over clusters (KL) or latent dimensions (distance)
    and averaged over the batch.
    """

    aug_cluster: bool = False  # augment in clustering (stage 2)
    optimizer: SGD | Adam = SGD(0.01, 0.9)
    alpha: float = 0.0  # weight of Lr in clustering
    beta: float = 1.0  # weight of Lc
    maxiter: int | None = 20000  # clustering steps (mini-batches) at most; None: see `epochs`
    update_interval: int | None = 140  # steps between refreshes of the targets; None: one pass
    tol: float = 1e-3  # stop when a smaller share of labels changes between two refreshes

    epoch_limit = False  # whether a method is limited by passes over the data, not by steps

    def __post_init__(self):
        super().__post_init__()
        self._number("update_interval", 1, integer=True, optional=True)
        self._number("maxiter", 0, integer=True, optional=self.epoch_limit)
        for name in ("alpha", "beta", "tol"):
            self._number(name, 0)
        self._flag("aug_cluster")
        self._check_optimizer("optimizer")

    @property
    def needs_images(self):
        """Whether samples must have, or be given, the shape of images."""
        return super().needs_images or self.aug_cluster

    def total_steps(self, steps_per_pass):
        """Return the largest number of clustering steps."""
        return self.maxiter


@dataclass(frozen=True)
class ASPCConfig(Config):
    """ASPC's settings: those of `Config` and its own."""

    update_interval: None = None  # always one pass
    maxiter: int | None = None
    epochs: int = 100  # T, passes over the data
    self_paced: bool = True  # False: every sample has weight 1 (the paper's BasicDC)
    selection: str = "clean"  # losses that select: "clean" (released code), "augmented" (eq. 16)
    epoch_limit = True
    keeps_init = True

    def __post_init__(self):
        super().__post_init__()
        self._number("epochs", 1, integer=True)
        self._flag("self_paced")
        self._choice("selection", ("clean", "augmented"))
        if self.update_interval is not None:
            raise UserError(f"update_interval={self.update_interval!r}: ASPC updates once a pass")

    def total_steps(self, steps_per_pass):
        steps = self.epochs * steps_per_pass
        return steps if self.maxiter is None else min(steps, self.maxiter)


@dataclass(frozen=True)
class KMeansConfig(Settings):
    """k-means on the input."""

    n_init: int | str = 20  # restarts [DEC, DEC-DA]; "auto": until the lowest inertia comes again

    def __post_init__(self):
        self._restarts()


@dataclass(frozen=True)
class NMFConfig(Settings):
    """Non-negative matrix factorisation."""

    maxiter: int = 400  # ours; scikit-learn's 200 end before its tolerance is met

    def __post_init__(self):
        self._number("maxiter", 1, integer=True)


@dataclass(frozen=True)
class NcutConfig(Settings):
    """Normalised cuts on a graph of nearest neighbours; the papers do not give their graph."""

    n_neighbors: int = 10  # scikit-learn's default, the sample itself among them
    n_init: int = 20  # restarts of k-means on the eigenvectors

    def __post_init__(self):
        self._number("n_neighbors", 2, integer=True)
        self._number("n_init", 1, integer=True)


@dataclass(frozen=True)
class LandmarkConfig(Settings):
    """Landmark-based spectral clustering, LSC-K: the numbers of the authors' released code."""

    landmarks: int = 1000  # p
    n_neighbors: int = 5  # r, the nearest landmarks of each sample
    sigma: float | None = None  # of the kernel; None: the mean squared distance to all landmarks
    n_init: int = 10  # restarts of k-means on the singular vectors

    def __post_init__(self):
        for name in ("landmarks", "n_neighbors", "n_init"):
            self._number(name, 1, integer=True)
        self._number("sigma", 1e-6, optional=True)


@dataclass(frozen=True)
class WardConfig(Settings):
    """Agglomerative clustering: there is nothing to set."""


@dataclass(frozen=True)
class GDLConfig(Settings):
    """Graph degree linkage: the numbers of the authors' released code."""

    n_neighbors: int = 20  # K of the graph
    scale: float = 1.0  # a: sigma^2 = a * mean squared distance to the neighbours

    def __post_init__(self):
        self._number("n_neighbors", 1, integer=True)
        self._number("scale", 1e-6)


@dataclass(frozen=True)
class GMMConfig(Settings):
    """A mixture of Gaussians, started from k-means; the papers do not give their covariances."""

    covariance: str = "full"  # or "diag"
    reg_covar: float = 1e-6  # added to the diagonal, squared units of the input [scikit-learn]
    n_init: int = 1
    maxiter: int = 100  # steps of expectation and maximisation at most [scikit-learn]

    def __post_init__(self):
        self._choice("covariance", ("full", "diag"))
        self._number("reg_covar", 0)
        for name in ("n_init", "maxiter"):
            self._number(name, 1, integer=True)


@dataclass(frozen=True)
class UMAPConfig(Settings):
    """UMAP, then HDBSCAN: the numbers of UMAP's documentation on clustering MNIST."""

    n_neighbors: int = 30
    min_dist: float = 0.0
    components: int = 2
    min_samples: int = 10
    min_share: float = 500 / 70000  # smallest cluster, share of the samples

    def __post_init__(self):
        self._number("n_neighbors", 2, integer=True)
        for name in ("components", "min_samples"):
            self._number(name, 1, integer=True)
        self._number("min_dist", 0, below=1)
        self._number("min_share", 0, below=1)


def pretrain_key(config, shape, data_hash, seed, n_clusters=None):
    """Return the name under which a pretraining is shared, and what it stands for.

    Parameters
    ----------
    config : Config
    shape : tuple
        A sample's shape, as the network takes it.
    data_hash : str
        `models.core.samples.hash_array` of the samples.
    seed : int
    n_clusters : int, optional
        Counts only where the config says that it does.
    """
    about = config.pretrain_dict() | {"shape": list(shape), "data": data_hash, "seed": int(seed)}
    if config.pretrains_clusters:
        about["k"] = int(n_clusters)
    if config.pretrain_protocol > 1:
        about["protocol"] = config.pretrain_protocol
    return digest(about), about


def digest(data, length=12):
    """Return the first `length` hex digits of the SHA-256 of plain data, key order aside."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
