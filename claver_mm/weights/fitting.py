"""Weights into a model: strictly, and what does not fit is named.

Pure: imports torch, nothing of ``mm*``.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .archives import listed, shortened
from .layouts import what_they_are

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What may become a floating-point weight; a file in 8 bits has scales beside its numbers, which nobody here knows."""


class WeightsDoNotFit(ValueError):
    """Weights that are missing, left over, of another size or kind, or no numbers; the message names them."""


def load_strict(module: nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Load weights; nothing may be missing, left over or of another size.

    Args:
        module: Receives the weights; its own load hooks (resized embeddings) run as always.
        state_dict: The weights.
        source: Where they came from, for the message.

    Raises:
        WeightsDoNotFit: Names the keys and the source.
    """
    odd = [key for key in state_dict if not isinstance(key, str)]
    if odd:
        raise WeightsDoNotFit(f"{source} does not fit the model: a key is no text, but a {type(odd[0]).__name__}")
    loaded = OrderedDict(state_dict)
    vars(loaded)["_metadata"] = getattr(state_dict, "_metadata", OrderedDict())  # where torch keeps it
    expected = module.state_dict().keys()
    foreign = what_they_are(key for key in state_dict if key not in expected)
    if foreign:
        raise WeightsDoNotFit(f"{source} does not fit the model: {foreign}")
    try:
        refuse_other_sizes(module, loaded, "")
        result = module.load_state_dict(loaded, strict=False)
    except (RuntimeError, ValueError) as error:
        raise WeightsDoNotFit(f"{source} does not fit the model: {str(error)[:2000]}") from error
    if result.missing_keys or result.unexpected_keys:
        raise WeightsDoNotFit(f"{source} does not fit the model; missing: {listed(result.missing_keys)}; "
                              f"left over: {listed(result.unexpected_keys)}")


def refuse_other_sizes(module: nn.Module, state_dict: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """Load hook: weights of another size or kind, or that are no finite numbers, raise, also where MMEngine would go
    on with a warning (``init_recognizer``) or torch without one.

    Embeddings over time and space may differ in length; hooks of their own resize them.

    Raises:
        WeightsDoNotFit: Names the weights.
    """
    wrong, fitting = [], {}
    for name, parameter in (*module.named_parameters(), *module.named_buffers()):
        loaded = state_dict.get(prefix + name)
        if loaded is None:
            continue
        why = _unfit(name, loaded, parameter)
        if why:
            wrong.append(f"{shortened(prefix + name, quotes=False)} {why}")
        else:
            fitting[prefix + name] = loaded
    if wrong:
        raise WeightsDoNotFit(f"weights of another size or kind: {listed(wrong, 5, 300)}")
    check_values(fitting)


def check_values(state_dict: Mapping[str, Tensor]) -> None:
    """Refuse weights that are no plain numbers, or not finite.

    Raises:
        WeightsDoNotFit: Names the weights.
    """
    odd = [f"{shortened(key, quotes=False)} {why}" for key, value in state_dict.items() if (why := _odd(value))]
    if odd:
        raise WeightsDoNotFit(f"weights of another kind: {listed(odd, 5, 300)}")
    infinite = [key for key, value in state_dict.items() if value.is_floating_point() and not _is_finite(value)]
    if infinite:
        raise WeightsDoNotFit(f"weights that are not finite (NaN or infinity): {listed(infinite, 5)}; of a run that "
                              "diverged? An earlier checkpoint may be whole. To look at them all the same, read them "
                              "with claver_mm.read_state_dict")


def _odd(weight: object) -> str | None:
    """Why something is no tensor of plain numbers; None where it is."""
    if not isinstance(weight, Tensor):
        return f"is a {type(weight).__name__}, no tensor"
    if weight.layout is not torch.strided or weight.is_quantized or weight.is_nested:
        return f"is a tensor in another form ({weight.layout}, {weight.dtype}), not one of plain numbers"
    if weight.is_complex() or weight.is_floating_point() and weight.dtype not in FLOATS:
        return f"is of the dtype {weight.dtype}; convert it to torch.float32"
    return None


def _unfit(name: str, loaded: object, wanted: Tensor) -> str | None:
    """Why a weight cannot become a parameter or buffer; None where it can."""
    if not isinstance(loaded, Tensor) or _odd(loaded):
        return _odd(loaded)
    if loaded.is_meta and not wanted.is_meta:
        return "is a tensor without values (of the device 'meta')"
    if wanted.is_floating_point() != loaded.is_floating_point():
        return f"{loaded.dtype} instead of {wanted.dtype}"
    resized = name.endswith(("temporal_embedding", "visual.positional_embedding", "trunk.pos_embed")) \
        or name == "positional_embedding"
    fits = loaded.shape == wanted.shape or loaded.numel() == wanted.numel() == 1
    if not fits and resized:
        fits = loaded.numel() > 0 and loaded.ndim == wanted.ndim and loaded.shape[-1] == wanted.shape[-1]
    return None if fits else f"{tuple(loaded.shape)!s:.100} instead of {tuple(wanted.shape)}"


def _is_finite(weight: Tensor) -> bool:
    """By its extremes, which NaN spreads to: no copy of the weight is made."""
    return weight.is_meta or not weight.numel() or all(bool(extreme.isfinite()) for extreme in weight.aminmax())
