"""How a setting is declared, checked and offered as an option. No TensorFlow here.

A setting is one field of a record:

    alpha: float = setting(0.0, "weight of the reconstruction loss", ge=0)

The annotation gives its type; everything else about it is in this one line.
"""

import dataclasses
import functools
import math
import typing
from dataclasses import dataclass, field

from common.errors import UserError, unknown

if typing.TYPE_CHECKING:
    from models.settings.base import Settings

T = typing.TypeVar("T")  # to a type checker a setting is its default, as dataclasses.field is


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
IN_ORDER = "batches of a new permutation each epoch, not in the order of the data"  # help
# stage -> its title in `main.py --method NAME -h`, in this order
STAGES = {
    "both": "both stages",
    "pretrain": "pretraining",
    "augment": "augmentation",
    "start": "the start of clustering",
    "cluster": "clustering",
}


# ---- when a setting has an effect -------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """Holds for a record where one of (setting, values) does: its value is among them.

    No values: its value is neither 0, False nor None. A setting that the record lacks does not
    hold. `why` says what is the case where the condition does not hold; {name} stands for a value.
    """

    tests: tuple
    why: str

    def holds(self, config: "Settings") -> bool:
        found = ((getattr(config, name), v) for name, v in self.tests if hasattr(config, name))
        return any(value in values if values else bool(value) for value, values in found)

    def reason(self, config: "Settings") -> str:
        values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        shown = {n: f"{v:g}" if _is_number(v) else v for n, v in values.items()}
        return self.why.format_map(shown)


def when(name: str, *values: object, why: str | None = None) -> Condition:
    """Return the condition that a setting is on, or has one of some values."""
    takes_its_place = f"{name}={{{name}}} takes its place"
    return Condition(
        ((name, values),), why or (takes_its_place if values == (None,) else f"{name}={{{name}}}")
    )


def either(*conditions: Condition, why: str) -> Condition:
    """Return the condition that one of several holds."""
    return Condition(tuple(test for one in conditions for test in one.tests), why)


def never(why: str) -> Condition:
    """Return the condition that never holds: the setting is there because the record is shared."""
    return Condition((), why)


# ---- a setting --------------------------------------------------------------------------------


def plain(value: object) -> object:
    """Return a number of NumPy's as Python's; other values as they are."""
    return value.item() if getattr(value, "shape", None) == () else value


@dataclass(frozen=True)
class Setting:
    """A field of a record, by the arguments of `setting`, and an option of main.py.

    An optimizer is one field and three options: its name, its learning rate and its momentum.
    """

    help: str
    ge: float = -math.inf  # bounds: >=, >, <=, <
    gt: float | None = None
    le: float | str = math.inf  # or the name of another setting
    lt: float = math.inf
    choices: tuple | None = None  # the values allowed
    word: str | None = None  # a word that may take the place of the number, as "auto"
    count: object = None  # how many values a tuple has: an int, or (record) -> int
    # Where it acts, of STAGES. Of "pretrain" and "both", and of "augment" where pretraining is
    # augmented, the pretrained weights depend, and with them the key under which runs share them.
    stage: str = "cluster"
    # It has an effect only where all these conditions hold; elsewhere choosing it is a mistake.
    effect: tuple = ()
    # (record) -> whether the pretrained weights depend on it, where stage and effect do not say so.
    key: object = None
    # "key": at its default it is left out of the key of pretraining; "hash": of `to_dict`, and so
    # of hashes, too. For settings that are newer than committed rows.
    omit: str | None = None
    offered: bool = True  # whether it is an option of main.py and of sweep files
    # from the field:
    setting: str = ""  # its name
    name: str = ""  # of the option: the same but for parts of an optimizer
    kind: type = float  # bool, int, float, str, or SGD for an optimizer
    optional: bool = False
    several: bool = False
    default: object = None

    def decides_pretraining(self, config: "Settings") -> bool:
        """Whether the pretrained weights depend on it, under a config."""
        if self.key is not None:
            return bool(self.key(config))
        if self.omit is not None and getattr(config, self.name) == self.default:
            return False
        if self.stage == "augment":
            return getattr(config, "aug_pretrain", False)
        return self.stage in ("both", "pretrain") and all(c.holds(config) for c in self.effect)

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def hidden(self) -> bool:
        """Whether it never has an effect: not in help."""
        return any(not condition.tests for condition in self.effect)

    @property
    def shown(self) -> str:
        """The default as a user would write it."""
        if self.default is None:
            return "none"
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        if isinstance(self.default, tuple):
            return " ".join(f"{v:g}" for v in self.default)
        return self.default if isinstance(self.default, str) else f"{self.default:g}"

    @property
    def described(self) -> str:
        """The help text with the choices, unless it names them, and the default."""
        text = self.help
        if self.choices and not all(choice in text for choice in self.choices):
            text += f": {', '.join(self.choices)}"
        return text if "(default" in text else f"{text} (default {self.shown})"

    def without_effect(self, config: "Settings") -> str | None:
        """Return why it changes nothing under a config; None if it has an effect."""
        broken = (c for c in self.effect if not c.holds(config))
        return next((c.reason(config) for c in broken), None)

    def converted(self, value: object) -> object:
        """Return a value as the command line would have it: 1 as 1.0 where that fits."""
        value = plain(value)
        if isinstance(value, list | tuple) and self.several:
            some = tuple(map(dataclasses.replace(self, several=False).converted, value))
            return value if some == value else some
        return float(value) if self.kind is float and type(value) is int else value

    # -- checks: each raises UserError with the setting, its value and what was expected

    def check(self, config: "Settings") -> None:
        """Refuse a value of a wrong type or out of range; a list becomes a tuple."""
        value = plain(getattr(config, self.name))
        object.__setattr__(config, self.name, value)
        if value is None and self.optional:
            return
        if self.kind is SGD:
            self._check_optimizer(value)
        elif self.several:
            self._check_several(config, value)
        elif self.choices is not None:
            if value not in self.choices:
                raise UserError(unknown(self.name, value, self.choices))
        elif self.kind is bool:
            if not isinstance(value, bool):
                raise UserError(f"{self.name}={value!r}: expected True or False")
        elif self.word is None or value != self.word:
            le = getattr(config, self.le) if isinstance(self.le, str) else self.le
            if not self._fits(value, le):
                raise UserError(f"{self.name}={value!r}: expected {self._expected(le)}")

    def _fits(self, value, le):
        good = _is_number(value) and (isinstance(value, int) or self.kind is float)
        if not good or (self.gt is not None and not value > self.gt):
            return False
        return self.ge <= value <= le and value < self.lt

    def _expected(self, le):
        text = "an integer" if self.kind is int else "a number"
        text += f" >= {self.ge}" if self.gt is None else f" > {self.gt}"
        text += f" and <= {le}" if le < math.inf else ""
        text += f" and < {self.lt}" if self.lt < math.inf else ""
        return text if self.word is None else f"{text} or {self.word!r}"

    def _check_several(self, config, values):
        count = self.count(config) if callable(self.count) else self.count
        if isinstance(values, list | tuple) and any(plain(v) is not v for v in values):
            values = tuple(map(plain, values))
        good = isinstance(values, list | tuple) and values and count in (None, len(values))
        if not (good and all(self._fits(v, self.le) for v in values)):
            what = "integers" if self.kind is int else "numbers"
            what = what if count is None else f"{count} {what}"
            raise UserError(f"{self.name}={values!r}: expected {what} >= {self.ge}")
        object.__setattr__(config, self.name, tuple(values))

    def _check_optimizer(self, value):
        if not isinstance(value, SGD | Adam):
            raise UserError(f"{self.name}={value!r}: expected SGD(...) or Adam(...)")
        if not (_is_number(value.lr) and value.lr > 0):
            prefix = self.name.replace("optimizer", "lr")
            raise UserError(f"{prefix}={value.lr!r}: expected a finite number > 0")
        momentum = getattr(value, "momentum", 0.0)
        if not (_is_number(momentum) and 0 <= momentum < 1):
            raise UserError(f"momentum={momentum!r}: expected a number >= 0 and < 1")


def setting(default: T, text: str, *, compare: bool = True, **declared: typing.Any) -> T:
    """Declare a field of a record by its default, its help text and what else `Setting` has.

    `compare` is as of dataclasses.field; `effect` may be any iterable of Conditions.
    """
    declared["effect"] = tuple(declared.get("effect", ()))
    return field(default=default, compare=compare, metadata={"setting": Setting(text, **declared)})


def unused(default: T, why: str, **declared: typing.Any) -> T:
    """Declare a setting that never has an effect: it is there because records are shared."""
    return setting(default, "of no effect", effect=[never(why)], **declared)


# Settings of the other stages: `setting` with its `stage`.
pretrain, both, start, augment = (
    functools.partial(setting, stage=stage) for stage in ("pretrain", "both", "start", "augment")
)


@functools.cache
def settings_of(kind: "type[Settings]") -> dict[str, Setting]:
    """Return {name: Setting} of a class of records, in the order of its fields."""
    hints = typing.get_type_hints(kind)
    return {f.name: _described(f, hints[f.name]) for f in dataclasses.fields(kind)}


def _described(f, hint):
    """Return a field's Setting with what its annotation says."""
    if "setting" not in f.metadata:
        raise TypeError(f"{f.name}: declare it with setting(default, help, ...)")
    kinds = typing.get_args(hint) or (hint,)  # of a union
    several = kinds[0] is tuple
    return dataclasses.replace(
        f.metadata["setting"],
        setting=f.name,
        name=f.name,
        kind=type(f.default[0]) if several else kinds[0],
        several=several,
        optional=type(None) in kinds,
        default=f.default,
    )


def _is_number(value):
    """Whether a value is a finite int or float; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
