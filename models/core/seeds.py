"""Seeds of all that a run draws, from its own seed. No TensorFlow here."""

import enum

import numpy as np


def derive_seed(*entropy: int) -> int:
    """Return an int32 seed from a run's seed and the ints that name its use.

    Only for the uses that are there: NumPy drops trailing zeros, so that (r,), (r, 0) and
    (r, 0, 0) are one stream, and a longer name can be another's. Which uses share a stream is
    listed in tests/models/core/test_training.py; published results hang on all of them.
    `new_stream` is for new uses.
    """
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


NEW = 0x5EED_0001  # marks the names of new streams


class SeedUse(enum.IntEnum):
    """The uses of `new_stream`, each a number of its own that is never given twice.

    Uses from before are numbered in models/core/autoencoder.py and models/kingdra/ensemble.py.
    """

    EXAMPLE = 0  # of the tests
    N_CLUSTERS = 1  # what scores numbers of clusters
    LAYERS = 16  # of layer-wise pretraining: first weights, then each stage
    RIM = 17  # steps of Deep RIM
    SPECTRAL_SAT_NETWORK = 40
    SPECTRAL_SAT_START = 41
    SPECTRAL_SAT_STEPS = 42


def new_stream(seed: int, use: SeedUse, *place: int) -> int:
    """Return an int32 seed for a use of a run's seed, apart from all others, old ones included.

    The name comes after the seed's four words, where zeros count, and begins with a number that no
    old use has: two names give two streams, whatever their lengths. The run's seed is from 0 to
    2**31 - 1; `place` says which of its kind, of a member or of a start for example, 0 or more.

    Raises
    ------
    TypeError
        If the use is not a `SeedUse`.
    """
    if not isinstance(use, SeedUse):
        raise TypeError(f"use={use!r}: expected a SeedUse, which numbers each use once")
    sequence = np.random.SeedSequence(int(seed), spawn_key=(NEW, int(use), *map(int, place)))
    return int(sequence.generate_state(1)[0] >> 1)
