"""VaDE: variational auto-encoder with a mixture of Gaussians as prior (Jiang et al., IJCAI 2017).

Equations are those of arXiv 1611.05148v3.

Departures: docs/methods/vade.md
"""

import math
import os
import time

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from common.errors import UserError
from models.core.autoencoder import INITIALIZE
from models.core.base import DeepClusterer
from models.core.functional import Tensor, mean_squared_error, squared_error
from models.core.keras_files import save_autoencoder
from models.core.optimizers import make as make_optimizer
from models.core.seeds import derive_seed

EPSILON = 1e-4  # Adam's [C]


def log_joint(z: Tensor, log_pi: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """Return log p(c) + log p(z|c), (b, k), of codes z (b, z) (eqs. 4 and 5).

    log_pi (k,) are the logarithms of the clusters' shares, means and log_variances (k, z).
    """
    squares = ops.square(z[:, None, :] - means) * ops.exp(-log_variances)  # (b, k, z)
    terms = math.log(2 * math.pi) + log_variances + squares
    return log_pi - 0.5 * ops.sum(terms, axis=-1)


def log_responsibilities(z: Tensor, log_pi: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """Return log gamma, gamma_c = p(c) p(z|c) / sum_c' p(c') p(z|c') (eq. 16), (b, k).

    By log-sum-exp: finite however far z is from all means. Parameters as of `log_joint`.
    """
    return ops.log_softmax(log_joint(z, log_pi, means, log_variances), axis=-1)


def mixture_divergence(
    gamma: Tensor, mean: Tensor, log_variance: Tensor, means: Tensor, log_variances: Tensor
) -> Tensor:
    """Return sum_c gamma_c KL(q(z|x) || p(z|c)), a mean over b: the Gaussian terms of eq. 12.

    KL = 1/2 sum_j [log s_cj^2 - log s_j^2 + s_j^2 / s_cj^2 + (m_j - mu_cj)^2 / s_cj^2 - 1].

    Parameters
    ----------
    gamma : (b, k), rows summing to 1
    mean, log_variance : (b, z)
        m and log s^2 of q(z|x) = N(m, diag(s^2)).
    means, log_variances : (k, z)
        mu and log s_c^2 of p(z|c).
    """
    mean, log_variance = mean[:, None, :], log_variance[:, None, :]  # (b, 1, z)
    spread = ops.exp(log_variance - log_variances)
    squares = ops.square(mean - means) * ops.exp(-log_variances)
    kl = 0.5 * ops.sum(log_variances - log_variance + spread + squares - 1.0, axis=-1)  # (b, k)
    return ops.mean(ops.sum(gamma * kl, axis=1))


def cluster_divergence(log_gamma: Tensor, log_pi: Tensor) -> Tensor:
    """Return KL(q(c|x) || p(c)) = sum_c gamma_c log(gamma_c / pi_c), a mean over b (eq. 12).

    Of log_gamma (b, k) and log_pi (k,).
    """
    return ops.mean(ops.sum(ops.exp(log_gamma) * (log_gamma - log_pi), axis=1))


def bernoulli_error(x: Tensor, logits: Tensor) -> Tensor:
    """Return -log p(x|z) of x in [0, 1] (eqs. 1 and 6), summed over values, a mean over b.

    x and logits, of which the means are the sigmoids, are (b, ...).
    """
    return ops.sum(ops.softplus(logits) - x * logits) / ops.cast(ops.shape(x)[0], x.dtype)


@keras.saving.register_keras_serializable(package="deep_clustering")
class Steps(keras.optimizers.schedules.LearningRateSchedule):
    """max(lr * factor ** (steps made // every), least)."""

    def __init__(self, lr: float, every: int, factor: float, least: float):
        self.lr, self.every, self.factor, self.least = lr, every, factor, least

    def __call__(self, step):
        times = ops.floor(ops.cast(step, "float32") / self.every)
        return ops.maximum(self.lr * ops.power(self.factor, times), min(self.lr, self.least))

    def get_config(self) -> dict[str, float]:
        return {"lr": self.lr, "every": self.every, "factor": self.factor, "least": self.least}


class VaDE(DeepClusterer):
    """Variational deep embedding: the negative ELBO (eq. 12) of networks and mixture.

    The mixture's means are the `centers`; `prior_logits` (k,) are its shares before a softmax,
    `prior_log_variances` (k, z) the logarithms of its variances. A label is the largest gamma_c
    (eq. 16) of the mean of q(z|x), which is the code.
    """

    shuffle = True

    # -- networks ----------------------------------------------------------------------------

    def make_networks(self, shape: tuple, seed: int) -> None:
        super().make_networks(shape, seed)
        hidden, last = self.encoder.layers[-2].output, self.encoder.layers[-1]
        start = keras.initializers.GlorotUniform(seed=seed)
        self.variance_head = keras.Sequential(
            [
                keras.Input(hidden.shape[1:]),
                keras.layers.Dense(last.units, kernel_initializer=start, dtype="float32"),
            ],
            name="variance_head",
        )
        outputs = [self.encoder.outputs[0], self.variance_head(hidden)]
        self.posterior = keras.Model(self.encoder.inputs[0], outputs)  # x -> m, log s^2 (eq. 10)

    def own_networks(self) -> dict[str, keras.Layer]:
        return {"variance_head": self.variance_head}

    def make_centers(self) -> keras.Variable:
        centers = super().make_centers()
        self.prior_logits = keras.Variable(np.zeros(self.n_clusters, np.float32))
        self.prior_log_variances = keras.Variable(np.zeros(centers.shape, np.float32))
        return centers

    def extra_state(self) -> dict[str, keras.Variable]:
        return {"prior_logits": self.prior_logits, "prior_log_variances": self.prior_log_variances}

    def prior(self) -> tuple[Tensor, keras.Variable, keras.Variable]:
        """Return log pi (k,), means (k, z) and log variances (k, z) of the mixture."""
        return ops.log_softmax(self.prior_logits), self.centers, self.prior_log_variances

    def save_keras(self, folder: str | os.PathLike) -> None:
        """Write encoder.keras and autoencoder.keras, whose output are the means of p(x|z)."""
        decoder = self.decoder
        if self.config.likelihood == "bernoulli":  # its outputs are logits
            means = keras.layers.Activation("sigmoid")(decoder.outputs[0])
            decoder = keras.Model(decoder.inputs, means)
        save_autoencoder(folder, self.encoder, decoder, tuple(self._scaling.values()))

    # -- pretraining -------------------------------------------------------------------------

    def pretrain_weights(self) -> dict[str, float]:
        self.require_range()  # before the first step
        return super().pretrain_weights()

    def pretrain_loss(
        self, x: Tensor, targets: dict[str, Tensor], seed: Tensor
    ) -> dict[str, Tensor]:
        """Return the mean squared error of the decoder's means, without noise."""
        rebuilt = self.decoder(self.encoder(x))
        if self.config.likelihood == "bernoulli":
            rebuilt = ops.sigmoid(rebuilt)
        return {"reconstruction": mean_squared_error(x, rebuilt)}

    def require_range(self) -> None:
        """Raise UserError for samples that cannot be Bernoulli means where they have to be."""
        low, high = (float(f(self._data)) for f in (tf.reduce_min, tf.reduce_max))
        if self.config.likelihood == "bernoulli" and not (low >= 0 and high <= 1):
            raise UserError(
                f"VaDE of data with values from {low:g} to {high:g}: expected values in [0, 1], or "
                "--likelihood gaussian"
            )

    # -- clustering --------------------------------------------------------------------------

    def start(self, data: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the means of a mixture of Gaussians on the codes, its labels, and the seconds.

        Its shares and variances, diagonal, become the prior's too.
        """
        self.require_range()  # where pretraining was shared
        begin, z = time.monotonic(), self.pretrained_codes_
        found, earlier = self._once("start", lambda: self.fit_mixture(z))
        self.prior_logits.assign(np.log(np.maximum(found["weights"], 1e-12)))
        self.prior_log_variances.assign(np.log(found["variances"]))
        self.n_init_ = self.config.n_init
        return found["means"], found["labels"], time.monotonic() - begin + earlier

    def fit_mixture(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Return {name: array} of a mixture of Gaussians, diagonal, fitted to codes z (n, z)."""
        mixture = GaussianMixture(
            self.n_clusters,
            covariance_type="diag",
            n_init=self.config.n_init,
            random_state=derive_seed(self.seed_, INITIALIZE),
        )
        with threadpool_limits(1):  # OpenMP threads add up in any order: not repeatable
            try:
                labels = mixture.fit_predict(z.astype(np.float64))
            except ValueError as error:  # scikit-learn's message on a variance of 0 and the like
                raise UserError(
                    f"VaDE of {len(z)} samples in {self.n_clusters} clusters: a component "
                    "collapsed; expected fewer clusters"
                ) from error
        return {
            "means": mixture.means_,
            "variances": mixture.covariances_,
            "weights": mixture.weights_,
            "labels": labels.astype(np.int64),
        }

    def cluster_optimizer(self, n: int) -> keras.optimizers.Optimizer:
        """Return the optimizer, its rate `decay` times smaller every `decay_epochs` epochs."""
        c = self.config
        optimizer = make_optimizer(c.optimizer)
        every = c.decay_epochs * math.ceil(n / c.cluster_batch_size)
        optimizer.learning_rate = Steps(c.optimizer.lr, every, c.decay, c.least_lr)
        if c.optimizer.name == "adam":
            optimizer.epsilon = EPSILON
        return optimizer

    def cluster_variables(self) -> list[keras.Variable]:
        networks = [self.encoder, self.variance_head, self.decoder]
        variables = [v for network in networks for v in network.trainable_variables]
        return [*variables, self.centers, self.prior_logits, self.prior_log_variances]

    def target_specs(self, n: int) -> dict[str, tuple[tuple, str]]:
        return {}

    def refresh(self, z: np.ndarray, step: int) -> tuple[np.ndarray, dict, dict]:
        return self.assign(z), {}, {}

    def loss_weights(self) -> dict[str, float]:
        return {"reconstruction": self.config.alpha, "gaussian_kl": 1.0, "cluster_kl": 1.0}

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Return the terms of minus eq. 12, with one draw z = m + s eps (eq. 13) a sample."""
        mean, log_variance = self.posterior(x)
        pair = tf.random.experimental.stateless_fold_in(seed, 1)  # augmentation has the seed's own
        noise = tf.random.stateless_normal(tf.shape(mean), pair, alg="philox")
        z = mean + ops.exp(0.5 * log_variance) * noise
        log_pi, means, log_variances = self.prior()
        log_gamma = log_responsibilities(z, log_pi, means, log_variances)
        error = bernoulli_error if self.config.likelihood == "bernoulli" else squared_error
        return {
            "reconstruction": error(x, self.decoder(z)),
            "gaussian_kl": mixture_divergence(
                ops.exp(log_gamma), mean, log_variance, means, log_variances
            ),
            "cluster_kl": cluster_divergence(log_gamma, log_pi),
        }

    # -- labels ------------------------------------------------------------------------------

    def assign(self, z: np.ndarray) -> np.ndarray:
        return self.belong(z).argmax(axis=1)

    def belong(self, z: np.ndarray) -> np.ndarray:
        """Return gamma (n, k) of codes z (n, z)."""
        return np.asarray(ops.exp(log_responsibilities(ops.convert_to_tensor(z), *self.prior())))

    def memberships(self, x: object) -> np.ndarray:
        return self.belong(self.encode(x))
