"""How long a run can take on this machine, from counts of operations."""

import functools
import math
import os
import time

from common.shapes import image_shape
from datasets import Dataset
from models.core.cost import method_flops
from models.settings.base import Settings


@functools.cache
def product_speed() -> float:
    """Return the operations a second of a matrix product on the cores that this process may use."""
    import numpy as np

    a = np.ones((768, 768), np.float32)
    a @ a
    begin = time.perf_counter()
    for _ in range(5):
        a @ a
    return 5 * 2 * 768**3 / (time.perf_counter() - begin)


def estimate(config: Settings, data: Dataset, threads: int) -> list[float]:
    """Return the minutes of (pretraining, the longest possible clustering) on this machine's CPU.

    Counts of operations over the speed of a matrix product timed here and now; networks reach
    about 0.7 (fc), 0.55 (conv) and 0.5 (the others) of it, baselines 0.3.
    """
    share = min(1.0, (threads if config.deep else 1) / len(os.sched_getaffinity(0)))
    network = getattr(config, "network", None)
    speed = (
        product_speed()
        * share
        * {"fc": 0.7, "conv": 0.55}.get(network, 0.5 if config.deep else 0.3)
    )
    shape = data.x.shape[1:]
    shape = image_shape(shape) if network == "conv" else shape
    flops = method_flops(config, data.n, math.prod(shape), data.n_clusters, shape)
    return [one / speed / 60 for one in flops]
