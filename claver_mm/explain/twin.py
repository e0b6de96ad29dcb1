"""A model of its own over the same weights, and hooks that see their own thread alone.

Pure: imports torch and nothing of ``mm*``.

Hooks on the modules of a model that others use at the same time would see the others' calls, and would be added and
removed while those are being made; code compiled before a hook came does not call it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from threading import get_ident
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def twin_of(model: Model) -> Model:
    """The same model in modules of its own, which run uncompiled.

    Weights, buffers and settings are shared; hooks are those that the model has now, and what is added to one is not
    added to the other. Weights made in inference mode, which cannot take part in a graph, are copied.
    """
    twins: dict[nn.Module | None, Any] = {None: None}

    def twin(module: nn.Module | None) -> Any:
        if module is None or module in twins:
            return twins[module]
        original = module._modules.get("_orig_mod", module)  # what torch.compile(module) has wrapped
        if original is not module:
            return twins.setdefault(module, twin(original))
        new = twins[module] = type(module).__new__(type(module))
        state = {name: copy(value) if isinstance(value, dict) else value for name, value in vars(module).items()}
        if hasattr(state.get("forward"), "_torchdynamo_orig_callable"):  # module.forward = torch.compile(...)
            del state["forward"]
        state["_compiled_call_impl"] = None  # module.compile()
        vars(new).update(state)
        for tensors in (new._parameters, new._buffers):
            tensors.update((name, _usable(x)) for name, x in list(tensors.items()))
        new._modules = {name: twin(child) for name, child in module._modules.items()}
        return new

    with torch.inference_mode(False):
        return twin(model)


def _usable(x: Tensor | None) -> Any:
    if x is None or not x.is_inference():
        return x
    return nn.Parameter(x.clone(), requires_grad=False) if isinstance(x, nn.Parameter) else x.clone()


@contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Callable]], before: bool = False) -> Iterator[None]:
    """Forward hooks ``(module, hook)``, called as with ``with_kwargs=True``, for the calls of this thread.

    Args:
        hooks: Modules and what is called after their forward pass, or before it.
        before: See above.

    Raises:
        ValueError: A module is compiled, and would not call its hook.
    """
    own = get_ident()

    def in_this_thread(hook: Callable) -> Callable:
        # a thread that is about to call the hook while it is removed calls it without kwargs
        return lambda module, args, *rest: hook(module, args, *rest) if get_ident() == own else None

    with ExitStack() as handles:
        for module, hook in hooks:
            if module._compiled_call_impl is not None:
                raise ValueError(f"{type(module).__name__} is compiled, and compiled code does not call hooks that "
                                 "come later; take a model whose parts are not")
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            handles.callback(register(in_this_thread(hook), with_kwargs=True).remove)
        yield
