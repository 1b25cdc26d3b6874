"""--n-clusters 2-15: how many clusters there are, judged without labels.

Every K is scored in one common space: a user's vectors by the Bayesian information criterion of
mixtures of Gaussians on the columns, all else by the mean silhouette of k-means on the codes of the
pretrained auto-encoder, which all K share, or on the input where a method has none. Beside it
stands the stability: the agreement, adjusted for chance, of two clusterings fitted on two halves.
"""

import argparse
import math
import os
import tempfile
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from common.errors import UserError
from common.files import replacing
from datasets import Dataset
from experiments.options import AUTO
from models.core.arrays import some_rows
from models.core.seeds import SeedUse, new_stream
from models.settings.base import Settings

SAMPLE = 3000  # samples that are scored at most
HALVES = 5  # pairs of halves
WIDEST = 100  # columns up to which mixtures have covariances between columns
CODES = "AE+k-means-DA"  # whose codes judge K for deep methods without an auto-encoder
RATINGS = 10  # values of a column at most that is one of ratings
PARTS = 50  # principal components of inputs that have no codes


@dataclass(frozen=True)
class Choice:
    """The K that is chosen, the table of all, and one line that says so."""

    k: int
    table: pd.DataFrame
    line: str


def _silhouette(z, k, seed):
    labels = KMeans(k, n_init=10, random_state=seed).fit_predict(z)
    return float(silhouette_score(z, labels)) if len(np.unique(labels)) > 1 else -1.0


def _bic(z, k, seed):
    """Return minus the lowest BIC of mixtures of k Gaussians, a sample."""
    n, d = z.shape
    forms = ["spherical", "diag"]
    if d <= WIDEST:
        forms += ["tied"] * (n > 2 * d) + ["full"] * (n > 2 * d * k)
    found = []
    for form in forms:
        model = GaussianMixture(k, covariance_type=form, n_init=2, random_state=seed)
        try:
            found.append(model.fit(z).bic(z))
        except ValueError:  # a component collapsed
            continue
    return -min(found) / n if found else -math.inf


def _stability(z, k, seed):
    """Return the mean ARI of pairs of clusterings fitted on halves, on all samples (n, d)."""
    found = []
    for pair in range(HALVES):
        order = np.random.default_rng([seed, pair]).permutation(len(z))
        half = len(z) // 2
        if half < k:
            return math.nan
        k_means = KMeans(k, n_init=5, random_state=seed)
        halves = (order[:half], order[half:])
        found.append(adjusted_rand_score(*(k_means.fit(z[rows]).predict(z) for rows in halves)))
    return float(np.mean(found))


def _smooth(z, seed):
    """Return vectors (n, d) of which a mixture gains nothing by a component on one value alone.

    Of rows that are there several times each stays once; steps of ratings, as of 1 to 5, are
    filled by uniform noise.
    """
    values = [np.unique(column) for column in z.T]
    if np.median(list(map(len, values))) > RATINGS:
        distinct = np.unique(z, axis=0)
        return distinct if len(distinct) <= len(z) / 2 else z
    steps = [np.diff(some).min() if len(some) > 1 else 0.0 for some in values]
    return z + steps * np.random.default_rng(seed).uniform(-0.5, 0.5, z.shape)


