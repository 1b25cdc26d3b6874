"""Settings of SpectralSAT, a method of this project. No TensorFlow here.

Each default was chosen on digits, USPS and MNIST-test: docs/methods/spectral-sat.md
"""

from dataclasses import dataclass

from common.errors import UserError
from models.settings.base import Settings, shift_and_rotation
from models.settings.fields import SGD, Adam, augment, setting, start, when
from models.settings.method import Method

TANGENTS = when("tangents", why="neighbours are by the Euclidean distance")
IMAGES = when("aug_cluster", why="it acts on augmented images, and nothing is augmented")
MOVED = shift_and_rotation(IMAGES)


@dataclass(frozen=True)
class SpectralSATConfig(Settings):
    """A spectral partition of a graph of neighbours, then self-augmented training from it.

    L = divergence + entropy_weight * entropy + size_weight * sizes, after `fit_steps` steps of
    cross-entropy with the partition.
    """

    deep = True
    cost = "spectral-sat"
    logged = ("cross_entropy", "divergence", "entropy", "sizes")
    protocol = 2  # 1: training was never taken back

    # "fc": d-1200-1200-k, "conv": 32-64-128-k of stride 2; its method's name says which
    network: str = setting("fc", "the classifier", choices=("fc", "conv"), offered=False)
    aug_cluster: bool = setting(
        False, "shift and rotate, neighbours by the tangent distance", offered=False
    )
    shift: float = MOVED["shift"]
    shift_pixels: float | None = MOVED["shift_pixels"]
    rotation: float = MOVED["rotation"]
    radius: float = augment(
        0.25,
        "length of the noise on vectors, in distances to the farthest neighbour",
        ge=0,
        effect=[when("network", "fc", why="images are shifted and rotated")],
    )
    blur: float = start(
        0.04,
        "deviation of the Gaussian that blurs images for the tangent distance, fraction of the "
        "side",
        ge=0,
        lt=1,
        effect=[IMAGES, TANGENTS],
    )
    tangents: bool = start(True, "the tangent distance (off: the Euclidean one)", effect=[IMAGES])
    candidates: int = start(
        100,
        "nearest samples among which the tangent distance finds neighbours",
        ge=1,
        effect=[IMAGES, TANGENTS],
    )
    neighbors: tuple = start(
        (4, 5, 7, 10, 15, 20), "neighbours per sample; a graph for each number", ge=1
    )
    judge: int = start(10, "neighbours of the graph on which partitions are judged", ge=1)
    more: int = start(2, "extra eigenvectors: K to K + this many are tried", ge=0)
    n_init: int = start(20, "restarts of k-means on the eigenvectors", ge=1)
    batch_size: int = setting(256, "samples a step", ge=2)
    optimizer: SGD | Adam = setting(
        Adam(1e-3), "optimizer; its rate is constant for half of the steps, then falls to 0"
    )
    fit_steps: int = setting(200, "steps on the partition's labels", ge=0)
    maxiter: int = setting(3000, "steps of self-augmented training after them", ge=0)
    partners: int = setting(5, "neighbours that stand in for a sample (0: none)", ge=0)
    partners_until: float = setting(
        0.8,
        "share of the self-augmented steps after which no neighbour stands in any more",
        gt=0,
        le=1,
        effect=[when("partners")],
    )
    entropy_weight: float = setting(0.1, "weight of the entropy of a prediction", ge=0)
    size_weight: float = setting(
        0.4, "weight of the divergence of the clusters' sizes from those of the partition", ge=0
    )
    most_lost: float = setting(
        0.05,
        "share of the mutual information of neighbours' clusters that training may lose; if it "
        "loses more, the partition is the result",
        ge=0,
        le=1,
        omit="hash",
        effect=[when("fit_steps")],
    )

    @property
    def needs_images(self) -> bool:
        return self.network == "conv" or self.aug_cluster

    def check(self) -> None:
        if not self.neighbors:
            raise UserError("neighbors=(): expected at least one number of neighbours")


def _row(settings):
    return Method("models.spectral_sat:SpectralSAT", settings, "spectral-sat", ours=True)


METHODS = {
    "SpectralSAT": _row(SpectralSATConfig()),
    "SpectralSAT-DA": _row(SpectralSATConfig(network="conv", aug_cluster=True)),
}
