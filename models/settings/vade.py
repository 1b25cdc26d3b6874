"""Settings of VaDE (Jiang et al., IJCAI 2017). No TensorFlow here.

Source: [C] released code, slim1017/VaDE, VaDE.py. Departures: docs/methods/vade.md
"""

from dataclasses import dataclass

from models.settings.base import INITS, PretrainConfig
from models.settings.dec_da import DIGITS
from models.settings.fields import SGD, Adam, both, pretrain, setting, start, unused
from models.settings.method import Method


@dataclass(frozen=True)
class VaDEConfig(PretrainConfig):
    """Pretraining, and the evidence lower bound with a mixture of Gaussians as the prior.

    L = alpha * -log p(x|z) + sum_c gamma_c KL(q(z|x) || p(z|c)) + KL(q(c|x) || p(c)), summed over
    a sample's values and dimensions, a mean over the batch.
    """

    scalable = False  # its inputs are means of Bernoulli variables, in [0, 1]
    starts_from_clusters = False  # a mixture of Gaussians is fitted in any case
    logged = ("gaussian_kl", "cluster_kl")

    # d-500-500-2000-10 and its mirror; the released weights of pretraining came without code [C]
    batch_size: int = pretrain(256, "samples a step of pretraining", ge=1)
    pretrain_optimizer: SGD | Adam = pretrain(Adam(1e-3), "optimizer of pretraining")  # ours
    likelihood: str = both(
        "bernoulli",
        "p(x|z): bernoulli for values in [0, 1] (binary cross-entropy), or gaussian (squared "
        "error)",
        choices=("bernoulli", "gaussian"),
    )
    n_init: int = start(1, "restarts of the mixture of Gaussians", ge=1)
    init: str = unused(
        "k-means",
        "it starts from a mixture of Gaussians",
        choices=INITS,
        omit="hash",
        stage="start",
    )
    aug_cluster: bool = setting(False, "augment in clustering")
    cluster_batch_size: int = setting(100, "samples a step", ge=1)  # [C]
    optimizer: SGD | Adam = setting(Adam(0.002), "optimizer of clustering")  # [C]
    decay: float = setting(0.9, "factor of each learning rate decay", gt=0, le=1)  # [C mnist]
    decay_epochs: int = setting(10, "epochs between two decays", ge=1)  # [C mnist]
    least_lr: float = setting(2e-4, "lowest learning rate", ge=0)  # [C mnist]
    epochs: int = setting(300, "epochs of clustering", ge=0)  # [C]: 500 or 3000, by version
    alpha: float = setting(1.0, "weight of the reconstruction", ge=0)  # [C mnist]
    update_interval: int | None = setting(
        None, "steps between two refreshes (default one epoch)", ge=1
    )
    tol: float = setting(0.0, "stop below this share of changed labels", ge=0)  # none in [C]


# [C]: the rate halves every 5 epochs, without end, 15 epochs.
REUTERS = {"likelihood": "gaussian", "epochs": 15, "decay": 0.5, "decay_epochs": 5, "least_lr": 0.0}

METHODS = {
    "VaDE": Method(
        "models.vade:VaDE", VaDEConfig(), "vade", by_dataset=DIGITS | {"reuters10k": REUTERS}
    )
}
