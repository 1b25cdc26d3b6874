"""Settings of Deep RIM, as IMSAT's paper compares itself with it. No TensorFlow here.

Departures: docs/methods/kingdra.md
"""

from dataclasses import dataclass

from models.settings.fields import setting
from models.settings.kingdra import InformationConfig
from models.settings.method import Method


@dataclass(frozen=True)
class RIMConfig(InformationConfig):
    """L = H(Y|X) - mu H(Y) + weight_decay ||W||^2; network, optimizer and length are IMSAT's."""

    cost = "rim"
    protocol = 2  # 1: Glorot normal weights
    logged = ("clustering", "decay")

    batch_size: int = setting(250, "samples a step", ge=2)
    epochs: int = setting(50, "epochs of training", ge=1)
    weight_decay: float = setting(0.005, "weight of the sum of all squared weights", ge=0)


METHODS = {"DeepRIM": Method("models.kingdra.rim:DeepRIM", RIMConfig(), "kingdra")}
