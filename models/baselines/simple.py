"""k-means, non-negative matrix factorisation, and a mixture of Gaussians."""

import warnings

import numpy as np
from sklearn.decomposition import NMF, non_negative_factorization
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from common.errors import UserError
from models.baselines.base import Baseline
from models.core.arrays import squared_distances, student_kernel
from models.core.initialization import kmeans
from models.core.monitor import Monitor

TINY = 1e-3  # variance of the centres below which squared distances are nothing beside Student's 1
LEARNT = ("weights_", "means_", "covariances_", "precisions_cholesky_")  # of scikit-learn's mixture


class KMeansBaseline(Baseline):
    """k-means on the input; `transform` gives the distances to the centres, (n, k)."""

    def learn(self, x: np.ndarray, seed: int) -> tuple[dict, int, bool]:
        note = (self.monitor or Monitor()).note
        model, self.n_init_ = kmeans(x, self.n_clusters, self.config.n_init, seed, note)
        return {"centers": model.cluster_centers_}, model.n_iter_, model.n_iter_ < model.max_iter

    def embed(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(squared_distances(x, self._learnt["centers"]))

    def belong(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        centers = self._learnt["centers"].astype(np.float64)
        variance = float(np.square(centers - centers.mean(axis=0)).sum(axis=1).mean())
        if 0 < variance < TINY:
            return student_kernel(z.astype(np.float64) ** 2 / variance)
        return student_kernel(z**2)


def _require_positive(x):
    if x.min() < 0:
        raise UserError(
            f"NMF of data with values from {x.min():g}: expected none below 0 (Negative values in "
            "data passed to NMF)"
        )


class NMFBaseline(Baseline):
    """X = W H; `transform` gives W (n, k), scaled for rows of H of length 1."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def learn(self, x: np.ndarray, seed: int) -> tuple[dict, int, bool]:
        _require_positive(x)
        model = NMF(
            self.n_clusters, init="random", max_iter=self.config.maxiter, random_state=seed
        ).fit(x)
        parts = model.components_
        parts = parts / np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), 1e-12)
        return {"components": parts}, model.n_iter_, model.n_iter_ < model.max_iter

    def embed(self, x: np.ndarray) -> np.ndarray:
        _require_positive(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return non_negative_factorization(
                x,
                H=self._learnt["components"],
                n_components=self.n_clusters,
                update_H=False,
                max_iter=self.config.maxiter,
            )[0]

    def belong(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        total = z.sum(axis=1, keepdims=True)
        return np.where(total > 0, z / np.where(total > 0, total, 1), 1 / z.shape[1])


class Gaussians(Baseline):
    """A mixture of Gaussians; `transform` gives the distances to the means, (n, k)."""

    def needed(self, n: int, d: int) -> float:
        return 40 * n * d + 64 * self.n_clusters * d * d

    def learn(self, x: np.ndarray, seed: int) -> tuple[dict, int, bool]:
        c = self.config
        model = GaussianMixture(
            self.n_clusters,
            covariance_type=c.covariance,
            reg_covar=c.reg_covar,
            n_init=c.n_init,
            max_iter=c.maxiter,
            random_state=seed,
        )
        try:
            model.fit(x.astype(np.float64))
        except ValueError as error:  # scikit-learn's message on a variance of 0 and the like
            raise UserError(
                f"GMM with {c.covariance} covariances and reg_covar={c.reg_covar}: a cluster "
                "collapsed; expected a larger reg_covar or fewer clusters"
            ) from error
        return {name: getattr(model, name) for name in LEARNT}, model.n_iter_, model.converged_

    def embed(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(squared_distances(x, self._learnt["means_"]))

    def belong(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        model = mixture_of(self._learnt, self.config.covariance)
        return model.predict_proba(x.astype(np.float64))


def mixture_of(learnt: dict[str, np.ndarray], covariance: str) -> GaussianMixture:
    """Return scikit-learn's mixture with the parameters of a fit, those of `LEARNT` by name."""
    model = GaussianMixture(len(learnt["means_"]), covariance_type=covariance)
    for name in LEARNT:
        setattr(model, name, learnt[name])
    return model
