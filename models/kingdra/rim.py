"""Deep RIM: regularised information maximisation (Krause et al., NIPS 2010) by IMSAT's network.

L = H(Y|X) - mu H(Y) + weight_decay ||W||^2, W all weight matrices: what IMSAT's paper compares
itself with, the information without a perturbation.

Departures: docs/methods/kingdra.md
"""

import tensorflow as tf

from models.core.functional import Tensor
from models.core.seeds import SeedUse, new_stream
from models.kingdra.imsat import IMSAT
from models.kingdra.ladder import information_loss


class DeepRIM(IMSAT):
    """One network that is certain of each sample and uses all clusters, kept small by decay."""

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Return {name: scalar} of a batch x (b, d)."""
        return {
            "clustering": information_loss(tf.nn.softmax(self.logits(x)), self.config.mi_mu),
            "decay": tf.add_n([tf.reduce_sum(tf.square(w)) for w in self.networks[0].up]),
        }

    def train(self, data: Tensor) -> None:
        weights = {"clustering": 1.0, "decay": self.config.weight_decay}
        self._minimise(data, weights, new_stream(self.seed_, SeedUse.RIM))
