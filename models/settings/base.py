"""What all records of settings share, and a row of the registry of methods. No TensorFlow here."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from common.errors import UserError, unknown
from models.settings.fields import (
    OPTIMIZERS,
    SGD,
    Adam,
    Condition,
    Setting,
    augment,
    both,
    either,
    pretrain,
    settings_of,
    start,
    when,
)

INITS = ("k-means", "gmm", "spectral", "agglomerative", "umap")  # see models/core/initialization.py
SCALES = "centre the columns and divide all by one number, for a deviation of"
RESTARTED = ("k-means", "gmm", "umap")  # those that start from restarts of k-means


class Settings:
    """What the records of settings have in common: checks, and the way to plain data and back."""

    needs_images = False  # whether samples must have, or be given, the shape of images
    deep = False  # whether the method is a network, with checkpoints in its run folder
    finds_k = False  # whether it finds the number of clusters itself
    scalable = False  # whether it scales vectors that are no published set: `scale_inputs`
    scaled_to = 1.0  # their deviation then
    pretrains = False  # whether it starts from an auto-encoder that runs can share
    parallel = False  # whether its threads train members side by side, a thread each
    logged = ()  # what it logs besides run_log.LOG_COLUMNS
    cost = None  # its count of operations, a key of models.core.cost.COUNTS; None: not known
    # Versions of what the code does with these settings. To be raised when the same settings, data
    # and seed give another result than before: `pretrain_protocol` if pretrained weights change,
    # else `protocol`. No fields: 1 leaves keys and hashes as they were before there were versions.
    protocol = 1
    pretrain_protocol = 1

    def __post_init__(self):
        """Check every setting as it is declared, then those that must go together."""
        for one in settings_of(type(self)).values():
            one.check(self)
        self.check()

    def check(self) -> None:
        """Raise UserError for values that do not go together; by default all do."""

    def options(self) -> dict[str, Setting]:
        """Return {name: Setting} of the settings that are options, with the record's defaults."""
        found = []
        for one in settings_of(type(self)).values():
            value = getattr(self, one.name)
            if one.offered and one.kind is SGD:
                prefix = one.name.removesuffix("optimizer")
                momentum = getattr(value, "momentum", None)
                part = partial(replace, one, kind=float)
                found += [
                    replace(one, kind=str, default=value.name, choices=tuple(OPTIMIZERS)),
                    part(name=f"{prefix}lr", default=value.lr, help="its learning rate"),
                    part(name=f"{prefix}momentum", default=momentum, help="its momentum (sgd)"),
                ]
            elif one.offered:
                found.append(replace(one, default=value))
        return {option.name: option for option in found}

    def changed(self, values: dict) -> Self:
        """Return the record with some options changed, {"tol": 0.1, "lr": 0.5} for example.

        Raises
        ------
        UserError
            If there is no such option, or a value does not fit.
        """
        fields, options = settings_of(type(self)), self.options()
        changes, parts = {}, {}
        for name, value in values.items():
            if name not in options:
                raise UserError(unknown("setting", name, options))
            owner = fields[options[name].setting]
            if owner.kind is SGD:
                parts.setdefault(owner.name, {})[name] = value
            else:
                changes[name] = owner.converted(value)
        for name, some in parts.items():
            changes[name] = self._optimizer(name, some)
        return replace(self, **changes)

    def _optimizer(self, name, values):
        """Return the record's optimizer with some of its options changed."""
        prefix = name.removesuffix("optimizer")
        optimizer = getattr(self, name)
        kind = values.get(name, optimizer.name)
        if kind not in OPTIMIZERS:
            raise UserError(unknown(name, kind, OPTIMIZERS))
        if kind != optimizer.name:
            optimizer = OPTIMIZERS[kind]()
        changes = {
            part: values[prefix + part] for part in ("lr", "momentum") if prefix + part in values
        }
        if isinstance(optimizer, Adam) and changes.pop("momentum", None) is not None:
            value = values[prefix + "momentum"]
            raise UserError(f"{prefix}momentum={value}: adam has none; expected sgd")
        options = self.options()
        changes = {part: options[prefix + part].converted(v) for part, v in changes.items()}
        return replace(optimizer, **changes)

    def without_effect(self) -> dict[str, str]:
        """Return {setting: why} of the settings that change nothing under the others.

        They are in the record, and in its hash, because methods share records.
        """
        found = {one.name: one.without_effect(self) for one in settings_of(type(self)).values()}
        return {name: why for name, why in found.items() if why is not None}

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold; the inverse of `from_dict`.

        Settings with omit="hash" are left out at their defaults: runs from before there was a
        choice keep their hash.
        """
        data = {}
        for one in settings_of(type(self)).values():
            value = getattr(self, one.name)
            if one.omit == "hash" and value == one.default:
                continue
            if isinstance(value, SGD | Adam):
                value = dataclasses.asdict(value)
            data[one.name] = list(value) if isinstance(value, tuple) else value
        return data

    def versions(self) -> dict[str, int]:
        """Return {name: version} of the protocols above 1."""
        found = {name: getattr(self, name) for name in ("protocol", "pretrain_protocol")}
        return {name: version for name, version in found.items() if version > 1}

    def identity_dict(self) -> dict[str, object]:
        """Return what hashes and the identity of a run hold: `to_dict` and `versions`."""
        return self.to_dict() | self.versions()

    @classmethod
    def from_dict(cls, data: dict) -> Self:
        """Build a config from `to_dict`'s result; UserError names unknown fields."""
        fields = settings_of(cls)
        data = dict(data)
        for name, value in data.items():
            if name not in fields:
                raise UserError(unknown("setting", name, sorted(fields)))
            if fields[name].kind is SGD and isinstance(value, dict):
                record = dict(value)
                kind = record.pop("name", None)
                if kind not in OPTIMIZERS:
                    raise UserError(unknown(name, kind, OPTIMIZERS))
                known = [f.name for f in dataclasses.fields(OPTIMIZERS[kind]) if f.init]
                for key in record:
                    if key not in known:
                        raise UserError(unknown(f"setting of {kind}", key, known))
                data[name] = OPTIMIZERS[kind](**record)
        return cls(**data)

    def pretrain_dict(self) -> dict[str, object]:
        """Return the settings that decide the pretrained weights, and no others."""
        data = self.to_dict()
        return {
            one.name: data[one.name]
            for one in settings_of(type(self)).values()
            if one.name in data and one.decides_pretraining(self)
        }


