"""The baselines of the papers' tables on the input itself, as estimators. No TensorFlow here.

Every sample is flattened; nothing is scaled. One thread does the work (OpenMP adds up in any
order): the same seed gives the same labels, bit for bit, whatever the number of cores.

Departures: docs/methods/baselines.md

New samples: k-means, NMF, SC-LS and GMM assign them by what they learnt. The others have no such
rule: they know only the samples that were fitted, and refuse others.
"""

import time
import warnings

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import NMF, non_negative_factorization
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from common import device
from common.errors import UserError
from common.files import save_arrays
from models.core.estimator import Estimator
from models.core.initialization import kmeans
from models.core.monitor import Monitor
from models.core.samples import as_samples, check_estimator, hash_array

BLOCK = 2**26  # numbers in a block of distances: 256 MB


class Baseline(Estimator):
    """A clustering of flat samples, in the form of `DeepClusterer`. No label is ever used.

    Parameters
    ----------
    n_clusters : int
        K, from 2 to the number of samples.
    config : models.config.Settings
        `models.build` fills in the method's.
    method : str
        The name under which the model is saved.
    random_state : int
        Decides every random number.
    monitor : Monitor, optional

    Attributes
    ----------
    labels_ : int64 array (n,)
        Equal to `predict` of the same data.
    n_iter_ : int
        Iterations, or merges; 0 where a method does not say.
    converged_ : bool
    seconds_ : {"cluster": float}
    n_features_in_ : int
    """

    fitted = "_learnt"

    def __init__(self, n_clusters, config, *, method=None, random_state=0, monitor=None):
        self.n_clusters = n_clusters
        self.config = config
        self.method = method
        self.random_state = random_state
        self.monitor = monitor

    # -- what a method defines ---------------------------------------------------------------

    def learn(self, x, seed):
        """Return {name: array} of what is learnt, the iterations made, and whether they ended."""
        raise NotImplementedError

    def embed(self, x):
        """Return the representation (n, z) of samples x (n, d)."""
        raise NotImplementedError

    def belong(self, x, z):
        """Return memberships (n, k), rows summing to 1, of samples (n, d) represented by z."""
        raise NotImplementedError

    def needed(self, n, d):
        """Return about how many bytes a fit takes, the data included."""
        return 24 * n * d

    # -- the estimator -----------------------------------------------------------------------

    def fit(self, x, y=None):
        """Cluster samples x (n, ...), finite numbers; `y` is ignored. Return self.

        Raises
        ------
        UserError
            If the data or K does not suit, or would not fit into memory.
        """
        x = as_samples(x)
        check_estimator(self.n_clusters, self.random_state, len(x))
        self._shape = x.shape[1:]
        x = x.reshape(len(x), -1)
        self.n_features_in_ = x.shape[1]
        require_memory(self.needed(*x.shape), self.method)
        monitor = self.monitor or Monitor()
        monitor.begin("cluster", 1, 0)
        begin = time.monotonic()
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `converged_` says so
            self._learnt, steps, ended = self.learn(x, int(self.random_state) % 2**32)
        self.n_iter_, self.converged_ = int(steps), bool(ended)
        self.labels_ = self.predict(x)
        self.seconds_ = {"cluster": time.monotonic() - begin}
        monitor.progress("cluster", 1)
        monitor.row("final", self.n_iter_, {"seconds": self.seconds_["cluster"]}, self.labels_)
        return self

    def _samples(self, x):
        """Return samples of the fitted shape, flat."""
        return super()._samples(x).reshape(len(x), -1)

    def transform(self, x):
        """Return the method's representation of samples, float32 (n, z)."""
        x = self._samples(x)
        with threadpool_limits(1):
            return self.embed(x).astype(np.float32)

    def predict(self, x):
        """Return the labels of samples, int64 (n,)."""
        return self.memberships(x).argmax(axis=1)

    def memberships(self, x):
        """Return how far samples belong to each cluster, (n, k); rows sum to 1."""
        x = self._samples(x)
        with threadpool_limits(1):
            return self.belong(x, self.embed(x))

    def save(self, path):
        """Write the fitted model, for `models.load`."""
        about = self._about()
        save_arrays(path, dict(sorted(self._learnt.items())), about)

    def restore(self, path, arrays, about):
        """Take up what `save` wrote."""
        self._learnt, self._shape = arrays, tuple(about["shape"])
        self.n_features_in_ = int(np.prod(self._shape))
        return self


