"""An auto-encoder as an estimator's part: built, pretrained, shared between runs, used."""

import os
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from augment import RandomShiftRotate
from common.errors import TrainingFailed, UserError
from common.files import load_arrays, remove_leftovers, save_arrays
from common.locks import locked
from common.shapes import image_shape
from models.core.functional import Tensor, mean_squared_error, soft_assignment
from models.core.keras_files import save_autoencoder
from models.core.networks import AUTOENCODERS
from models.core.optimizers import make as make_optimizer
from models.core.phases import PhasedEstimator, once
from models.core.samples import hash_array
from models.core.seeds import derive_seed
from models.core.training import Trainer
from models.core.weights import arrays_of, assign_arrays
from models.settings.base import pretrain_key

NETWORK, PRETRAIN, INITIALIZE, CLUSTER, SELECT = range(5)  # uses of the run's seed
CHUNK = 2048  # samples encoded at a time
RETRIES = 3  # of a phase whose loss diverges, each with a tenth of the learning rate


class AutoencoderEstimator(PhasedEstimator):
    """The auto-encoder of a `DeepClusterer`, whose docstring has its parameters and hooks."""

    # -- what a method defines ---------------------------------------------------------------

    def pretrain_variables(self) -> list[keras.Variable]:
        """Return the variables that the pretraining phase trains."""
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    def pretrain_weights(self) -> dict[str, float]:
        """Return {name: weight} of the losses in pretraining."""
        return {"reconstruction": 1.0}

    def pretrain_loss(
        self, x: Tensor, targets: dict[str, Tensor], seed: Tensor
    ) -> dict[str, Tensor]:
        """Return the mean squared error of reconstructing x from itself (DEC-DA, eq. 8)."""
        return {"reconstruction": mean_squared_error(x, self.decoder(self.encoder(x)))}

    def make_networks(self, shape: tuple, seed: int) -> None:
        """Make `encoder`, samples -> embedding, `decoder`, and what else the method has."""
        c = self.config
        self.encoder, self.decoder = AUTOENCODERS[c.network](shape, c.latent_dim, seed, c.precision)

    def shared_networks(self) -> dict[str, keras.Layer]:
        """Return {name: network} of what pretraining gives and runs share."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def own_networks(self) -> dict[str, keras.Layer]:
        """Return {name: network} of what only the clustering phase has."""
        return {}

    # -- pretraining -------------------------------------------------------------------------

    def fit_autoencoder(self, x: object) -> np.ndarray:
        """Pretrain the auto-encoder on samples, or take it up; return their codes (n, z)."""
        x = self._scaled(self._checked(x), fresh=True)
        self._make_ready()
        self._build(x.shape[1:])
        self._data = tf.constant(x)
        self._data_hash = hash_array(x)
        self._pretrain(self._data)
        self.pretrained_codes_ = self._encode(self._data)
        return self.pretrained_codes_

    def _checked(self, x):
        """Return samples as float32, in the shape that the network takes."""
        x = self._training_samples(x)
        if x.ndim == 2 and self.config.network != "fc":
            x = x.reshape(len(x), *image_shape(x.shape[1:]))
        if self.config.needs_images:
            if x.ndim not in (2, 4):
                raise UserError(f"data of shape {x.shape}: expected images (n, h, w, c) or (n, d)")
            image_shape(x.shape[1:])
        return x

    def _augmentation(self, wanted):
        """Return the augmentation, or None where it is not wanted."""
        c = self.config
        return RandomShiftRotate(c.shift, c.rotation, c.shift_pixels, c.center) if wanted else None

    def _pretrain(self, data):
        """Load pretrained weights, or train the auto-encoder and keep it for others."""
        if self.pretrained_weights is not None:
            self._load_autoencoder(self.pretrained_weights)
        elif (self.cache_dir or self.run_dir) is None:
            self.pretrain(data, None)
        else:
            self._pretrain_shared(data)
        if self.run_dir is not None:
            self.save_autoencoder(os.path.join(self.run_dir, "ae_weights.h5"))

    def _pretrain_shared(self, data):
        """Take pretrained weights from a folder that runs share, or train and put them there.

        One process trains, others that need the same weights wait for it.
        """
        key, about = pretrain_key(
            self.config, self._shape, self._data_hash, self.seed_, self.n_clusters
        )
        folder, note = os.path.join(self.cache_dir or self.run_dir, key), self._monitor.note
        os.makedirs(folder, exist_ok=True)
        weights, checkpoint = (
            os.path.join(folder, f"{n}.h5") for n in ("ae_weights", "checkpoint")
        )
        wait = partial(note, f"waiting for another process that pretrains {folder}")
        with locked(os.path.join(folder, "lock"), wait):
            remove_leftovers(folder)
            if os.path.exists(weights):
                try:
                    self._load_autoencoder(weights)
                    note(f"pretrained weights found: {weights}")
                except UserError as error:
                    os.replace(weights, f"{weights}.damaged")
                    self._monitor.warn(f"{error}; put aside as {weights}.damaged, trained again")
            if not os.path.exists(weights):
                self.pretrain(data, checkpoint)
                self.save_autoencoder(weights, about)
            if os.path.exists(checkpoint):  # also one that a kill after the last write left
                os.remove(checkpoint)

    def pretrain(self, data: Tensor, checkpoint: str | os.PathLike | None) -> None:
        """Run the pretraining phase, with a checkpoint, a path or None."""
        c = self.config
        trainer = Trainer(
            data,
            self.pretrain_loss,
            self.pretrain_weights(),
            self.pretrain_variables(),
            make_optimizer(c.pretrain_optimizer),
            batch_size=c.batch_size,
            shuffle=True,
            seed=derive_seed(self.seed_, PRETRAIN),
            augment=self._augmentation(c.aug_pretrain),
            shuffles=c.shuffles,
        )
        self.run_phase(
            trainer,
            c.pretrain_epochs * trainer.steps_per_pass,
            "pretrain",
            checkpoint=checkpoint,
            retries=RETRIES,
            at_end=lambda: self._encode(data),  # raises if the last step spoilt the weights
        )

    # -- the start of clustering -----------------------------------------------------------------

    def _initial(self, z):
        """Return centres (k, z) and labels (n,) of codes, and the seconds of an earlier session."""

        def compute():
            seed = derive_seed(self.seed_, INITIALIZE)
            with threadpool_limits(1):  # OpenMP threads add up in any order: not repeatable
                centers, labels = self.initialize(z, seed)
            labels, restarts = labels.astype(np.int64), np.int64(self.n_init_)
            return {"centers": centers, "labels": labels, "restarts": restarts}

        found, earlier = self._once("start", compute)
        self.n_init_ = int(found.get("restarts", 0))  # an older file does not say
        return found["centers"], found["labels"], earlier

    def _once(self, name, compute):
        """Return compute()'s {name: array}, of an earlier session if it is kept; see `once`."""
        path = self._place(f"checkpoint-{name}.h5")
        identity = "" if path is None else f"{self._identity()} {name}"
        return once(path, identity, compute, self._monitor.warn)

    # -- use ---------------------------------------------------------------------------------

    def _build(self, shape):
        """Make networks and centres for samples of a shape, and compile the encoder."""
        self._shape = tuple(shape)
        self.n_features_in_ = int(np.prod(shape))
        self.make_networks(shape, derive_seed(self.seed_, NETWORK))
        self._encode_batch = tf.function(
            self.encoder, input_signature=[tf.TensorSpec((None, *shape), tf.float32)]
        )
        self.centers = self.make_centers()

    def _networks(self):
        """Return {name: network} of all networks, the shared ones first."""
        return self.shared_networks() | self.own_networks()

    def _encode(self, x):
        """Return the embedding z (n, z) of samples, without augmentation."""
        z = np.concatenate([self._encode_batch(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)])
        if not np.isfinite(z).all():
            raise TrainingFailed("the embedding is not finite")
        return z

    def _encode_augmented(self, step):
        """Return the embedding (n, z) of the training samples, each under one fresh transform."""
        augment = self._augmentation(self.config.aug_cluster)
        if augment is None:
            return self._encode(self._data)
        x, seed = self._data, derive_seed(self.seed_, SELECT, step)
        parts = [
            self._encode_batch(augment(x[i : i + CHUNK], tf.constant([seed, i])))
            for i in range(0, len(x), CHUNK)
        ]
        return np.concatenate(parts)

    def encode(self, x: object) -> np.ndarray:
        """Return the codes of samples, float32 (n, z)."""
        return self._encode(self._scaled(self._samples(x)))

    def save_keras(self, folder: str | os.PathLike) -> None:
        """Write encoder.keras and autoencoder.keras, for plain Keras, into a folder."""
        save_autoencoder(folder, self.encoder, self.decoder, tuple(self._scaling.values()))

    def save_autoencoder(self, path: str | os.PathLike, about: dict | None = None) -> None:
        """Write the auto-encoder's weights."""
        if not hasattr(self, "encoder"):
            self._require_fit()
        about = {
            "kind": "autoencoder",
            "network": self.config.network,
            "shape": list(self._shape),
            "latent_dim": self.config.latent_dim,
            "pretraining": about or {},
            "seconds": self.seconds_.get("pretrain", 0.0),
            "step_seconds": self.step_seconds_.get("pretrain", 0.0),
        }
        save_arrays(path, arrays_of(self.shared_networks()), about)

    def _load_autoencoder(self, path):
        """Take the auto-encoder's weights from an ae_weights.h5 or a model_final.h5."""
        arrays, about = load_arrays(path)
        assign_arrays(path, arrays, self.shared_networks(), self.config.network, self._shape)
        self.seconds_["pretrain"] = float(about.get("seconds", 0.0))
        self.step_seconds_["pretrain"] = float(about.get("step_seconds", np.nan))

    # -- use after fit, by the hooks `embed` and `assign` ----------------------------------------

    def transform(self, x: object) -> np.ndarray:
        """Return samples (n, ...), of the fitted shape or flat, in the centres' space: (n, z)."""
        return self.embed(self.encode(x))

    def predict(self, x: object) -> np.ndarray:
        """Return the labels of samples, int64 (n,) in [0, k): new ones or those fitted."""
        return self.assign(self.encode(x)).astype(np.int64)

    def memberships(self, x: object) -> np.ndarray:
        """Return q (n, k), the soft assignment of samples to the centres; rows sum to 1."""
        return np.asarray(soft_assignment(self.embed(self.encode(x)), self.centers))

    def width(self) -> int:
        """Return the number of columns of `transform`."""
        return int(self.centers.shape[1])

    @property
    def cluster_centers_(self) -> np.ndarray:
        """The centres in the embedding, float32 (k, z)."""
        if not hasattr(self, "centers"):
            self._require_fit()
        return np.asarray(self.centers).copy()
