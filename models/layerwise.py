"""DEC, IDEC and DCN by the protocols of their own papers: layer-wise pretraining, scaled inputs.

A layer is trained as a small auto-encoder of its own on the output of the trained layers below it,
with dropout, one after the other; then all layers together, without (Xie et al., ICML 2016; Guo et
al., IJCAI 2017; Yang et al., ICML 2017).

Departures: docs/methods/layerwise.md
"""

import math
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from models.ae import ClusteredCodes
from models.core.base import DeepClusterer
from models.core.fast_kernels import SGD
from models.core.functional import (
    Tensor,
    distance_to,
    mean_squared_error,
    running_means,
    squared_distances,
    squared_error,
)
from models.core.optimizers import make as make_optimizer
from models.core.seeds import SeedUse, new_stream
from models.core.training import Trainer
from models.dec import DEC
from models.vade import Steps

Loss = Callable[[Tensor, dict[str, Tensor], Tensor], dict[str, Tensor]]  # as `Trainer` takes it


class BurnInSGD(SGD):
    """SGD whose first steps have no momentum, and whose biases have twice the rate."""

    burn_in = 0

    def update_step(self, gradient: Tensor, variable: tf.Variable, learning_rate: Tensor) -> None:
        momentum = self.momentum * tf.cast(self.iterations.value >= self.burn_in, variable.dtype)
        rate = tf.cast(learning_rate, variable.dtype) * (2 if len(variable.shape) == 1 else 1)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[index].value.handle,
            lr=rate,
            grad=gradient,
            momentum=momentum,
        )


def dropped(h: Tensor, rate: float, seed: Tensor) -> Tensor:
    """Return h (b, d) with a share of its values set to 0, the others scaled up, by a seed pair."""
    return tf.nn.experimental.stateless_dropout(h, rate, seed) if rate else h


class Layerwise(DeepClusterer):
    """The auto-encoder on scaled samples, pretrained layer by layer.

    Encoder and decoder take and give samples as they are: the factor `scale` is in the networks,
    and every loss of samples is that of the scaled ones.
    """

    half = 0.5  # of the squared error of all layers together
    summed = False  # whether squared errors are sums over values; else means, as in DEC's Caffe

    # -- networks ----------------------------------------------------------------------------

    def make_networks(self, shape: tuple, seed: int) -> None:
        super().make_networks(shape, seed)
        c, rng = self.config, np.random.default_rng(new_stream(seed, SeedUse.LAYERS))
        up, down = self.up, self.down
        for layer, back in zip(up, down[::-1], strict=True):
            shapes = layer.kernel.shape, back.kernel.shape
            std = 1 / math.sqrt(shapes[0][0]) if c.init_std is None else c.init_std
            first, second = (std * rng.standard_normal(s, np.float32) for s in shapes)
            layer.kernel.assign(first)
            back.kernel.assign(first.T if c.init_std is None else second)
        scaling = keras.layers.Rescaling
        self.encoder = keras.Sequential(
            [keras.Input(shape), keras.layers.Flatten(), scaling(c.scale), *up], name="encoder"
        )
        self.decoder = keras.Sequential(
            [
                keras.Input((c.latent_dim,)),
                *down,
                scaling(1 / c.scale),
                keras.layers.Reshape(shape),
            ],
            name="decoder",
        )

    @property
    def up(self) -> list[keras.layers.Dense]:
        """The encoder's dense layers, from the samples on."""
        return [one for one in self.encoder.layers if isinstance(one, keras.layers.Dense)]

    @property
    def down(self) -> list[keras.layers.Dense]:
        """The decoder's dense layers, from the codes on."""
        return [one for one in self.decoder.layers if isinstance(one, keras.layers.Dense)]

    # -- pretraining -------------------------------------------------------------------------

    def pretrain(self, data: Tensor, checkpoint: str | os.PathLike | None) -> None:
        """Train each layer by itself, then all together; each stage has a checkpoint beside it."""
        c, pairs = self.config, zip(self.up, self.down[::-1], strict=True)
        layer_steps, together = c.pretraining_steps(math.ceil(len(data) / c.batch_size))
        stages = []  # loss, weights, variables, steps
        for i, pair in enumerate(pairs):
            variables = [v for layer in pair for v in layer.trainable_variables]
            stages.append((self.layer_loss(i), {"reconstruction": 0.5}, variables, layer_steps))
        weights, variables = self.pretrain_weights(), self.pretrain_variables()
        stages.append((self.pretrain_loss, weights, variables, together))
        offset, left, files = 0, False, []
        for i, (loss, weights, variables, steps) in enumerate(stages):
            trainer = Trainer(
                data,
                loss,
                weights,
                variables,
                self.pretrain_optimizer(),
                batch_size=c.batch_size,
                shuffle=True,
                seed=new_stream(self.seed_, SeedUse.LAYERS, i),
                identity=f"stage {i}",
                augment=self._augmentation(c.aug_pretrain),
                shuffles=c.shuffles,
            )
            files.append(None if checkpoint is None else f"{checkpoint}.stage{i}")
            left = self.run_phase(
                trainer,
                steps,
                "pretrain",
                checkpoint=files[-1],
                resume=not left,  # a checkpoint after a stage that trained here is an older one
                offset=offset,
                start=lambda restored, trainer=trainer, steps=steps: trainer.step >= steps,
                save_at_end=True,
            )
            offset += steps
        self._encode(data)  # raises if the last step spoilt the weights
        for file in filter(None, files):
            Path(file).unlink(missing_ok=True)

    def pretrain_optimizer(self) -> keras.optimizers.Optimizer:
        """Return a stage's optimizer, with its schedule."""
        c = self.config
        record = c.pretrain_optimizer
        optimizer = make_optimizer(record)
        if record.name == "sgd" and record.momentum:
            optimizer = BurnInSGD(record.lr, momentum=record.momentum)
            optimizer.burn_in = c.burn_in
        optimizer.learning_rate = Steps(record.lr, c.drop_steps, 0.1, 0.0)
        return optimizer

    def layer_loss(self, i: int) -> Loss:
        """Return the loss of layer i by itself: the squared error of its clean input.

        Of the first layer the outputs are dropped, of the last the inputs, of the others both.
        """
        layers, back, rate = self.up, self.down[::-1][i], self.config.dropout
        fold = tf.random.experimental.stateless_fold_in

        def loss(x, targets, seed):
            h = self.config.scale * tf.reshape(x, (tf.shape(x)[0], -1))
            for below in layers[:i]:
                h = below(h)
            hidden = layers[i](dropped(h, rate if i else 0.0, fold(seed, 1)))
            hidden = dropped(hidden, rate if i < len(layers) - 1 else 0.0, fold(seed, 2))
            error = squared_error if self.summed else mean_squared_error
            return {"reconstruction": error(h, back(hidden))}

        return loss

    def pretrain_weights(self) -> dict[str, float]:
        return {"reconstruction": self.half * self.scaling()}

    def scaling(self) -> float:
        """Return the factor from the mean squared error of samples to that of scaled ones."""
        return self.config.scale**2 * (self.n_features_in_ if self.summed else 1)


