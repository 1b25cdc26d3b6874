"""What the baselines share: estimators of flat samples, in the form of `DeepClusterer`."""

import os
import time
import warnings
from typing import Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from common.errors import UserError
from common.memory import require_memory
from models.core.arrays import cluster_means, squared_distances, student_kernel
from models.core.estimator import Estimator
from models.core.monitor import Monitor
from models.core.samples import hash_array
from models.settings.base import Settings


class Baseline(Estimator):
    """A clustering of flat samples, in the form of `DeepClusterer`. No label is ever used.

    Parameters
    ----------
    n_clusters : int
        K, from 2 to the number of samples.
    config : models.settings.base.Settings
        `models.build` fills in the method's.
    method : str
        The name under which the model is saved.
    random_state : int
        Decides every random number.
    monitor : Monitor, optional

    Attributes
    ----------
    labels_ : int64 array (n,)
        Equal to `predict` of the same data.
    n_iter_ : int
        Iterations, or merges; 0 where a method does not say.
    converged_ : bool
    seconds_ : {"cluster": float}
    n_features_in_ : int
    """

    def __init__(
        self,
        n_clusters: int,
        config: Settings,
        *,
        method: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        monitor: Monitor | None = None,
    ):
        self.n_clusters = n_clusters
        self.config = config
        self.method = method
        self.random_state = random_state
        self.monitor = monitor

    # -- what a method defines ---------------------------------------------------------------

    def learn(self, x: np.ndarray, seed: int) -> tuple[dict, int, bool]:
        """Return {name: array} of what is learnt, the iterations made, and whether they ended."""
        raise NotImplementedError

    def embed(self, x: np.ndarray) -> np.ndarray:
        """Return the representation (n, z) of samples x (n, d)."""
        raise NotImplementedError

    def belong(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return memberships (n, k), rows summing to 1, of samples (n, d) represented by z."""
        raise NotImplementedError

    def label(self, x: np.ndarray) -> np.ndarray:
        """Return the labels (n,) of samples x (n, d): the largest memberships."""
        return self.belong(x, self.embed(x)).argmax(axis=1)

    def needed(self, n: int, d: int) -> float:
        """Return about how many bytes a fit takes, the data included."""
        return 24 * n * d

    # -- the estimator -----------------------------------------------------------------------

    def fit(self, x: object, y: object = None) -> Self:
        """Cluster samples x (n, ...), finite numbers; `y` is ignored. Return self.

        Raises
        ------
        UserError
            If the data or K does not suit, or would not fit into memory.
        """
        x = self._training_samples(x)
        self._shape = x.shape[1:]
        x = x.reshape(len(x), -1)
        self.n_features_in_ = x.shape[1]
        require_memory(self.needed(*x.shape), self.method or type(self).__name__)
        monitor = self.monitor or Monitor()
        monitor.begin("cluster", 1, 0)
        begin = time.monotonic()
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `converged_` says so
            self._learnt, steps, ended = self.learn(x, int(self.seed_) % 2**32)
            labels = self.label(x)
        self.n_iter_, self.converged_ = int(steps), bool(ended)
        self.seconds_ = {"cluster": time.monotonic() - begin}
        monitor.progress("cluster", 1)
        monitor.row("final", self.n_iter_, {"seconds": self.seconds_["cluster"]}, labels)
        return self._end_fit(labels)

    def _samples(self, x):
        """Return samples of the fitted shape, flat."""
        x = super()._samples(x)
        return x.reshape(len(x), -1)

    def transform(self, x: object) -> np.ndarray:
        """Return the method's representation of samples, float32 (n, z)."""
        x = self._samples(x)
        with threadpool_limits(1):
            return self.embed(x).astype(np.float32)

    def predict(self, x: object) -> np.ndarray:
        """Return the labels of samples, int64 (n,)."""
        x = self._samples(x)
        with threadpool_limits(1):
            return self.label(x)

    def memberships(self, x: object) -> np.ndarray:
        """Return how far samples belong to each cluster, (n, k); rows sum to 1."""
        x = self._samples(x)
        with threadpool_limits(1):
            return self.belong(x, self.embed(x))

    def width(self) -> int:
        return self.embed(np.zeros((1, self.n_features_in_), np.float32)).shape[1]

    def model_arrays(self) -> dict:
        """Return {name: array} of what was learnt."""
        self._require_fit()
        return dict(sorted(self._learnt.items()))

    def restore(self, path: str | os.PathLike, arrays: dict[str, np.ndarray], about: dict) -> Self:
        """Take up what `model_arrays` gave."""
        self._learnt, self._shape = arrays, tuple(about["shape"])
        self.n_features_in_ = int(np.prod(self._shape))
        return self


class FittedOnly(Baseline):
    """A method without a rule for new samples: what it knows is the samples it was fitted to."""

    def partition(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, int, bool]:
        """Return labels (n,), a representation (n, z), iterations made, and whether they ended."""
        raise NotImplementedError

    def learn(self, x: np.ndarray, seed: int) -> tuple[dict, int, bool]:
        labels, z, steps, ended = self.partition(x, seed)
        data = np.frombuffer(hash_array(x).encode(), np.uint8)
        learnt = {"labels": labels.astype(np.int64), "embedding": z.astype(np.float32)}
        return learnt | {"data": data}, steps, ended

    def _samples(self, x):
        x = super()._samples(x)
        if hash_array(x).encode() != self._learnt["data"].tobytes():
            raise UserError(
                f"{len(x)} samples that are not those {self.method} was fitted to: expected the "
                f"same {len(self._learnt['labels'])}; it has no rule for new ones"
            )
        return x

    def embed(self, x: np.ndarray) -> np.ndarray:
        return self._learnt["embedding"]

    def label(self, x: np.ndarray) -> np.ndarray:
        return self._learnt["labels"].copy()

    def belong(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        labels = self._learnt["labels"]
        centers = cluster_means(z, labels, labels.max() + 1).astype(np.float32)
        return student_kernel(squared_distances(z, centers))


class MeansOnly(FittedOnly):
    """A method without a rule whose embedding is the distances to the means of its clusters."""

    def belong(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return student_kernel(np.square(z))


def mean_distances(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the distances (n, k) of samples (n, d) to the means of their clusters."""
    means = cluster_means(x, labels, labels.max() + 1).astype(np.float32)
    return np.sqrt(squared_distances(x, means))