class KMeansBaseline(Baseline):
    """k-means on the input; `transform` gives the distances to the centres, (n, k)."""

    def learn(self, x, seed):
        note = (self.monitor or Monitor()).note
        model, self.n_init_ = kmeans(x, self.n_clusters, self.config.n_init, seed, note)
        return {"centers": model.cluster_centers_}, model.n_iter_, model.n_iter_ < model.max_iter

    def embed(self, x):
        return np.sqrt(squared_distances(x, self._learnt["centers"]))

    def belong(self, x, z):
        return student(z**2)


class Gaussians(Baseline):
    """A mixture of Gaussians; `transform` gives the distances to the means, (n, k)."""

    def needed(self, n, d):
        return 40 * n * d + 64 * self.n_clusters * d * d

    def _mixture(self, **others):
        return GaussianMixture(self.n_clusters, covariance_type=self.config.covariance, **others)

    def learn(self, x, seed):
        c = self.config
        model = self._mixture(
            reg_covar=c.reg_covar, n_init=c.n_init, max_iter=c.maxiter, random_state=seed
        )
        try:
            model.fit(x.astype(np.float64))
        except ValueError as error:  # scikit-learn's words for a variance of 0 and the like
            raise UserError(
                f"GMM with {c.covariance} covariances and reg_covar={c.reg_covar}: a cluster "
                "collapsed; expected a larger reg_covar or fewer clusters"
            ) from error
        names = ("weights_", "means_", "covariances_", "precisions_cholesky_")
        return {name: getattr(model, name) for name in names}, model.n_iter_, model.converged_

    def embed(self, x):
        return np.sqrt(squared_distances(x, self._learnt["means_"]))

    def belong(self, x, z):
        model = self._mixture()
        for name, array in self._learnt.items():
            setattr(model, name, array)
        return model.predict_proba(x.astype(np.float64))


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


class LandmarkSpectral(Baseline):
    """Landmark-based spectral clustering; `transform` gives singular vectors, rows of length 1."""

    def needed(self, n, d):
        return 24 * n * d + 16 * BLOCK

    def learn(self, x, seed):
        c, k = self.config, self.n_clusters
        p = min(c.landmarks, len(x))
        if p <= k:
            raise UserError(f"landmarks={p}: expected more than n_clusters={k}")
        marks = KMeans(p, init="random", n_init=1, max_iter=5, random_state=seed).fit(x)
        learnt = self._learnt = {"landmarks": marks.cluster_centers_, "sigma": c.sigma or 0.0}
        if c.sigma is None:
            sums = [squared_distances(b, learnt["landmarks"]).sum(dtype=float) for b in parts(x, p)]
            learnt["sigma"] = max(sum(sums) / (len(x) * p), 1e-12)
        z = self._graph(x)
        learnt["scale"] = 1 / np.sqrt(np.maximum(np.asarray(z.sum(axis=0)).ravel(), 1e-12))
        z = z @ sparse.diags_array(learnt["scale"])
        values, vectors = np.linalg.eigh((z.T @ z).toarray())  # (p,), (p, p), ascending
        keep = slice(-2, -k - 2, -1)  # from the second largest down
        learnt["map"] = vectors[:, keep] / np.sqrt(np.maximum(values[keep], 1e-12))
        model = KMeans(k, n_init=c.n_init, random_state=seed).fit(self.embed(x))
        learnt["centers"] = model.cluster_centers_
        return learnt, model.n_iter_, model.n_iter_ < model.max_iter

    def _graph(self, x):
        """Return sparse weights (n, p), rows summing to 1, to the nearest landmarks."""
        marks, sigma = self._learnt["landmarks"], float(self._learnt["sigma"])
        r = min(self.config.n_neighbors, len(marks))
        columns, weights = [], []
        for block in parts(x, len(marks)):
            distances = squared_distances(block, marks)
            nearest = np.sort(np.argpartition(distances, r - 1, axis=1)[:, :r], axis=1)
            near = np.take_along_axis(distances, nearest, axis=1).astype(np.float64)
            weight = np.exp((near.min(axis=1, keepdims=True) - near) / (2 * sigma**2))
            columns.append(nearest.ravel())
            weights.append((weight / weight.sum(axis=1, keepdims=True)).ravel())
        rows = np.arange(0, len(x) * r + 1, r)
        return sparse.csr_array(
            (np.concatenate(weights), np.concatenate(columns), rows), (len(x), len(marks))
        )

    def embed(self, x):
        u = self._graph(x) @ (self._learnt["scale"][:, None] * self._learnt["map"])  # (n, k)
        return u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-12)

    def belong(self, x, z):
        return student(squared_distances(z, self._learnt["centers"]))


