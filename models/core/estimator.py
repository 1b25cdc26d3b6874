"""What every method is to scikit-learn: checks of use after fit, and what a saved model says."""

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.exceptions import NotFittedError

from common.errors import UserError
from models.core.samples import as_samples


class Estimator(ClusterMixin, TransformerMixin, BaseEstimator):
    """A clustering with n_clusters, config, method and random_state."""

    fitted = "labels_"  # the attribute whose presence means fitted

    def _require_fit(self):
        if not hasattr(self, self.fitted):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

    def _samples(self, x):
        """Return samples of the fitted shape; flat ones are reshaped."""
        self._require_fit()
        x = as_samples(x)
        if x.shape[1:] not in (self._shape, (int(np.prod(self._shape)),)):
            raise UserError(
                f"data of shape {x.shape}: expected (n, {', '.join(map(str, self._shape))}), "
                "as the model was trained on"
            )
        return x.reshape(len(x), *self._shape)

    def _about(self):
        """Return what a model file says of the model, for `models.load`."""
        self._require_fit()
        return {
            "kind": "model", "method": self.method, "config": self.config.to_dict(),
            "n_clusters": int(self.n_clusters), "random_state": int(self.random_state),
            "shape": list(self._shape),
        }  # fmt: skip
