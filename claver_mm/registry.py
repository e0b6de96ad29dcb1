"""Registries of the scope ``claver_mm``: a child of each of MMAction2's, which holds all that this package registers.

A config that inherits with ``_base_ = "claver_mm::claver/claver_b16_k400.py"`` has its modules built in the scope of
that name; they are looked up here, and so in MMAction2's and MMEngine's registries behind.
"""
from __future__ import annotations

import mmaction.registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

SCOPE = "claver_mm"
REGISTRIES = {name: Registry(parent.name, parent=parent, scope=SCOPE, locations=[SCOPE])
              for name, parent in vars(mmaction.registry).items() if isinstance(parent, Registry)}

# MMEngine looks for the configs of a scope beside this module, which is found however the package is installed; by the
# name of a distribution it misses checkouts
MODULE2PACKAGE.setdefault(SCOPE, "claver_mm.catalog")