class FittedOnly(Baseline):
    """A method without a rule for new samples: what it knows is the samples it was fitted to."""

    def partition(self, x, seed):
        """Return labels (n,), a representation (n, z), iterations made, and whether they ended."""
        raise NotImplementedError

    def learn(self, x, seed):
        labels, z, steps, ended = self.partition(x, seed)
        data = np.frombuffer(hash_array(x).encode(), np.uint8)
        learnt = {"labels": labels.astype(np.int64), "embedding": z.astype(np.float32)}
        return learnt | {"data": data}, steps, ended

    def _samples(self, x):
        x = super()._samples(x)
        if hash_array(x).encode() != self._learnt["data"].tobytes():
            raise UserError(
                f"{len(x)} samples that are not those {self.method} was fitted to: expected the "
                f"same {len(self._learnt['labels'])}; it has no rule for new ones"
            )
        return x

    def embed(self, x):
        return self._learnt["embedding"]

    def predict(self, x):
        self._samples(x)
        return self._learnt["labels"].copy()

    def belong(self, x, z):
        centers = means(z, self._learnt["labels"])
        return student(squared_distances(z, centers))


class NormalizedCuts(FittedOnly):
    """Normalised cuts; `transform` gives the eigenvectors, (n, k)."""

    def partition(self, x, seed):
        from scipy.sparse.linalg import eigsh

        n, k, c = len(x), self.n_clusters, self.config
        if n <= 2 * k:
            raise UserError(f"n_clusters={k}: expected fewer than half of n_samples={n}")
        m = min(c.n_neighbors, n) - 1  # the sample itself is one of them
        _, nearest = neighbors(x, m)
        w = sparse.csr_array((np.ones(n * m), nearest.ravel(), np.arange(0, n * m + 1, m)), (n, n))
        w = (w + w.T) / 2 + sparse.eye_array(n)
        scale = sparse.diags_array(1 / np.sqrt(w.sum(axis=1)))
        start = np.random.default_rng(seed).uniform(-1, 1, n)
        _, v = eigsh(scale @ w @ scale, k, which="LA", v0=start)
        z = scale @ v[:, ::-1]
        z = z / np.abs(z).max()
        model = KMeans(k, n_init=c.n_init, random_state=seed).fit(z)
        return model.labels_, z, model.n_iter_, model.n_iter_ < model.max_iter


class Ward(FittedOnly):
    """Agglomerative clustering by Ward's linkage; `transform`: distances to the means, (n, k)."""

    def needed(self, n, d):
        return 24 * n * d + 12 * BLOCK

    def partition(self, x, seed):
        n = len(x)
        a, b, heights = ward_merges(x)
        low = np.argsort(heights, kind="stable")[: n - self.n_clusters]
        labels = components(a[low], b[low], n)
        return labels, np.sqrt(squared_distances(x, means(x, labels))), n - self.n_clusters, True


class GraphDegreeLinkage(FittedOnly):
    """Graph degree linkage; `transform` gives the distances to the means of clusters, (n, k)."""

    def partition(self, x, seed):
        c, n = self.config, len(x)
        distances, nearest = neighbors(x, min(max(c.n_neighbors, 3), n - 1))
        squares = distances.astype(np.float64) ** 2
        sigma2 = max(c.scale * squares.mean(), 1e-12)
        while np.exp(-squares[:, 0].max() / sigma2) < 1e-5:  # as released
            sigma2 *= 2
        m = min(c.n_neighbors, n - 1)
        w = sparse.csr_array(
            (np.exp(-squares[:, :m] / sigma2).ravel(), nearest[:, :m].ravel(),
             np.arange(0, n * m + 1, m)), (n, n)
        )  # fmt: skip
        labels = components(np.arange(n), nearest[:, 0], n)
        count = labels.max() + 1
        if count < self.n_clusters:
            raise UserError(
                f"AC-GDL begins with {count} clusters, samples with their nearest neighbours: "
                f"expected at least n_clusters={self.n_clusters}"
            )
        require_memory(6 * count**2, f"{self.method} with {count} clusters to begin with")
        labels = merge_by_degree(w, labels, self.n_clusters)
        z = np.sqrt(squared_distances(x, means(x, labels)))
        return labels, z, count - self.n_clusters, True


