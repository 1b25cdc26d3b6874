"""How a run is watched from outside. No TensorFlow here."""

import numpy as np

from common.logs import logger


class Monitor:
    """What a run reports; this one only logs notes and warnings. Labels go out, none come in."""

    def begin(self, phase: str, total: int, step: int) -> None:
        """A phase of `total` steps starts, or is taken up again at `step`."""

    def progress(self, phase: str, step: int) -> None:
        """A step was made."""

    def row(
        self,
        phase: str,
        step: int,
        values: dict,
        labels: np.ndarray | None = None,
        others: dict | None = None,
    ) -> None:
        """Something to log: {name: float}, and the labels (n,) if they were just assigned.

        others is {name: [(sample numbers or None for all, their labels), ...]}: labels of other
        kinds, of members of an ensemble for example.
        """

    def note(self, text: str) -> None:
        """Log something that the user may want to know."""
        logger.info(text)

    def warn(self, text: str) -> None:
        """Log something that went wrong and was survived."""
        logger.warning(text)
