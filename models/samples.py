"""Samples as arrays. No TensorFlow here."""

import hashlib

import numpy as np


def hash_array(x):
    """Return 16 hex digits of the SHA-256 of an array's bytes, shape and type."""
    h = hashlib.sha256(f"{x.shape} {x.dtype}".encode())
    h.update(memoryview(np.ascontiguousarray(x)).cast("B"))
    return h.hexdigest()[:16]