class UMAPHDBSCAN(FittedOnly):
    """UMAP, then HDBSCAN on its map; `transform` gives the map, (n, components)."""

    def needed(self, n, d):
        return 24 * n * d + 20_000 * n

    def partition(self, x, seed):
        device.prepare()  # UMAP imports TensorFlow if it can
        try:
            import umap
        except ImportError as error:
            raise UserError(
                "UMAP+HDBSCAN needs the package umap-learn: expected `pip install umap-learn`"
            ) from error
        c, n = self.config, len(x)
        if n <= c.components + 1:
            raise UserError(f"UMAP+HDBSCAN of {n} samples: expected more than {c.components + 1}")
        z = umap.UMAP(
            n_neighbors=min(c.n_neighbors, n - 1), min_dist=c.min_dist, n_components=c.components,
            random_state=seed, n_jobs=1,
        ).fit_transform(x)  # fmt: skip
        labels = HDBSCAN(
            min_cluster_size=max(2, round(c.min_share * n)), min_samples=min(c.min_samples, n),
            copy=True,
        ).fit_predict(z)  # fmt: skip
        noise = labels < 0
        if noise.all():
            return np.zeros(n), z, 0, True
        if noise.any():
            near = NearestNeighbors(n_neighbors=1).fit(z[~noise])
            labels[noise] = labels[~noise][near.kneighbors(z[noise], return_distance=False)[:, 0]]
        return labels, z, 0, True


# -- arrays ---------------------------------------------------------------------------------------


def require_memory(needed, what):
    """Refuse what takes more bytes than the system says are free."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return
    if needed > free:
        raise UserError(
            f"{what} needs about {needed / 1e9:.1f} GB of memory: expected at most the "
            f"{free / 1e9:.1f} GB that are free"
        )


def parts(x, width):
    """Yield blocks of rows of x whose distances to `width` points are at most BLOCK numbers."""
    step = max(1, BLOCK // width)
    for i in range(0, len(x), step):
        yield x[i : i + step]


def squared_distances(a, b):
    """Return ||a_i - b_j||^2, (n, m), not below 0."""
    d = np.einsum("ij,ij->i", a, a)[:, None] - 2 * a @ b.T
    d += np.einsum("ij,ij->i", b, b)
    return np.maximum(d, 0, out=d)


def student(squares):
    """Return Student's t kernel of squared distances (n, k), rows summing to 1, as in DEC."""
    q = 1 / (1 + squares)
    return q / q.sum(axis=1, keepdims=True)


def means(x, labels):
    """Return the mean of each cluster's samples, float32 (k, d)."""
    one = sparse.csr_array((np.ones(len(x)), labels, np.arange(len(x) + 1)))
    return ((one.T @ x) / one.sum(axis=0)[:, None]).astype(np.float32)


def components(a, b, n):
    """Return labels (n,) of the connected parts of n samples with edges a_i - b_i."""
    graph = sparse.coo_array((np.ones(len(a)), (a, b)), (n, n))
    return connected_components(graph, directed=False)[1]


def neighbors(x, m):
    """Return distances and numbers (n, m) of each sample's m nearest others, nearest first."""
    return NearestNeighbors(n_neighbors=m, algorithm="brute").fit(x).kneighbors()


