"""What every method is to scikit-learn: parameters, checks of data, copies, and model files."""

import copy
import numbers
import os
from inspect import signature
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import ClassifierTags
from sklearn.utils.validation import _check_feature_names, _get_feature_names

from common.errors import UserError, unknown
from common.files import save_arrays
from models.core.samples import as_samples, check_estimator
from models.settings.base import Settings

KEPT = "kept/"  # prefix of a model file's arrays that are no weights
PART = "_part_"  # prefix of attributes that a fit makes


class Estimator(ClusterMixin, TransformerMixin, BaseEstimator):
    """A clustering with n_clusters, config, method and random_state.

    Parameters of scikit-learn (`get_params`, `set_params`, `clone`, `GridSearchCV`) are those of
    the constructor but for `config`, and in its place the method's settings by the names of its
    options: `tol`, `maxiter`, `lr`, ...

    A method defines `model_arrays()`, {name: array} of all that it has learnt, and
    `restore(path, arrays, about)`, which takes that up; `save`, pickle and copy go by these.
    """

    # A fit gives no public names but those that end with _ (scikit-learn's rule): what else a
    # method makes, as `self.encoder`, is kept as `_part_encoder` and read by its own name.

    def __setattr__(self, name, value):
        public = not (name.startswith("_") or name.endswith("_") or hasattr(type(self), name))
        if public and name not in signature(type(self)).parameters:
            name = f"{PART}{name}"
        super().__setattr__(name, value)

    def __getattr__(self, name):
        part = f"{PART}{name}"
        if part in self.__dict__:
            return self.__dict__[part]
        return super().__getattribute__(name)  # fails, or lets a property tell its own error

    # -- parameters ----------------------------------------------------------------------------

    def _own_params(self):
        return [name for name in signature(type(self)).parameters if name != "config"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return {name: value} of the constructor's parameters and the settings."""
        own = {name: getattr(self, name) for name in self._own_params()}
        options = self.config.options() if isinstance(self.config, Settings) else {}
        return own | {name: o.default for name, o in options.items() if name not in own}

    def set_params(self, **params: Any) -> Self:
        """Change parameters and settings; UserError, a ValueError, if one does not exist or fit."""
        known, own = self.get_params(), self._own_params()
        config = params.pop("config", self.config)
        for name in params:
            if name not in known:
                raise UserError(f"Invalid parameter: {unknown('parameter', name, known)}")
        values = {name: value for name, value in params.items() if name not in own}
        self.config = config.changed(values) if values else config  # first: it may refuse a value
        for name in params.keys() - values.keys():
            setattr(self, name, params[name])
        return self

    def __sklearn_clone__(self):
        names = [name for name in self._own_params() if name != "monitor"]
        own = {name: copy.deepcopy(getattr(self, name)) for name in names}
        return type(self)(config=self.config, **own)

    @property
    def seed_(self) -> int:
        """The seed of the fit: `random_state`, or what was drawn where that is no number."""
        return self.__dict__.get("_drawn", self.random_state)

    # -- data ----------------------------------------------------------------------------------

    def _training_samples(self, x):
        """Return samples to fit as float32 (n, ...); K, the seed and the columns are settled."""
        state = self.random_state
        for name in ("_drawn", "_fitted", "labels_", "feature_names_in_", "kept_", "prepared_"):
            self.__dict__.pop(name, None)  # of an earlier fit, or of the file of another model
        if state is None or isinstance(state, np.random.RandomState):
            draw = np.random.default_rng().integers if state is None else state.randint
            self._drawn = int(draw(2**31 - 1))
        self._columns, x = _get_feature_names(x), as_samples(x)
        check_estimator(self.n_clusters, self.seed_, len(x))
        return x

    def _end_fit(self, labels):
        """Take up the labels (n,) of the fitted samples; from here on the model can be used."""
        self.labels_ = labels.astype(np.int64)
        if self._columns is not None:
            self.feature_names_in_ = self._columns
        self._fitted = True
        return self

    def _require_fit(self):
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

    def __sklearn_is_fitted__(self):
        return "_fitted" in self.__dict__

    def _samples(self, x):
        """Return samples of the fitted shape; flat ones are reshaped."""
        self._require_fit()
        if _get_feature_names(x) is not None or hasattr(self, "feature_names_in_"):
            _check_feature_names(self, x, reset=False)
        x = as_samples(x)
        if x.shape[1:] not in (self._shape, (int(np.prod(self._shape)),)):
            raise UserError(
                f"data of shape {x.shape}: expected (n, {', '.join(map(str, self._shape))}), "
                f"as the model was trained on (X has {int(np.prod(x.shape[1:]))} features, but "
                f"{type(self).__name__} is expecting {self.n_features_in_} features as input)"
            )
        return x.reshape(len(x), *self._shape)

    # -- use -----------------------------------------------------------------------------------

    def predict_proba(self, x: object) -> np.ndarray:
        """Return memberships (n, k) of samples, rows summing to 1: see `memberships`."""
        self._require_fit()
        return self.memberships(x)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the columns of `transform`: the class's name and a number."""
        self._require_fit()
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{i}" for i in range(self.width())], dtype=object)

    def width(self) -> int:
        """Return the number of columns of `transform`; each kind of method has its own."""
        raise NotImplementedError

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags = ClassifierTags()  # its check of predict_proba asks for them
        return tags

    # -- files and copies ----------------------------------------------------------------------

    def _about(self):
        """Return what a model file says of the model, for `models.load`."""
        self._require_fit()
        about = {
            "kind": "model",
            "method": self.method,
            "config": self.config.to_dict(),
            "n_clusters": int(self.n_clusters),
            "random_state": int(self.seed_),
            "shape": list(self._shape),
        }
        if hasattr(self, "n_iter_"):
            about["fit"] = {"n_iter_": self.n_iter_, "converged_": self.converged_}
        if hasattr(self, "feature_names_in_"):
            about["columns"] = [str(name) for name in self.feature_names_in_]
        return about | ({"prepared": self.prepared_} if hasattr(self, "prepared_") else {})

    def save(self, path: str | os.PathLike) -> None:
        """Write the fitted model, for `models.load`."""
        about = self._about()
        kept = {f"{KEPT}{name}": array for name, array in getattr(self, "kept_", {}).items()}
        if hasattr(self, "labels_"):
            kept[f"{KEPT}labels"] = np.asarray(self.labels_, np.int32)
        save_arrays(path, self.model_arrays() | kept, about)

    def take_up(self, path: str | os.PathLike, arrays: dict[str, np.ndarray], about: dict) -> Self:
        """Become the model that a file holds; an older one says less. Return self."""
        kept = {name.removeprefix(KEPT): a for name, a in arrays.items() if name.startswith(KEPT)}
        self.restore(path, {n: a for n, a in arrays.items() if not n.startswith(KEPT)}, about)
        if "labels" in kept:
            self.labels_ = kept.pop("labels").astype(np.int64)
        self.kept_, self._fitted = kept, True
        if "prepared" in about:
            self.prepared_ = about["prepared"]
        for name, value in about.get("fit", {}).items():
            setattr(self, name, value)
        if "columns" in about:
            self.feature_names_in_ = np.array(about["columns"], dtype=object)
        return self

    def __getstate__(self):
        """Return plain data: no network, tensor or monitor; weights as arrays."""
        state = {name: value for name, value in self.__dict__.items() if _plain(value)}
        state["config"] = self.config
        if self.__sklearn_is_fitted__():
            state["_packed"] = (self.model_arrays(), self._about())
        return state

    def __setstate__(self, state):
        packed = state.pop("_packed", None)
        self.__dict__.update({name: None for name in self._own_params()} | state)
        if packed is not None:
            self.restore("a copied model", *packed)
            self.__dict__.update(state | {"_fitted": True})


def _plain(value):
    """Whether a value is made of numbers, text and arrays alone."""
    if isinstance(value, dict):
        return all(_plain(key) and _plain(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    allowed = (str, bytes, numbers.Number, np.ndarray, np.generic, np.random.RandomState)
    return value is None or isinstance(value, allowed) or hasattr(value, "__fspath__")
