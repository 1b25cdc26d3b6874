"""Hyper-parameters as data: frozen records in the papers' symbols. No TensorFlow here."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field

from errors import UserError, unknown


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum: v <- momentum v - lr g; w <- w + v."""

    lr: float = 0.01
    momentum: float = 0.9
    name: str = field(default="sgd", init=False)

    def make(self):
        """Build a fresh Keras optimizer."""
        import keras

        return keras.optimizers.SGD(self.lr, momentum=self.momentum)


@dataclass(frozen=True)
class Adam:
    """Adam with beta_1 = 0.9, beta_2 = 0.999 and epsilon = 1e-7 (TF 1.10's and Keras 3's)."""

    lr: float = 1e-3
    name: str = field(default="adam", init=False)

    def make(self):
        """Build a fresh Keras optimizer."""
        import keras

        return keras.optimizers.Adam(self.lr)


OPTIMIZERS = {"sgd": SGD, "adam": Adam}


def _is_number(value):
    """Whether a value is a finite int or float; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Config:
    """Everything that decides a run's result besides method, data, K and seed.

    L = alpha * Lr + beta * Lc (DEC-DA sec. 3); Lr is the reconstruction error, a mean over inputs
    and batch, Lc the clustering loss, summed over clusters (KL) or latent dimensions (distance)
    and averaged over the batch.
    """

    network: str = "fc"  # "fc": D-500-500-2000-10, "conv": 32-64-128-10
    latent_dim: int = 10
    batch_size: int = 256
    aug_pretrain: bool = False  # augment in pretraining (stage 1)
    aug_cluster: bool = False  # augment in clustering (stage 2)
    shift: float = 0.1  # fraction of the side, either way
    shift_pixels: float | None = None  # pixels, in place of `shift`
    rotation: float = 10.0  # degrees, either way
    center: str = "original"  # centre of rotation: "original" or "true", see augment.py
    pretrain_optimizer: SGD | Adam = SGD(1.0, 0.9)
    pretrain_epochs: int = 500
    n_init: int = 20  # restarts of k-means
    optimizer: SGD | Adam = SGD(0.01, 0.9)
    alpha: float = 0.0  # weight of Lr in clustering
    beta: float = 1.0  # weight of Lc
    maxiter: int | None = 20000  # clustering steps (mini-batches) at most; None: see `epochs`
    update_interval: int | None = 140  # steps between refreshes of the targets; None: one pass
    tol: float = 1e-3  # stop when a smaller share of labels changes between two refreshes

    epoch_limit = False  # whether a method is limited by passes over the data, not by steps

    def __post_init__(self):
        self._choice("network", ("fc", "conv"))
        self._choice("center", ("original", "true"))
        for name in ("latent_dim", "batch_size", "n_init", "update_interval"):
            self._number(name, 1, integer=True, optional=name == "update_interval")
        self._number("pretrain_epochs", 0, integer=True)
        self._number("maxiter", 0, integer=True, optional=self.epoch_limit)
        for name in ("alpha", "beta", "tol"):
            self._number(name, 0)
        self._number("shift", 0, below=1)
        self._number("shift_pixels", 0, optional=True)
        self._number("rotation", 0, most=180)
        for name in ("aug_pretrain", "aug_cluster"):
            self._flag(name)
        for name in ("optimizer", "pretrain_optimizer"):
            self._check_optimizer(name)

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

    def total_steps(self, steps_per_pass):
        """Return the largest number of clustering steps."""
        return self.maxiter

    def to_dict(self):
        """Return plain data that JSON can hold; the inverse of `from_dict`."""
        return dataclasses.asdict(self)

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
        """Return the settings that decide the pretrained weights, and no others."""
        names = ["network", "latent_dim", "batch_size", "pretrain_optimizer", "pretrain_epochs"]
        if self.aug_pretrain:
            names += ["shift", "shift_pixels", "rotation", "center"]
        data = self.to_dict()
        return {name: data[name] for name in ["aug_pretrain", *names]}


@dataclass(frozen=True)
class ASPCConfig(Config):
    """ASPC's settings: those of `Config` and its own."""

    update_interval: None = None  # always one pass
    maxiter: int | None = None
    epochs: int = 100  # T, passes over the data
    self_paced: bool = True  # False: every sample has weight 1 (the paper's BasicDC)
    selection: str = "clean"  # losses that select: "clean" (released code), "augmented" (eq. 16)
    init: str = "k-means"  # or "spectral", "agglomerative", "gmm" (Table 6)
    epoch_limit = True

    def __post_init__(self):
        super().__post_init__()
        self._number("epochs", 1, integer=True)
        self._flag("self_paced")
        self._choice("selection", ("clean", "augmented"))
        self._choice("init", ("k-means", "spectral", "agglomerative", "gmm"))
        if self.update_interval is not None:
            raise UserError(f"update_interval={self.update_interval!r}: ASPC updates once a pass")

    def total_steps(self, steps_per_pass):
        steps = self.epochs * steps_per_pass
        return steps if self.maxiter is None else min(steps, self.maxiter)


def pretrain_key(config, shape, data_hash, seed):
    """Return the name under which a pretraining is shared, and what it stands for.

    Parameters
    ----------
    config : Config
    shape : tuple
        A sample's shape, as the network takes it.
    data_hash : str
        `models.samples.hash_array` of the samples.
    seed : int
    """
    about = config.pretrain_dict() | {"shape": list(shape), "data": data_hash, "seed": int(seed)}
    return digest(about), about


def digest(data, length=12):
    """Return the first `length` hex digits of the SHA-256 of plain data, key order aside."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
