"""Settings of DEC, IDEC and DCN by their own papers. No TensorFlow here.

Sources: [P] papers, [C] released code (DEC's in Caffe, IDEC's in Keras, DCN's in Theano), ours: in
neither. Departures: docs/methods/layerwise.md
"""

from dataclasses import dataclass, replace

from models.settings.base import PretrainConfig
from models.settings.dec_da import Config, DECConfig
from models.settings.fields import SGD, Adam, both, pretrain, setting, when
from models.settings.method import Method

STEPS, EPOCHS = when("layer_steps", None), when("pretrain_steps", None)


@dataclass(frozen=True)
class LayerwiseConfig(PretrainConfig):
    """Layer-wise pretraining of d-500-500-2000-10, then of all layers together.

    The loss of either is half the squared error of the scaled samples.
    """

    pretrain_optimizer: SGD | Adam = pretrain(SGD(0.1, 0.9), "optimizer of pretraining")
    pretrain_epochs: int = pretrain(250, "epochs of all layers together", ge=0, effect=[EPOCHS])
    pretrain_steps: int | None = pretrain(100000, "the same in steps", ge=0)
    layer_epochs: int = pretrain(250, "epochs of each layer", ge=0, effect=[STEPS])
    layer_steps: int | None = pretrain(50000, "the same in steps", ge=0)
    dropout: float = pretrain(
        0.2,
        "share of a layer's inputs and outputs set to 0 while it is trained by itself",
        ge=0,
        lt=1,
    )
    drop_steps: int = pretrain(
        20000,
        "steps after which the learning rate of pretraining is divided by 10, again and again",
        ge=1,
    )
    burn_in: int = pretrain(
        1000,
        "first steps of pretraining without momentum",
        ge=0,
        effect=[when("pretrain_momentum", why="pretraining has no momentum")],
    )
    init_std: float | None = pretrain(
        0.01,
        "standard deviation of the initial weights (none: 1/sqrt(inputs), and the "
        "decoder starts from the encoder's weights, transposed)",
        gt=0,
    )
    scale: float = both(5.1, "factor by which the samples are multiplied", gt=0)

    @property
    def pretrain_momentum(self) -> float:
        """The momentum of pretraining, 0 of Adam."""
        return getattr(self.pretrain_optimizer, "momentum", 0.0)

    def pretraining_steps(self, steps_per_pass: int) -> tuple[int, int]:
        """Return (steps of each layer, steps of all layers together)."""
        pairs = (self.layer_steps, self.layer_epochs), (self.pretrain_steps, self.pretrain_epochs)
        return tuple(epochs * steps_per_pass if steps is None else steps for steps, epochs in pairs)

    def pretraining_length(self, steps_per_pass: int) -> int:
        """Return about how many steps of all layers together pretraining is as long as."""
        layer, together = self.pretraining_steps(steps_per_pass)
        return 2 * layer + together  # a layer by itself, and those below it


@dataclass(frozen=True)
class LayerwiseDECConfig(DECConfig, LayerwiseConfig):
    """DEC's and IDEC's: those of `DECConfig` and of layer-wise pretraining."""


@dataclass(frozen=True)
class LayerwiseDCNConfig(Config, LayerwiseConfig):
    """DCN's: L = alpha ||x - g(z)||^2 + beta ||z - M s||^2, sums over values."""

    alpha: float = setting(1.0, "weight of the reconstruction loss in clustering", ge=0)
    optimizer: SGD | Adam = setting(SGD(1e-4, 0.9), "optimizer of clustering")
    epochs: int = setting(50, "epochs of clustering at most", ge=1)
    maxiter: int | None = setting(None, "clustering steps at most, besides --epochs", ge=0)
    update_interval: int | None = setting(
        None, "steps between two refreshes (default one epoch)", ge=1
    )
    tol: float = setting(0.0, "stop below this share of changed labels", ge=0)
    count: int = setting(100, "samples that a first centre counts for in its running mean", ge=1)
    kmeans_epochs: int = setting(10, "epochs between two runs of k-means from the centres", ge=1)


# Inputs times 0.02 of 255, 5.1 of 1; rows of length 1 times sqrt(2000) [C dec.py].
WORDS = {"scale": 44.72}
SHORT = {"pretrain_steps": 3000, "layer_steps": 1000}  # ours: digits are in no paper
FEW = {"update_interval": 30}
DEC = {  # 50,000 and 100,000 steps, batch 256, rate .1, a tenth of it each 20,000 [P dec 4, C]
    "pretrain_optimizer": SGD(0.1, 0.9),
    "pretrain_epochs": 250,
    "batch_size": 256,
}
# Steps between refreshes: 160, 40, 20 [C]; on small sets, where DEC says nothing, IDEC's for USPS.
DEC_SETS = {
    "usps": FEW,
    "mnist-test": FEW,
    "digits": FEW | SHORT,
    "stl10": {"update_interval": 40},
    "reuters10k": WORDS | {"update_interval": 20},
    "20news": WORDS,
}
# 140, 30, 3; Adam on MNIST, else SGD [P idec 4.3, C].
IDEC_SGD = {"optimizer": SGD(0.1, 0.99)}
IDEC_SETS = {
    "usps": FEW | IDEC_SGD,
    "mnist-test": FEW,
    "digits": FEW | SHORT,
    "reuters10k": WORDS | IDEC_SGD | {"update_interval": 3},
    "20news": WORDS | IDEC_SGD,
}
IDEC = LayerwiseDECConfig(**DEC, alpha=1.0, beta=0.1, optimizer=Adam(1e-3))
# 250 and 250 epochs, rate 1e-4, inputs times 5.1, no noise, 10 restarts, 50 epochs [C].
DCN = LayerwiseDCNConfig(
    pretrain_optimizer=SGD(1e-4, 0.9),
    pretrain_epochs=250,
    layer_epochs=250,
    pretrain_steps=None,
    layer_steps=None,
    dropout=0.0,
    init_std=None,
    n_init=10,
)
DCN_SETS = {
    "digits": {"pretrain_epochs": 100, "layer_epochs": 100},
    "reuters10k": WORDS,
    "20news": WORDS,
}


def _row(cls, settings, by_dataset):
    return Method(f"models.layerwise:{cls}", settings, "layerwise", by_dataset=by_dataset)


METHODS = {
    "SAE+k-means": _row(
        "LayerwiseKMeans",
        LayerwiseConfig(**DEC),
        {"digits": SHORT, "reuters10k": WORDS, "20news": WORDS},
    ),
    "DEC": _row(
        "LayerwiseDEC",
        replace(IDEC, alpha=0.0, beta=1.0, optimizer=SGD(0.01, 0.9), update_interval=160),
        DEC_SETS,
    ),
    "IDEC": _row("LayerwiseDEC", IDEC, IDEC_SETS),
    "DCN": _row("LayerwiseDCN", DCN, DCN_SETS),
}
