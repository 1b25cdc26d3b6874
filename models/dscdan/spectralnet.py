"""SpectralNet (Shaham et al., ICLR 2018): a siamese graph of codes, and a network that cuts it.

The auto-encoder is pretrained as the Fc methods' own. A siamese network learns distances from
pairs of nearest neighbours and of distant samples; the spectral network then maps codes so that
neighbours in a batch, by the siamese distance, are near each other and the outputs orthonormal.

Departures: docs/methods/dscdan.md
"""

import time

import keras
import numpy as np
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

from models.core.autoencoder import CLUSTER, INITIALIZE
from models.core.base import DeepClusterer
from models.core.functional import Tensor, contrastive_loss
from models.core.optimizers import make as make_optimizer
from models.core.seeds import derive_seed
from models.core.training import Trainer
from models.dscdan.head import SpectralHead
from models.dscdan.networks import dense_network

LEAST = 1e-7  # training ends when the learning rate has dropped to this [released code]


def pairs(z: np.ndarray, neighbors: int, seed: int) -> np.ndarray:
    """Return pairs, int32 (2 n neighbors, 3): i, j, 1 for neighbours and 0 for others.

    Each sample i of codes z (n, z) has `neighbors` of either kind.
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


class SpectralNet(DeepClusterer):
    """Siamese network, spectral network, k-means on its embedding.

    `encode` gives the auto-encoder's codes, (n, z), `transform` the spectral embedding, (n, k).
    """

    def make_networks(self, shape: tuple, seed: int) -> None:
        super().make_networks(shape, seed)
        c = self.config
        self.siamese = dense_network(
            c.latent_dim, c.siamese[:-1], (c.siamese[-1], "relu"), derive_seed(seed, 1)
        )
        self.head = SpectralHead(c, int(self.n_clusters), "tanh", derive_seed(seed, 2))

    def own_networks(self) -> dict[str, keras.Layer]:
        return {"head": self.head.network, "siamese": self.siamese}

    def make_centers(self) -> keras.Variable:
        return self.head.centers

    def extra_state(self) -> dict[str, keras.Variable]:
        return {"orthonormal": self.head.orthonormal}

    def embed(self, z: np.ndarray) -> np.ndarray:
        return self.head.embed(self.head.outputs(z))

    def assign(self, z: np.ndarray) -> np.ndarray:
        return self.head.labels(self.head.outputs(z))

    def finish(self, z: np.ndarray) -> None:
        self.head.fit_partition(z, derive_seed(self.seed_, INITIALIZE))

    def cluster(self, data: Tensor) -> None:
        """Train the siamese network on pairs, the head on its graph; then k-means."""
        c, begin = self.config, time.monotonic()
        codes = self.pretrained_codes_
        _, self.initial_labels_, earlier = self._initial(codes)
        z = tf.constant(codes)
        self.seconds_["initialize"] = time.monotonic() - begin + earlier
        offset, left = 0, False
        if c.siamese_epochs:
            seed = derive_seed(self.seed_, INITIALIZE)
            some = tf.constant(pairs(codes, c.siamese_neighbors, seed))

            def contrast(x, targets, seed):
                a, b = (self.siamese(tf.gather(z, x[:, i])) for i in (0, 1))
                return {"contrastive": contrastive_loss(a, b, tf.cast(x[:, 2], tf.float32))}

            trainer, left = self._stage("siamese", some, contrast)
            offset = trainer.step

        def cut(x, targets, seed):
            space = self.siamese(x) if c.siamese_epochs else x
            return {"spectral": self.head.loss(tf.stop_gradient(space), self.head(x))}

        # Where the siamese network was trained just now, a checkpoint of what follows is older.
        trainer, _ = self._stage("spectral", z, cut, offset, resume=not left)
        self.n_iter_, self.converged_ = trainer.step, bool(trainer.carry["converged"])
        self.finish(codes)
        self.refresh_labels_ = final = self.assign(codes).astype(np.int64)
        values = {"seconds": self.seconds_["cluster"]}
        self._monitor.row("final", offset + trainer.step, values, final)

    def _stage(self, name, x, loss, offset=0, resume=True):
        """Train the network "siamese" or "spectral" until its learning rate has dropped to LEAST.

        `offset` steps were made before, of another stage: log rows go on counting. Return the
        trainer, and whether the siamese stage had something left to train: where an earlier
        session ended it, nothing is logged, as the log may hold rows of the next stage.
        """
        c, siamese = self.config, name == "siamese"
        network = self.siamese if siamese else self.head.network
        batch = c.siamese_batch if siamese else c.cluster_batch_size
        patience = c.siamese_patience if siamese else c.patience
        optimizer = make_optimizer(c.optimizer)
        trainer = Trainer(
            x,
            loss,
            {"contrastive" if siamese else "spectral": 1.0},
            network.trainable_variables,
            optimizer,
            batch_size=batch,
            seed=derive_seed(self.seed_, CLUSTER, offset > 0),
            shuffle=True,
            identity=f"{self._identity()} {name}",
            state=self.siamese.variables,
            whole_batches=True,
        )
        interval = trainer.steps_per_pass if siamese else c.update_interval
        total = c.siamese_epochs * interval if siamese else c.maxiter
        beginning = {"best": np.float64(np.inf), "wait": np.int64(0), "converged": np.bool_(False)}

        def start(restored):
            if not restored:
                trainer.carry = beginning
            return siamese and bool(trainer.carry["converged"] or trainer.step >= total)

        def epoch(step):
            losses, carry = trainer.mean_losses(), trainer.carry
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

        left = self.run_phase(
            trainer,
            total,
            "cluster",
            interval=interval,
            refresh=epoch,
            start=start,
            checkpoint=self._place(f"checkpoint-{name}.h5"),
            carry=beginning,
            resume=resume,
            offset=offset,
            save_at_end=siamese,  # a kill in the next stage does not cost this one
        )
        return trainer, left
