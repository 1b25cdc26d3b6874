"""IMSAT: information-maximising self-augmented training (Hu et al., ICML 2017).

L = R + lambda (H(Y|X) - mu H(Y)); R is KL(p(x) || p(x + r)) with p(x) fixed and r a vector of
length `radius` * distance to the `neighbor`-th neighbour: random (RPT), or adversarial (VAT), by
power iterations on the second derivative of that divergence.

Departures: docs/methods/kingdra.md
"""

import time

import numpy as np
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

from common.errors import UserError
from models.core.functional import Tensor
from models.core.optimizers import make as make_optimizer
from models.core.phases import once
from models.core.seeds import derive_seed
from models.core.training import Trainer
from models.kingdra.ensemble import STEPS, Ensemble
from models.kingdra.ladder import information_loss, noise_divergence

PART = 10000  # samples whose distances are kept together


def unit(d: Tensor) -> Tensor:
    """Return the rows of d (b, d) scaled to length 1; zeros stay."""
    norm = tf.norm(d, axis=1, keepdims=True)
    return tf.math.divide_no_nan(d, norm)


def neighbor_distances(x: np.ndarray, neighbor: int, some: slice = slice(None)) -> np.ndarray:
    """Return the distance of each sample (n, d) to its `neighbor`-th nearest other one, (n,).

    some: a slice of the samples, of which to return it.
    """
    found = NearestNeighbors(n_neighbors=neighbor + 1, algorithm="brute").fit(x)
    of = x[some]
    parts = [found.kneighbors(of[i : i + 1000])[0][:, -1] for i in range(0, len(of), 1000)]
    return np.concatenate(parts).astype(np.float32)


class IMSAT(Ensemble):
    """One network, trained to give a sample and its perturbation the same cluster."""

    gains = (0.1**0.5, 0.0001**0.5)  # logits start near 0 [C]

    def logits(self, x: Tensor) -> Tensor:
        """Return the network's output (b, k) for a batch x (b, d), normalised by the batch."""
        return self.networks[0].encode([x], 0, tf.zeros(2, tf.int32))[0][0]

    def perturbation(self, x: Tensor, clean: Tensor, lengths: Tensor, seed: Tensor) -> Tensor:
        """Return r (b, d) for samples x (b, d) with logits `clean` (b, k), ||r|| = lengths (b,)."""
        c = self.config
        d = unit(tf.random.stateless_normal(tf.shape(x), seed))
        for _ in range(c.power_iterations if c.perturbation == "vat" else 0):
            with tf.GradientTape() as tape:
                tape.watch(d)
                divergence = noise_divergence(clean, self.logits(x + c.xi * d))
            d = tf.stop_gradient(unit(tape.gradient(divergence, d)))
        return lengths[:, None] * d

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Return {name: scalar} of a batch x (b, d), its targets and the step's seed (2,)."""
        clean = self.logits(x)
        r = self.perturbation(x, clean, targets["length"], seed)
        return {
            "augmentation": noise_divergence(clean, self.logits(x + r)),
            "clustering": information_loss(tf.nn.softmax(clean), self.config.mi_mu),
        }

    def train(self, data: Tensor) -> None:
        c, begin = self.config, time.monotonic()
        if c.neighbor >= len(data):
            raise UserError(f"neighbor={c.neighbor}: expected less than n_samples={len(data)}")
        distances, earlier = self._distances(data.numpy())
        self.seconds_["initialize"] = time.monotonic() - begin + earlier
        self._minimise(
            data,
            {"augmentation": 1.0, "clustering": c.mi_weight},
            derive_seed(self.seed_, STEPS),
            targets={"length": tf.Variable(c.radius * distances)},
            whole_batches=self._leave_out_last(data.shape[0]),
        )

    def _distances(self, x):
        """Return `neighbor_distances` of all samples, and the seconds of earlier sessions.

        They take minutes on large sets, and are kept PART samples at a time.
        """
        found, seconds = [], 0.0
        for i in range(0, len(x), PART):
            part, earlier = once(
                self._place(f"checkpoint-distances{i // PART}.h5"),
                f"{self._identity} distances {i}",
                lambda i=i: {"d": neighbor_distances(x, self.config.neighbor, slice(i, i + PART))},
                self._monitor.warn,
            )
            found.append(part["d"])
            seconds += earlier
        return np.concatenate(found), seconds

    def _minimise(self, data, weights, seed, **others):
        """Train the encoder on samples (n, d) by the weighted `loss`; others: see `Trainer`."""
        c, network = self.config, self.networks[0]
        trainer = Trainer(
            data,
            self.loss,
            weights,
            [*network.up, *network.betas],
            make_optimizer(c.optimizer),
            batch_size=c.batch_size,
            shuffle=True,
            seed=seed,
            identity=self._identity,
            **others,
        )
        total = c.epochs * trainer.steps_per_pass
        self.run_phase(trainer, total, "cluster", checkpoint=self._place("checkpoint.h5"))
        self.n_iter_, self.converged_, self._steps_made = trainer.step, None, trainer.step
