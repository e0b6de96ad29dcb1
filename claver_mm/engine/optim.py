"""Optimiser groups of the paper's recipes (Table 14)."""
from __future__ import annotations

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerGroupsOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Learning rates by part of the model, no weight decay on biases, norms and other tensors of one dimension.

    ``paramwise_cfg=dict(lr_mult={'neck': 10})``: parameters whose name starts with ``neck.`` train at ten times the
    base rate; of several such names the longest counts. The stock constructor cannot say both at once: a parameter that
    a custom key matches keeps its decay, and ``in_proj_bias`` is no bias to it. Each trainable parameter is in exactly
    one group, frozen ones in none.
    """

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Fill ``params`` with groups.

        Raises:
            ValueError: A part named in ``lr_mult`` has no trainable parameter, or an unknown option is given.
        """
        lr_mult = dict(self.paramwise_cfg.get("lr_mult", {}))
        unknown = set(self.paramwise_cfg) - {"lr_mult"}
        if unknown:
            raise ValueError(f"unknown paramwise_cfg {sorted(unknown)}; this constructor takes lr_mult")
        groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                part = max((part for part in lr_mult if name.startswith(f"{part}.")), key=len, default="")
                groups.setdefault((part, parameter.ndim > 1), []).append(parameter)
        unused = set(lr_mult) - {part for part, _ in groups}
        if unused:
            raise ValueError(f"lr_mult names {sorted(unused)}, but the model has no trainable parameter there; "
                             "take it out of optim_wrapper.paramwise_cfg.lr_mult")
        for (part, decayed), parameters in sorted(groups.items(), key=lambda item: (item[0][0], not item[0][1])):
            params.append(dict(
                params=parameters, lr=self.base_lr * lr_mult.get(part, 1.0),
                weight_decay=(self.base_wd or 0.0) if decayed else 0.0,
                name=f"{part or 'rest'} ({'decay' if decayed else 'no decay'})"))
