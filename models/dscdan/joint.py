"""DSCDAN: deep spectral clustering by a dual auto-encoder (Yang et al., CVPR 2019).

A batch's codes give a graph of nearest neighbours and, through the head, class probabilities
p(y|z) whose orthonormalised columns Y are to vary little over the graph. Encoder, decoder,
discriminators and head are trained together. Eqs. 1-13 are in autoencoder.py, 14-18 in spectral.py,
19 and 20 in `DSCDAN.loss`; what comes before the joint training is not in the paper.

Departures: docs/methods/dscdan.md
"""

import math
import time

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from models.core.autoencoder import INITIALIZE, NETWORK
from models.core.functional import Tensor, class_divergence, negative_entropy, soft_assignment
from models.core.graphs import lowest_cut
from models.core.optimizers import make as make_optimizer
from models.core.seeds import derive_seed
from models.core.training import Trainer
from models.dscdan.autoencoder import INFORMATION, DualAutoencoder
from models.dscdan.head import SpectralHead
from models.dscdan.networks import ClassMeans
from models.settings.dscdan import LABEL_STEPS


class DSCDAN(DualAutoencoder):
    """Joint training; `fit` ends with k-means in the spectral embedding of all samples.

    `encode` gives the codes, (n, z), `transform` the spectral embedding, (n, k). Centres are
    those of the head.
    """

    shuffle = True
    whole_batches = True

    def make_networks(self, shape: tuple, seed: int) -> None:
        super().make_networks(shape, seed)
        k = int(self.n_clusters)
        self.head = SpectralHead(self.config, k, "softmax", derive_seed(seed, 4))
        self.means = self.classes.get("means") or ClassMeans(k, self.config.latent_dim)

    def own_networks(self) -> dict[str, keras.Layer]:
        means = {} if "means" in self.classes else {"means": self.means}
        return {"head": self.head.network} | means

    def make_centers(self) -> keras.Variable:
        return self.head.centers

    def extra_state(self) -> dict[str, keras.Variable]:
        return {"orthonormal": self.head.orthonormal}

    # -- joint training ----------------------------------------------------------------------

    def loss_weights(self) -> dict[str, float]:
        """Return {name: weight} of the terms of eq. 20."""
        c = self.config
        weights = {
            "reconstruction": c.cluster_original,
            "relative": c.cluster_relative,
            "prior": c.cluster_prior,
            "entropy": c.cluster_entropy,
            "spectral": c.spectral,
        } | {INFORMATION[name]: c.cluster_mutual for name in self.discriminators}
        return {name: weight for name, weight in weights.items() if weight}

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Return the terms of eq. 20 for a batch x (b, h, w, c)."""
        c = self.config
        mean, log_variance, local = self.gaussian(x)  # of p(z|x), (b, z) each; feature maps
        z, noisy = self.codes(mean, log_variance, seed, c.aug_cluster)  # z and psi(z)
        p = self.head(mean)  # p(y|z), (b, k)
        losses = self.reconstructions(x, z, noisy, c.compare)  # eq. 12
        if c.cluster_mutual:
            losses |= self.information(x, local, noisy)  # eqs. 9 and 10
        losses["prior"] = class_divergence(p, self.means(mean), log_variance)  # eq. 19
        losses["entropy"] = negative_entropy(p)  # eq. 19, the rest
        losses["spectral"] = self.head.loss(mean, p)  # eq. 16
        return losses

    def cluster_variables(self) -> list[keras.Variable]:
        c = self.config
        parts = [self.decoder, self.head.network]
        if c.cluster_prior:
            parts.append(self.means)
        if c.cluster_mutual and c.train_discriminators:
            parts += self.discriminators.values()
        return self.used_variables(c.cluster_prior, c.cluster_relative, c.cluster_mutual, parts)

    def target_specs(self, n: int) -> dict[str, tuple[tuple, str]]:
        return {}

    # -- labels ------------------------------------------------------------------------------

    def refresh(self, z: np.ndarray, step: int) -> tuple[np.ndarray, dict, dict]:
        return self._labels(self._fit_partition(z)), {}, {}

    def finish(self, z: np.ndarray) -> None:
        out = self._fit_partition(z)
        self.argmax_labels_ = np.argmax(out, axis=1).astype(np.int64)
        self.spectral_labels_ = self.head.labels(out)

    def embed(self, z: np.ndarray) -> np.ndarray:
        return self.head.embed(self.head.outputs(z))

    def assign(self, z: np.ndarray) -> np.ndarray:
        return self._labels(self.head.outputs(z))

    def _fit_partition(self, z):
        return self.head.fit_partition(z, derive_seed(self.seed_, INITIALIZE))

    def _labels(self, out):
        """Return labels (n,) of the head's outputs (n, k), by the setting `final`."""
        return np.argmax(out, axis=1) if self.config.final == "argmax" else self.head.labels(out)

    def other_labels(self) -> dict[str, np.ndarray]:
        """Return {name: labels (n,)} of the training samples that are not the result."""
        both = {"argmax": self.argmax_labels_, "spectral": self.spectral_labels_}
        return super().other_labels() | both

    def memberships(self, x: object) -> np.ndarray:
        """Return the soft assignment (n, k) of which a label is the largest entry."""
        out = self.head.outputs(self.encode(x))
        if self.config.final == "argmax":
            return out
        return np.asarray(soft_assignment(self.head.embed(out), self.centers))

    # -- before joint training: ours ---------------------------------------------------------

    def start(self, data: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        """Return centres to come (zeros), labels of k-means on the codes, and the seconds."""
        begin = time.monotonic()
        z = self.pretrained_codes_
        _, labels, earlier = self._initial(z)
        earlier += self.start_head(z, derive_seed(self.seed_, INITIALIZE))
        if self.config.class_means == "fitted":
            p = self.head.outputs(z).astype(np.float64)
            means = p.T @ z / np.maximum(p.sum(axis=0), 1e-12)[:, None]
            self.means.means.assign(means.astype(np.float32))
        return np.zeros(self.centers.shape), labels, time.monotonic() - begin + earlier

    def start_head(self, z: np.ndarray, seed: int) -> float:
        """Train the head alone on the codes (n, z): on labels of spectral clustering, on its loss.

        Of several starts the one with the lowest spectral loss stays. Each has checkpoints.

        Returns
        -------
        float
            The seconds that this took in earlier sessions.
        """
        c, labels, phases, earlier = self.config, None, [], 0.0
        if c.head_init == "pretrained":
            self.head.network.set_weights(self.classes["classifier"].get_weights())
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
            phases.append(("labels", LABEL_STEPS))
        if c.spectral_steps:
            phases.append(("spectral", c.spectral_steps))
        lowest, best = math.inf, self.head.network.get_weights()
        for start in range(c.head_starts if c.spectral_steps else 1):
            if start:
                self.head.reset(derive_seed(self.seed_, NETWORK, 2, start))
            for name, steps in phases:
                loss, seconds = self.train_head(z, name, steps, start, labels)
                earlier += seconds
            if phases and loss < lowest:
                lowest, best = loss, self.head.network.get_weights()
        self.head.network.set_weights(best)
        return earlier

    def train_head(
        self, z: np.ndarray, name: str, steps: int, start: int, labels: np.ndarray | None
    ) -> tuple[float, float]:
        """Fit the head to the "spectral" loss, or to "labels" (n,), with the codes z (n, z) fixed.

        Returns
        -------
        (loss, seconds) : float
            The mean loss of the last third of the steps; the seconds of earlier sessions.
        """
        c = self.config

        def loss(z, targets, seed):
            p = self.head(z)
            if name == "spectral":
                return {name: self.head.loss(z, p)}
            truth = tf.one_hot(targets["label"], p.shape[1])
            return {name: tf.reduce_mean(keras.losses.categorical_crossentropy(truth, p))}

        def forget(step):
            trainer.mean_losses()  # so that those of the last third are left

        path = self._place(f"checkpoint-head{start}-{name}.h5")
        targets = {}
        if name == "labels":
            targets["label"] = tf.Variable(labels.astype(np.int32), trainable=False)
        trainer = Trainer(
            tf.constant(z),
            loss,
            {name: 1.0},
            self.head.network.trainable_variables,
            make_optimizer(c.optimizer),
            batch_size=c.cluster_batch_size,
            shuffle=True,
            targets=targets,
            whole_batches=True,
            seed=derive_seed(self.seed_, NETWORK, int(name == "spectral"), start),
            identity="" if path is None else f"{self._identity()} head {start} {name}",
        )
        self.run_phase(
            trainer,
            steps,
            interval=max(1, 2 * steps // 3),
            refresh=forget,
            checkpoint=path,
            save_at_end=True,
        )
        found = trainer.mean_losses()["loss"]
        self._monitor.note(f"head, start {start}: {steps} steps on {name}, loss {found:.4f}")
        return found, trainer.earlier_seconds
