"""Model files: atomic writes, the format, and the checks before a file is used."""

from fastmlp.io.atomic import check_writable, remove_stale, write_atomically
from fastmlp.io.model_file import ModelFile, write_model

__all__ = ["ModelFile", "check_writable", "remove_stale", "write_atomically", "write_model"]
