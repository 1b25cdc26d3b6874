"""Settings of ASPC-DA (Guo et al., TKDE 2020). Sources: [P] paper, [C] code. No TensorFlow here.

Departures: docs/methods/aspc-da.md
"""

from dataclasses import dataclass, replace

from common.errors import UserError
from models.settings.base import INITS
from models.settings.dec_da import BOTH, CONV, DIGITS, FC, Config
from models.settings.fields import Adam, never, setting, start, unused, when
from models.settings.method import Method


@dataclass(frozen=True)
class ASPCConfig(Config):
    """ASPC's settings: those of `Config` and its own."""

    clustering_protocol = 2  # 1: the loss summed over the latent dimensions, did not average

    init: str = start("k-means", "start of clustering", choices=INITS)
    alpha: float = unused(0.0, "its loss has no reconstruction term", ge=0)
    maxiter: int | None = setting(None, "clustering steps at most, besides --epochs", ge=0)
    update_interval: int | None = setting(
        None, "always one epoch", ge=1, effect=[never("it is always one epoch")]
    )
    epochs: int = setting(100, "T, epochs of clustering at most", ge=1)
    self_paced: bool = setting(True, "select samples (off: the paper's BasicDC)")
    selection: str = setting(
        "clean",
        "losses that select: clean (released code), augmented (eq. 16)",
        choices=("clean", "augmented"),
        effect=[
            when("self_paced", why="every sample is selected"),
            when("aug_cluster", why="the cluster stage is not augmented"),
        ],
    )

    def check(self) -> None:
        super().check()
        if self.update_interval is not None:
            raise UserError(
                f"update_interval={self.update_interval!r}: expected None, as ASPC updates its "
                "targets once per epoch"
            )


@dataclass(frozen=True)
class ASPCFromRCCConfig(ASPCConfig):
    """ASPC started by robust continuous clustering: its settings and those of `RCC`."""

    finds_k = True

    n_init: int = unused(20, "RCC has one start", ge=1)
    init: str = unused("k-means", "it starts by RCC", choices=INITS)
    n_neighbors: int = start(10, "neighbours in RCC's graph", ge=1)
    metric: str = start("cosine", "distance of neighbours", choices=("cosine", "euclidean"))
    rcc_maxiter: int = start(100, "steps of RCC at most", ge=1)
    # Neither paper nor released code says what noise is.
    min_share: float = start(
        0.01, "share of the samples below which a cluster of RCC is noise", ge=0, le=1
    )
    warmup_epochs: int = setting(5, "epochs at first in which noise has weight 0", ge=0)  # [C]


# Adam 1e-4, T = 100, delta = 0.001; stage 1 is FcDEC's [P Table 2, C].
ASPC = ASPCConfig(**FC, optimizer=Adam(1e-4))
ASPC_DA = replace(ASPC, **BOTH)
FMNIST = {"fmnist": {"epochs": 10}}  # [C]; the paper says 100 on every set


def _aspc(settings, ours=False, path="models.aspc:ASPC"):
    return Method(path, settings, "aspc-da", ours, by_dataset=DIGITS | FMNIST)


METHODS = {
    "BasicDC": _aspc(replace(ASPC, self_paced=False)),  # Table 5, row 1
    "ASPC": _aspc(ASPC),  # Table 5, row 2
    "ASPC-DA": _aspc(ASPC_DA),
    "ASPC-DA-SC": _aspc(replace(ASPC_DA, init="spectral")),  # Table 6
    "ASPC-DA-AC": _aspc(replace(ASPC_DA, init="agglomerative")),
    "ASPC-DA-GMM": _aspc(replace(ASPC_DA, init="gmm")),
    "ASPC-DA-RCC": _aspc(
        ASPCFromRCCConfig(**FC | BOTH, optimizer=Adam(1e-4)), path="models.aspc_rcc:ASPCFromRCC"
    ),
    # Not in the paper: ASPC over the convolutional auto-encoder, pretrained as ConvDEC's.
    "ConvASPC": _aspc(replace(ASPC, **CONV), ours=True),
    "ConvASPC-DA": _aspc(replace(ASPC_DA, **CONV), ours=True),
}
