"""How many floating-point operations a training step takes, counted from the architecture.

A dense layer of a inputs and b outputs costs 2ab forward, 2ab for the gradient of its weights and
2ab for that of its input, which the first layer does not need. A convolution costs the same with
ab = (output pixels) * kernel^2 * c_in * c_out; a transposed one with its input pixels. Everything
else (activations, augmentation, optimizer) is left out: it is small.
"""

import itertools
import math

from models.settings.base import Settings
from models.settings.dscdan import LABEL_STEPS

AUTO = 200  # restarts that n_init "auto" makes at most
LLOYD = 60  # iterations of k-means that a restart takes, about
Operations = tuple[float, float]  # of pretraining, and of the longest clustering


def layer_products(network: str, shape: tuple, latent_dim: int = 10) -> tuple[list[int], list[int]]:
    """Return the multiply-adds a sample of each layer, as (encoder, decoder) lists of ints."""
    if network == "fc":
        widths = [math.prod(shape), 500, 500, 2000, latent_dim]
        encoder = [a * b for a, b in itertools.pairwise(widths)]
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


def weight_count(network: str, shape: tuple, latent_dim: int = 10) -> int:
    """Return how many weights an auto-encoder has, biases aside (less than 1 %)."""
    encoder, _ = layer_products(network, shape, latent_dim)
    if network == "conv":  # the same weights at every pixel
        encoder[:3] = [25 * shape[2] * 32, 25 * 32 * 64, 9 * 64 * 128]
    return 2 * sum(encoder)


def step_flops(
    network: str, shape: tuple, batch_size: int, latent_dim: int = 10, decoder: bool = True
) -> int:
    """Return the floating-point operations of one training step on samples of a shape.

    decoder: whether the loss needs it.
    """
    encode, decode = layer_products(network, shape, latent_dim)
    products = 3 * sum(encode) - encode[0] + (3 * sum(decode) if decoder else 0)
    return 2 * batch_size * products