def shift_and_rotation(where: Condition) -> dict[str, Any]:
    """Return {name: setting} of augment.RandomShiftRotate, which act where a condition holds."""
    return {
        "shift": augment(
            0.1,
            "largest shift, fraction of the side",
            ge=0,
            lt=1,
            effect=[where, when("shift_pixels", None)],
        ),
        "shift_pixels": augment(
            None, "largest shift, pixels, in place of --shift", ge=0, effect=[where]
        ),
        "rotation": augment(10.0, "largest rotation, degrees", ge=0, le=180, effect=[where]),
    }


AUGMENTED = either(when("aug_pretrain"), when("aug_cluster"), why="no stage is augmented")
MOVED = shift_and_rotation(AUGMENTED)


@dataclass(frozen=True)
class PretrainConfig(Settings):
    """The auto-encoder, its pretraining, and the clustering of its codes to start from."""

    starts_from_clusters = True  # whether a clustering of the codes decides the result: `init`
    deep = True
    pretrains = True
    scalable = True
    pretrains_clusters = False  # whether the pretrained weights depend on the number of clusters
    warmup_epochs = 0  # of clustering, before its `epochs`
    cost = "autoencoder"
    clustering_protocol = 1  # to be raised where `protocol` would be: the start has its own part

    # "fc": D-500-500-2000-10, "conv": 32-64-128-10; its method's name says which
    network: str = both("fc", "the auto-encoder", choices=("fc", "conv"), offered=False)
    latent_dim: int = both(10, "length of a code", ge=1)
    batch_size: int = both(256, "samples a step", ge=1)
    aug_pretrain: bool = pretrain(False, "augment in pretraining")
    pretrain_shuffles: int = pretrain(
        8,
        "shuffles that take turns in augmented pretraining",
        ge=1,
        effect=[when("aug_pretrain", why="pretraining is not augmented")],
        omit="hash",
    )
    shift: float = MOVED["shift"]
    shift_pixels: float | None = MOVED["shift_pixels"]
    rotation: float = MOVED["rotation"]
    center: str = augment(
        "original",
        "centre of rotation, see augment.py",
        choices=("original", "true"),
        effect=[AUGMENTED, when("rotation", why="there is no rotation")],
    )
    pretrain_optimizer: SGD | Adam = pretrain(SGD(1.0, 0.9), "optimizer of pretraining")
    pretrain_epochs: int = pretrain(500, "epochs of pretraining", ge=0)
    scale_inputs: bool = both(False, f"{SCALES} 1", omit="hash")
    n_init: int | str = start(
        20,
        "restarts of k-means; auto: until the lowest inertia has come up several times",
        ge=1,
        word="auto",
        effect=[when("init", *RESTARTED, why="init={init} has no restarts")],
    )
    init: str = start("k-means", "start of clustering", choices=INITS, omit="hash")
    # With "bfloat16" weights, embedding, output, losses and the optimizer stay float32.
    precision: str = both(
        "float32", "of the layers' arithmetic", choices=("float32", "bfloat16"), omit="hash"
    )

    def check(self) -> None:
        if self.init != "k-means" and not self.starts_from_clusters:
            raise UserError(
                f"init={self.init!r}: this method does not start from a clustering of the codes; "
                "expected 'k-means'"
            )
        if self.n_init == "auto" and self.init not in RESTARTED:
            raise UserError(
                f"n_init='auto' with init={self.init!r}, which has no restarts: expected init "
                "'k-means', 'gmm' or 'umap'"
            )

    @property
    def protocol(self) -> int:
        """The version of clustering; a mixture of Gaussians once started from one k-means."""
        return self.clustering_protocol + (self.init == "gmm")

    @property
    def pretrain_protocol(self) -> int:
        """The version of augmented pretraining; 1: one shuffle, where there now are several."""
        return 2 if self.aug_pretrain else 1

    @property
    def shuffles(self) -> int:
        """How many shuffles the batches of pretraining are taken from in turn."""
        return self.pretrain_shuffles if self.aug_pretrain else 1

    @property
    def needs_images(self) -> bool:
        """Whether samples must have, or be given, the shape of images."""
        return self.network != "fc" or self.aug_pretrain or getattr(self, "aug_cluster", False)

    @property
    def cluster_batch_size(self) -> int:
        """Samples a clustering step."""
        return self.batch_size

    def pretraining_length(self, steps_per_pass: int) -> int:
        """Return how many steps pretraining has."""
        return self.pretrain_epochs * steps_per_pass

    def total_steps(self, steps_per_pass: int) -> int:
        """Return the largest number of clustering steps: what `epochs` and `maxiter` allow.

        0 for a method that has neither.
        """
        epochs, maxiter = getattr(self, "epochs", None), getattr(self, "maxiter", None)
        limits = [] if maxiter is None else [maxiter]
        if epochs is not None:
            limits.append((self.warmup_epochs + epochs) * steps_per_pass)
        return min(limits, default=0)


def pretrain_key(
    config: PretrainConfig, shape: tuple, data_hash: str, seed: int, n_clusters: int | None = None
) -> tuple[str, dict]:
    """Return the name under which a pretraining is shared, and what it stands for.

    `shape` is a sample's, as the network takes it, `data_hash` the samples'
    `models.core.samples.hash_array`. K counts only where the config says that it does.
    """
    about = config.pretrain_dict() | {"shape": list(shape), "data": data_hash, "seed": int(seed)}
    if config.pretrains_clusters:
        about["k"] = int(n_clusters)
    if config.pretrain_protocol > 1:
        about["protocol"] = config.pretrain_protocol
    return digest(about), about


def digest(data: object, length: int = 12) -> str:
    """Return the first `length` hex digits of the SHA-256 of plain data, key order aside."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
