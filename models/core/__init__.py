"""What the methods share: estimator, training loop, networks, equations."""
