"""N2D: a mixture of Gaussians on a UMAP map of the codes of an auto-encoder (ICPR 2020).

Departures: docs/methods/n2d.md
"""

import time
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from common import device
from common.errors import UserError
from models.ae import ClusteredCodes
from models.core.autoencoder import INITIALIZE
from models.core.functional import Tensor
from models.core.networks import AUTOENCODERS
from models.core.seeds import derive_seed

if TYPE_CHECKING:
    import umap

MIXTURE = ("weights_", "means_", "precisions_cholesky_")  # what scikit-learn's prediction needs


class N2D(ClusteredCodes):
    """Pretraining, UMAP of the codes, a mixture of Gaussians on the map; no clustering steps.

    m is the number of the map's dimensions. The samples it was fitted to have the places in the
    map that UMAP gave them; new ones are placed by UMAP's `transform`. A loaded model makes UMAP's
    map again, from the codes that it keeps, when the first new sample comes.

    Raises
    ------
    UserError
        If umap-learn is not installed, there are too few samples, or a component collapsed.
    """

    def make_networks(self, shape: tuple, seed: int) -> None:
        c = self.config
        size = c.latent_dim or int(self.n_clusters)
        self.encoder, self.decoder = AUTOENCODERS[c.network](shape, size, seed, c.precision)

    def pretrain_weights(self) -> dict[str, float]:
        _umap()  # or refuse, before the first step
        return super().pretrain_weights()

    def make_centers(self) -> tf.Variable:
        """Return a variable for the mixture's means, float64 (k, m), and make those beside it."""
        self._mapper = None
        self._kept = {
            "codes": _variable(np.float32, 2),
            "map": _variable(np.float32, 2),
            "weights": _variable(np.float64, 1),
            "precisions_cholesky": _variable(np.float64, 3),
        }
        return _variable(np.float64, 2)

    def extra_state(self) -> dict[str, tf.Variable]:
        return self._kept

    def start(self, data: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the means of a mixture of Gaussians on the map, its labels, and the seconds."""
        begin, codes = time.monotonic(), self.pretrained_codes_
        found, earlier = self._once("map", lambda: self.learn(codes))
        for name, variable in ({"centers": self.centers} | self._kept).items():
            variable.assign(found[name])
        self.n_init_ = self.config.n_init
        return found["centers"], self.assign(codes), time.monotonic() - begin + earlier

    def learn(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Return {name: array}: the codes (n, z), their map (n, m), and the mixture on it."""
        seed = derive_seed(self.seed_, INITIALIZE)
        with threadpool_limits(1):  # OpenMP threads add up in any order: not repeatable
            self._mapper = self.fit_map(codes)
            places = self._mapper.embedding_
            mixture = GaussianMixture(
                self.n_clusters, n_init=self.config.n_init, random_state=seed
            )  # full covariances
            try:
                mixture.fit(places.astype(np.float64))
            except ValueError as error:  # scikit-learn's message on a variance of 0 and the like
                raise UserError(
                    f"N2D of {len(codes)} samples in {self.n_clusters} clusters: a component "
                    "collapsed; expected fewer clusters"
                ) from error
        weights, means, precisions = (getattr(mixture, name) for name in MIXTURE)
        return {
            "codes": codes,
            "map": places,
            "weights": weights,
            "centers": means,
            "precisions_cholesky": precisions,
        }

    def fit_map(self, codes: np.ndarray) -> "umap.UMAP":
        """Return UMAP fitted to codes (n, z); the same for the same codes and seed."""
        umap, c, n = _umap(), self.config, len(codes)
        size = c.components or int(self.n_clusters)
        if n <= size + 1:
            raise UserError(f"N2D of {n} samples: expected more than {size + 1}")
        return umap.UMAP(
            n_neighbors=min(c.n_neighbors, n - 1),
            min_dist=c.min_dist,
            n_components=size,
            random_state=derive_seed(self.seed_, INITIALIZE),
            n_jobs=1,
        ).fit(codes)

    def embed(self, z: np.ndarray) -> np.ndarray:
        """Return the places (n, m) of codes z (n, z) in the map."""
        codes, places = (np.asarray(self._kept[name]) for name in ("codes", "map"))
        if np.array_equal(z, codes):
            return places
        with threadpool_limits(1):
            if self._mapper is None:  # of a loaded model
                self._mapper = self.fit_map(codes)
            if not np.array_equal(self._mapper.embedding_, places):
                self._mapper = None
                raise UserError(
                    f"{len(z)} samples that N2D was not fitted to: UMAP's map comes out another "
                    "way here than where it was fitted; expected the machine and packages of then"
                )
            return self._mapper.transform(z).astype(np.float32)

    def assign(self, z: np.ndarray) -> np.ndarray:
        return self.belong(z).argmax(axis=1)

    def belong(self, z: np.ndarray) -> np.ndarray:
        """Return the mixture's posterior probabilities (n, k) of codes z (n, z)."""
        mixture = GaussianMixture(self.n_clusters)
        arrays = (self._kept["weights"], self.centers, self._kept["precisions_cholesky"])
        for name, array in zip(MIXTURE, arrays, strict=True):
            setattr(mixture, name, np.asarray(array))
        with threadpool_limits(1):
            return mixture.predict_proba(self.embed(z).astype(np.float64))

    def memberships(self, x: object) -> np.ndarray:
        return self.belong(self.encode(x))

    def other_labels(self) -> dict[str, np.ndarray]:
        return {}  # there is one clustering


def _umap():
    """Return the package; UserError if it is not installed."""
    device.prepare()  # UMAP imports TensorFlow if it can
    try:
        import umap
    except ImportError as error:
        raise UserError("N2D needs umap-learn: pip install umap-learn") from error
    return umap


def _variable(dtype, rank):
    """Return an empty variable for arrays of any shape of a rank."""
    return tf.Variable(tf.zeros([0] * rank, dtype), shape=[None] * rank, trainable=False)
