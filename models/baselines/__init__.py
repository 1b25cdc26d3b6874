"""The baselines of the papers' tables on the input itself, as estimators. No TensorFlow here.

Every sample is flattened; nothing is scaled. One thread does the work (OpenMP adds up in any
order): the same seed gives the same labels, bit for bit, whatever the number of cores.

Departures: docs/methods/baselines.md

New samples: k-means, NMF, SC-LS and GMM assign them by what they learnt. The others have no such
rule: they know only the samples that were fitted, and refuse others.
"""
