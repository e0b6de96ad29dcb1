"""The host's models import, and the remedies stay where they are put."""
import sys

import pytest
from acts import import_models, import_vindlu
from mmengine.registry import OPTIM_WRAPPERS

from claver_mm import compat


def test_stock_models_lack_drn(assert_stock_fails):
    """mmaction2 issue 2714."""
    assert_stock_fails(import_models, "ModuleNotFoundError: No module named 'mmaction.models")


def test_models_import():
    import_models()


def test_stock_vindlu_cannot_be_imported_beside_transformers_5(assert_stock_fails):
    """multimodal/vindlu/modeling_bert.py:44."""
    pytest.importorskip("transformers", minversion="5")
    assert_stock_fails(import_vindlu, "ImportError: cannot import name")


def test_vindlu_becomes_a_placeholder_beside_transformers_5():
    pytest.importorskip("transformers", minversion="5")
    from mmaction.registry import MODELS
    with pytest.raises(ImportError, match="requires extra multi-modal dependencies"):
        MODELS.build(dict(type="VindLUVQA"))


def test_a_real_drn_is_not_hidden(tmp_path, monkeypatch):
    import mmaction
    (tmp_path / "models/localizers/drn").mkdir(parents=True)
    monkeypatch.setattr(mmaction, "__path__", [str(tmp_path)])
    for name in ("mmaction.models.localizers.drn", "mmaction.models.localizers.drn.drn"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    compat.stub_drn()
    assert "mmaction.models.localizers.drn" not in sys.modules


def test_remedies_are_registered_once_and_stay():
    """Applying all remedies again, as a second import would, leaves the registries as they are."""
    from mmaction.registry import HOOKS, TRANSFORMS, VISUALIZERS
    names = ((TRANSFORMS, "ColorJitter"), (HOOKS, "VisualizationHook"), (VISUALIZERS, "ActionVisualizer"),
             (OPTIM_WRAPPERS, "AmpOptimWrapper"))
    from mmaction.models.heads import BaseHead
    before = [registry.get(name) for registry, name in names] + [BaseHead.loss_by_feat]
    compat.apply_all()
    assert [registry.get(name) for registry, name in names] + [BaseHead.loss_by_feat] == before
