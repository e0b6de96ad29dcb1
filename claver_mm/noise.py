"""What the host packages say that no user can act on. Pure: imports the standard library alone.

Line numbers are those of mmengine 0.10.7.
"""
from __future__ import annotations

import re
import warnings

HOST_WARNINGS = [
    # said of a module that nothing here uses, wherever mmcv-lite is installed; until mmcv-lite leaves it out
    ("Fail to import ``MultiScaleDeformableAttention``", UserWarning, "mmcv.cnn.bricks.transformer"),
    # utils/package_utils.py:17,22, for every base of a config in another package; until MMEngine asks
    # importlib.metadata
    ("pkg_resources is deprecated as an API", UserWarning, "mmengine.utils.package_utils"),
    ("pkg_resources is deprecated as an API", UserWarning, "importlib"),
]
"""Beginning, category, and the module that is to blame."""

HOST_LOG_LINES = (
    # hooks/checkpoint_hook.py:230: MMEngine's own hook calls what MMEngine deprecates; until it does not
    '"FileClient" will be deprecated', '"HardDiskBackend" is the alias of',
    # evaluator/metric.py:56, of a metric without values that could be named; until it has a prefix or is left out
    "The prefix is not set in metric class DumpResults",
)
"""Beginnings of warnings in a run's log; ``engine/console.py`` keeps them to the log file."""


def quiet_host_warnings() -> bool:
    """Ignore ``HOST_WARNINGS``, behind all filters that stand already: those of a user, or of ``-W``, go first.

    Superfluous when the table is empty.
    """
    for message, category, module in HOST_WARNINGS:
        warnings.filterwarnings("ignore", re.escape(message), category, re.escape(module) + "$", append=True)
    return bool(HOST_WARNINGS)
