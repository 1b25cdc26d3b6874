"""Settings of Kingdra and IMSAT, as data. No TensorFlow here."""

from dataclasses import dataclass, field

from common.errors import UserError, unknown
from models.settings.base import SGD, Adam, Settings, setting

COSTS = (1000.0, 10.0, 0.1, 0.1)  # of denoising, input first [C]


@dataclass(frozen=True)
class InformationConfig(Settings):
    """What the methods on a 1200-1200-k network have in common [C; IMSAT's before them]."""

    deep = True

    widths: tuple = setting((1200, 1200), "units of the hidden layers")
    batch_size: int = 64
    optimizer: SGD | Adam = Adam(0.002)
    mi_mu: float = setting(4.0, "mu, weight of the entropy of the mean prediction")

    def __post_init__(self):
        self._numbers("widths", 1, integer=True)
        self._number("batch_size", 2, integer=True)
        self._number("mi_mu", 0)
        self._check_optimizer("optimizer")


@dataclass(frozen=True)
class KingdraConfig(InformationConfig):
    """Kingdra and what it is made of: ladder networks, an ensemble of them, pseudo-labels.

    L = ladder_weight * sum_l c_l C_l + mi_weight * (clustering loss, clean and corrupted)
    + kl_weight * KL(clean || corrupted) + CE(pseudo-labels), the last from the first round on
    after which every group has a sample.
    """

    logged = (
        "ladder", "clustering", "noise_kl", "cross_entropy", "agreement", "pseudo_labels",
        "smallest_group", "largest_group", "groups", "graph_seconds", "pseudo_acc", "member_acc",
    )  # fmt: skip

    members: int = setting(10, "networks of the ensemble")
    rounds: int = setting(40, "rounds of training and pseudo-labelling")
    epochs_first: int = setting(5, "passes over the data in a round without pseudo-labels")
    epochs: int = 5  # passes in a round with pseudo-labels
    pseudo_labels: bool = setting(True, "train on pseudo-labels from the agreement graph")
    # None: as `of_ten` of ten members, see `thresholds`.
    high: int | None = field(default=None, compare=False, metadata={
        "help": "strongly alike: more members than this agree (9 of 10)", "kind": int})  # fmt: skip
    low: int | None = field(default=None, compare=False, metadata={
        "help": "strongly unlike: no more members than this agree (1 of 10)",
        "kind": int})  # fmt: skip
    of_ten: tuple = field(default=(9, 1), compare=False)  # high, low of ten members, as published
    confidence: float = setting(0.9, "probability that all members give a sample in a group")
    alignment: str = setting("each", "whose clusters groups are matched to: each member's or last")
    vote: str = setting("mean", "labels from the members' mean prediction or from the first's")
    clustering_loss: str = setting("im", "im (information maximisation) or dot (dot product)")
    mi_weight: float = setting(0.1, "weight of the clustering loss")
    mi_weight_later: float | None = setting(None, "the same after the first round", float)
    ladder_weight: float = setting(1.0, "weight of the denoising costs")
    kl_weight: float = setting(1.0, "weight of KL(clean || corrupted)")
    noise_std: float = setting(0.3, "noise of the corrupted path, standard deviation")
    denoising_costs: tuple = setting(COSTS, "weight of each layer's cost, input first")
    last_bn: bool = setting(False, "batch normalisation of the logits")

    def __post_init__(self):
        super().__post_init__()
        for name in ("members", "rounds", "epochs_first", "epochs"):
            self._number(name, 1, integer=True)
        for name in ("high", "low"):
            self._number(name, 0, most=self.members, integer=True, optional=True)
        self._numbers("of_ten", 0, 2, integer=True)
        self._number("confidence", 0, below=1)
        self._choice("alignment", ("each", "last"))
        self._choice("vote", ("mean", "first"))
        self._choice("clustering_loss", ("im", "dot"))
        self._number("mi_weight_later", 0, optional=True)
        for name in ("mi_weight", "ladder_weight", "kl_weight", "noise_std"):
            self._number(name, 0)
        self._numbers("denoising_costs", 0, len(self.widths) + 2)
        for name in ("pseudo_labels", "last_bn"):
            self._flag(name)

    @property
    def parallel(self):
        """Whether threads train members side by side: one member alone gets all of them."""
        return self.members > 1

    @property
    def thresholds(self):
        """(high, low): counts of members, the published shares of them unless they are set.

        More than 9 of 10 agree: of m members more than the whole part of .9 m, all of them up to
        m = 10.
        """
        shares = [count * self.members // 10 for count in self.of_ten]
        pairs = zip((self.high, self.low), shares, strict=True)
        return tuple(share if count is None else count for count, share in pairs)

    def __eq__(self, other):
        """Whether both mean the same, thresholds set or not."""
        return type(self) is type(other) and self.to_dict() == other.to_dict()

    def to_dict(self):
        """Return plain data that JSON can hold, the thresholds as counts of members."""
        data = super().to_dict()
        del data["of_ten"]
        return data | dict(zip(("high", "low"), self.thresholds, strict=True))


@dataclass(frozen=True)
class IMSATConfig(InformationConfig):
    """IMSAT: L = R + mi_weight * (H(Y|X) - mu H(Y)), R the self-augmented training."""

    logged = ("augmentation", "clustering")

    batch_size: int = 250
    epochs: int = 50  # passes over the data
    mi_weight: float = 0.1  # lambda
    perturbation: str = setting("vat", "vat (virtual adversarial) or rpt (random)")
    radius: float = setting(0.25, "length of the perturbation, in distances to a neighbour")
    neighbor: int = setting(10, "which neighbour")
    power_iterations: int = setting(1, "of the adversarial direction")
    xi: float = setting(10.0, "step of the finite difference")

    def __post_init__(self):
        super().__post_init__()
        for name in ("epochs", "neighbor", "power_iterations"):
            self._number(name, 1, integer=True)
        self._choice("perturbation", ("vat", "rpt"))
        self._number("mi_weight", 0)
        for name in ("radius", "xi"):
            self._number(name, 1e-12)


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


def translate(arguments):
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
            f"sup_loss_w_init={arguments['sup_loss_w_init']!r}: expected 0, there are no labels yet"
        )
    return KingdraConfig(**changes), k
