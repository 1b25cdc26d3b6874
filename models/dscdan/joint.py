"""DSCDAN: deep spectral clustering by a dual auto-encoder (Yang et al., CVPR 2019).

A batch's codes give a graph of nearest neighbours and, through the head, class probabilities
p(y|z) whose orthonormalised columns Y are to vary little over the graph. Encoder, decoder,
discriminators and head are trained together.

Departures: docs/methods/dscdan.md
"""

import time

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from models.core.base import INITIALIZE, NETWORK
from models.core.functional import class_divergence, negative_entropy
from models.core.graphs import lowest_cut
from models.core.optimizers import make as make_optimizer
from models.core.training import Trainer, derive_seed
from models.dscdan.autoencoder import DualAutoencoder
from models.dscdan.head import SpectralHead
from models.dscdan.networks import ClassMeans
from models.settings.dscdan import LABEL_STEPS


class DSCDAN(SpectralHead, DualAutoencoder):
    """Joint training; `fit` ends with k-means in the spectral embedding of all samples."""

    def _make_networks(self, shape, seed):
        super()._make_networks(shape, seed)
        self._make_head("softmax", derive_seed(seed, 4))
        k = int(self.n_clusters)
        self.means = self.classes.get("means") or ClassMeans(k, self.config.latent_dim)

    def _further(self):
        means = {} if "means" in self.classes else {"means": self.means}
        return super()._further() | means

    # -- joint training ----------------------------------------------------------------------

    def trained(self):
        c = self.config
        parts = [self.decoder, self.head]
        if c.cluster_prior:
            parts.append(self.means)
        if c.cluster_mutual and c.train_discriminators:
            parts += self.discriminators.values()
        unused = self._unused(c.cluster_prior, c.cluster_relative, c.cluster_mutual)
        encoder = [v for v in self.gaussian.trainable_variables if v.path not in unused]
        return encoder + [v for part in parts for v in part.trainable_variables]

    def target_specs(self, n):
        return {}

    def loss_weights(self):
        c = self.config
        weights = {
            "reconstruction": c.cluster_original, "relative": c.cluster_relative,
            "prior": c.cluster_prior, "entropy": c.cluster_entropy, "spectral": c.spectral,
        } | ({f"mi_{name}": c.cluster_mutual for name in self._kinds()})  # fmt: skip
        return {name: weight for name, weight in weights.items() if weight}

    def loss(self, x, targets, seed):
        c = self.config
        mean, log_variance, local = self.gaussian(x)
        z, noisy = self.codes(mean, log_variance, seed, c.aug_cluster)
        p = self.head(mean)  # (b, k)
        losses = self.reconstructions(x, z, noisy, c.compare)
        if c.cluster_mutual:
            losses |= self.information(x, local, noisy)
        losses["prior"] = class_divergence(p, self.means(mean), log_variance)
        losses["entropy"] = negative_entropy(p)
        losses["spectral"] = self.spectral_loss(mean, p)
        return losses

    # -- before it ---------------------------------------------------------------------------

    def _start(self, data):
        """Return centres to come (zeros), labels of k-means on the codes, and the seconds."""
        begin = time.monotonic()
        z = self._encode(data)
        _, labels, earlier = self._initial(z)
        earlier += self._start_head(z, derive_seed(self.random_state, INITIALIZE))
        if self.config.class_means == "fitted":
            p = self._outputs(z).astype(np.float64)
            means = p.T @ z / np.maximum(p.sum(axis=0), 1e-12)[:, None]
            self.means.means.assign(means.astype(np.float32))
        return np.zeros(self.centers.shape), labels, time.monotonic() - begin + earlier

    def _start_head(self, z, seed):
        """Train the head alone on the codes (n, z): on labels of spectral clustering, on its loss.

        Of several starts the one with the lowest spectral loss stays. Each has checkpoints.

        Returns
        -------
        float
            The seconds that this took in earlier sessions.
        """
        c, earlier = self.config, 0.0
        labels = None
        if c.head_init == "spectral":

            def cut():
                with threadpool_limits(1):
                    found = lowest_cut(z, self.n_clusters, c.n_init, seed)
                return dict(zip(("labels", "cut", "vectors"), found, strict=True))

            found, earlier = self._once("cut", cut)
            labels = found["labels"]
            self._monitor.note(
                f"spectral start: {found['vectors']} eigenvectors, "
                f"normalised cut {found['cut']:.4f}"
            )
        best = None
        for start in range(c.head_starts if c.spectral_steps else 1):
            if start:
                fresh = derive_seed(self.random_state, NETWORK, 2, start)
                self.head.set_weights(self._new_head("softmax", fresh).get_weights())
            if labels is not None:
                _, seconds = self._train_head(z, "labels", LABEL_STEPS, start, labels)
                earlier += seconds
            if c.spectral_steps:
                loss, seconds = self._train_head(z, "spectral", c.spectral_steps, start)
                earlier += seconds
                if best is None or loss < best[0]:
                    best = loss, self.head.get_weights()
        if best is not None:
            self.head.set_weights(best[1])
        return earlier

    def _train_head(self, z, name, steps, start, labels=None):
        """Fit the head to the spectral loss, or to "labels" (n,), z (n, z) fixed.

        Returns
        -------
        (loss, seconds) : float
            The mean loss of the last third of the steps; the seconds of earlier sessions.
        """
        c = self.config

        def loss(z, targets, seed):
            p = self.head(z)
            if name == "spectral":
                return {name: self.spectral_loss(z, p)}
            truth = tf.one_hot(targets["label"], p.shape[1])
            return {name: tf.reduce_mean(keras.losses.categorical_crossentropy(truth, p))}

        path = self._place(f"checkpoint-head{start}-{name}.h5")
        targets = {}
        if labels is not None:
            targets["label"] = tf.Variable(labels.astype(np.int32), trainable=False)
        trainer = Trainer(
            tf.constant(z), loss, {name: 1.0}, self.head.trainable_variables,
            make_optimizer(c.optimizer), batch_size=c.cluster_batch_size, shuffle=True,
            seed=derive_seed(self.random_state, NETWORK, int(name == "spectral"), start),
            targets=targets, whole_batches=True,
            identity="" if path is None else f"{self._identity()} head {start} {name}",
        )  # fmt: skip
        if path is not None:
            trainer.restore(path, self._monitor.warn)
        earlier, begun, third = trainer.seconds, trainer.step, 2 * steps // 3
        if begun <= third:
            trainer.run(third, steps, lambda step: False, path, self.checkpoint_seconds)
            trainer.mean_losses()
        trainer.run(steps, steps, lambda step: False, path, self.checkpoint_seconds)
        if path is not None and begun < steps:
            trainer.save(path)  # with the sums of the last third, and the weights
        told = trainer.mean_losses()["loss"]
        self._monitor.note(f"head, start {start}: {steps} steps on {name}, loss {told:.4f}")
        return told, earlier

    # -- labels ------------------------------------------------------------------------------

    def refresh(self, z, step):
        return self._partition(z), {}, {}

    def finish(self, z):
        self._partition(z)
        p = self._outputs(z)
        self.argmax_labels_ = np.argmax(p, axis=1).astype(np.int64)
        self.spectral_labels_ = self._nearest(p)

    def _labels(self, out):
        return super()._labels(out) if self.config.final == "k-means" else np.argmax(out, axis=1)

    def other_labels(self):
        """Return {name: labels (n,)} of the training samples that are not the result."""
        both = {"argmax": self.argmax_labels_, "spectral": self.spectral_labels_}
        return super().other_labels() | both

    def memberships(self, x):
        """Return the soft assignment (n, k) of which a label is the largest entry."""
        if self.config.final == "argmax":
            return self._outputs(self.encode(x))
        return super().memberships(x)