def choose(z: np.ndarray, low: int, high: int, seed: int, vectors: bool = False) -> Choice:
    """Score K from low to high on samples or codes z (n, d), and choose.

    vectors: score by the information criterion rather than the silhouette. UserError if the range
    does not suit the number of samples.
    """
    most = max(2, len(z) // 2)
    if not 2 <= low < high <= most:
        within = f"2-{most}, half the number of samples"
        raise UserError(f"n_clusters={low}-{high}: expected a range within {within}")
    z = np.asarray(z, np.float64).reshape(len(z), -1)
    seed = new_stream(seed, SeedUse.N_CLUSTERS)
    z = _smooth(z, seed) if vectors else z
    z = z[some_rows(len(z), SAMPLE, seed)]
    z = z - z.mean(axis=0)
    z = z / (np.sqrt(np.mean(z**2)) or 1.0)
    if not vectors and z.shape[1] > PARTS:
        z = PCA(min(PARTS, *z.shape), random_state=seed).fit_transform(z)
    score, rows = (_bic if vectors else _silhouette), []
    name = "bic" if vectors else "silhouette"
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of k-means with fewer distinct points than clusters
        for k in range(low, high + 1):
            found, stable = score(z, k, seed), _stability(z, k, seed)
            rows.append({"n_clusters": k, name: found, "stability": stable})
    table = pd.DataFrame(rows)
    order = table[name].to_numpy().argsort(kind="stable")[::-1]
    best, second = (rows[i] for i in order[:2])
    margin, span = best[name] - second[name], np.ptp(table[name])
    line = (
        f"K = {best['n_clusters']} has the best {name} ({best[name]:.3f}), ahead of "
        f"{second['n_clusters']} by {margin:.3f}; stability {best['stability']:.2f}"
    )
    if not span > 0 or margin < 0.02 * span:
        line += "; the two are nearly equal: undecided"
    if best["n_clusters"] == high and len(rows) > 2:
        line += f"; at the end of the range {low}-{high}: try a wider one"
    return Choice(int(best["n_clusters"]), table, line)


def draw(path: str | os.PathLike, choice: Choice) -> None:
    """Write a picture of the scores of all K."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    name = choice.table.columns[1]
    axes = figure.add_subplot()
    axes.plot(choice.table["n_clusters"], choice.table[name], "o-", color="C0")
    axes.set(
        xlabel="number of clusters K",
        ylabel=f"{name} (higher is better)",
        title=f"K = {choice.k} chosen without labels",
    )
    axes.axvline(choice.k, color="0.7", zorder=0)
    other = axes.twinx()
    other.plot(choice.table["n_clusters"], choice.table["stability"], "s--", color="C1")
    other.set(ylabel="stability of halves (adjusted Rand index)", ylim=(0, 1.05))
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def codes(args: argparse.Namespace, data: Dataset, config: Settings) -> np.ndarray:
    """Return what all K are scored on: codes of the shared auto-encoder, or the samples.

    For images and a deep method without an auto-encoder it is CODES', with its default settings.
    """
    from experiments.run_log import RunMonitor
    from models import build, preset

    method, start = args.method, args.pretrained_weights
    if config.deep and not config.pretrains and data.is_image:
        method, start, config = CODES, None, preset(CODES, data.name)
        print(f"K is judged on the codes of {CODES}'s auto-encoder")
    if not config.pretrains or data.own_vectors:
        return data.x
    with tempfile.TemporaryDirectory() as folder:
        monitor = RunMonitor(os.path.join(folder, "log.csv"), None, not args.quiet, config.logged)
        same = {name: getattr(args, name) for name in ("cache_dir", "checkpoint_seconds")}
        same |= {"config": config, "random_state": args.seed, "monitor": monitor}
        model = build(method, 2, pretrained_weights=start, **same)
        try:
            return model.fit_autoencoder(data.x)
        finally:
            monitor.close()


def settle(args: argparse.Namespace, data: Dataset, config: Settings) -> Choice:
    """Choose K for a run, and print the table and the choice.

    UserError if the method finds K itself, or the range does not suit the number of samples.
    """
    low, high = args.n_clusters
    if config.finds_k:
        raise UserError(f"--n-clusters {low}-{high}: {args.method} finds the number of clusters")
    if args.n_clusters is AUTO:  # as far as the samples allow
        high = max(low + 1, min(high, data.n // 2))
    choice = choose(codes(args, data, config), low, high, args.seed, data.own_vectors)
    print(choice.table.round(4).to_string(index=False))
    print(choice.line)
    return choice


def keep(choice: Choice, folder: str | os.PathLike) -> None:
    """Write n_clusters.csv and n_clusters.png into a run's folder."""
    with replacing(os.path.join(folder, "n_clusters.csv")) as temporary:
        choice.table.to_csv(temporary, index=False)
    draw(os.path.join(folder, "n_clusters.png"), choice)
