"""k-means or a mixture of Gaussians, by the stability of their partitions. In no paper."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from models.baselines.simple import LEARNT, Gaussians, mixture_of

FORMS = ("k-means", "spherical", "diag", "tied", "full")  # of the covariances
WIDEST = 100  # columns of which covariances are learnt; wider data get k-means
POOL = 2000  # samples at most among which stability is measured
SHARE = 0.8  # of them in a subsample


class StableMixture(Gaussians):
    """k-means, or a mixture of Gaussians where that can be trusted; no label is used.

    The forms are k-means, as a mixture of one variance and equal weights, and mixtures with
    spherical, diagonal, tied or full covariances. A form's stability is the mean adjusted Rand
    index between the labels that two fits, each to a random 80 % of the samples, give to all of
    them (as Ben-Hur, Elisseeff, Guyon 2002 compare numbers of clusters). Of the forms within
    `tolerance` of the highest stability, the one with the lowest Bayesian information criterion on
    all samples is the result: the criterion alone prefers the form with the most parameters on
    columns that are nearly constant, as of images, where its partition changes with the sample.

    The input is centred and divided by one number, so that its unit does not matter. `transform`
    gives the distances to the means, (n, k).

    Attributes
    ----------
    stability_ : dict
        {form: stability}, of the forms that could be fitted to all subsamples; {} if only k-means
        was tried, for more than `WIDEST` columns or fewer than 3 samples a cluster.
    form_ : str
        The form of the result.
    """

    def needed(self, n: int, d: int) -> float:
        return 40 * n * d + 64 * self.n_clusters * min(d, WIDEST) ** 2

    def learn(self, x: np.ndarray, seed: int) -> tuple[dict, int, bool]:
        shift = x.mean(axis=0, dtype=np.float64)
        space = {"shift": shift, "scale": np.float64(np.sqrt(np.mean((x - shift) ** 2)) or 1.0)}
        z = _placed(x, space)
        self.stability_ = self._stabilities(z, seed)
        least = max(self.stability_.values(), default=0.0) - self.config.tolerance
        fits = {
            form: self._fit(form, z, seed)
            for form, value in self.stability_.items()
            if value >= least
        }
        fits = fits or {"k-means": self._fit("k-means", z, seed)}
        self.form_ = min(fits, key=lambda form: _bic(form, fits[form][0], z))
        learnt, steps, ended = fits[self.form_]
        return learnt | space | {"form": np.int64(FORMS.index(self.form_))}, steps, ended

    def _stabilities(self, z, seed):
        """Return {form: stability} of samples z (n, d)."""
        random = np.random.default_rng(seed)
        pool = z[random.permutation(len(z))[:POOL]]
        size = int(SHARE * len(pool))
        if size < 2 * self.n_clusters or self.n_clusters == 1 or z.shape[1] > WIDEST:
            return {}
        pairs = [
            [random.permutation(len(pool))[:size] for _ in range(2)]
            for _ in range(self.config.pairs)
        ]
        found = {}
        for form in FORMS:
            try:
                agreements = [
                    self._agreement(form, pool, pair, seed + i) for i, pair in enumerate(pairs)
                ]
            except ValueError:  # scikit-learn's, of a component that collapsed
                continue
            found[form] = float(np.mean(agreements))
        return found

    def _agreement(self, form, pool, pair, seed):
        """Return the agreement on all of the pool of two fits to a part of it each.

        0 if one leaves a cluster empty: a single cluster would always agree with itself.
        """
        labels = [
            _mixture(form, self._fit(form, pool[rows], seed)[0]).predict(pool) for rows in pair
        ]
        if min(len(np.unique(one)) for one in labels) < self.n_clusters:
            return 0.0
        return _adjusted_rand(*labels)

    def _fit(self, form, z, seed):
        """Return the parameters {name: array}, the iterations and whether they ended."""
        c, k = self.config, self.n_clusters
        seed %= 2**32
        if form == "k-means":
            model = KMeans(k, n_init=c.n_init, random_state=seed).fit(z)
            variance = max(model.inertia_ / z.size, c.reg_covar)
            learnt = {
                "weights_": np.full(k, 1 / k),
                "means_": model.cluster_centers_,
                "covariances_": np.full(k, variance),
                "precisions_cholesky_": np.full(k, variance**-0.5),
            }
            return learnt, model.n_iter_, model.n_iter_ < model.max_iter
        model = GaussianMixture(
            k,
            covariance_type=form,
            reg_covar=c.reg_covar,
            n_init=c.mixture_n_init,
            max_iter=c.maxiter,
            random_state=seed,
        ).fit(z)
        return {name: getattr(model, name) for name in LEARNT}, model.n_iter_, model.converged_

    def embed(self, x: np.ndarray) -> np.ndarray:
        return super().embed(_placed(x, self._learnt))

    def belong(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        form = FORMS[int(self._learnt["form"])]
        return _mixture(form, self._learnt).predict_proba(_placed(x, self._learnt))


def _adjusted_rand(a, b):
    """Return the adjusted Rand index of two labellings (n,) (Hubert, Arabie 1985).

    Written out, as no module of `models` may import scores.
    """
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(counts):
        return float(np.sum(counts * (counts - 1)) / 2)

    rows, columns = pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    chance = rows * columns / pairs(np.array([len(a)]))
    return (pairs(table) - chance) / ((rows + columns) / 2 - chance)


def _mixture(form, learnt):
    """Return scikit-learn's mixture with the parameters of a fit."""
    return mixture_of(learnt, "spherical" if form == "k-means" else form)


def _bic(form, learnt, z):
    """Return the Bayesian information criterion of a fit on samples z (n, d)."""
    given = 2 * len(learnt["means_"]) - 2 if form == "k-means" else 0  # one variance, equal weights
    return _mixture(form, learnt).bic(z) - given * np.log(len(z))


def _placed(x, space):
    """Return samples x (n, d), centred and divided as `space` says, float64."""
    return (x.astype(np.float64) - space["shift"]) / space["scale"]
