"""What a run is to be, as a record; the command line that says the same, and back."""

import argparse
import dataclasses
from dataclasses import dataclass, field
from typing import Self

from common.errors import UserError


@dataclass(frozen=True)
class RunSpec:
    """One run of main.py: method, data set or file, seed, and what differs from the defaults.

    The fields are as the options of main.py.
    """

    method: str
    dataset: str | None = None  # a name; neither it nor data: digits
    data: str | None = None  # a user's file
    seed: int = 0
    # Option of the method -> value in place of the published one: {"tol": 0.1, "lr": 0.5}.
    overrides: dict = field(default_factory=dict)
    n_clusters: int | None = None
    # How a user's file is read: see `loaders.readers.Reading`.
    label_column: str | None = None
    ignore_columns: tuple = ()
    array: str | None = None
    image_shape: tuple | None = None
    channels_first: bool = False
    image_size: tuple | None = None
    missing: str = "error"
    standardize: bool = False
    # On which machine, and where its files lie.
    threads: int | None = None
    device: str | None = None  # cpu or gpu
    data_dir: str | None = None
    save_dir: str | None = None
    cache_dir: str | None = None
    pretrained_weights: str | None = None
    checkpoint_seconds: float = 60.0
    steps_per_execution: int = 1
    strict: bool = False
    overwrite: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace, **changes: object) -> Self:
        """Return the spec of main.py's parsed arguments, with some fields changed."""
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(**{name: getattr(args, name) for name in names} | changes)

    @classmethod
    def default(cls, name: str) -> object:
        """Return the value of a field where none is given."""
        return cls.__dataclass_fields__[name].default

    def to_argv(self) -> list[str]:
        """Return main.py's words; `experiments.options.parse` gives the spec back.

        The folders save_dir and cache_dir are left out: they are the machine's.
        """
        argv = ["--method", self.method]
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name in ("method", "save_dir", "cache_dir", "overrides"):
                continue
            if value is True:
                argv.append(flag(f.name))
            elif isinstance(value, list | tuple):
                argv += _words(f.name, value) if value else []
            elif f.name == "seed" or value != f.default:
                argv += [flag(f.name), str(value)]
        for name, value in self.overrides.items():
            argv += _words(name, value)
        return argv


def flag(name: str) -> str:
    """Return the option of a field or setting: "--n-clusters" of "n_clusters"."""
    return "--" + name.replace("_", "-")


def _words(name, value):
    """Return the words for one option."""
    if isinstance(value, bool):
        return [flag(name) if value else flag(f"no_{name}")]
    if isinstance(value, list | tuple):
        return [flag(name), *map(str, value)]
    if value is None:
        raise UserError(f"{name}=None: no option says that")
    return [f"{flag(name)}={value}"]
