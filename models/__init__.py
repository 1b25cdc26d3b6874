"""Clustering methods by name. TensorFlow is imported only when a deep model is built.

Letters for shapes: n samples, b batch, d inputs, h w c image sides and channels, z latent size,
k clusters.
"""

import dataclasses
import importlib
import os
from inspect import signature
from typing import TYPE_CHECKING

from common import device
from common.errors import UserError, unknown
from models.settings.base import Settings
from models.settings.fields import settings_of
from models.settings.presets import METHODS, method_of, preset, refuse_without_effect

if TYPE_CHECKING:
    import numpy as np

    from models.core.estimator import Estimator


def class_of(method: str) -> "type[Estimator]":
    """Return a method's class.

    Raises
    ------
    UserError
        If there is no such method, or its row of the registry names a module or a class that does
        not exist.
    """
    row = method_of(method)
    why = f"{row.module} has no {row.cls}"
    device.prepare()  # the module may import TensorFlow
    try:
        module = importlib.import_module(row.module)
        if hasattr(module, row.cls):
            return getattr(module, row.cls)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{row.module}.".startswith(f"{error.name}."):
            raise  # a package that the module needs
        why = f"there is no module {error.name}"
    raise UserError(f"method {method!r} is registered as {row.path!r}, but {why}")


def build(
    method: str,
    n_clusters: int,
    *,
    dataset: str | None = None,
    n: int | None = None,
    vectors: bool = False,
    config: Settings | None = None,
    random_state: "int | np.random.RandomState | None" = 0,
    **others: object,
) -> "Estimator":
    """Return an unfitted estimator of a method with the paper's settings.

    Parameters
    ----------
    method : str
        A key of `METHODS`, e.g. "ConvDEC-DA", matched exactly.
    n_clusters : int
        K.
    dataset : str, optional
        Name of a data set whose published settings to use.
    n : int, optional
        Number of samples, which decides the update interval.
    vectors : bool
        Whether the data are rows of numbers of your own, as of a table, rather than images: ours in
        place of published settings that diverge on them (docs/own-data.md). main.py does so for
        --data.
    config : Settings, optional
        Takes the place of the published settings.
    **others
        The method's settings (tol=1e-3, maxiter=2000, ...) to override, an optimizer as a record
        or by the names of its options (optimizer="adam", lr=1e-3), or parameters of its class:
        `monitor`, and for a `DeepClusterer` run_dir, cache_dir, pretrained_weights and
        checkpoint_seconds.

    Raises
    ------
    UserError
        If the method or a setting is unknown, a value is out of range, or alpha is given for a
        method without a reconstruction term.

    Examples
    --------
    >>> from models import build
    >>> labels = build("ConvDEC-DA", 10, random_state=0).fit_predict(images)  # doctest: +SKIP
    """
    cls = class_of(method)
    config = config or preset(method, dataset, n, vectors)
    fields = settings_of(type(config))
    names = fields.keys() | config.options().keys()
    told = {name: others.pop(name) for name in list(others) if name in names}
    known = set(signature(cls).parameters) - {"n_clusters", "config", "method", "random_state"}
    for name in others:
        if name not in known:
            raise UserError(unknown("setting", name, sorted(names | known)))
    changes = {
        name: fields[name].converted(value)
        for name, value in told.items()
        if name in fields and not (name.endswith("optimizer") and isinstance(value, str))
    }
    parts = {name: told[name] for name in told if name not in changes}  # of optimizers
    config = dataclasses.replace(config, **changes).changed(parts)
    refuse_without_effect(method, config, changes.keys() & {"alpha"})  # a term of the loss
    return cls(n_clusters, config, method=method, random_state=random_state, **others)


def load(path: str | os.PathLike) -> "Estimator":
    """Return the fitted estimator that its `save` wrote to `path` (model_final.h5).

    It predicts and transforms. UserError if the file is missing, damaged or holds no model.
    """
    from common.files import load_arrays

    arrays, about = load_arrays(path)
    if about.get("kind") != "model":
        raise UserError(
            f"{str(path)!r} holds {about.get('kind', 'something else')} weights: expected a whole "
            "model (model_final.h5)"
        )
    try:
        cls = class_of(about["method"])
        model = cls(
            about["n_clusters"],
            type(preset(about["method"])).from_dict(about["config"]),
            method=about["method"],
            random_state=about["random_state"],
        )
        return model.take_up(path, arrays, about)
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{str(path)!r} holds no {error}: another version's model") from error
    except (AttributeError, TypeError, ValueError) as error:  # parts of other kinds or shapes
        raise UserError(f"{str(path)!r} holds a damaged model: {error}") from error


__all__ = ["METHODS", "Settings", "build", "class_of", "load", "preset"]