def ward_merges(x):
    """Return the n - 1 merges of Ward's linkage: samples a, b (n - 1,) of the two, heights.

    All pairs of clusters that are each other's nearest are merged in one round. No merge brings
    two clusters nearer to a third than the nearer of them was, so these are the merges of the
    method that does one at a time, and who was not near to a merged cluster keeps its neighbour.
    Time O(n^2 d), memory O(n d).
    """
    centers = (x - x.mean(axis=0)).astype(np.float32)  # (m, d), of m clusters
    m = len(x)
    sizes, names, heights = np.ones(m, np.float32), np.arange(m), np.zeros(m)
    nearest, cost, stale = np.zeros(m, np.int64), np.zeros(m, np.float32), np.arange(m)
    merges = []
    while m > 1:
        nearest[stale], cost[stale] = _ward_nearest(centers, sizes, stale)
        mine = np.arange(m)
        a = mine[(nearest[nearest] == mine) & (mine < nearest)]
        if not len(a):  # rounding can hide the pair
            a = np.argmin(cost, keepdims=True)
        b = nearest[a]
        share = (sizes[b] / (sizes[a] + sizes[b]))[:, None]
        gap = (centers[b] - centers[a]).astype(np.float64)
        height = sizes[a] * share[:, 0] * np.einsum("ij,ij->i", gap, gap)
        height = np.max([height, heights[a], heights[b]], axis=0)  # but for rounding, it is so
        merges.append((names[a], names[b], height))
        centers[a] += share * gap
        sizes[a] += sizes[b]
        heights[a] = height
        merged, keep = np.zeros(m, bool), np.ones(m, bool)
        merged[a] = merged[b] = True
        keep[b] = False
        stale = np.flatnonzero((merged | merged[nearest])[keep])
        nearest = (np.cumsum(keep) - 1)[nearest[keep]]
        centers, sizes, names = centers[keep], sizes[keep], names[keep]
        heights, cost = heights[keep], cost[keep]
        m = len(centers)
    return tuple(map(np.concatenate, zip(*merges, strict=True)))


def _ward_nearest(centers, sizes, rows):
    """Return the nearest other cluster of the given ones, and how much a merge would cost."""
    nearest, cost = [], []
    for some in parts(rows, len(centers)):
        d = squared_distances(centers[some], centers)
        d *= sizes[some, None] * (sizes / (sizes[some, None] + sizes))
        d[np.arange(len(some)), some] = np.inf
        nearest.append(d.argmin(axis=1))
        cost.append(np.take_along_axis(d, nearest[-1][:, None], axis=1)[:, 0])
    return np.concatenate(nearest), np.concatenate(cost)


def merge_by_degree(w, labels, k):
    """Merge clusters on a directed graph until k are left, those of greatest affinity first.

    The affinity of a and b is that of a to b and of b to a; that of a to b is the sum over i in b
    of (sum over j in a of w_ij) (sum over j in a of w_ji) / |a|^2 (GDL, eqs. 5 and 6).

    Parameters
    ----------
    w : sparse array (n, n)
    labels : int array (n,)
        The clusters to begin with.
    """
    n, count = len(labels), labels.max() + 1
    back = w.T.tocsr()
    member = sparse.csr_array((np.ones(n), labels, np.arange(n + 1)), (n, count))
    sizes = np.bincount(labels).astype(np.float64)
    flow = (w @ member) * (back @ member)  # (n, count), sparse
    table = (member.T @ flow @ sparse.diags_array(1 / sizes**2)).T  # affinity of row to column
    table = table.astype(np.float32).toarray()
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes[:-1]).astype(int))
    labels, alive = labels.copy(), np.ones(count, bool)

    def affinities(a):
        both = table[a] + table[:, a]
        both[~alive] = both[a] = -np.inf
        return both

    best = np.empty(count, np.int64)
    value = np.full(count, -np.inf, np.float32)

    def look(a):
        both = affinities(a)
        best[a] = both.argmax()
        value[a] = both[best[a]]

    for a in range(count):
        look(a)
    for _ in range(count - k):
        a = value.argmax()
        b = best[a]
        labels[members[b]] = a
        members[a] = np.concatenate([members[a], members[b]])
        alive[b], value[b] = False, -np.inf
        table[:, a] += table[:, b]
        out = np.bincount(*_rows(back, members[a]), minlength=n)
        into = np.bincount(*_rows(w, members[a]), minlength=n)
        table[a] = np.bincount(labels, out * into, minlength=count) / len(members[a]) ** 2
        both = affinities(a)
        for other in np.flatnonzero(alive & ((best == a) | (best == b))):
            look(other)
        better = alive & (both > value)
        better[a] = False
        best[better], value[better] = a, both[better]
        look(a)
    return np.unique(labels, return_inverse=True)[1]


def _rows(w, rows):
    """Return the columns and values of some rows of a sparse array, one after the other."""
    starts, lengths = w.indptr[rows], np.diff(w.indptr)[rows]
    places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    return w.indices[places], w.data[places]
