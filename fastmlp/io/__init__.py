"""Files of models: what is written, and the checks before anything in a file is believed."""

from fastmlp.io.atomic import check_writable, remove_stale, write_atomically
from fastmlp.io.model_file import ModelFile, write_model

__all__ = ["ModelFile", "check_writable", "remove_stale", "write_atomically", "write_model"]