def _dual_products(c, d):
    """Return the multiply-adds a sample of DSCDAN's (encoder, decoder, discriminators).

    d is the number of values of a square image, grey or of three channels.
    """
    channels = 1 if math.isqrt(d) ** 2 == d else 3
    side, before, encoder, decoder = math.isqrt(d // channels), channels, 0, 0
    for i, filters in enumerate(c.filters):
        wide = side**2 * c.kernel**2
        side = math.ceil(side / (2 if i % 2 == 0 or len(c.filters) == 2 else 1))
        encoder += side**2 * c.kernel**2 * before * filters
        after = c.filters[min(i + 1, len(c.filters) - 1)]
        decoder += min(wide, side**2 * c.kernel**2) * after * filters
        before = filters
    decoder += d * c.kernel**2 * c.filters[0]
    code = side**2 * before * c.latent_dim
    pairs = 2 * (side**2 if c.pairs == "input" else 1)  # positive and negative ones
    discriminators = 2 * 120 * 120 * pairs
    return encoder + 2 * code, decoder + code, discriminators + 2 * d * 120


def _kmeans(c, n, z, k):
    """Return about how many operations k-means on n samples of z values takes, all restarts."""
    restarts = AUTO if c.n_init == "auto" else c.n_init
    return 2 * LLOYD * restarts * k * n * z


def _head_products(c, k, neighbors_space):
    """Return the multiply-adds a sample of the (spectral network, loss on a batch's graph).

    neighbors_space is the number of dimensions in which the graph is made.
    """
    head = _chain(c.latent_dim, *c.head, k)
    return head, c.cluster_batch_size * (neighbors_space + k)


def _chain(*widths):
    """Return the multiply-adds a sample of dense layers."""
    return sum(a * b for a, b in itertools.pairwise(widths))


def _autoencoder(c, n, d, k, shape):
    """Return the operations of DEC and its kin.

    Clustering has the steps, the embedding of all samples at each refresh and at either end, and
    k-means.
    """
    passes = math.ceil(n / c.batch_size)
    pretraining, start, embedding = _start(c, n, shape, k)
    steps = c.total_steps(passes)
    decoder = getattr(c, "alpha", 0) > 0
    step = step_flops(c.network, shape, c.batch_size, c.latent_dim, decoder)
    refreshes = math.ceil(steps / (getattr(c, "update_interval", None) or passes))
    return pretraining, start + steps * step + (refreshes + 1) * embedding


def _start(c, n, shape, k):
    """Return the operations of (pretraining, the first k-means, embedding all samples once)."""
    network = (c.network, shape, c.batch_size, c.latent_dim)
    passes = math.ceil(n / c.batch_size)
    pretraining = step_flops(*network) * c.pretraining_length(passes)
    embedding = 2 * n * sum(layer_products(c.network, shape, c.latent_dim)[0])
    return pretraining, embedding + _kmeans(c, n, c.latent_dim, k), embedding


def _spectralnet(c, n, d, k, shape):
    """Return the operations of SpectralNet.

    Clustering has the passes over the siamese network's pairs, two samples each, the steps of the
    spectral network, for which the siamese one computes the graph's space without a gradient, and
    k-means at either end.
    """
    pretraining, start, _ = _start(c, n, shape, k)
    siamese = _chain(c.latent_dim, *c.siamese) if c.siamese_epochs else 0
    space = c.siamese[-1] if c.siamese_epochs else c.latent_dim
    pairs = 2 * n * c.siamese_neighbors  # neighbours and others
    size = min(c.siamese_batch, pairs)
    pairs -= pairs % size  # whole batches
    first = 6 * c.siamese_epochs * 2 * pairs * siamese
    batch = min(n, c.cluster_batch_size)
    head, graph = _head_products(c, k, space)
    second = c.maxiter * batch * (6 * (head + graph) + 2 * siamese)
    return pretraining, start + first + second + 2 * n * head + _kmeans(c, n, k, k)


def _dual_steps(c, d, samples, relative, mutual, more=0):
    """Return the operations of gradient steps of the dual auto-encoder on so many samples."""
    encoder, decoder, discriminators = _dual_products(c, d)
    a_sample = encoder + decoder * (2 if relative else 1) + (discriminators if mutual else 0) + more
    return 6 * samples * a_sample


def _dual(c, n, d, k, shape):
    """Return about how many operations a dual auto-encoder, and k-means on its codes, takes."""
    encoder, _, _ = _dual_products(c, d)
    samples = c.pretrain_epochs * n
    pretraining = _dual_steps(c, d, samples, c.relative, c.mutual)
    return pretraining, 2 * n * encoder + _kmeans(c, n, c.latent_dim, k)


def _dscdan(c, n, d, k, shape):
    """Return about how many operations DSCDAN takes.

    Clustering has k-means on the codes, the starts of the head, the joint steps, and refreshes of
    all samples with k-means in the spectral embedding.
    """
    encoder, _, _ = _dual_products(c, d)
    pretraining, start = _dual(c, n, d, k, shape)
    size = min(n, c.cluster_batch_size)
    head, graph = _head_products(c, k, c.latent_dim)
    alone = c.head_starts * c.spectral_steps * (head + graph)
    if c.head_init == "spectral":
        starts = c.head_starts if c.spectral_steps else 1
        alone += starts * LABEL_STEPS * head
        start += 2 * n * n * c.latent_dim + _eigenvectors(n, k)
    refreshes = math.ceil(c.maxiter / c.update_interval) + 1
    refresh = 2 * n * (encoder + head) + _kmeans(c, n, k, k)
    steps = (c.maxiter * size, c.cluster_relative, c.cluster_mutual)
    joint = _dual_steps(c, d, *steps, head + graph)
    return pretraining, start + 6 * size * alone + joint + refreshes * refresh


def _eigenvectors(n, k):
    """Return about how many operations K eigenvectors of a graph of neighbours take."""
    return 500 * n * 20 * k


def _kingdra(c, n, d, k, shape):
    """Return the operations of all passes of the members, and of all samples' predictions."""
    products = 2 * _layers(c, d, k)
    paths = 4 if c.pseudo_labels else 3  # clean, corrupted, decoder, pseudo-labelled
    later = max(c.epochs, c.epochs_first)  # a round without pseudo-labels is as the first
    epochs = c.epochs_first + (c.rounds - 1) * later
    return 0.0, n * c.members * products * (3 * epochs * paths + c.rounds + 1)


def _imsat(c, n, d, k, shape):
    """Return the operations of clean and perturbed samples, and of the search for perturbations.

    And of what comes before and after: distances to neighbours, all samples' predictions.
    """
    products = 2 * _layers(c, d, k)
    search = 1.5 * c.power_iterations if c.perturbation == "vat" else 0
    return 0.0, 3 * n * c.epochs * products * (2 + search) + 2 * n * n * d + n * products


def _spectral_sat(c, n, d, k, shape):
    """Return the operations of the graph, its cuts, and the steps on clean and moved samples.

    Distances to the candidates in 64 principal components count, and seven tangents for each.
    """
    layers = _chain(d, 1200, 1200, k)
    if c.network == "conv":
        layers = 0
        h, w, before = shape if len(shape) == 3 else (math.isqrt(d), math.isqrt(d), 1)
        for filters in (32, 64, 128):
            h, w = math.ceil(h / 2), math.ceil(w / 2)
            layers += h * w * 9 * before * filters
            before = filters
        layers += h * w * before * k
    steps = (c.fit_steps + c.maxiter) * 2 * min(n, c.batch_size)
    size = min(64, d) if c.aug_cluster and c.tangents else d
    graph = 2 * n * n * size + (2 * n * c.candidates * 15 * size if size < d else 0)
    cuts = len(c.neighbors) * (
        _eigenvectors(n, k) + 2 * LLOYD * c.n_init * (c.more + 1) * k * n * k
    )
    return 0.0, graph + cuts + 6 * steps * layers


def _point(n, d):
    """Return the operations of the distances of n samples to one point."""
    return 2 * n * d


def _gmm(c, n, d, k):
    values = d if c.covariance in ("full", "tied") else 4
    return 2 * k * c.n_init * c.maxiter * _point(n, d) * values


def _stable(c, n, d, k):
    d = min(d, 100)  # see models/baselines/stable.py; a step of the full form costs as much as d^2
    fits = (1 + 2 * c.pairs * min(1.0, 1600 / n)) * c.mixture_n_init
    return 2 * k * fits * 30 * _point(n, d) * d


def _clustering(count):
    """Return (c, n, d, k, shape) -> Operations of a method that has no pretraining."""
    return lambda c, n, d, k, shape: (0.0, count(c, n, d, k))


# A record's `cost` -> (c, n, d, k, shape) -> Operations
COUNTS = {
    "autoencoder": _autoencoder,
    "spectralnet": _spectralnet,
    "dual": _dual,
    "dscdan": _dscdan,
    "kingdra": _kingdra,
    "imsat": _imsat,
    "rim": _clustering(lambda c, n, d, k: n * 2 * _layers(c, d, k) * (3 * c.epochs + 1)),
    "spectral-sat": _spectral_sat,
    "k-means": _clustering(_kmeans),
    "nmf": _clustering(lambda c, n, d, k: 8 * k * c.maxiter * _point(n, d)),
    "ncut": _clustering(lambda c, n, d, k: n * _point(n, d) + _eigenvectors(n, k)),
    "landmarks": _clustering(
        lambda c, n, d, k: 6 * c.landmarks * _point(n, d) + _eigenvectors(n, k)
    ),
    "ward": _clustering(lambda c, n, d, k: 4 * n * _point(n, d)),
    "gdl": _clustering(lambda c, n, d, k: n * _point(n, d) + (n / 5) ** 2 * 100),
    "gmm": _clustering(_gmm),
    "stable": _clustering(_stable),
    "rcc": _clustering(
        lambda c, n, d, k: (n + 11 * c.maxiter * (2 * c.n_neighbors + 12)) * _point(n, d)
    ),
    "umap": _clustering(lambda c, n, d, k: n * (5000 * d + 100_000_000)),
    None: _clustering(lambda c, n, d, k: 0.0),  # not known
}


def method_flops(
    config: Settings, n: int, d: int, k: int, shape: tuple | None = None
) -> Operations:
    """Return about how many operations a method takes on n samples of d values, k clusters.

    The record's `cost` says how they are counted. An order of magnitude for methods of which the
    data decide how many iterations they take. `shape` is a sample's (h, w, c), which convolutions
    need; else (d,).
    """
    return COUNTS[config.cost](config, n, d, k, shape or (d,))


def _layers(config, d, k):
    return _chain(d, *getattr(config, "widths", (1200, 1200)), k)


def ladder_weight_count(config: Settings, d: int, k: int) -> int:
    """Return how many weights Kingdra's members, or IMSAT's network, have, but for small ones."""
    return 2 * _layers(config, d, k) * getattr(config, "members", 1)
