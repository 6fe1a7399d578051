"""Data sets: loaders for real files, toy data, and the digits that come with the package.

Loading a file never runs code from it. A file that is damaged, too large or of the wrong format
raises :class:`fastmlp.errors.FastmlpFormatError`.
"""

from ._cifar10 import load_cifar10
from ._csv import load_csv
from ._digits import load_digits
from ._fashion_mnist import load_fashion_mnist
from ._hdf5 import load_hdf5
from ._home import data_home
from ._mnist import load_mnist
from ._npz import load_npz
from ._toys import make_blobs, make_circles, make_moons, make_spirals

__all__ = [
    "data_home",
    "load_cifar10",
    "load_csv",
    "load_digits",
    "load_fashion_mnist",
    "load_hdf5",
    "load_mnist",
    "load_npz",
    "make_blobs",
    "make_circles",
    "make_moons",
    "make_spirals",
]
