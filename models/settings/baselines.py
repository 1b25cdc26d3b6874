"""Settings of the methods that cluster the input itself. No TensorFlow here.

Departures: docs/methods/baselines.md
"""

from dataclasses import dataclass, replace

from models.settings.base import Settings
from models.settings.fields import setting
from models.settings.method import Method


@dataclass(frozen=True)
class KMeansConfig(Settings):
    """k-means on the input."""

    cost = "k-means"
    n_init: int | str = setting(
        20, "restarts; auto: until the lowest inertia has come up several times", ge=1, word="auto"
    )  # [DEC, DEC-DA]


@dataclass(frozen=True)
class NMFConfig(Settings):
    """Non-negative matrix factorisation."""

    cost = "nmf"
    # ours; scikit-learn's 200 end before its tolerance is met
    maxiter: int = setting(400, "iterations at most", ge=1)


@dataclass(frozen=True)
class NcutConfig(Settings):
    """Normalised cuts on a graph of nearest neighbours; the papers do not give their graph."""

    cost = "ncut"
    # scikit-learn's default
    n_neighbors: int = setting(10, "neighbours, the sample itself among them", ge=2)
    n_init: int = setting(20, "restarts of k-means on the eigenvectors", ge=1)


@dataclass(frozen=True)
class LandmarkConfig(Settings):
    """Landmark-based spectral clustering, LSC-K: the numbers of the authors' released code."""

    cost = "landmarks"
    landmarks: int = setting(1000, "p, landmarks", ge=1)
    n_neighbors: int = setting(5, "r, the nearest landmarks of each sample", ge=1)
    sigma: float | None = setting(
        None, "width of the kernel (default the mean squared distance to all landmarks)", ge=1e-6
    )
    n_init: int = setting(10, "restarts of k-means on the singular vectors", ge=1)


@dataclass(frozen=True)
class WardConfig(Settings):
    """Agglomerative clustering: there is nothing to set."""

    cost = "ward"


@dataclass(frozen=True)
class GDLConfig(Settings):
    """Graph degree linkage: the numbers of the authors' released code."""

    cost = "gdl"
    n_neighbors: int = setting(20, "neighbours in the graph (K in the paper)", ge=1)
    scale: float = setting(1.0, "a: sigma^2 = a * mean squared distance to the neighbours", ge=1e-6)


@dataclass(frozen=True)
class GMMConfig(Settings):
    """A mixture of Gaussians, started from k-means; the papers do not give their covariances."""

    cost = "gmm"
    covariance: str = setting(
        "full", "form of the covariances", choices=("full", "tied", "diag", "spherical")
    )
    # of the diagonal, squared units of the input [scikit-learn]
    reg_covar: float = setting(1e-6, "added to the variances", ge=0)
    n_init: int = setting(1, "restarts", ge=1)
    # [scikit-learn]
    maxiter: int = setting(100, "steps of expectation and maximisation at most", ge=1)


@dataclass(frozen=True)
class StableConfig(Settings):
    """k-means or a mixture of Gaussians by stability, ours; measured in docs/own-data.md."""

    cost = "stable"
    protocol = 2  # 1: the criterion of k-means counted K variances and K - 1 weights
    pairs: int = setting(10, "pairs of subsamples to measure each model's stability on", ge=1)
    n_init: int = setting(20, "restarts of k-means", ge=1)
    mixture_n_init: int = setting(3, "restarts of a mixture", ge=1)
    tolerance: float = setting(
        0.05,
        "how far below the highest stability a model may be; of these models the one with the "
        "lowest Bayesian information criterion is used",
        ge=0,
    )
    # of the diagonal, in units of the mean variance of the columns [scikit-learn]
    reg_covar: float = setting(1e-6, "added to the variances", ge=0)
    # [scikit-learn]
    maxiter: int = setting(100, "steps of expectation and maximisation at most", ge=1)


@dataclass(frozen=True)
class RCCConfig(Settings):
    """Robust continuous clustering: the numbers of its paper."""

    cost = "rcc"
    finds_k = True
    n_neighbors: int = setting(10, "neighbours in the graph", ge=1)
    metric: str = setting("cosine", "distance of neighbours", choices=("cosine", "euclidean"))
    maxiter: int = setting(100, "steps at most", ge=1)


@dataclass(frozen=True)
class UMAPConfig(Settings):
    """UMAP, then HDBSCAN: the numbers of UMAP's documentation on clustering MNIST."""

    cost = "umap"
    finds_k = True
    n_neighbors: int = setting(30, "neighbours in UMAP's graph", ge=2)
    min_dist: float = setting(0.0, "smallest distance in the map", ge=0, lt=1)
    components: int = setting(2, "dimensions of the map", ge=1)
    min_samples: int = setting(10, "neighbours of a dense point", ge=1)
    min_share: float = setting(500 / 70000, "smallest cluster, share of the samples", ge=0, lt=1)


def _baseline(name, settings):
    return Method(f"models.baselines.{name}", settings, "baselines")


METHODS = {
    "k-means": _baseline("simple:KMeansBaseline", KMeansConfig()),
    "NMF": _baseline("simple:NMFBaseline", NMFConfig()),
    "SC-Ncut": _baseline("spectral:NormalizedCuts", NcutConfig()),
    "SC-LS": _baseline("spectral:LandmarkSpectral", LandmarkConfig()),
    "AC": _baseline("ward:Ward", WardConfig()),
    "AC-GDL": _baseline("gdl:GraphDegreeLinkage", GDLConfig()),
    "RCC": _baseline("rcc:RobustContinuous", RCCConfig()),
    "GMM": _baseline("simple:Gaussians", GMMConfig()),
    "GMM-stable": replace(_baseline("stable:StableMixture", StableConfig()), ours=True),
    "UMAP+HDBSCAN": _baseline("umap_hdbscan:UMAPHDBSCAN", UMAPConfig()),
}
