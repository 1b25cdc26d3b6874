"""Where data sets come from: under which names their files may lie, how they are read, addresses.

Downloads are pinned by checksum. data/README.md tells the same to people.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from loaders import features
from loaders.corpora import RCV1, make_newsgroups, make_rcv1, read_newsgroups, read_reuters10k
from loaders.images import IDX, read_cifar10, read_mnist, read_stl10, read_usps, read_ytf


@dataclass(frozen=True)
class Source:
    """How one data set is read, under which names its files may lie, where they come from."""

    read: Callable  # paths -> (x, y)
    layouts: tuple  # of tuples of names relative to a folder; the first complete one is read
    downloads: dict = field(default_factory=dict)  # name in the user's cache -> (address, checksum)
    make: Callable | None = None  # (paths of downloads, folder) writes the first layout into it;
    # without it the downloads are a layout
    licence: str = "not stated there"
    origin: str = ""  # what is known of data without downloads

    @property
    def own(self) -> tuple[str, ...]:
        """The layout that a download ends in."""
        return self.layouts[0] if self.make else tuple(self.downloads)


def _in(folders, *names):
    """Return a layout for each folder: the names inside it."""
    return tuple(tuple(folder + name for name in names) for folder in folders)


_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
_MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_FIGSHARE = "https://ndownloader.figshare.com/files/"  # where scikit-learn keeps its data sets
_NEWS_SHA256 = "8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610"
_RCV1_VECTORS = {  # part of a name -> (number at figshare, sha256)
    "test_pt0": ("5976069", "ed40f7e418d10484091b059703eeb95ae3199fe042891dcec4be6696b9968374"),
    "test_pt1": ("5976066", "87700668ae45d45d5ca1ef6ae9bd81ab0f5ec88cc95dcef9ae7838f727a13aa6"),
    "test_pt2": ("5976063", "48143ac703cbe33299f7ae9f4995db49a258690f60e5debbff8995c34841c7f5"),
    "test_pt3": ("5976060", "dfcb0d658311481523c6e6ca0c3f5a3e1d3d12cde5d7a8ce629a9006ec7dbb39"),
    "train": ("5976057", "5468f656d0ba7a83afc7ad44841cf9a53048a5c083eedc005dcdb5cc768924ae"),
}
_RCV1 = {f"lyrl2004_vectors_{part}.dat.gz": where for part, where in _RCV1_VECTORS.items()} | {
    "rcv1v2.topics.qrels.gz": (
        "5976048",
        "2a98e5e5d8b770bded93afc8930d88299474317fe14181aee1466cc754d0d1c1",
    )
}
_CIFAR10 = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)
_STL10 = (
    "https://cs.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    "md5:91f7769df0f17e558f3565bffb0c7dfb",
)
_MD5 = {
    "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197",
    "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",  # Fashion-MNIST's, as below
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


def _features(name, read_images, n, address, checksum):
    """Return the source of ResNet-50 features of ten classes of images."""
    archive = f"{name}/{address.rpartition('/')[2]}"
    return Source(
        read=partial(features.read, n, 10, checksum),
        layouts=_in([f"{name}/"], "features.npz"),
        downloads={
            archive: (address, checksum),
            features.WEIGHTS: (features.WEIGHTS_ADDRESS, features.WEIGHTS_CHECKSUM),
        },
        make=partial(features.make, read_images, name, checksum),
    )


_MNIST = Source(
    read=partial(read_mnist, "mnist", ("train", "test")),
    layouts=_in(("", "mnist/"), "mnist.npz") + _in(["mnist/"], *IDX.values()),
    downloads={"mnist.npz": (_KERAS + "mnist.npz", f"sha256:{_MNIST_SHA256}")},
    licence="CC BY-SA 3.0",
)
_NEWS = Source(
    read=partial(read_newsgroups, False),
    layouts=_in(("20news/", ""), "20news-bydate_py3.pkz"),
    downloads={"20news/20news-bydate.tar.gz": (_FIGSHARE + "5975967", f"sha256:{_NEWS_SHA256}")},
    make=make_newsgroups,
)
SOURCES = {
    "mnist": _MNIST,
    "mnist-train": replace(_MNIST, read=partial(read_mnist, "mnist", ("train",))),
    "mnist-test": replace(_MNIST, read=partial(read_mnist, "mnist", ("test",))),
    "usps": Source(
        read=read_usps,
        layouts=_in(("usps/", ""), "usps_train.jf", "usps_test.jf")
        + _in(("usps/", ""), "usps.bz2", "usps.t.bz2")
        + _in(("usps/", ""), "usps.npz"),
        downloads={
            f"usps/{file}": (_LIBSVM + file, f"md5:{_MD5[file]}")
            for file in ("usps.bz2", "usps.t.bz2")
        },
    ),
    "fmnist": Source(
        read=partial(read_mnist, "fmnist", ("train", "test")),
        layouts=_in(("", "fmnist/", "fashion-mnist/"), "fashion_mnist.npz")
        + _in(("fmnist/", "fashion-mnist/"), *IDX.values()),
        downloads={f"fmnist/{file}": (_KERAS + file, f"md5:{_MD5[file]}") for file in IDX.values()},
        licence="MIT",
    ),
    "20news": _NEWS,
    "20news-l2": replace(_NEWS, read=partial(read_newsgroups, True)),
    "reuters10k": Source(
        read=read_reuters10k,
        layouts=(RCV1,),
        downloads={
            f"RCV1/{file}": (_FIGSHARE + number, f"sha256:{digest}")
            for file, (number, digest) in _RCV1.items()
        },
        make=make_rcv1,
    ),
    "cifar10": _features("cifar10", read_cifar10, 60000, *_CIFAR10),
    "stl10": _features("stl10", read_stl10, 13000, *_STL10),
    "ytf": Source(
        read=read_ytf,
        layouts=_in(("", "ytf/"), "ytf.npz") + _in(("", "ytf/"), "ytf.h5"),
        origin="YouTube Faces (Wolf, Hassner, Maoz 2011), the 10000 images cut out and scaled to "
        "55x55 for JULE and DSCDAN, x (n, 55, 55, 3) and y (n,): no stable link",
        licence="not known",
    ),
}
