"""Deep RIM: regularised information maximisation (Krause et al., NIPS 2010) by IMSAT's network.

L = H(Y|X) - mu H(Y) + weight_decay ||W||^2, W all weight matrices: what IMSAT's paper compares
itself with, the information without a perturbation.

Departures: docs/methods/kingdra.md
"""

import tensorflow as tf

from models.core.functional import Tensor
from models.core.optimizers import make as make_optimizer
from models.core.seeds import SeedUse, new_stream
from models.core.training import Trainer
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
        c = self.config
        trainer = Trainer(
            data,
            self.loss,
            {"clustering": 1.0, "decay": c.weight_decay},
            self._trained(),
            make_optimizer(c.optimizer),
            batch_size=c.batch_size,
            shuffle=True,
            seed=new_stream(self.seed_, SeedUse.RIM),
            identity=self._identity,
        )
        total = c.epochs * trainer.steps_per_pass
        self.run_phase(trainer, total, "cluster", checkpoint=self._place("checkpoint.h5"))
        self.n_iter_, self.converged_, self._steps_made = trainer.step, None, trainer.step
