"""Settings of Kingdra (Gupta et al., ICLR 2020) and IMSAT, as data. No TensorFlow here.

Sources: [C] released code. Departures: docs/methods/kingdra.md
"""

from dataclasses import dataclass, replace

from common.errors import UserError, unknown
from models.settings.base import SCALES, Settings
from models.settings.fields import IN_ORDER, SGD, Adam, setting, when
from models.settings.method import Method

COSTS = (1000.0, 10.0, 0.1, 0.1)  # of denoising, input first [C]
PSEUDO = when("pseudo_labels", why="there are no pseudo-labels")
SEVERAL, VAT = when("several", why="there is one member"), when("perturbation", "vat")


@dataclass(frozen=True)
class InformationConfig(Settings):
    """What the methods on a 1200-1200-k network have in common [C; IMSAT's before them]."""

    deep = True
    scalable = True
    scaled_to = 0.26  # as MNIST's pixels, for which noise and costs were chosen

    widths: tuple = setting((1200, 1200), "units of the hidden layers", ge=1)
    batch_size: int = setting(64, "samples a step", ge=2)
    optimizer: SGD | Adam = setting(Adam(0.002), "optimizer of training")
    mi_mu: float = setting(4.0, "mu, weight of the entropy of the mean prediction", ge=0)
    scale_inputs: bool = setting(False, f"{SCALES} 0.26", omit="hash")


