"""DeepClusterer: pretrain an auto-encoder, then alternate targets and gradient steps."""

import os
import time
from typing import Self

import keras
import numpy as np
import tensorflow as tf

from common.matching import matched_share
from models.core import initialization
from models.core.autoencoder import CLUSTER, RETRIES, AutoencoderEstimator
from models.core.functional import Tensor, squared_distances
from models.core.monitor import Monitor
from models.core.optimizers import make as make_optimizer
from models.core.samples import hash_array
from models.core.seeds import derive_seed
from models.core.training import Trainer, Variable
from models.core.weights import arrays_of, assign_arrays
from models.settings.base import PretrainConfig


class DeepClusterer(AutoencoderEstimator):
    """A clustering method on a deep auto-encoder, in scikit-learn's form. No label is ever used.

    What a method defines
    ---------------------
    These are all the hooks; names with an underscore are this class's own, and no method overrides
    them. Every method of the auto-encoder kind has the first five.

    cluster_variables()            what the clustering phase trains
    target_specs(n)                {name: (shape, dtype)} of the targets of n samples
    refresh(z, step)               labels, targets and what to log, from all clean codes
    loss_weights()                 {name: weight} of the losses
    loss(x, targets, seed)         {name: scalar} of a batch and the step's seed pair
    pretrain_variables(), pretrain_weights(), pretrain_loss(x, targets, seed)
                                   the same of pretraining; default: reconstruction
    pretrain(data, checkpoint)     the whole first phase, where it is more than one
    make_networks(shape, seed)     encoder, decoder and what else there is; default: `network`'s
    shared_networks()              {name: network} of what pretraining gives and runs share
    own_networks()                 {name: network} of what only the clustering phase has
    make_centers()                 where the centres are kept; default: in the codes' space
    cluster_optimizer(n)           its optimizer, of n samples; default: `optimizer`
    extra_state()                  {name: variable} of what else a model file holds
    restore(path, arrays, about)   where older model files lack some of it
    start(data)                    centres, labels, seconds; default: by `init` and `n_init`
    initialize(z, seed)            centres and labels of codes, by other means than `init`
    embed(z), assign(z)            the space where the centres are, labels; default: codes, nearest
    finish(z)                      what is settled by the final codes
    cluster(data)                  the whole second phase, where it is no such alternation
    memberships(x), other_labels() further results
    save_keras(folder)             files of Keras, where a network's outputs are not the samples

    Parameters
    ----------
    n_clusters : int
        K, from 2 to the number of samples.
    config : models.settings.base.PretrainConfig
        Hyper-parameters; `models.build` fills in the published ones.
    method : str
        The name under which weights are saved.
    random_state : int
        The same gives the same labels, bit for bit, on one machine with as many threads.
    run_dir : path, optional
        Where the clustering phase keeps its checkpoint. None: no checkpoint.
    cache_dir : path, optional
        Where pretrained auto-encoders are kept and shared by every method that starts from the
        same network, augmentation, data, seed and settings. None: `run_dir`.
    pretrained_weights : path, optional
        An ae_weights.h5 to start from; takes the place of pretraining.
    monitor : Monitor, optional
    checkpoint_seconds : float
        Time between two checkpoints.
    steps_per_execution : int
        Steps in one call of TensorFlow; any number gives the same result.

    Attributes
    ----------
    labels_ : int64 array (n,)
        Assigned by the final weights; equal to `predict` of the same data.
    cluster_centers_ : float32 array (k, z)
    n_iter_ : int
        Clustering steps made.
    converged_ : bool
        Whether the share of changed labels fell below `tol`.
    initial_labels_ : int64 array (n,)
        The start: k-means on the pretrained embedding, or what `init` says.
    n_init_ : int
        Restarts of k-means made for it; 0 where `init` has none.
    pretrained_codes_ : float32 array (n, z)
        The embedding that pretraining gave.
    refresh_labels_ : int64 array (n,)
        Labels at the last refresh, which the released code reports.
    seconds_ : dict
        {"pretrain", "initialize", "cluster"}, of this run and all that it took up.
    step_seconds_ : dict
        {"pretrain", "cluster"}: of these, the training steps; NaN where it is not known.
    encoder, decoder : keras.Model
    """

    shuffle = False  # the order of batches in the clustering phase
    whole_batches = False  # whether that phase leaves out the short batch at a pass's end
    earliest_end = 0  # the first step at which settled labels may end it

    def __init__(
        self,
        n_clusters: int,
        config: PretrainConfig,
        *,
        method: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        run_dir: str | os.PathLike | None = None,
        cache_dir: str | os.PathLike | None = None,
        pretrained_weights: str | os.PathLike | None = None,
        monitor: Monitor | None = None,
        checkpoint_seconds: float = 60.0,
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
        self.cache_dir = cache_dir
        self.pretrained_weights = pretrained_weights

    # -- what a method defines ---------------------------------------------------------------

    def cluster_variables(self) -> list[keras.Variable]:
        """Return the variables that the clustering phase trains."""
        raise NotImplementedError

    def target_specs(self, n: int) -> dict[str, tuple[tuple, str]]:
        """Return {name: (shape, dtype)} of the targets of n samples."""
        raise NotImplementedError

    def refresh(self, z: np.ndarray, step: int) -> tuple[np.ndarray, dict, dict[str, float]]:
        """Return labels (n,), {name: targets (n, ...)} and {name: number to log}.

        z (n, z) is the embedding of all clean samples after `step` steps.
        """
        raise NotImplementedError

    def loss_weights(self) -> dict[str, float]:
        """Return {name: weight} of the losses."""
        raise NotImplementedError

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Return {name: scalar}, unweighted, for a batch x (b, ...) and its rows of targets.

        Noise is drawn from the step's seed pair, int32 (2,), by TensorFlow's stateless functions.
        """
        raise NotImplementedError

    def make_centers(self) -> Variable:
        """Return a variable for the centres, zeros (k, size of the space where they lie)."""
        zeros = np.zeros((self.n_clusters, self.config.latent_dim), np.float32)
        return keras.Variable(zeros, name="centers")

    def cluster_optimizer(self, n: int) -> keras.optimizers.Optimizer:
        """Return the optimizer of the clustering phase of n samples."""
        return make_optimizer(self.config.optimizer)

    def extra_state(self) -> dict[str, Variable]:
        """Return {name: variable} of what a model file holds besides networks and centres."""
        return {}

    def start(self, data: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        """Return initial centres (k, z), labels (n,) and the seconds that took."""
        begin = time.monotonic()
        centers, labels, earlier = self._initial(self.pretrained_codes_)
        return centers, labels, time.monotonic() - begin + earlier

    def initialize(self, z: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return initial centres (k, z) and labels (n,), by the settings `init` and `n_init`."""
        c, note = self.config, self._monitor.note
        start = initialization.init(z, self.n_clusters, c.init, c.n_init, seed, note)
        self.n_init_ = start.restarts
        return start.centers, start.labels

    def embed(self, z: np.ndarray) -> np.ndarray:
        """Return codes z (n, z) in the space where the centres lie: as they are."""
        return z

    def assign(self, z: np.ndarray) -> np.ndarray:
        """Return hard labels (n,) of codes z (n, z): the nearest centre."""
        return np.argmin(squared_distances(z, self.centers), axis=1)

    def finish(self, z: np.ndarray) -> None:
        """Settle what `assign` needs by the final embedding z (n, z) of all clean samples."""

    # -- the algorithm -----------------------------------------------------------------------

    def fit(self, x: object, y: object = None) -> Self:
        """Cluster samples x (n, h, w, c) or (n, d), finite numbers, images scaled to [0, 1].

        `y` is ignored. Return self.

        Raises
        ------
        UserError
            If the data, K or the weights file does not suit.
        TrainingFailed
            If the loss becomes NaN or infinite.
        """
        self.fit_autoencoder(x)
        self.cluster(self._data)
        labels = self.assign(self._encode(self._data))
        del self._data
        return self._end_fit(labels)

    def _state(self):
        """Return {name: variable} of what a model file holds besides the networks."""
        return {"centers": self.centers} | self.extra_state()

    def _identity(self):
        """Return a digest of what decides the clustering phase, pretrained weights included."""
        start = [hash_array(a) for a in arrays_of(self.shared_networks()).values()]
        return self._digest(self._data_hash, start)

    def cluster(self, data: Tensor) -> None:
        """Initialise the centres, then alternate refreshes and steps until labels settle."""
        c = self.config
        targets = {
            name: tf.Variable(tf.zeros(shape, dtype), trainable=False)
            for name, (shape, dtype) in self.target_specs(data.shape[0]).items()
        }
        variables = [v for network in self._networks().values() for v in network.variables]
        trainer = Trainer(
            data,
            self.loss,
            self.loss_weights(),
            self.cluster_variables(),
            self.cluster_optimizer(data.shape[0]),
            batch_size=c.cluster_batch_size,
            shuffle=self.shuffle,
            seed=derive_seed(self.seed_, CLUSTER),
            targets=targets,
            augment=self._augmentation(c.aug_cluster),
            identity=self._identity(),
            state=[*variables, *self._state().values()],
            whole_batches=self.whole_batches,
        )

        final = {}

        def start(restored):
            if not restored:
                centers, labels, seconds = self.start(data)
                self.centers.assign(centers)
                trainer.carry = {
                    "initial_labels": labels,
                    "initialize_seconds": np.float64(seconds),
                    "restarts": np.int64(self.n_init_),
                    "converged": np.bool_(False),
                }
            self.initial_labels_ = trainer.carry["initial_labels"]
            self.n_init_ = int(trainer.carry.get("restarts", 0))  # an older one does not say

        def refresh(step):
            labels, new, values = self.refresh(self._encode(data), step)
            carry, labels = trainer.carry, labels.astype(np.int64)
            previous = carry.get("labels")
            changed = 1.0 if previous is None else float(np.mean(labels != previous))
            agreement = matched_share(labels, carry["initial_labels"], self.centers.shape[0])
            values = trainer.mean_losses() | values
            values |= {"changed": changed, "seconds": trainer.seconds, "start_agreement": agreement}
            self._monitor.row("cluster", step, values, labels)
            carry["labels"] = labels
            settled = previous is not None and changed < c.tol
            carry["converged"] = np.bool_(settled and step >= self.earliest_end)
            if carry["converged"]:
                return True
            for name, target in targets.items():
                target.assign(new[name])
            return False

        self.run_phase(
            trainer,
            c.total_steps(trainer.steps_per_pass),
            "cluster",
            interval=c.update_interval,
            refresh=refresh,
            start=start,
            checkpoint=self._place("checkpoint.h5"),
            carry=("initial_labels", "initialize_seconds", "converged"),
            retries=RETRIES,
            at_end=lambda: final.update(codes=self._encode(data)),
        )
        carry = trainer.carry
        self.refresh_labels_ = carry.get("labels", self.initial_labels_)
        self.converged_, self.n_iter_ = bool(carry["converged"]), trainer.step
        self.seconds_["initialize"] = float(carry["initialize_seconds"])
        z = final["codes"]
        self.finish(z)
        values = trainer.mean_losses() | {"seconds": trainer.seconds}
        self._monitor.row("final", trainer.step, values, self.assign(z).astype(np.int64))

    # -- use after fit -----------------------------------------------------------------------

    def other_labels(self) -> dict[str, np.ndarray]:
        """Return {name: labels (n,)} of the training samples that are not the result."""
        return {"refresh": self.refresh_labels_, "kmeans": self.initial_labels_}

    # -- files -------------------------------------------------------------------------------

    def model_arrays(self) -> dict[str, np.ndarray]:
        """Return {name: array} of weights, centres and what else the model holds."""
        self._require_fit()
        state = {name: np.asarray(v) for name, v in self._state().items()}
        return arrays_of(self._networks()) | state | getattr(self, "_scaling", {})

    def restore(self, path: str | os.PathLike, arrays: dict[str, np.ndarray], about: dict) -> Self:
        """Take up what `model_arrays` gave."""
        self._build(tuple(about["shape"]))
        self._restore_scaling(arrays)
        assign_arrays(path, arrays, self._networks(), self.config.network, self._shape)
        for name, variable in self._state().items():
            variable.assign(arrays[name])
        return self
