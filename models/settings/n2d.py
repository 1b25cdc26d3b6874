"""Settings of N2D (McConville et al., ICPR 2020). No TensorFlow here.

Source: [C] released code, rymc/n2d: n2d.py and run.sh. Departures: docs/methods/n2d.md
"""

from dataclasses import dataclass

from models.settings.base import INITS, PretrainConfig
from models.settings.fields import SGD, Adam, both, pretrain, setting, unused
from models.settings.method import Method


@dataclass(frozen=True)
class N2DConfig(PretrainConfig):
    """An auto-encoder, UMAP of its codes, a mixture of Gaussians on the map."""

    starts_from_clusters = False
    pretrains_clusters = True  # a code has as many dimensions as there are clusters

    # d-500-500-2000-K, ReLU, linear code and output, batches of 256 [C]
    latent_dim: int = both(0, "length of a code (0: as many as clusters)", ge=0)
    # 'adam', mean squared error [C]
    pretrain_optimizer: SGD | Adam = pretrain(Adam(1e-3), "optimizer of pretraining")
    pretrain_epochs: int = pretrain(1000, "epochs of pretraining", ge=0)  # [C]
    n_neighbors: int = setting(20, "neighbours in UMAP's graph", ge=2)  # [C run.sh]
    min_dist: float = setting(0.0, "smallest distance in the map", ge=0, lt=1)  # [C]
    # 10, and 6 on a set of 6 clusters [C run.sh]
    components: int = setting(0, "dimensions of the map (0: as many as clusters)", ge=0)
    n_init: int = setting(1, "restarts of the mixture of Gaussians", ge=1)  # [C, scikit-learn]
    init: str = unused("k-means", "it clusters UMAP's map", choices=INITS, omit="hash")


METHODS = {"N2D": Method("models.n2d:N2D", N2DConfig(), "n2d")}
