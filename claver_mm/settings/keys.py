"""Which keys of a config are read, and what a mistyped one was meant to be.

Pure: imports the standard library alone.
"""
from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

RUNNER = frozenset("""
    model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg auto_scale_lr
    optim_wrapper param_scheduler val_evaluator test_evaluator default_hooks custom_hooks data_preprocessor load_from
    resume launcher env_cfg log_processor log_level visualizer default_scope randomness experiment_name runner_type
    strategy custom_imports model_wrapper_cfg sync_bn find_unused_parameters compile activation_checkpointing
    efficient_conv_bn_eval load_allow_missing derived
    """.split())
"""Top-level keys that MMEngine's Runner, ours or the host's tools read."""
VARIABLES = frozenset("""
    train_pipeline val_pipeline test_pipeline train_videos val_videos test_videos data_root clip_len crop_size
    """.split())
"""Top-level keys from which ``complete`` fills in others."""
INSIDE = {"env_cfg": ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit", "type"),
          "auto_scale_lr": ("enable", "base_batch_size")}
"""Keys of settings that MMEngine asks for what it knows and does not check; what it builds objects from it does."""
NEAR = 0.85


def check_keys(cfg: Mapping) -> None:
    """Refuse what nobody reads and was meant to be read.

    A variable of a config file may have any name but one that is nearly a key's (``param_schedulers``).

    Raises:
        ValueError: Such a key; the message names the one that is read.
    """
    for key in cfg:
        if key in RUNNER or key in VARIABLES or key.startswith("_"):
            continue
        near = difflib.get_close_matches(key, RUNNER | VARIABLES, 1, NEAR)
        if near:
            raise ValueError(f"nothing reads {key!r} in this config; did you mean {near[0]!r}? A variable of your own "
                             "needs another name")
    for name, known in INSIDE.items():
        for key in cfg.get(name) or ():
            if key not in known:
                raise ValueError(f"nothing reads {name}.{key}" + did_you_mean(key, known))


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown key."""
    known = sorted(known)
    near = difflib.get_close_matches(key, known, 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known)}"


def unread(key: str, cfg: Mapping) -> str:
    """A message about an override that changes nothing: which key of the config was meant."""
    last = key.rpartition(".")[2]
    keys = [name for name in dotted(cfg) if name.partition(".")[0] in RUNNER]
    same = [name for name in keys if name.rpartition(".")[2] == last]
    top = difflib.get_close_matches(key.partition(".")[0], RUNNER | VARIABLES, 1, 0.6)
    near = same[:1] or top or difflib.get_close_matches(key, keys, 1, 0.6)
    reason = "a variable that the config's files have used up" if key.partition(".")[0] in cfg else "no key of it"
    return f"the override {key} changes nothing: it is {reason}" + (f"; did you mean {near[0]}?" if near else "")


def dotted(node: Mapping, before: str = "") -> Iterator[str]:
    """Every key of nested settings, as an override names it, outer ones first."""
    for key in node:
        yield f"{before}{key}"
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{before}{key}.")


def plain(node: Any) -> Any:
    """A copy of nested settings in plain dicts, lists and tuples."""
    if isinstance(node, dict):  # dict's own items: MMEngine's dict builds what it holds lazily when asked for it
        return {key: plain(value) for key, value in dict.items(node)}
    if isinstance(node, list | tuple):
        return type(node)(plain(value) for value in node)
    return node


def unscoped(node: Any) -> Any:
    """A copy without ``_scope_``, which MMEngine adds to the outer ones of the dicts that come from another package."""
    if isinstance(node, dict):
        return {key: unscoped(value) for key, value in dict.items(node) if key != "_scope_"}
    if isinstance(node, list | tuple):
        return type(node)(unscoped(value) for value in node)
    return node
