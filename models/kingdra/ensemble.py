"""An ensemble of classifier networks as an estimator: what Kingdra and IMSAT share after training.

Departures: docs/methods/kingdra.md
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Self

import keras
import numpy as np
import tensorflow as tf

from common.errors import TrainingFailed
from common.matching import match_clusters
from models.core.functional import Tensor
from models.core.keras_files import dense_classifier, save_classifier
from models.core.monitor import Monitor
from models.core.phases import PhasedEstimator
from models.core.seeds import derive_seed
from models.kingdra.ladder import Ladder
from models.settings.kingdra import InformationConfig

NETWORK, STEPS, STREAM = range(3)  # uses of the run's seed


def side_by_side(jobs: Iterable[Callable[[], object]], workers: int, stop: threading.Event) -> None:
    """Carry out callables, `workers` at a time; if one fails, tell the others by the event `stop`.

    Raises
    ------
    Exception
        The first failure, once all have ended.
    """
    if workers == 1:
        for job in jobs:
            job()
        return
    failures = []

    def tried(job):
        try:
            job()
        except BaseException as error:
            failures.append(error)  # in the order of time: others fail as they are told to stop
            raise

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(tried, job) for job in jobs]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # Ctrl-C comes here too
            if not all(future.done() and not future.exception() for future in futures):
                stop.set()
                for future in futures:
                    future.cancel()
    if failures:
        raise failures[0]


class Ensemble(PhasedEstimator):
    """Networks that give each sample a distribution over k clusters, and a vote.

    What a method defines
    ---------------------
    train(data)                    all of training; it sets n_iter_, converged_, _steps_made
    make_networks(sizes)           the networks, from their layers' sizes; default: one, no noise
    correspondence(labels)         how members' clusters correspond; default: Hungarian matching
    voted(predictions, mappings)   the ensemble's prediction; default: the members' mean
    voters(members)                those of the members whose mean that is; default: all
    other_labels()                 further labels of the training samples

    Parameters
    ----------
    config : models.settings.kingdra.InformationConfig
    workers : int
        Members that train at the same time, a thread each; any number gives the same labels.
    n_clusters, method, random_state, run_dir, monitor, checkpoint_seconds, steps_per_execution
        As of `DeepClusterer`.

    Attributes
    ----------
    labels_ : int64 array (n,)
        Equal to `predict` of the same data.
    n_iter_ : int
    converged_ : None
        There is no test of convergence.
    seconds_, step_seconds_ : dict
        {"cluster"}: in all, and in training steps.
    """

    gains = None  # of the initial weights: see `Ladder`

    def __init__(
        self,
        n_clusters: int,
        config: InformationConfig,
        *,
        method: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        run_dir: str | os.PathLike | None = None,
        monitor: Monitor | None = None,
        checkpoint_seconds: float = 60.0,
        workers: int = 1,
        steps_per_execution: int = 1,
    ):
        super().__init__(
            n_clusters,
            config,
            method=method,
            random_state=random_state,
            run_dir=run_dir,
            monitor=monitor,
            checkpoint_seconds=checkpoint_seconds,
            steps_per_execution=steps_per_execution,
        )
        self.workers = workers

    # -- what a method defines ---------------------------------------------------------------

    def make_networks(self, sizes: tuple) -> list[Ladder]:
        """Return a list of networks of layers of these sizes: inputs, hidden ones, k."""
        return [Ladder(sizes, 0.0, False, derive_seed(self.seed_, NETWORK, 0), self.gains)]

    def train(self, data: Tensor) -> None:
        """Train the networks on the samples, a tensor (n, d)."""
        raise NotImplementedError

    # -- the rest ----------------------------------------------------------------------------

    def fit(self, x: object, y: object = None) -> Self:
        """Cluster samples x (n, d) or (n, h, w, c), which are flattened; `y` is ignored.

        Raises
        ------
        UserError
            If the data or K does not suit.
        TrainingFailed
            If the loss becomes NaN or infinite.
        """
        x = self.begin(x)
        self._build(x.shape[1:])
        data = tf.constant(self._scaled(x, fresh=True).reshape(len(x), -1))
        self.train(data)
        self._freeze(data)
        labels = self._voted(data.numpy()).argmax(axis=1)
        self._monitor.row("final", self._steps_made, {"seconds": self.seconds_["cluster"]}, labels)
        return self._end_fit(labels)

    def _leave_out_last(self, n):
        """Whether the last batch of a pass holds one sample, which cannot be normalised."""
        return n % self.config.batch_size == 1

    def _build(self, shape):
        """Make the networks for samples of a shape."""
        self._shape = tuple(shape)
        self.n_features_in_ = int(np.prod(shape))
        self.networks = self.make_networks(
            (self.n_features_in_, *self.config.widths, self.n_clusters)
        )

    def _predictions(self, network, data):
        """Return a network's predictions (n, k) of samples (n, d), and the statistics they used."""
        p, statistics = network.predict_whole(data)
        if not np.isfinite(p).all():
            raise TrainingFailed("predictions are not finite: try a smaller learning rate")
        return p, statistics

    def _freeze(self, data):
        """Keep the statistics of the training data, and how members' clusters correspond."""
        found = [self._predictions(network, data) for network in self.networks]
        self.statistics_ = [statistics for _, statistics in found]
        self.mappings_ = self.correspondence([p.argmax(axis=1) for p, _ in found])

    def correspondence(self, labels: np.ndarray | list[np.ndarray]) -> np.ndarray:
        """Return the first member's cluster (m, k) for each cluster of a member (Hungarian)."""
        return np.array([match_clusters(one, labels[0], self.n_clusters) for one in labels])

    def voted(self, predictions: list[np.ndarray], mappings: np.ndarray) -> np.ndarray:
        """Return the ensemble's prediction (n, k) from its members' (n, k) each.

        Their mean, columns permuted by `mappings` (m, k).
        """
        total = np.zeros_like(predictions[0])
        for p, mapping in zip(predictions, mappings, strict=True):
            total[:, mapping] += p
        return total / len(predictions)

    # -- use after fit -----------------------------------------------------------------------

    def other_labels(self) -> dict[str, np.ndarray]:
        """Return {name: labels (n,)} of the training samples that are not the result."""
        return {}

    def transform(self, x: object) -> np.ndarray:
        """Return the ensemble's prediction, float32 (n, k), rows summing to 1."""
        x = self._scaled(self._samples(x))
        return self._voted(x.reshape(len(x), -1))

    def _voted(self, x):
        pairs = zip(self.networks, self.statistics_, strict=True)
        return self.voted([network.predict(x, s) for network, s in pairs], self.mappings_)

    memberships = transform

    def predict(self, x: object) -> np.ndarray:
        """Return the labels of samples, int64 (n,) in [0, k): new ones or those fitted."""
        return self.memberships(x).argmax(axis=1)

    def width(self) -> int:
        return int(self.n_clusters)

    # -- files -------------------------------------------------------------------------------

    def save_keras(self, folder: str | os.PathLike) -> None:
        """Write classifier.keras, for plain Keras, into a folder: samples -> `memberships`.

        The statistics of the training data are part of its weights.
        """
        self._require_fit()
        members = []
        for network, statistics, mapping in zip(
            self.networks, self.statistics_, self.mappings_, strict=True
        ):
            kernels = [np.asarray(w) / s for w, (_, s) in zip(network.up, statistics, strict=True)]
            biases = [
                np.asarray(b) - m / s for b, (m, s) in zip(network.betas, statistics, strict=True)
            ]
            order = np.argsort(mapping)
            kernels[-1], biases[-1] = kernels[-1][:, order], biases[-1][order]
            members.append(dense_classifier(self._shape, kernels, biases))
        scaling = tuple(self._scaling.values())
        save_classifier(folder, self._shape, self.voters(members), scaling)

    def voters(self, members: list[keras.Model]) -> list[keras.Model]:
        """Return which of the members vote: all."""
        return members

    def model_arrays(self) -> dict[str, np.ndarray]:
        """Return {name: array} of weights, statistics and how members' clusters correspond."""
        self._require_fit()
        arrays = {"mappings": self.mappings_}
        for m, (network, statistics) in enumerate(
            zip(self.networks, self.statistics_, strict=True)
        ):
            arrays |= {f"member{m}/{i:02d}": np.asarray(v) for i, v in enumerate(network.variables)}
            arrays |= {f"statistics{m}/{i}": np.array(pair) for i, pair in enumerate(statistics)}
        return arrays | self._scaling

    def restore(self, path: str | os.PathLike, arrays: dict[str, np.ndarray], about: dict) -> Self:
        """Take up what `model_arrays` gave."""
        self._build(tuple(about["shape"]))
        self._restore_scaling(arrays)
        for m, network in enumerate(self.networks):
            for i, v in enumerate(network.variables):
                v.assign(arrays[f"member{m}/{i:02d}"])
        self.mappings_ = arrays["mappings"]
        self.statistics_ = [
            [tuple(arrays[f"statistics{m}/{i}"]) for i in range(len(network.up))]
            for m, network in enumerate(self.networks)
        ]
        return self