@dataclass(frozen=True)
class KingdraConfig(InformationConfig):
    """Kingdra and what it is made of: ladder networks, an ensemble of them, pseudo-labels.

    L = ladder_weight * sum_l c_l C_l + mi_weight * (clustering loss, clean and corrupted)
    + kl_weight * KL(clean || corrupted) + CE(pseudo-labels), the last from the first round on
    after which every group has a sample.
    """

    cost = "kingdra"
    logged = (
        "ladder",
        "clustering",
        "noise_kl",
        "cross_entropy",
        "agreement",
        "pseudo_labels",
        "smallest_group",
        "largest_group",
        "groups",
        "graph_seconds",
        "pseudo_acc",
        "member_acc",
    )

    mi_mu: float = setting(
        4.0,
        "mu, weight of the entropy of the mean prediction",
        ge=0,
        effect=[when("clustering_loss", "im")],
    )
    members: int = setting(10, "networks of the ensemble", ge=1)
    rounds: int = setting(40, "rounds of training and pseudo-labelling", ge=1)
    epochs_first: int = setting(5, "epochs of a round without pseudo-labels", ge=1)
    epochs: int = setting(5, "epochs of a round with pseudo-labels", ge=1, effect=[PSEUDO])
    pseudo_labels: bool = setting(True, "train on pseudo-labels from the agreement graph")
    # None: as `of_ten` of ten members, see `thresholds`.
    high: int | None = setting(
        None,
        "samples are strongly alike if more members than this put them together (9 of 10)",
        ge=0,
        le="members",
        effect=[PSEUDO],
        compare=False,
    )
    low: int | None = setting(
        None,
        "samples are strongly unlike if at most this many members put them together (1 of 10)",
        ge=0,
        le="members",
        effect=[PSEUDO],
        compare=False,
    )
    of_ten: tuple = setting(
        (9, 1),
        "high and low of ten members, as published",
        ge=0,
        count=2,
        compare=False,
        offered=False,
    )
    confidence: float = setting(
        0.9,
        "only samples to which all members give a higher probability can start a group",
        ge=0,
        lt=1,
        effect=[PSEUDO],
    )
    alignment: str = setting(
        "each",
        "groups are matched to the clusters of each member, or of the last for all",
        choices=("each", "last"),
        effect=[SEVERAL],
    )
    vote: str = setting(
        "mean",
        "labels from the members' mean prediction or from the first's",
        choices=("mean", "first"),
        effect=[SEVERAL],
    )
    clustering_loss: str = setting(
        "im", "im (information maximisation) or dot (dot product)", choices=("im", "dot")
    )
    mi_weight: float = setting(0.1, "weight of the clustering loss", ge=0)
    mi_weight_later: float | None = setting(
        None, "weight of the clustering loss after the first round (none: as before)", ge=0
    )
    ladder_weight: float = setting(1.0, "weight of the denoising costs", ge=0)
    kl_weight: float = setting(1.0, "weight of KL(clean || corrupted)", ge=0)
    noise_std: float = setting(0.3, "noise of the corrupted path, standard deviation", ge=0)
    denoising_costs: tuple = setting(
        COSTS,
        "weight of each layer's cost, input first",
        ge=0,
        count=lambda config: len(config.widths) + 2,
    )
    last_bn: bool = setting(False, "batch normalisation of the logits")
    shuffle: bool = setting(False, IN_ORDER, omit="hash")

    @property
    def several(self) -> bool:
        """Whether there is more than one member."""
        return self.members > 1

    @property
    def parallel(self) -> bool:
        """Whether threads train members side by side: one member alone gets all of them."""
        return self.several

    @property
    def thresholds(self) -> tuple[int, int]:
        """(high, low): counts of members, the published shares of them unless they are set.

        More than 9 of 10 agree: of m members more than the whole part of .9 m, all of them up to
        m = 10.
        """
        if self.members == 1 and not self.pseudo_labels:  # of no effect; in rows it is 1
            shares = [1, 1]
        else:
            shares = [count * self.members // 10 for count in self.of_ten]
        pairs = zip((self.high, self.low), shares, strict=True)
        return tuple(share if count is None else count for count, share in pairs)

    def check(self) -> None:
        high, low = self.thresholds
        if self.pseudo_labels and not low <= high < self.members:
            raise UserError(
                f"high={high}, low={low}: expected low <= high < members={self.members}, since "
                "more members than high must agree"
            )

    def __eq__(self, other):
        """Whether both mean the same, thresholds set or not."""
        return type(self) is type(other) and self.to_dict() == other.to_dict()

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold, the thresholds as counts of members."""
        data = super().to_dict()
        del data["of_ten"]
        return data | dict(zip(("high", "low"), self.thresholds, strict=True))


@dataclass(frozen=True)
class IMSATConfig(InformationConfig):
    """IMSAT: L = R + mi_weight * (H(Y|X) - mu H(Y)), R the self-augmented training."""

    cost = "imsat"
    protocol = 2  # 1: Glorot normal weights, logits of deviation near 1
    logged = ("augmentation", "clustering")

    batch_size: int = setting(250, "samples a step", ge=2)
    epochs: int = setting(50, "epochs of training", ge=1)
    mi_weight: float = setting(0.1, "lambda, weight of the information", ge=0)
    perturbation: str = setting(
        "vat", "vat (virtual adversarial) or rpt (random)", choices=("vat", "rpt")
    )
    radius: float = setting(
        0.25, "length of the perturbation, in distances to a neighbour", ge=1e-12
    )
    neighbor: int = setting(10, "which neighbour that is, 1 the nearest", ge=1)
    power_iterations: int = setting(
        1, "power iterations for the adversarial direction", ge=1, effect=[VAT]
    )
    xi: float = setting(
        10.0, "step of the finite difference in a power iteration", ge=1e-12, effect=[VAT]
    )


# The released configs give the ensemble with pseudo-labels; LADDER-IM is the code's class of that
# name, 15 rounds of 3 passes without pseudo-labels [C].
KINGDRA = KingdraConfig(rounds=50)
LADDER = KingdraConfig(rounds=15, epochs_first=3, epochs=3, pseudo_labels=False)
ONE = replace(LADDER, members=1)

# By data set, MNIST's for every other one [C configs]: of the networks,
NETWORKS = {
    "20news": {"mi_weight": 0.2},
    "digits": {"shuffle": True},  # ours: their classes take turns, so that each batch is balanced
    "cifar10": {"mi_weight": 1.0, "kl_weight": 0.0, "last_bn": True, "optimizer": Adam(0.02)},
    "reuters10k": {"mi_weight": 0.2, "noise_std": 3.0},
    "stl10": {"mi_weight": 0.2, "noise_std": 1.0, "last_bn": True},
}
# and of the ensemble with its pseudo-labels.
ENSEMBLES = {
    "20news": {"rounds": 10, "confidence": 0.0},
    "cifar10": {
        "rounds": 30,
        "epochs_first": 1,
        "epochs": 1,
        "confidence": 0.0,
        "vote": "first",
        "mi_weight_later": 0.5,
    },
    "reuters10k": {"rounds": 10, "epochs": 6, "of_ten": (8, 2), "confidence": 0.0},
    "stl10": {
        "rounds": 30,
        "epochs_first": 6,
        "epochs": 6,
        "confidence": 0.0,
        "mi_weight_later": 0.0,
    },
}
BOTH = {name: NETWORKS[name] | ENSEMBLES.get(name, {}) for name in NETWORKS}


def _ladder(settings, by_dataset):
    return Method("models.kingdra.model:Kingdra", settings, "kingdra", by_dataset=by_dataset)


def _imsat(settings):
    return Method("models.kingdra.imsat:IMSAT", settings, "kingdra")


METHODS = {
    "KINGDRA-LADDER-IM": _ladder(KINGDRA, BOTH),
    "KINGDRA-LADDER-DOT": _ladder(replace(KINGDRA, clustering_loss="dot"), BOTH),
    "LADDER-IM": _ladder(ONE, NETWORKS),
    "LADDER-IM-ensemble": _ladder(LADDER, NETWORKS),
    "LADDER-DOT": _ladder(replace(ONE, clustering_loss="dot"), NETWORKS),
    "IMSAT-RPT": _imsat(IMSATConfig(perturbation="rpt", radius=2.5)),
    "IMSAT-VAT": _imsat(IMSATConfig()),
}


# The authors' keyword -> field of KingdraConfig.
KEYS = {
    "n_en": "members",
    "n_iter": "rounds",
    "n_epochs_per_iter0": "epochs_first",
    "n_epochs_per_iter": "epochs",
    "high_th": "high",
    "low_th": "low",
    "thresh": "confidence",
    "batch_size": "batch_size",
    "mi_loss_w_init": "mi_weight",
    "mi_loss_w_it2": "mi_weight_later",
    "mi_mu_w_init": "mi_mu",
    "ladder_loss_w_init": "ladder_weight",
    "noise_kl_w_init": "kl_weight",
    "noise_std": "noise_std",
    "denoising_cost": "denoising_costs",
    "last_layer_bn": "last_bn",
}
OTHER_KEYS = ("n_class", "ens_common_mapping", "fc_layer_sizes", "lr", "sup_loss_w_init", "med_th")


def translate(arguments: dict) -> tuple[KingdraConfig, int]:
    """Return (KingdraConfig, K) for the keywords of the authors' KingdraCluster.

    Raises
    ------
    UserError
        For an unknown keyword, a value out of range, or layers that do not end in n_class units.
    """
    changes = {}
    for key, value in arguments.items():
        if key not in (*KEYS, *OTHER_KEYS):
            raise UserError(unknown("key", key, [*KEYS, *OTHER_KEYS]))
        if key in KEYS:
            changes[KEYS[key]] = value
    if isinstance(arguments.get("n_en"), int):
        changes.setdefault("low", min(1, arguments["n_en"]))  # the authors' default is a count
    layers = arguments.get("fc_layer_sizes")
    k = arguments.get("n_class", 10)
    if layers is not None:
        if not isinstance(layers, (list, tuple)) or len(layers) < 2 or layers[-1] != k:
            raise UserError(
                f"fc_layer_sizes={layers!r}: expected a list of widths that ends in n_class={k!r}"
            )
        changes["widths"] = tuple(layers[:-1])
        changes.setdefault("denoising_costs", (*COSTS[:2], *[COSTS[2]] * (len(layers) - 1)))
    if "lr" in arguments:
        changes["optimizer"] = Adam(arguments["lr"])
    common = arguments.get("ens_common_mapping", True)
    if not isinstance(common, bool):
        raise UserError(f"ens_common_mapping={common!r}: expected true or false")
    changes["vote"] = "mean" if common else "first"
    if arguments.get("sup_loss_w_init", 0) != 0:
        raise UserError(
            f"sup_loss_w_init={arguments['sup_loss_w_init']!r}: expected 0, as the first round has "
            "no pseudo-labels"
        )
    return KingdraConfig(**changes), k
