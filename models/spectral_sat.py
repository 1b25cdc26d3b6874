"""SpectralSAT: a spectral partition of a graph of neighbours, refined by self-augmented training.

A method of this project: docs/methods/spectral-sat.md
"""

import os
import time

import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from augment import RandomShiftRotate
from common.shapes import image_shape
from models.core import graphs
from models.core.classifier import Decay, classifier
from models.core.functional import Tensor, negative_entropy
from models.core.keras_files import save_classifier
from models.core.optimizers import make as make_optimizer
from models.core.phases import PhasedEstimator, once
from models.core.seeds import SeedUse, new_stream
from models.core.tangents import tangent_neighbors
from models.core.training import Trainer
from models.core.weights import arrays_of, assign_arrays

CHUNK = 2048  # samples predicted at a time
BACK = 5  # times fit_steps: steps on the partition where training is taken back


class SpectralSAT(PhasedEstimator):
    """A classifier that starts from a spectral partition and then trusts its own predictions.

    Self-augmented training is Hu et al.'s (IMSAT, ICML 2017): a sample's prediction is the target
    of the prediction of its transform. Here the transformed sample is at first often a neighbour.

    Parameters
    ----------
    config : models.settings.spectral_sat.SpectralSATConfig
    n_clusters, method, random_state, run_dir, monitor, checkpoint_seconds, steps_per_execution
        As of `DeepClusterer`.

    Attributes
    ----------
    labels_ : int64 array (n,)
        Equal to `predict` of the same data.
    initial_labels_ : int64 array (n,)
        The spectral partition.
    n_iter_ : int
        Steps made.
    converged_ : None
        There is no test of convergence.
    seconds_, step_seconds_ : dict
        {"initialize", "cluster"} and {"cluster"}.
    """

    def fit(self, x: object, y: object = None) -> "SpectralSAT":
        """Cluster samples x (n, d) or images (n, h, w, c) scaled to [0, 1]; `y` is ignored.

        Raises
        ------
        UserError
            If the data or K does not suit.
        TrainingFailed
            If the loss becomes NaN or infinite.
        """
        x = self.begin(x)
        self._build(x.shape[1:])
        x = x.reshape(len(x), *self.network.input_shape[1:])
        begin = time.monotonic()
        place, warn = self._place("checkpoint-start.h5"), self._monitor.warn
        start, earlier = once(place, f"{self._identity} start", lambda: self.start(x), warn)
        self.seconds_["initialize"] = time.monotonic() - begin + earlier
        self.initial_labels_ = start["labels"].astype(np.int64)
        self._train(tf.constant(x), start)
        labels = self._predictions(x).argmax(axis=1)
        self._monitor.row("final", self.n_iter_, {"seconds": self.seconds_["cluster"]}, labels)
        return self._end_fit(labels)

    def _build(self, shape):
        """Make the network for samples of a shape."""
        c, self._shape = self.config, tuple(shape)
        taken = image_shape(shape) if c.needs_images else (int(np.prod(shape)),)
        self.n_features_in_ = int(np.prod(shape))
        self.network = classifier(
            taken,
            int(self.n_clusters),
            c.network,
            new_stream(self.seed_, SeedUse.SPECTRAL_SAT_NETWORK),
            c.fit_steps + c.maxiter,
        )
        self._logits = tf.function(
            lambda x: self.network(x, training=False),
            autograph=False,
            input_signature=[tf.TensorSpec([None, *taken], tf.float32)],
        )
        self._augment = RandomShiftRotate(c.shift, c.rotation, c.shift_pixels, "true")

    # -- the start ---------------------------------------------------------------------------

    def start(self, x: np.ndarray) -> dict[str, np.ndarray | np.float64]:
        """Return {"labels": (n,), "neighbors": (n, most), "lengths": (n,), "information": ()}.

        Of samples x: neighbours, nearest first, for partners and the judgement; distances to the
        farthest of the `judge` ones, for the noise on vectors; and what clusters of neighbours
        share, nats.
        """
        c, n = self.config, len(x)
        m = min(max(*c.neighbors, c.judge, c.partners), n - 1)
        with threadpool_limits(1):  # OpenMP threads add up in any order: not repeatable
            if c.aug_cluster and c.tangents:
                nearest = tangent_neighbors(x, m, c.blur * min(x.shape[1:3]), c.candidates)
            else:
                nearest = graphs.nearest_neighbors(x.reshape(n, -1), m)[1]
            labels, information, m, count = graphs.informative_partition(
                nearest,
                int(self.n_clusters),
                c.neighbors,
                c.judge,
                c.more,
                c.n_init,
                new_stream(self.seed_, SeedUse.SPECTRAL_SAT_START),
            )
        self._monitor.note(
            f"partition by {m} neighbours and {count} eigenvectors: clusters of neighbours share "
            f"{information:.3f} nats"
        )
        last = nearest[:, min(c.judge, nearest.shape[1]) - 1]
        lengths = np.linalg.norm((x - x[last]).reshape(n, -1), axis=1)
        return {
            "labels": labels.astype(np.int32),
            "lengths": lengths.astype(np.float32),
            "neighbors": nearest[:, : max(c.partners, c.judge)].astype(np.int32),
            "information": np.float64(information),
        }

    # -- training ----------------------------------------------------------------------------

    def _train(self, data, start):
        """Train on the partition, then by self-augmentation; each phase has a checkpoint.

        Where the clusters of neighbours then share far less than the partition's do, it is taken
        back: the network goes on from where it was fitted to the partition, on that alone.
        """
        c = self.config
        counts = np.bincount(start["labels"], minlength=int(self.n_clusters))
        self._shares = tf.constant(counts / len(data), tf.float32)
        arrays = {"labels": start["labels"], "lengths": start["lengths"]}
        arrays["neighbors"] = start["neighbors"][:, : c.partners]
        targets = {name: tf.Variable(t, trainable=False) for name, t in arrays.items()}
        self._data, self.n_iter_, self.converged_ = data, 0, None
        self._phase(0, self.fit_loss, {"cross_entropy": 1.0}, c.fit_steps, targets)
        fitted = self.network.get_weights()
        weights = {"divergence": 1.0, "entropy": c.entropy_weight, "sizes": c.size_weight}
        self._phase(1, self.sat_loss, weights, c.maxiter, targets)
        if self._left_the_graph(start):
            self.network.set_weights(fitted)
            self._phase(2, self.fit_loss, {"cross_entropy": 1.0}, BACK * c.fit_steps, targets)
        del self._data

    def _left_the_graph(self, start):
        """Return whether training has lost too much of the neighbours' information; note it."""
        labels = self._predictions(self._data.numpy()).argmax(axis=1)
        graph = graphs.unweighted_graph(start["neighbors"], self.config.judge)
        now, before = graphs.neighbor_information(graph, labels), float(start["information"])
        lost = 1.0 - now / before if before > 0 else 0.0
        back = self.config.fit_steps > 0 and lost > self.config.most_lost
        self._monitor.note(
            f"after training clusters of neighbours share {now:.3f} nats"
            + (f", {lost:.0%} less than before: back to the partition" if back else "")
        )
        return back

    def _phase(self, phase, loss, weights, steps, targets):
        """Train on the partition (phase 0), by self-augmentation (1), or back on the former (2)."""
        c = self.config
        optimizer = make_optimizer(c.optimizer)
        if phase == 1:
            optimizer.learning_rate = Decay(c.optimizer.lr, max(steps, 1))
        trainer = Trainer(
            self._data,
            loss,
            weights,
            self.network.trainable_variables,
            optimizer,
            batch_size=c.batch_size,
            seed=new_stream(self.seed_, SeedUse.SPECTRAL_SAT_STEPS, phase),
            shuffle=True,
            targets=targets,
            whole_batches=True,
            state=self.network.non_trainable_variables,
            identity=f"{self._identity} {phase}",
        )
        self.run_phase(
            trainer,
            steps,
            "cluster",
            checkpoint=self._place(f"checkpoint-{('fit', 'sat', 'back')[phase]}.h5"),
            offset=self.n_iter_,
            save_at_end=phase < 2,  # another phase follows
        )
        self.n_iter_ += trainer.step

    def fit_loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of samples (b, ...) and of their transforms with the labels."""
        both = tf.concat([x, self.transformed(x, targets, seed)], 0)
        labels = tf.concat([targets["labels"], targets["labels"]], 0)
        found = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels, self.network(both, training=True)
        )
        return {"cross_entropy": tf.reduce_mean(found)}

    def sat_loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Return {name: scalar} of a batch x (b, ...).

        divergence: KL(p(x) || p(T x')) with p(x) fixed, T a random transform and x' the sample or
        one of its neighbours; entropy: H(p(x)); sizes: KL(mean p || the partition's shares).
        """
        other = self.transformed(self.partner(x, targets["neighbors"], seed), targets, seed)
        logits = self.network(tf.concat([x, other], 0), training=True)
        clean, moved = tf.split(tf.nn.log_softmax(logits), 2)
        p, fixed = tf.exp(clean), tf.stop_gradient(clean)
        mean = tf.reduce_mean(p, axis=0)
        ratio = tf.math.log(tf.maximum(mean, 1e-8)) - tf.math.log(tf.maximum(self._shares, 1e-8))
        return {
            "divergence": tf.reduce_mean(tf.reduce_sum(tf.exp(fixed) * (fixed - moved), axis=1)),
            "entropy": -negative_entropy(p),
            "sizes": tf.reduce_sum(mean * ratio),
        }

    def partner(self, x: Tensor, neighbors: Tensor, seed: Tensor) -> Tensor:
        """Return samples (b, ...): x, or, ever more seldom, one of a sample's `neighbors` (b, m).

        The share of neighbours falls in proportion to the steps, from 1 to 0 at `partners_until`.
        """
        c = self.config
        if not c.partners:
            return x
        step = tf.cast(seed[1], tf.float32)
        share = 1.0 - step / (c.partners_until * max(c.maxiter, 1))
        b, m = tf.shape(neighbors)[0], neighbors.shape[1]
        u = tf.random.stateless_uniform((2, b), seed + 1, alg="philox")
        column = tf.cast(u[0] * m, tf.int32)
        rows = tf.gather(neighbors, column, batch_dims=1)
        use = tf.reshape(u[1] < share, (-1, *[1] * (x.shape.rank - 1)))
        return tf.where(use, tf.gather(self._data, rows), x)

    def transformed(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> Tensor:
        """Return samples x (b, ...), images shifted and rotated, vectors moved at random."""
        if self.config.aug_cluster:
            return self._augment(x, seed)
        direction = tf.random.stateless_normal(tf.shape(x), seed, alg="philox")
        norm = tf.norm(tf.reshape(direction, (tf.shape(x)[0], -1)), axis=1)
        length = self.config.radius * targets["lengths"] / tf.maximum(norm, 1e-12)
        return x + tf.reshape(length, (-1, *[1] * (x.shape.rank - 1))) * direction

    # -- use after fit -----------------------------------------------------------------------

    def transform(self, x: object) -> np.ndarray:
        """Return predictions, float32 (n, k), rows summing to 1."""
        return self._predictions(self._samples(x))

    def _predictions(self, x):
        x = x.reshape(len(x), *self.network.input_shape[1:])
        parts = [x[i : i + CHUNK] for i in range(0, len(x), CHUNK)]
        return np.concatenate([tf.nn.softmax(self._logits(part)).numpy() for part in parts])

    memberships = transform

    def predict(self, x: object) -> np.ndarray:
        """Return the labels of samples, int64 (n,) in [0, k): new ones or those fitted."""
        return self.memberships(x).argmax(axis=1)

    def width(self) -> int:
        return int(self.n_clusters)

    def other_labels(self) -> dict[str, np.ndarray]:
        """Return the spectral partition, from which training started."""
        return {"initial": self.initial_labels_}

    # -- files -------------------------------------------------------------------------------

    def save_keras(self, folder: str | os.PathLike) -> None:
        """Write classifier.keras, for plain Keras, into a folder: samples -> `memberships`."""
        self._require_fit()
        save_classifier(folder, self.network.input_shape[1:], [self.network])

    def model_arrays(self) -> dict[str, np.ndarray]:
        """Return {name: array} of the weights."""
        self._require_fit()
        return arrays_of({"network": self.network})

    def restore(self, path: str | os.PathLike, arrays: dict, about: dict) -> "SpectralSAT":
        """Take up what `model_arrays` gave."""
        self._build(tuple(about["shape"]))
        assign_arrays(path, arrays, {"network": self.network}, self.config.network, self._shape)
        return self
