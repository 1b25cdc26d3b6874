"""How many floating-point operations a training step takes, counted from the architecture.

A dense layer of a inputs and b outputs costs 2ab forward, 2ab for the gradient of its weights and
2ab for that of its input, which the first layer does not need. A convolution costs the same with
ab = (output pixels) * kernel^2 * c_in * c_out; a transposed one with its input pixels. Everything
else (activations, augmentation, optimizer) is left out: it is small.
"""

import math


def layer_products(network, shape, latent_dim=10):
    """Return the multiply-adds a sample of each layer, as (encoder, decoder) lists of ints."""
    if network == "fc":
        widths = [math.prod(shape), 500, 500, 2000, latent_dim]
        encoder = [a * b for a, b in zip(widths, widths[1:], strict=False)]
        return encoder, encoder[::-1]
    h, w, c = shape
    valid = (h % 8 != 0 or w % 8 != 0) and min(h, w) >= 9
    sizes, channels, encoder = [(h, w)], [c, 32, 64, 128], []
    for i, kernel in enumerate((5, 5, 3)):
        half = [(s - 3) // 2 + 1 if valid and i == 2 else math.ceil(s / 2) for s in sizes[-1]]
        sizes.append(tuple(half))
        encoder.append(math.prod(half) * kernel**2 * channels[i] * channels[i + 1])
    encoder.append(math.prod(sizes[-1]) * channels[-1] * latent_dim)
    return encoder, encoder[::-1]


def weight_count(network, shape, latent_dim=10):
    """Return how many weights an auto-encoder has, biases aside (less than 1 %)."""
    encoder, _ = layer_products(network, shape, latent_dim)
    if network == "conv":  # the same weights at every pixel
        encoder[:3] = [25 * shape[2] * 32, 25 * 32 * 64, 9 * 64 * 128]
    return 2 * sum(encoder)


def step_flops(network, shape, batch_size, latent_dim=10, decoder=True):
    """Return the floating-point operations of one training step.

    Parameters
    ----------
    network : {"fc", "conv"}
    shape : tuple
        A sample's shape.
    batch_size, latent_dim : int
    decoder : bool
        Whether the loss needs the decoder.

    Returns
    -------
    int
    """
    encode, decode = layer_products(network, shape, latent_dim)
    products = 3 * sum(encode) - encode[0] + (3 * sum(decode) if decoder else 0)
    return 2 * batch_size * products


def dual_products(config, d):
    """Return the multiply-adds a sample of DSCDAN's (encoder, decoder, discriminators).

    d is the number of values of a square image, grey or of three channels.
    """
    channels = 1 if math.isqrt(d) ** 2 == d else 3
    side, before, encoder, decoder = math.isqrt(d // channels), channels, 0, 0
    for i, filters in enumerate(config.filters):
        wide = side**2 * config.kernel**2
        side = math.ceil(side / (2 if i % 2 == 0 or len(config.filters) == 2 else 1))
        encoder += side**2 * config.kernel**2 * before * filters
        after = config.filters[min(i + 1, len(config.filters) - 1)]
        decoder += min(wide, side**2 * config.kernel**2) * after * filters
        before = filters
    decoder += d * config.kernel**2 * config.filters[0]
    code = side**2 * before * config.latent_dim
    judges = 2 * 2 * 120 * 120 * (side**2 if config.pairs == "input" else 1)  # pairs, strangers
    return encoder + 2 * code, decoder + code, judges + 2 * d * 120


def dual_flops(config, n, d):
    """Return about how many operations (pretraining, clustering) DSCDAN's methods take."""
    encoder, decoder, judges = dual_products(config, d)

    def samples(steps, batch, relative, mutual, more=0):
        a_sample = encoder + decoder * (2 if relative else 1) + (judges if mutual else 0) + more
        return 6 * steps * batch * a_sample

    pretraining = samples(config.pretrain_epochs, n, config.relative, config.mutual)
    if not hasattr(config, "maxiter"):
        return pretraining, 0.0
    widths = [config.latent_dim, *config.head, 10]
    head = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    size = min(n, config.cluster_batch_size)
    more = head + size * config.latent_dim
    alone = 6 * config.spectral_steps * config.head_starts * size * more
    return pretraining, alone + samples(config.maxiter, size, True, True, more)


def method_flops(config, n, d, k):
    """Return about how many operations (pretraining, clustering) take on n samples of d values.

    For methods without the auto-encoders above; an order of magnitude for those of which the data
    decide how many iterations they take.
    """
    if type(config).__name__ in ("KingdraConfig", "IMSATConfig"):
        return 0.0, _ladder_flops(config, n, d, k)
    if hasattr(config, "filters"):
        return dual_flops(config, n, d)
    distances = 2 * n * d  # to one point
    eigenvectors = 500 * n * 20 * k
    clustering = {
        "KMeansConfig": lambda c: 60 * (200 if c.n_init == "auto" else c.n_init) * k * distances,
        "NMFConfig": lambda c: 8 * k * c.maxiter * distances,
        "NcutConfig": lambda c: n * distances + eigenvectors,
        "LandmarkConfig": lambda c: 6 * c.landmarks * distances + eigenvectors,
        "WardConfig": lambda c: 4 * n * distances,
        "GDLConfig": lambda c: n * distances + (n / 5) ** 2 * 100,
        "GMMConfig": lambda c: 2 * k * c.n_init * c.maxiter * distances
        * (d if c.covariance == "full" else 4),
        "UMAPConfig": lambda c: n * (5000 * d + 100_000_000),
    }[type(config).__name__]  # fmt: skip
    return 0.0, clustering(config)


def _ladder_flops(config, n, d, k):
    """Return the operations of all passes of Kingdra's members, or of IMSAT's network."""
    products = 2 * _layers(config, d, k)
    if not hasattr(config, "members"):  # IMSAT: clean, perturbed, and the search
        return 3 * n * config.epochs * products * (2 + 1.5 * config.power_iterations)
    paths = 4 if config.pseudo_labels else 3  # clean, corrupted, decoder, pseudo-labelled
    epochs = config.epochs_first + (config.rounds - 1) * config.epochs
    return 3 * n * epochs * config.members * products * paths


def _layers(config, d, k):
    widths = (d, *config.widths, k)
    return sum(a * b for a, b in zip(widths, widths[1:], strict=False))


def ladder_weight_count(config, d, k):
    """Return how many weights Kingdra's members, or IMSAT's network, have, but for small ones."""
    return 2 * _layers(config, d, k) * getattr(config, "members", 1)
