"""The start of clustering: a partition of the codes, in one of several ways. No label is used.

"k-means" is the papers'; "gmm", "spectral" and "agglomerative" are those of ASPC's Table 6; "umap"
(not in the papers) is k-means on a UMAP map of the codes, as N2D has it.

k-means with a fixed number of restarts is scikit-learn's. With "auto" restarts are added until the
lowest inertia has come up several times: then another start would hardly find a lower one. The
first of them are those that 20 restarts make, so that the result is never worse than that of 20.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.mixture import GaussianMixture

from common import device
from common.errors import UserError, unknown
from models.core.arrays import cluster_means, some_rows, too_coarse
from models.settings.base import INITS

SAMPLE = 10000  # what spectral and agglomerative clustering take at most: their memory is O(n^2)
FIRST, MORE, MOST = 20, 10, 200  # restarts of "auto": in the first batch, in each further one, all
AGAIN = 3  # how often the lowest inertia has to come up
SAME = 1e-4  # inertias within this share of the lowest count as the lowest
MAP_NEIGHBORS, MAP_SIZE = 20, 10  # of UMAP's map: N2D's for ten clusters


class Start(NamedTuple):
    """A partition to start from: centres (k, z), labels (n,), restarts of k-means (0: none)."""

    centers: np.ndarray
    labels: np.ndarray
    restarts: int


def init(
    z: np.ndarray,
    k: int,
    how: str,
    n_init: int | str,
    seed: int,
    note: Callable[[str], object] = lambda text: None,
) -> Start:
    """Cluster codes z (n, z) into k clusters, 2 to n, by one of models.settings.base.INITS.

    Labels are the clustering's own: but for k-means, not always those of the nearest centre.
    Centres are the means of the labelled codes; of a component of "gmm" that no sample belongs to,
    the component's own mean.

    Parameters
    ----------
    n_init : int or "auto"
        Restarts of k-means, of which "gmm" and "umap" make use; the others have one start.
    seed : int
        Decides the result, given one thread (`threadpool_limits(1)`).
    note : callable (str)
        Receives a line on the restarts of "auto", and on samples left out.

    Raises
    ------
    UserError
        If `how` is unknown, the package for it is not installed, or a component collapsed.
    """
    if how not in INITS:
        raise UserError(unknown("init", how, INITS))
    if how == "k-means":
        model, restarts = kmeans(z, k, n_init, seed, note)
        return Start(model.cluster_centers_, model.labels_, restarts)
    if how == "gmm":
        return _gmm(z.astype(np.float64), *kmeans(z, k, n_init, seed, note))
    if how == "umap":
        model, restarts = kmeans(_map(z, k, seed), k, n_init, seed, note)
        return Start(cluster_means(z, model.labels_, k), model.labels_, restarts)
    some = some_rows(len(z), SAMPLE, seed)
    if len(some) < len(z):
        note(
            f"{how} initialisation on {SAMPLE} of {len(z)} samples, the others to their nearest "
            "centre"
        )
    if how == "agglomerative":
        labels = AgglomerativeClustering(k).fit_predict(z[some])
    else:
        labels = _spectral(z[some], k, seed)
    centers = cluster_means(z[some], labels, k)
    if len(some) < len(z):
        from models.core.functional import squared_distances

        labels = np.argmin(squared_distances(z, centers.astype(z.dtype)), axis=1)
    return Start(centers, labels, 0)


def kmeans(
    x: np.ndarray,
    k: int,
    n_init: int | str,
    seed: int,
    note: Callable[[str], object] = lambda text: None,
) -> tuple[KMeans, int]:
    """Return k-means fitted to x (n, d), and the restarts made: the lowest inertia stays.

    n_init is their number, or "auto"; `note` receives a line on those of "auto".
    """
    if x.dtype == np.float32 and _has_outlier(x):
        x = x.astype(np.float64)
    if n_init != "auto":
        return KMeans(k, n_init=n_init, random_state=seed).fit(x), n_init
    random = np.random.RandomState(seed)  # drawn from in turn, as scikit-learn's restarts do
    best, inertias, lowest = None, [], 0
    while len(inertias) < MOST and lowest < AGAIN:
        for _ in range(min(MORE if inertias else FIRST, MOST - len(inertias))):
            model = KMeans(k, n_init=1, random_state=random).fit(x)
            inertias.append(model.inertia_)
            if best is None or model.inertia_ < best.inertia_:
                best = model
        lowest = np.count_nonzero(np.array(inertias) <= best.inertia_ * (1 + SAME))
    times = "once" if lowest == 1 else f"{lowest} times"
    note(f"k-means: {len(inertias)} restarts, the lowest inertia came up {times}")
    return best, len(inertias)


def _has_outlier(x):
    """Whether some of x (n, d), centred, are so far that float32 tells no two others apart."""
    centred = x - x.mean(axis=0)
    return too_coarse(np.einsum("ij,ij->i", centred, centred).max(), centred)


def _gmm(z, start, restarts):
    """Return the Start by a mixture of Gaussians that begins at the clusters of a k-means."""
    k = len(start.cluster_centers_)
    groups = [z[start.labels_ == i] for i in range(k)]
    covariances = np.array([np.cov(g if len(g) else z, rowvar=False, bias=True) for g in groups])
    mixture = GaussianMixture(k)
    covariances = covariances.reshape(k, z.shape[1], -1) + mixture.reg_covar * np.eye(z.shape[1])
    mixture.set_params(
        weights_init=np.array([len(g) for g in groups]) / len(z),
        means_init=start.cluster_centers_,
        precisions_init=np.linalg.inv(covariances),
    )
    try:
        labels = mixture.fit_predict(z)
    except ValueError as error:  # scikit-learn's message on a variance of 0 and the like
        raise UserError(
            f"init='gmm' of {len(z)} samples in {k} clusters: a component collapsed; expected "
            "another init or fewer clusters"
        ) from error
    centers = cluster_means(z, labels, k)
    empty = np.bincount(labels, minlength=k) == 0
    centers[empty] = mixture.means_[empty]
    return Start(centers, labels, restarts)


def _spectral(z, k, seed):
    """Return labels (n,) by spectral clustering on a graph of nearest neighbours."""
    if k >= len(z):
        raise UserError(f"init='spectral' of {len(z)} samples: expected fewer clusters than {k}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Graph is not fully connected")  # an answer all the same
        return SpectralClustering(
            k,
            affinity="nearest_neighbors",
            n_neighbors=min(10, len(z)),
            assign_labels="kmeans",
            random_state=seed,
        ).fit_predict(z)


def _map(z, k, seed):
    """Return UMAP's map of the codes, float32 (n, MAP_SIZE or less)."""
    device.prepare()  # UMAP imports TensorFlow if it can
    try:
        import umap
    except ImportError as error:
        raise UserError("--init umap needs umap-learn: pip install umap-learn") from error
    size = min(MAP_SIZE, z.shape[1])
    if len(z) <= size + 1:
        raise UserError(f"init='umap' of {len(z)} samples: expected more than {size + 1}")
    return umap.UMAP(
        n_neighbors=min(MAP_NEIGHBORS, len(z) - 1),
        min_dist=0.0,
        n_components=size,
        random_state=seed,
        n_jobs=1,
    ).fit_transform(z)
