"""SpectralNet (Shaham et al., ICLR 2018): a siamese graph of codes, and a network that cuts it.

The auto-encoder is pretrained as the Fc methods' own. A siamese network learns distances from
pairs of nearest neighbours and of strangers; the spectral network then maps codes so that
neighbours in a batch, by the siamese distance, are near each other and the outputs orthonormal.

Departures: docs/methods/dscdan.md
"""

import time

import numpy as np
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

from models.core.base import CLUSTER, INITIALIZE, DeepClusterer
from models.core.functional import contrastive_loss
from models.core.optimizers import make as make_optimizer
from models.core.training import Trainer, derive_seed
from models.dscdan.head import SpectralHead
from models.dscdan.networks import dense_network

LEAST = 1e-7  # training ends when the learning rate has dropped to this [released code]


def pairs(z, neighbors, seed):
    """Return pairs, int32 (2 n neighbors, 3): i, j, 1 for neighbours and 0 for strangers.

    Each sample i has `neighbors` of either kind.

    Parameters
    ----------
    z : (n, z)
    neighbors : int
    seed : int
    """
    n = len(z)
    near = NearestNeighbors(n_neighbors=min(neighbors, n - 1)).fit(z).kneighbors()[1]
    rng = np.random.default_rng(seed)
    far = rng.integers(0, n, near.shape)
    for _ in range(20):  # draw those again that are neighbours or the sample itself
        known = (far[:, :, None] == near[:, None]).any(axis=2) | (far == np.arange(n)[:, None])
        far[known] = rng.integers(0, n, np.count_nonzero(known))
    rows = np.repeat(np.arange(n), near.shape[1])
    found = [
        np.stack([rows, other.ravel(), np.full(len(rows), kind)], axis=1)
        for other, kind in ((near, 1), (far, 0))
    ]
    return np.concatenate(found).astype(np.int32)


class SpectralNet(SpectralHead, DeepClusterer):
    """Siamese network, spectral network, k-means on its embedding."""

    def _make_networks(self, shape, seed):
        super()._make_networks(shape, seed)
        widths = self.config.siamese
        self.siamese = dense_network(
            self.config.latent_dim, widths[:-1], (widths[-1], "relu"), derive_seed(seed, 1)
        )
        self._make_head("tanh", derive_seed(seed, 2))

    def _further(self):
        return super()._further() | {"siamese": self.siamese}

    def _cluster(self, data):
        c, begin = self.config, time.monotonic()
        codes = self._encode(data)
        _, self.initial_labels_, earlier = self._initial(codes)
        z = tf.constant(codes)
        told = time.monotonic() - begin + earlier
        offset, seconds, steps_seconds, whole = 0, 0.0, 0.0, True
        if c.siamese_epochs:
            seed = derive_seed(self.random_state, INITIALIZE)
            some = tf.constant(pairs(codes, c.siamese_neighbors, seed))

            def contrast(x, targets, seed):
                a, b = (self.siamese(tf.gather(z, x[:, i])) for i in (0, 1))
                return {"contrastive": contrastive_loss(a, b, tf.cast(x[:, 2], tf.float32))}

            trainer, whole = self._stage(
                "siamese", some, contrast, self.siamese, c.siamese_batch, c.siamese_patience,
                None, c.siamese_epochs,
            )  # fmt: skip
            offset, seconds, steps_seconds = trainer.step, trainer.seconds, trainer.step_seconds

        def cut(x, targets, seed):
            space = self.siamese(x) if c.siamese_epochs else x
            return {"spectral": self.spectral_loss(tf.stop_gradient(space), self.head(x))}

        trainer, _ = self._stage(
            "spectral", z, cut, self.head, c.cluster_batch_size, c.patience, c.update_interval,
            None, offset, resume=whole,
        )  # fmt: skip
        self.n_iter_, self.converged_ = trainer.step, bool(trainer.carry["converged"])
        self.finish(codes)
        self.refresh_labels_ = final = self.assign(codes).astype(np.int64)
        self.seconds_ |= {"initialize": told, "cluster": seconds + trainer.seconds}
        self.step_seconds_["cluster"] = steps_seconds + trainer.step_seconds
        told = {"seconds": self.seconds_["cluster"]}
        self._monitor.row("final", offset + trainer.step, told, final)

    def finish(self, z):
        self._partition(z)

    def _stage(
        self, name, x, loss, network, batch, patience, interval, epochs, offset=0, resume=True
    ):
        """Train a network until its learning rate has dropped to LEAST.

        `offset` steps were made before, of another stage: log rows go on counting. With `resume`
        False a checkpoint is not taken up: an earlier stage has dropped the rows before it.

        Returns
        -------
        (trainer, whole) : Trainer, bool
            `whole`: the stage had ended in an earlier session, so nothing was trained or logged.
        """
        c, (part,) = self.config, ("contrastive",) if name == "siamese" else ("spectral",)
        optimizer = make_optimizer(c.optimizer)
        trainer = Trainer(
            x, loss, {part: 1.0}, network.trainable_variables, optimizer, batch_size=batch,
            seed=derive_seed(self.random_state, CLUSTER, offset > 0), shuffle=True,
            identity=f"{self._identity()} {name}", state=self.siamese.variables,
            whole_batches=True,
        )  # fmt: skip
        path = self._place(f"checkpoint-{name}.h5")
        start = {"best": np.float64(np.inf), "wait": np.int64(0), "converged": np.bool_(False)}
        if path is None or not resume or not trainer.restore(path, self._monitor.warn, start):
            trainer.carry = start
        interval = interval or trainer.steps_per_pass
        total = c.maxiter if epochs is None else epochs * interval
        carry = trainer.carry
        if name == "siamese" and (carry["converged"] or trainer.step >= total):
            return trainer, True  # and leave the log alone: it may hold rows of the next stage

        def epoch(step):
            losses = trainer.mean_losses()
            if not losses or carry["converged"]:
                return bool(carry["converged"])
            rate = float(optimizer.learning_rate)
            values = losses | {"lr": rate, "seconds": trainer.seconds}
            self._monitor.row("cluster", offset + step, values)
            if losses["loss"] <= carry["best"]:
                carry["best"], carry["wait"] = np.float64(losses["loss"]), np.int64(0)
                return False
            carry["wait"] = carry["wait"] + 1
            if carry["wait"] > patience:
                carry["wait"] = np.int64(0)
                optimizer.learning_rate.assign(rate * c.drop)
            carry["converged"] = np.bool_(float(optimizer.learning_rate) <= LEAST * 1.001)
            return bool(carry["converged"])

        # The first stage's last row may be at `offset`, this one's first is after it.
        first = offset + (trainer.step or min(offset, 1))
        self._monitor.begin("cluster", offset + total, first)
        trainer.run(
            total, interval, epoch, path, self.checkpoint_seconds,
            lambda step: self._monitor.progress("cluster", offset + step),
        )  # fmt: skip
        if path is not None and name == "siamese":
            trainer.save(path)  # so that a kill in the next stage does not cost this one
        return trainer, False
