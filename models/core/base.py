"""DeepClusterer: pretrain an auto-encoder, then alternate targets and gradient steps."""

import os
import time

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from augment import RandomShiftRotate
from common.errors import TrainingFailed, UserError
from common.files import load_arrays, remove_leftovers, save_arrays
from common.locks import locked
from common.matching import matched_share
from common.shapes import image_shape
from models.core import initialization
from models.core.estimator import Estimator
from models.core.functional import mean_squared_error, soft_assignment, squared_distances
from models.core.monitor import Monitor
from models.core.networks import AUTOENCODERS
from models.core.optimizers import make as make_optimizer
from models.core.samples import as_samples, check_estimator, hash_array
from models.core.training import Trainer, derive_seed, once
from models.settings.base import digest, pretrain_key

NETWORK, PRETRAIN, INITIALIZE, CLUSTER, SELECT = range(5)  # uses of the run's seed
CHUNK = 2048  # samples encoded at a time


class DeepClusterer(Estimator):
    """A clustering method on a deep auto-encoder, in scikit-learn's form. No label is ever used.

    Parameters
    ----------
    n_clusters : int
        K, from 2 to the number of samples.
    config : models.config.PretrainConfig
        Hyper-parameters; `models.build` fills in the published ones.
    method : str
        The name under which weights are saved.
    random_state : int
        Decides every random number of the run: the same seed gives the same labels, bit for bit,
        on one machine with the same number of threads.
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
        {"pretrain", "initialize", "cluster"}: of this run and those it took up; a shared
        pretraining counts with the time it took where it was done.
    step_seconds_ : dict
        {"pretrain", "cluster"}: of these, the training steps; NaN where it is not known.
    encoder, decoder : keras.Model
    """

    fitted = "centers"
    shuffle = False  # the order of batches in the clustering phase
    whole_batches = False  # whether that phase leaves out the short batch at a pass's end

    def __init__(
        self, n_clusters, config, *, method=None, random_state=0, run_dir=None, cache_dir=None,
        pretrained_weights=None, monitor=None, checkpoint_seconds=60.0,
    ):  # fmt: skip
        self.n_clusters = n_clusters
        self.config = config
        self.method = method
        self.random_state = random_state
        self.run_dir = run_dir
        self.cache_dir = cache_dir
        self.pretrained_weights = pretrained_weights
        self.monitor = monitor
        self.checkpoint_seconds = checkpoint_seconds

    # -- what a method defines ---------------------------------------------------------------

    def trained(self):
        """Return the variables that the clustering phase trains."""
        raise NotImplementedError

    def target_specs(self, n):
        """Return {name: (shape, dtype)} of the targets of n samples."""
        raise NotImplementedError

    def refresh(self, z, step):
        """Return labels (n,), {name: targets (n, ...)} and {name: number to log}.

        z (n, z) is the embedding of all clean samples after `step` steps.
        """
        raise NotImplementedError

    def loss_weights(self):
        """Return {name: weight} of the losses."""
        raise NotImplementedError

    def loss(self, x, targets, seed):
        """Return {name: scalar}, unweighted, for a batch x (b, ...) and its rows of targets.

        Noise is drawn from the step's seed pair, int32 (2,), by TensorFlow's stateless functions.
        """
        raise NotImplementedError

    def pretrained(self):
        """Return the variables that the pretraining phase trains."""
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    def pretrain_weights(self):
        """Return {name: weight} of the losses in pretraining."""
        return {"reconstruction": 1.0}

    def pretrain_loss(self, x, targets, seed):
        """Return the mean squared error of reconstructing x from itself (DEC-DA, eq. 8)."""
        return {"reconstruction": mean_squared_error(x, self.decoder(self.encoder(x)))}

    def initialize(self, z, seed):
        """Return initial centres (k, z) and labels (n,), by the settings `init` and `n_init`."""
        c, note = self.config, self._monitor.note
        start = initialization.init(z, self.n_clusters, c.init, c.n_init, seed, note)
        self.n_init_ = start.restarts
        return start.centers, start.labels

    def assign(self, z):
        """Return hard labels (n,) of embeddings z (n, z): the nearest centre."""
        return np.argmin(squared_distances(z, self.centers), axis=1)

    def finish(self, z):
        """Settle what `assign` needs by the final embedding z (n, z) of all clean samples."""

    # -- the algorithm -----------------------------------------------------------------------

    def fit(self, x, y=None):
        """Cluster the samples.

        Parameters
        ----------
        x : array-like (n, h, w, c) or (n, d)
            Finite numbers; images scaled to [0, 1].
        y : ignored
            For scikit-learn's sake.

        Returns
        -------
        self

        Raises
        ------
        UserError
            If the data, K or the weights file does not suit.
        TrainingFailed
            If the loss becomes NaN or infinite.
        """
        x = self._check(x)
        self._monitor = self.monitor or Monitor()
        if self.run_dir is not None:
            os.makedirs(self.run_dir, exist_ok=True)
        self._build(x.shape[1:])
        data = self._data = tf.constant(x)
        self._data_hash = hash_array(x)
        self.seconds_, self.step_seconds_ = {}, {}
        self._pretrain(data)
        self.pretrained_codes_ = self._encode(data)
        self._cluster(data)
        del self._data
        self.labels_ = self.predict(x)
        return self

    def _check(self, x):
        """Return samples as float32, in the shape that the network takes."""
        x = as_samples(x)
        check_estimator(self.n_clusters, self.random_state, len(x))
        if x.ndim == 2 and self.config.network != "fc":
            x = x.reshape(len(x), *image_shape(x.shape[1:]))
        if self.config.needs_images:
            if x.ndim not in (2, 4):
                raise UserError(f"data of shape {x.shape}: expected images (n, h, w, c) or (n, d)")
            image_shape(x.shape[1:])
        return x

    def _build(self, shape):
        """Make networks and centres for samples of a shape."""
        self._make_networks(shape, derive_seed(self.random_state, NETWORK))
        zeros = np.zeros((self.n_clusters, self._center_size()), np.float32)
        self.centers = keras.Variable(zeros, name="centers")
        self.n_features_in_ = int(np.prod(shape))
        self._shape = tuple(shape)
        self._encode_batch = tf.function(
            self.encoder, input_signature=[tf.TensorSpec((None, *shape), tf.float32)]
        )

    def _make_networks(self, shape, seed):
        """Make `encoder`, samples -> embedding, `decoder`, and what else the method has."""
        c = self.config
        make = AUTOENCODERS[c.network]
        self.encoder, self.decoder = make(shape, c.latent_dim, seed, c.precision)

    def _center_size(self):
        """Return the number of dimensions in which the centres lie."""
        return self.config.latent_dim

    def _networks(self):
        """Return {name: network} of what pretraining gives and runs share."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def _further(self):
        """Return {name: network} of what only the clustering phase has."""
        return {}

    def _kept(self):
        """Return {name: variable} of what a model file holds besides the networks."""
        return {"centers": self.centers}

    def _variables(self, further=True):
        """Return the variables of the networks, in a fixed order."""
        networks = self._networks() | (self._further() if further else {})
        return [v for network in networks.values() for v in network.variables]

    def _augment(self, wanted):
        """Return the augmentation, or None where it is not wanted."""
        c = self.config
        if not wanted:
            return None
        return RandomShiftRotate(c.shift, c.rotation, c.shift_pixels, c.center)

    def pretrain_key(self):
        """Return the name under which this run's pretraining is shared, and what it stands for."""
        return pretrain_key(
            self.config, self._shape, self._data_hash, self.random_state, self.n_clusters
        )

    def _identity(self):
        """Return a digest of what decides the clustering phase, pretrained weights included."""
        start = [hash_array(np.asarray(v)) for v in self._variables(further=False)]
        return digest([
            self.method, self.config.identity_dict(), int(self.n_clusters), int(self.random_state),
            self._data_hash, start,
        ])  # fmt: skip

    def _pretrain(self, data):
        """Load pretrained weights, or train the auto-encoder and keep it for others."""
        if self.pretrained_weights is not None:
            self._load_autoencoder(self.pretrained_weights)
        elif (self.cache_dir or self.run_dir) is None:
            self._train_autoencoder(data, None)
        else:
            self._share_pretraining(data, self.cache_dir or self.run_dir)
        if self.run_dir is not None:
            self.save_autoencoder(os.path.join(self.run_dir, "ae_weights.h5"))

    def _share_pretraining(self, data, root):
        """Take the pretrained weights from the folder `root`, or train and put them there.

        One process trains, others that need the same weights wait for it.
        """
        key, about = self.pretrain_key()
        folder = os.path.join(root, key)
        os.makedirs(folder, exist_ok=True)
        weights = os.path.join(folder, "ae_weights.h5")
        checkpoint = os.path.join(folder, "checkpoint.h5")

        def waiting():
            self._monitor.note(f"waiting for another process that pretrains {folder}")

        with locked(os.path.join(folder, "lock"), waiting):
            remove_leftovers(folder)
            if os.path.exists(weights):
                try:
                    self._load_autoencoder(weights)
                    self._monitor.note(f"pretrained weights found: {weights}")
                except UserError as error:
                    os.replace(weights, f"{weights}.damaged")
                    self._monitor.warn(f"{error}; put aside as {weights}.damaged, trained again")
            if not os.path.exists(weights):
                self._train_autoencoder(data, checkpoint)
                self.save_autoencoder(weights, about)
            if os.path.exists(checkpoint):  # also one that a kill after the last write left
                os.remove(checkpoint)

    def _train_autoencoder(self, data, checkpoint):
        """Run the pretraining phase."""
        c = self.config
        trainer = Trainer(
            data, self.pretrain_loss, self.pretrain_weights(), self.pretrained(),
            make_optimizer(c.pretrain_optimizer), batch_size=c.batch_size, shuffle=True,
            seed=derive_seed(self.random_state, PRETRAIN), augment=self._augment(c.aug_pretrain),
        )  # fmt: skip
        if checkpoint is not None:
            trainer.restore(checkpoint, self._monitor.warn)
        total = c.pretrain_epochs * trainer.steps_per_pass

        def report(step):
            losses = trainer.mean_losses()
            if losses:
                seconds = {"seconds": trainer.seconds}
                self._monitor.row("pretrain", step, losses | seconds)

        self._monitor.begin("pretrain", total, trainer.step)
        trainer.run(
            total, trainer.steps_per_pass, report, checkpoint, self.checkpoint_seconds,
            lambda step: self._monitor.progress("pretrain", step),
        )  # fmt: skip
        report(trainer.step)
        self._encode(data)  # raises if the last step spoilt the weights
        self.seconds_["pretrain"] = trainer.seconds
        self.step_seconds_["pretrain"] = trainer.step_seconds

    def _start(self, data):
        """Return initial centres (k, z), labels (n,) and the seconds that took."""
        begin = time.monotonic()
        centers, labels, earlier = self._initial(self._encode(data))
        return centers, labels, time.monotonic() - begin + earlier

    def _initial(self, z):
        """Return centres (k, z) and labels (n,) of codes, and the seconds of an earlier session."""

        def compute():
            seed = derive_seed(self.random_state, INITIALIZE)
            with threadpool_limits(1):  # OpenMP threads add up in any order: not repeatable
                centers, labels = self.initialize(z, seed)
            return {"centers": centers, "labels": labels.astype(np.int64)}

        found, earlier = self._once("start", compute)
        return found["centers"], found["labels"], earlier

    def _once(self, name, compute):
        """Return compute()'s {name: array}, of an earlier session if it is kept; see `once`."""
        path = self._place(f"checkpoint-{name}.h5")
        identity = "" if path is None else f"{self._identity()} {name}"
        return once(path, identity, compute, self._monitor.warn)

    def _place(self, name):
        """Return the path of a file of the run; None where nothing is kept."""
        return None if self.run_dir is None else os.path.join(self.run_dir, name)

    def _cluster(self, data):
        """Initialise the centres, then alternate refreshes and steps until labels settle."""
        c = self.config
        targets = {
            name: tf.Variable(tf.zeros(shape, dtype), trainable=False)
            for name, (shape, dtype) in self.target_specs(data.shape[0]).items()
        }
        trainer = Trainer(
            data, self.loss, self.loss_weights(), self.trained(), make_optimizer(c.optimizer),
            batch_size=c.cluster_batch_size, seed=derive_seed(self.random_state, CLUSTER),
            shuffle=self.shuffle, augment=self._augment(c.aug_cluster), targets=targets,
            state=[*self._variables(), *self._kept().values()], identity=self._identity(),
            whole_batches=self.whole_batches,
        )  # fmt: skip
        checkpoint = self._place("checkpoint.h5")
        needed = ("initial_labels", "initialize_seconds", "converged")
        if checkpoint is None or not trainer.restore(checkpoint, self._monitor.warn, needed):
            centers, labels, seconds = self._start(data)
            self.centers.assign(centers)
            trainer.carry = {
                "initial_labels": labels,
                "initialize_seconds": np.float64(seconds),
                "restarts": np.int64(self.n_init_),
                "converged": np.bool_(False),
            }
        carry = trainer.carry
        self.initial_labels_ = carry["initial_labels"]
        self.n_init_ = int(carry.get("restarts", 0))  # an older checkpoint does not say
        total = c.total_steps(trainer.steps_per_pass)
        self._monitor.begin("cluster", total, trainer.step)

        def refresh(step):
            labels, new, told = self.refresh(self._encode(data), step)
            previous = carry.get("labels")
            changed = 1.0 if previous is None else float(np.mean(labels != previous))
            carry["labels"] = labels.astype(np.int64)
            values = trainer.mean_losses() | told | {"changed": changed, "seconds": trainer.seconds}
            values["start_agreement"] = matched_share(
                carry["labels"], carry["initial_labels"], self.n_clusters
            )
            self._monitor.row("cluster", step, values, carry["labels"])
            carry["converged"] = np.bool_(previous is not None and changed < c.tol)
            if carry["converged"]:
                return True
            for name, target in targets.items():
                target.assign(new[name])
            return False

        trainer.run(
            total, c.update_interval or trainer.steps_per_pass, refresh, checkpoint,
            self.checkpoint_seconds, lambda step: self._monitor.progress("cluster", step),
        )  # fmt: skip
        self.refresh_labels_ = carry.get("labels", self.initial_labels_)
        self.converged_ = bool(carry["converged"])
        self.n_iter_ = trainer.step
        self.seconds_["initialize"] = float(carry["initialize_seconds"])
        self.seconds_["cluster"] = trainer.seconds
        self.step_seconds_["cluster"] = trainer.step_seconds
        z = self._encode(data)
        self.finish(z)
        final = self.assign(z).astype(np.int64)
        seconds = {"seconds": trainer.seconds}
        self._monitor.row("final", trainer.step, trainer.mean_losses() | seconds, final)

    # -- use after fit -----------------------------------------------------------------------

    def other_labels(self):
        """Return {name: labels (n,)} of the training samples that are not the result."""
        return {"refresh": self.refresh_labels_, "kmeans": self.initial_labels_}

    def _encode(self, x):
        """Return the embedding z (n, z) of samples, without augmentation."""
        parts = [self._encode_batch(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)]
        z = np.concatenate([np.asarray(part) for part in parts])
        if not np.isfinite(z).all():
            raise TrainingFailed("the embedding is not finite: try a smaller learning rate")
        return z

    def _encode_augmented(self, step):
        """Return the embedding (n, z) of the training samples, each under one fresh transform."""
        augment = self._augment(self.config.aug_cluster)
        if augment is None:
            return self._encode(self._data)
        seed = derive_seed(self.random_state, SELECT, step)
        parts = [
            self._encode_batch(augment(self._data[i : i + CHUNK], tf.constant([seed, i])))
            for i in range(0, len(self._data), CHUNK)
        ]
        return np.concatenate([np.asarray(part) for part in parts])

    def transform(self, x):
        """Return the embedding of samples.

        Parameters
        ----------
        x : array-like (n, ...)
            Samples of the shape that was fitted, or flat.

        Returns
        -------
        float32 array (n, z)
        """
        return self._encode(self._samples(x))

    def predict(self, x):
        """Return the labels of samples, int64 (n,) in [0, k): new ones or those fitted."""
        return self.assign(self.transform(x)).astype(np.int64)

    def memberships(self, x):
        """Return q (n, k), the soft assignment of samples to the centres; rows sum to 1."""
        return np.asarray(soft_assignment(self.transform(x), self.centers))

    @property
    def cluster_centers_(self):
        """The centres in the embedding, float32 (k, z)."""
        self._require_fit()
        return np.asarray(self.centers).copy()

    # -- files -------------------------------------------------------------------------------

    def _arrays(self, networks):
        return {
            f"{name}/{i:02d}": np.asarray(v)
            for name, model in networks.items()
            for i, v in enumerate(model.variables)
        }

    def save_autoencoder(self, path, about=None):
        """Write the auto-encoder's weights."""
        self._require_fit()
        about = {
            "kind": "autoencoder", "network": self.config.network, "shape": list(self._shape),
            "latent_dim": self.config.latent_dim, "pretraining": about or {},
            "seconds": self.seconds_.get("pretrain", 0.0),
            "step_seconds": self.step_seconds_.get("pretrain", 0.0),
        }  # fmt: skip
        save_arrays(path, self._arrays(self._networks()), about)

    def _load_autoencoder(self, path):
        """Take the auto-encoder's weights from an ae_weights.h5 or a model_final.h5."""
        arrays, about = load_arrays(path)
        self._assign_arrays(path, arrays, self._networks())
        self.seconds_["pretrain"] = float(about.get("seconds", 0.0))
        self.step_seconds_["pretrain"] = float(about.get("step_seconds", np.nan))

    def _assign_arrays(self, path, arrays, networks):
        """Copy a file's arrays into the networks, all or none; UserError names what differs."""
        pairs = []
        for name, model in networks.items():
            there = sum(key.startswith(f"{name}/") for key in arrays)
            if there != len(model.variables):
                raise UserError(
                    f"{str(path)!r} holds {there} {name} arrays: expected {len(model.variables)} "
                    f"for the {self.config.network!r} network"
                )
            for i, v in enumerate(model.variables):
                array = arrays.get(f"{name}/{i:02d}")
                if array is None:
                    raise UserError(f"{str(path)!r} holds no array {name}/{i:02d}: damaged")
                if array.shape != tuple(v.shape):
                    raise UserError(
                        f"{str(path)!r} holds {name} weights of shape {array.shape} where the "
                        f"{self.config.network!r} network for samples {self._shape} has "
                        f"{tuple(v.shape)}"
                    )
                pairs.append((v, array))
        for v, array in pairs:
            v.assign(array)

    def save(self, path):
        """Write the fitted model, for `models.load`."""
        about = self._about()
        kept = {name: np.asarray(v) for name, v in self._kept().items()}
        save_arrays(path, self._arrays(self._networks() | self._further()) | kept, about)

    def restore(self, path, arrays, about):
        """Take up what `save` wrote."""
        self._build(tuple(about["shape"]))
        self._assign_arrays(path, arrays, self._networks() | self._further())
        for name, variable in self._kept().items():
            variable.assign(arrays[name])
        return self
