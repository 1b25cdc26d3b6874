"""What DSCDAN and SpectralNet share: a network whose orthonormalised outputs are clustered.

New samples get the orthonormalisation of all training samples at the end of training, a fixed
matrix, and the nearest of the centres that k-means found in their embedding.
"""

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from common.errors import UserError
from common.matching import match_clusters
from models.core.base import CHUNK, INITIALIZE
from models.core.functional import soft_assignment, squared_distances
from models.core.initialization import kmeans
from models.core.training import derive_seed
from models.dscdan.networks import dense_network
from models.dscdan.spectral import affinity, orthonormalization, orthonormalize, spectral_loss


class SpectralHead:
    """The head, the fixed orthonormalisation and the labels, for a `DeepClusterer`.

    `transform` gives the spectral embedding, (n, k); `encode` the codes, (n, z).
    """

    shuffle = True
    whole_batches = True

    def _check(self, x):
        x = super()._check(x)
        size = self.config.cluster_batch_size
        if size < self.n_clusters:
            raise UserError(f"cluster_batch_size={size}: expected >= n_clusters={self.n_clusters}")
        return x

    def _new_head(self, activation, seed):
        """Return an untrained head."""
        z, k = self.config.latent_dim, int(self.n_clusters)
        return dense_network(z, self.config.head, (k, activation), seed, name="head")

    def _make_head(self, activation, seed):
        z, k = self.config.latent_dim, int(self.n_clusters)
        self.head = self._new_head(activation, seed)
        self._head_batch = tf.function(
            self.head, input_signature=[tf.TensorSpec((None, z), tf.float32)]
        )
        self.orthonormal = keras.Variable(np.eye(k), dtype="float64", name="orthonormal")

    def _center_size(self):
        return int(self.n_clusters)

    def _further(self):
        return {"head": self.head}

    def _kept(self):
        return super()._kept() | {"orthonormal": self.orthonormal}

    def spectral_loss(self, z, out):
        """Return the loss of what the graph is made of (b, z) and what the head gives (b, k)."""
        c = self.config
        w = affinity(z, c.n_neighbors, c.sigma, c.scale_neighbor)
        return spectral_loss(w, orthonormalize(out))

    def _outputs(self, z):
        """Return what the head gives, float32 (n, k), for codes."""
        parts = [self._head_batch(z[i : i + CHUNK]) for i in range(0, len(z), CHUNK)]
        return np.concatenate([np.asarray(part) for part in parts])

    def _embed(self, out):
        """Return the spectral embedding, float32 (n, k), of the head's outputs."""
        return (out.astype(np.float64) @ np.asarray(self.orthonormal)).astype(np.float32)

    def _partition(self, z):
        """Set the orthonormalisation and the centres by all samples' codes; return labels.

        Centres are numbered as those of the last look, put to the head's present outputs, with
        which they share most samples: so labels can be compared from one look to the next.
        """
        out, k = self._outputs(z), int(self.n_clusters)
        before = self._nearest(out)
        self.orthonormal.assign(orthonormalization(out))
        y = self._embed(out)
        seed = derive_seed(self.random_state, INITIALIZE)
        with threadpool_limits(1):
            found, _ = kmeans(y, k, self.config.n_init, seed)
        order = match_clusters(before, found.labels_, k)
        self.centers.assign(found.cluster_centers_[order])
        return self._labels(out)

    def _nearest(self, out):
        y = self._embed(out)
        return np.argmin(squared_distances(y, self.centers), axis=1).astype(np.int64)

    def _labels(self, out):
        """Return labels (n,) for the head's outputs."""
        return self._nearest(out)

    def assign(self, z):
        """Return hard labels (n,) of codes z (n, z)."""
        return self._labels(self._outputs(z))

    # -- use after fit -----------------------------------------------------------------------

    def encode(self, x):
        """Return the codes of samples, float32 (n, z)."""
        return self._encode(self._samples(x))

    def transform(self, x):
        """Return the spectral embedding of samples, float32 (n, k)."""
        return self._embed(self._outputs(self.encode(x)))

    def predict(self, x):
        """Return the labels of samples, int64 (n,) in [0, k): new ones or those fitted."""
        return self.assign(self.encode(x)).astype(np.int64)

    def memberships(self, x):
        """Return the soft assignment (n, k) of which a label is the largest entry."""
        return np.asarray(soft_assignment(self.transform(x), self.centers))
