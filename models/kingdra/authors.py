"""Kingdra under the names of its authors' class."""

from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np
from sklearn.exceptions import NotFittedError

from models.core.monitor import Monitor
from models.kingdra.model import Kingdra
from models.settings.kingdra import translate


class KingdraCluster:
    """Kingdra in the form of the authors' class, keyword for keyword.

    Batches do not follow the order of the samples: in a user's data it may be that of the classes.

    Parameters
    ----------
    n_en : int
        Members.
    n_epochs_per_iter0, n_epochs_per_iter : int
        Passes a round without and with pseudo-labels.
    low_th, high_th : int
        Thresholds of the graph; `med_th` is accepted and unused, as there.
    thresh : float
        Confidence.
    batch_size, n_class, n_iter : int
        n_class is K, n_iter the rounds.
    ens_common_mapping : bool
        Whether the members vote; else the first decides.
    mi_loss_w_it2 : float, optional
        Weight of the clustering loss after the first round.
    random_state, workers : int
        Not in the authors' class.
    **model_args
        mi_loss_w_init, fc_layer_sizes (K last), ladder_loss_w_init, noise_kl_w_init, noise_std,
        mi_mu_w_init, lr, denoising_cost, last_layer_bn.

    Examples
    --------
    >>> from models.kingdra import KingdraCluster
    >>> labels = KingdraCluster(n_iter=5).fit(x).predict(x)  # doctest: +SKIP
    """

    def __init__(
        self,
        random_state: int | np.random.RandomState | None = 0,
        workers: int = 1,
        monitor: Monitor | None = None,
        **arguments: object,
    ):
        self.random_state, self.workers, self.monitor = random_state, workers, monitor
        config, self.n_class = translate(arguments)
        self.config = replace(config, shuffle=True)

    def fit(
        self,
        X: object,  # noqa: N803
        callback: Callable[[int, np.ndarray], object] | None = None,
    ) -> Self:
        """Cluster samples X (n, d) or (n, h, w); callback(round, labels) after each round."""
        monitor = self.monitor if callback is None else CallbackMonitor(callback)
        self.model = Kingdra(
            self.n_class,
            self.config,
            method="KINGDRA-LADDER-IM",
            workers=self.workers,
            random_state=self.random_state,
            monitor=monitor,
        )
        self.model.fit(X)
        return self

    def predict(self, X: object) -> np.ndarray:  # noqa: N803
        """Return the labels (n,) of samples."""
        if not hasattr(self, "model"):
            raise NotFittedError("this KingdraCluster is not fitted yet: call fit first")
        return self.model.predict(X)


class CallbackMonitor(Monitor):
    """Calls back after each round."""

    def __init__(self, callback: Callable[[int, np.ndarray], object]):
        self.callback, self.round = callback, 0

    def row(
        self,
        phase: str,
        step: int,
        values: dict,
        labels: np.ndarray | None = None,
        others: dict | None = None,
    ) -> None:
        if phase == "cluster":
            self.callback(self.round, labels)
            self.round += 1
