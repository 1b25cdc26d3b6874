"""The data of a run: a data set by its name, or a user's file, read as the command line says."""

import argparse
import dataclasses

import datasets
from common.errors import UserError
from common.shapes import image_shape
from experiments.options import METHOD, VECTOR_METHOD
from experiments.spec import RunSpec, flag
from loaders.readers import Reading
from models import METHODS
from models.settings.base import Settings

READING = tuple(Reading.__dataclass_fields__)


def default_method(data: datasets.Dataset) -> str:
    """Return the method of a run without --method."""
    return METHOD if data.is_image else VECTOR_METHOD


def reading_of(spec: RunSpec | argparse.Namespace) -> dict[str, str | tuple | bool | None]:
    """Return how a user's file is to be read, as keywords of `datasets.load_file`.

    UserError for shapes and sizes that no image has.
    """
    found = {name: getattr(spec, name) for name in READING}
    for name in ("ignore_columns", "image_shape", "image_size"):
        found[name] = tuple(found[name]) if found[name] is not None else None
    for name in ("image_shape", "image_size"):
        value = found[name]
        if value is not None and (min(value) < 1 or value[2:] not in ((), (1,), (3,))):
            what = "H W C >= 1 with C = 1 or 3" if name == "image_shape" else "H W >= 1"
            raise UserError(f"{flag(name)} {' '.join(map(str, value))}: expected {what}")
    return found


def load_data(args: RunSpec | argparse.Namespace) -> datasets.Dataset:
    """Return the data set that the command line names, and check K.

    Of a range of K, the lowest, until `n_clusters.settle` chooses.
    """
    k = args.n_clusters[0] if isinstance(args.n_clusters, tuple) else args.n_clusters
    if k is None and args.method is not None and METHODS[args.method].settings.finds_k:
        k = 2  # of no effect
    if args.data is not None:
        return datasets.load_file(args.data, k, **reading_of(args))
    for name in READING:
        if getattr(args, name) != RunSpec.default(name):
            raise UserError(f"{flag(name)} without --data: it says how to read a file")
    data = datasets.load(args.dataset or "digits", args.data_dir)
    if args.n_clusters is None:
        return data
    if not 2 <= k <= data.n:
        raise UserError(f"n_clusters={k}: expected 2 to n={data.n}")
    return dataclasses.replace(data, n_clusters=k)


def check_shapes(method: str, config: Settings, data: datasets.Dataset) -> None:
    """Refuse, before anything is trained, data that the method cannot take.

    A user's rows of numbers are vectors, unless --image-shape says that they are images.
    """
    if not config.needs_images:
        return
    if data.named or data.is_image:
        image_shape(data.x.shape[1:])
        return
    plain = method.removesuffix("-DA").replace("Conv", "Fc")
    if plain not in METHODS or METHODS[plain].settings.needs_images:
        plain = VECTOR_METHOD
    raise UserError(
        f"{method} takes images, and {data.name} has vectors of {data.x.shape[1]} numbers: "
        f"expected a method for vectors such as {plain}, or --image-shape H W C"
    )