class LayerwiseKMeans(Layerwise, ClusteredCodes):
    """k-means on the codes of that pretraining: the row AE+k-means of DEC's and IDEC's tables."""


class LayerwiseDEC(Layerwise, DEC):
    """DEC and, with alpha > 0, IDEC."""

    def loss_weights(self) -> dict[str, float]:
        weights = super().loss_weights()
        if "reconstruction" in weights:
            weights["reconstruction"] *= self.scaling()
        return weights


class LayerwiseDCN(Layerwise):
    """DCN: after each batch its labels, then its clusters' centres, by running means.

    The step trains encoder and decoder by alpha ||x - g(z)||^2 + beta ||z - M s||^2, s the labels
    of the epoch's beginning (the release: of the sample's last visit). A centre that has taken up n
    samples is the mean of its first value, which counts for `count`, and these.
    """

    half, summed = 1.0, True
    shuffle = True
    whole_batches = True

    def cluster_variables(self) -> list[keras.Variable]:
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    def make_centers(self) -> keras.Variable:
        self.counts = keras.Variable(np.full(self.n_clusters, self.config.count, np.float32))
        return super().make_centers()

    def extra_state(self) -> dict[str, keras.Variable]:
        return {"counts": self.counts}

    def target_specs(self, n: int) -> dict[str, tuple[tuple, str]]:
        return {"label": ((n,), "int32")}

    def refresh(self, z: np.ndarray, step: int) -> tuple[np.ndarray, dict, dict]:
        passes = max(1, step // max(1, len(z) // self.config.batch_size))
        if step and passes % self.config.kmeans_epochs == 0:
            self.settle(z)
        labels = self.assign(z)
        return labels, {"label": labels.astype(np.int32)}, {}

    def settle(self, z: np.ndarray) -> None:
        """Run k-means on codes z (n, z) from the centres."""
        with threadpool_limits(1):  # OpenMP threads add up in any order: not repeatable
            found = KMeans(self.n_clusters, init=np.asarray(self.centers), n_init=1).fit(z)
        self.centers.assign(found.cluster_centers_)

    finish = settle

    def loss_weights(self) -> dict[str, float]:
        c = self.config
        return {"distance": c.beta, "reconstruction": c.alpha * self.scaling()}

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        z = self.encoder(x)
        centers = ops.take(ops.stop_gradient(self.centers.value), targets["label"], axis=0)
        losses = {
            "distance": distance_to(z, centers),
            "reconstruction": mean_squared_error(x, self.decoder(z)),
        }
        self.absorb(ops.stop_gradient(z))
        return losses

    def absorb(self, z: Tensor) -> None:
        """Move each centre to the mean of all it has taken up, codes z (b, z) nearest to it too."""
        nearest = ops.argmin(squared_distances(z, self.centers), axis=1)
        centers, counts = running_means(self.centers, self.counts, z, nearest)
        self.centers.assign(centers)
        self.counts.assign(counts)
