"""What the methods share: estimator, training loop, networks, equations.

Raw TensorFlow or keras.ops: a formula on tensors is written with keras.ops (`functional`, the
losses of DEC and ASPC); raw TensorFlow stands where the graph, gradients, random streams or the
device matter, or where keras.ops has no such operation. What has to run without TensorFlow is NumPy
(`arrays`, `graphs`, `initialization`, `samples`).
"""
