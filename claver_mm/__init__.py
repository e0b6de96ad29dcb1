"""CLAVER for MMAction2: CLIP learns motion (arXiv 2502.03549).

Importing the package mends what the host packages break on today's PyTorch and registers all modules; a config does it
with ``custom_imports = dict(imports=['claver_mm'])``. Without MMEngine the pure parts (``attention``, ``temporal``,
``streaming``, ``clip``, ``weights``, ``language``, ``protocols``, ``explain``, ``costs``) can be used alone.
"""
from .weights import convert_official, read_state_dict

__version__ = "0.1.0"
__all__ = ["convert_official", "read_state_dict"]

try:
    import mmengine  # noqa: F401
except ImportError as error:
    if error.name not in (None, "mmengine"):  # installed, but broken
        raise
else:
    from . import compat  # isort: skip  # noqa: F401  before anything else of the host
    from . import datasets, engine, models  # noqa: F401
    from .recognizer import Recognizer  # noqa: F401

    __all__ += ["Recognizer"]
