"""DSCDAN's dual auto-encoder, and k-means on its codes (the paper's Table 4; CVPR 2019).

ConvAE reconstructs; +MI adds mutual information of input and code, and the prior; +RS adds the
relative reconstruction of noisy codes.

Departures: docs/methods/dscdan.md
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from models.ae import ClusteredCodes
from models.core.autoencoder import CHUNK
from models.core.base import DeepClusterer
from models.core.functional import (
    Tensor,
    class_divergence,
    gaussian_divergence,
    js_information,
    negative_entropy,
    squared_error,
)
from models.core.seeds import derive_seed
from models.dscdan.networks import (
    ClassMeans,
    dense_network,
    dual_autoencoder,
    global_discriminator,
    local_discriminator,
)

INFORMATION = {"T1": "mi_global", "T2": "mi_local"}  # discriminator -> its loss


class DualAutoencoder(DeepClusterer):
    """The dual auto-encoder and its pretraining (eqs. 1-13)."""

    def make_networks(self, shape: tuple, seed: int) -> None:
        c, z = self.config, self.config.latent_dim
        self.gaussian, self.decoder = dual_autoencoder(
            shape, z, seed, c.precision, c.filters, c.kernel
        )
        mean, _, local = self.gaussian.outputs
        self.encoder = keras.Model(self.gaussian.inputs, mean, name="encoder")
        self.discriminators, self.classes = {}, {}
        if c.mutual:
            seeds = [derive_seed(seed, i) for i in (1, 2)]
            size = z if c.pairs == "code" else tf.TensorShape(shape).num_elements()
            self.discriminators["T1"] = global_discriminator(size, z, seeds[0])
            if c.pairs == "input":
                self.discriminators["T2"] = local_discriminator(local.shape[1:], z, seeds[1])
        if c.pretrains_clusters:
            k = int(self.n_clusters)
            self.classes["classifier"] = dense_network(
                z, c.class_head, (k, "softmax"), derive_seed(seed, 3)
            )
            self.classes["means"] = ClassMeans(k, z)

    def shared_networks(self) -> dict[str, keras.Layer]:
        return {
            "encoder": self.gaussian,
            "decoder": self.decoder,
            **self.discriminators,
            **self.classes,
        }

    def pretrain_variables(self) -> list[keras.Variable]:
        c = self.config
        parts = [self.decoder, *self.classes.values()]
        if c.train_discriminators:
            parts += self.discriminators.values()
        return self.used_variables(c.prior, c.relative, c.mutual, parts)

    def used_variables(
        self, prior: float, relative: float, mutual: float, parts: list[keras.Layer]
    ) -> list[keras.Variable]:
        """Return the encoder's variables that losses of such weights need, and those of `parts`."""
        c, variables = self.config, self.gaussian.trainable_variables
        drawn = c.code == "draw" or (c.psi == "reparameterised" and (relative or mutual))
        if not prior and not drawn:
            unused = {v.path for v in self.gaussian.get_layer("log_variance").variables}
            variables = [v for v in variables if v.path not in unused]
        return [*variables, *(v for part in parts for v in part.trainable_variables)]

    def pretrain_weights(self) -> dict[str, float]:
        c = self.config
        weights = {"reconstruction": c.original, "relative": c.relative}
        weights |= {INFORMATION[name]: c.mutual for name in self.discriminators}
        weights |= {"prior": c.prior, "entropy": c.prior * c.pretrains_clusters}
        return {name: weight for name, weight in weights.items() if weight}

    def pretrain_loss(
        self, x: Tensor, targets: dict[str, Tensor], seed: Tensor
    ) -> dict[str, Tensor]:
        """Return the terms of L, see `DualConfig`, for a batch x (b, h, w, c)."""
        c = self.config
        mean, log_variance, local = self.gaussian(x)  # of p(z|x), (b, z) each; feature maps
        z, noisy = self.codes(mean, log_variance, seed, c.aug_pretrain)  # z and psi(z)
        losses = self.reconstructions(x, z, noisy if c.relative else None)  # eq. 12
        if c.mutual:
            losses |= self.information(x, local, noisy)  # eqs. 9 and 10
        if c.pretrains_clusters:  # as eq. 19, in the released code alone
            p = self.classes["classifier"](mean)
            losses["prior"] = class_divergence(p, self.classes["means"](mean), log_variance)
            losses["entropy"] = negative_entropy(p)
        elif c.prior:
            losses["prior"] = gaussian_divergence(mean, log_variance)  # eq. 6
        return losses

    def codes(
        self, mean: Tensor, log_variance: Tensor, seed: Tensor, augmented: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return z and psi(z), each (b, z), from the step's seed pair.

        augmented: whether the pair has moved the samples already; the noise is then drawn from
        another one.
        """
        c = self.config
        if augmented:
            seed = tf.random.experimental.stateless_fold_in(seed, 9)

        def noise(use):
            pair = tf.random.experimental.stateless_fold_in(seed, use)
            return tf.random.stateless_normal(tf.shape(mean), pair, alg="philox")

        draw = mean + ops.exp(0.5 * log_variance) * noise(1)
        if c.psi == "reparameterised":
            return mean, draw
        z = draw if c.code == "draw" else mean
        return z, z * (1.0 + c.psi_variance**0.5 * noise(2))

    def reconstructions(
        self, x: Tensor, z: Tensor, noisy: Tensor | None, compare: str = "clean"
    ) -> dict[str, Tensor]:
        """Return ||x - g(z)||^2 and, of noisy codes, ||g(z) - g(psi(z))||^2 (eq. 12).

        compare: which of the two is set beside x, that of "clean" or of "noisy" codes.
        """
        if noisy is None:
            return {"reconstruction": squared_error(x, self.decoder(z))}
        clean, other = tf.split(self.decoder(tf.concat([z, noisy], axis=0)), 2)
        return {
            "reconstruction": squared_error(x, clean if compare == "clean" else other),
            "relative": squared_error(clean, other),
        }

    def information(self, x: Tensor, local: Tensor, z: Tensor) -> dict[str, Tensor]:
        """Return minus the global and the local information (eqs. 9 and 10)."""
        b = tf.shape(z)[0]
        z = tf.concat([z, tf.roll(z, 1, axis=0)], axis=0)  # pairs, then negative pairs
        code = self.config.pairs == "code"
        seen = {"T1": z[:b] if code else tf.reshape(x, (b, -1)), "T2": local}
        losses = {}
        for name, network in self.discriminators.items():
            logits = network([tf.concat([seen[name]] * 2, axis=0), z])
            losses[INFORMATION[name]] = -js_information(*tf.split(logits, 2))
        return losses


class ConvAE(ClusteredCodes, DualAutoencoder):
    """k-means on the codes of the dual auto-encoder: ConvAE, +MI, +RS, +MI+RS by its weights.

    Where pretraining has a prior of classes, the argmax of its class head is the other answer, or,
    by `final`, the result.
    """

    @property
    def by_k_means(self) -> bool:
        return super().by_k_means and self.config.final == "k-means"

    def assign(self, z: np.ndarray) -> np.ndarray:
        if self.config.final == "k-means":
            return super().assign(z)
        return self._probabilities(z).argmax(axis=1)

    def _probabilities(self, z):
        """Return the class head's p(y|z), (n, k), of codes (n, z)."""
        head = self.classes["classifier"]
        return np.concatenate([head(z[i : i + CHUNK]) for i in range(0, len(z), CHUNK)])

    def memberships(self, x: object) -> np.ndarray:
        if self.config.final == "k-means":
            return super().memberships(x)
        return self._probabilities(self.encode(x))

    def other_labels(self) -> dict[str, np.ndarray]:
        """Return {name: labels (n,)} of the training samples that are not the result."""
        found = super().other_labels()
        if self.classes:
            p = self._probabilities(self.pretrained_codes_)
            found["argmax"] = p.argmax(axis=1).astype(np.int64)
        return found
