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


class KMeansBaseline(Baseline):
    """k-means on the input; `transform` gives the distances to the centres, (n, k)."""

    def learn(self, x, seed):
        note = (self.monitor or Monitor()).note
        model, self.n_init_ = kmeans(x, self.n_clusters, self.config.n_init, seed, note)
        return {"centers": model.cluster_centers_}, model.n_iter_, model.n_iter_ < model.max_iter

    def embed(self, x):
        return np.sqrt(squared_distances(x, self._learnt["centers"]))

    def belong(self, x, z):
        return student_kernel(z**2)


class NMFBaseline(Baseline):
    """X = W H; `transform` gives W (n, k), scaled for rows of H of length 1."""

    def learn(self, x, seed):
        if x.min() < 0:
            raise UserError(f"NMF of data with values from {x.min():g}: expected none below 0")
        model = NMF(
            self.n_clusters, init="random", max_iter=self.config.maxiter, random_state=seed
        ).fit(x)
        parts = model.components_
        parts = parts / np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), 1e-12)
        return {"components": parts}, model.n_iter_, model.n_iter_ < model.max_iter

    def embed(self, x):
        if x.min() < 0:
            raise UserError(f"NMF of data with values from {x.min():g}: expected none below 0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return non_negative_factorization(
                x, H=self._learnt["components"], n_components=self.n_clusters, update_H=False,
                max_iter=self.config.maxiter,
            )[0]  # fmt: skip

    def belong(self, x, z):
        total = z.sum(axis=1, keepdims=True)
        return np.where(total > 0, z / np.where(total > 0, total, 1), 1 / z.shape[1])


class Gaussians(Baseline):
    """A mixture of Gaussians; `transform` gives the distances to the means, (n, k).

    With the covariances "bic" the form is chosen whose mixture has the lowest Bayesian information
    criterion, as in Fraley, Raftery (2002): -2 log likelihood + (free parameters) log n. The input
    is centred and divided by one number first, so that its unit does not matter. Covariances
    between columns are tried up to `WIDEST` columns, where there are samples enough for them.
    """

    WIDEST = 100

    def needed(self, n, d):
        return 40 * n * d + 64 * self.n_clusters * d * d

    def _forms(self, n, d):
        """Return the forms of covariances to try."""
        if self.config.covariance != "bic":
            return [self.config.covariance]
        forms = ["spherical", "diag"]
        if d <= self.WIDEST:
            forms += ["tied"] * (n > 2 * d) + ["full"] * (n > 2 * d * self.n_clusters)
        return forms

    def learn(self, x, seed):
        c = self.config
        scaled = {}
        if c.covariance == "bic":
            scaled = {"shift": x.mean(axis=0, dtype=np.float64)}
            spread = np.sqrt(np.mean((x - scaled["shift"]) ** 2))
            scaled["scale"] = np.float64(spread if spread > 0 else 1.0)
        x = _scaled(x, scaled)
        models = []
        for form in self._forms(*x.shape):
            model = GaussianMixture(
                self.n_clusters, covariance_type=form, reg_covar=c.reg_covar, n_init=c.n_init,
                max_iter=c.maxiter, random_state=seed,
            )  # fmt: skip
            try:
                model.fit(x)
            except ValueError as error:  # scikit-learn's message on a variance of 0 and the like
                if c.covariance == "bic" and form != "spherical":
                    continue
                raise UserError(
                    f"GMM with {form} covariances and reg_covar={c.reg_covar}: a cluster of "
                    f"n_samples={len(x)} collapsed; expected a larger reg_covar or fewer clusters"
                ) from error
            models.append(model)
        model = models[0] if len(models) == 1 else min(models, key=lambda model: model.bic(x))
        names = ("weights_", "means_", "covariances_", "precisions_cholesky_")
        learnt = {name: getattr(model, name) for name in names} | scaled
        if c.covariance == "bic":
            learnt["form"] = np.int64(FORMS.index(model.covariance_type))
        return learnt, model.n_iter_, model.converged_

    def embed(self, x):
        return np.sqrt(squared_distances(_scaled(x, self._learnt), self._learnt["means_"]))

    def belong(self, x, z):
        form = self._learnt.get("form")
        form = self.config.covariance if form is None else FORMS[int(form)]
        model = GaussianMixture(self.n_clusters, covariance_type=form)
        for name, array in self._learnt.items():
            setattr(model, name, array)
        return model.predict_proba(_scaled(x, self._learnt))


FORMS = ("full", "tied", "diag", "spherical")


def _scaled(x, learnt):
    """Return samples in float64, centred and divided as `learnt` says, if it does."""
    x = x.astype(np.float64)
    return (x - learnt["shift"]) / learnt["scale"] if "shift" in learnt else x
