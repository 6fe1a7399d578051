"""Data sets: loaders for real files and the digits that come with the package.

Files are read without running anything in them. A file that is damaged, too large or not what
its name says raises :class:`fastmlp.errors.FastmlpFormatError`.
"""

from ._digits import load_digits
from ._home import data_home
from ._mnist import load_mnist
from ._npz import load_npz

__all__ = ["data_home", "load_digits", "load_mnist", "load_npz"]
