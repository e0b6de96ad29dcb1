"""Kronecker mask temporal transformer as a neck (paper section 3.1, equation 2)."""
from __future__ import annotations

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..temporal import KroneckerTransformer, QuickGELU, mix, number_of_blocks, projections
from ..towers.architectures import Arch, activation, vision_depth, vision_heads, vision_width
from ..weights import refuse_other_sizes

ACTIVATIONS = {"gelu": nn.GELU, "quick_gelu": QuickGELU}


@MODELS.register_module()
class TemporalNeck(BaseModule):
    """Lets the tokens of a clip see each other over time, under one pattern of the Kronecker family.

    It takes the tokens of ``CLIPBackbone`` and the feature maps of other recognisers, and gives back the same shape:
    tokens ``(B, T, L, D)``; maps ``(B, C, T, h, w)`` of ``Recognizer3D``; maps ``(B*T, C, h, w)`` of
    ``Recognizer2DWithNeck``, whose clips are ``num_frames`` long. Positions of a map are the tokens of its frame.

    Args:
        pattern: ``kmt``, ``kmct``, ``joint``, ``spatial``, ``pipeline`` or ``class_token``.
        num_frames: ``T`` that the temporal embedding is made for; it is interpolated for other clips.
        depth: Number of blocks, or, as a float in (0, 1], their share of the backbone's (the paper's 1/3).
        arch: CLIP architecture that width, heads, activation and backbone depth follow; or give them yourself:
        in_channels: ``D`` or ``C``, channels of the input.
        num_heads: Attention heads; channels over 64 when None.
        backbone_depth: Blocks of the backbone, needed where ``depth`` is a share and ``arch`` is not given.
        embed_dims: Width of the transformer where it shall be smaller than ``in_channels``: the input is projected
            down, the result is projected up and added to the input, at first as zero.
        mlp_ratio: Hidden width of the MLPs over their input's.
        drop_path_rate: Largest stochastic-depth rate, growing linearly with depth.
        act: ``gelu`` or ``quick_gelu``; by ``arch``, else ``gelu``.
        embedding_std: Standard deviation at which the temporal embedding is drawn.
        layout: ``tokens`` or ``maps``; ``auto`` means tokens behind an ``arch``, else tells them by which axis has
            ``in_channels``.
        class_tokens_only: Give back the class tokens alone, ``(B, T, 1, D)``, which is all that
            ``ContrastiveTextHead`` reads; the last block then computes nothing else. For tokens only.
        interpolate: Whether a clip of another length than ``num_frames`` is taken at all.
        zero_init_residual: Begin as the identity, exactly, as of MMAction2's ResNets: training starts from the accuracy
            that the recogniser has without a neck.

    Raises:
        ValueError: A value out of range, unknown, or missing for want of ``arch``; the message names the way out.
    """

    def __init__(self, pattern: str = "kmt", num_frames: int = 8, depth: int | float = 1 / 3, arch: Arch | None = None,
                 in_channels: int | None = None, num_heads: int | None = None, backbone_depth: int | None = None,
                 embed_dims: int | None = None, mlp_ratio: float = 4.0, drop_path_rate: float = 0.0,
                 act: str | None = None, embedding_std: float = 0.02, layout: str = "auto", interpolate: bool = True,
                 class_tokens_only: bool = False, zero_init_residual: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if layout not in ("auto", "tokens", "maps"):
            raise ValueError(f"layout must be 'auto', 'tokens' or 'maps', got {layout!r}")
        if act is not None and act not in ACTIVATIONS:
            raise ValueError(f"unknown act {act!r}; one of {', '.join(ACTIVATIONS)}")
        if arch is not None:
            in_channels = vision_width(arch) if in_channels is None else in_channels
            num_heads = vision_heads(arch) if num_heads is None and embed_dims is None else num_heads
            if backbone_depth is None and isinstance(depth, float):
                backbone_depth = vision_depth(arch)
        if in_channels is None:
            raise ValueError("give in_channels (the backbone's output channels), or arch of a CLIP backbone")
        self.num_frames = num_frames
        self.in_channels = in_channels
        self.layout = "tokens" if layout == "auto" and arch is not None else layout
        width = in_channels if embed_dims is None else embed_dims
        self.project = projections(in_channels, width)
        act_layer = ACTIVATIONS[act] if act else activation(arch) if arch is not None else nn.GELU
        self.transformer = KroneckerTransformer(
            width, max(width // 64, 1) if num_heads is None else num_heads, number_of_blocks(depth, backbone_depth),
            num_frames, pattern, mlp_ratio, drop_path_rate, act_layer, embedding_std, class_tokens_only, interpolate,
            zero_init_residual)
        self.register_load_state_dict_pre_hook(refuse_other_sizes)

    def forward(self, x: Tensor, data_samples: list | None = None) -> tuple[Tensor, dict]:
        """Features of the same shape, and no auxiliary losses, as the recognisers of MMAction2 expect of a neck."""
        if not isinstance(x, Tensor):
            raise ValueError(f"the neck takes one feature map, got {type(x).__name__} of {len(x)}; a 2D recogniser "
                             "needs model.type='Recognizer2DWithNeck', a backbone a single out_indices")
        layout = self._layout_of(x)
        if layout == "tokens":
            return self._mix(x), {}
        if self.transformer.class_tokens_only:
            raise ValueError(f"feature maps {tuple(x.shape)} have no class token; set class_tokens_only=False")
        if x.ndim == 5:  # (B, C, T, h, w)
            tokens = self._mix(x.flatten(3).permute(0, 2, 3, 1))
            return tokens.permute(0, 3, 1, 2).reshape(x.shape), {}
        if len(x) % self.num_frames:
            raise ValueError(f"{len(x)} feature maps do not divide into clips of num_frames={self.num_frames}; "
                             "set num_frames of the neck to the frames of a clip")
        tokens = self._mix(x.flatten(2).transpose(1, 2).unflatten(0, (-1, self.num_frames)))
        return tokens.flatten(0, 1).transpose(1, 2).reshape(x.shape), {}

    def _mix(self, tokens: Tensor) -> Tensor:
        """``(B, T, L, C) -> (B, T, L, C)``, or ``(B, T, 1, C)`` with ``class_tokens_only``."""
        return mix(tokens, self.transformer, self.project)

    def _layout_of(self, x: Tensor) -> str:
        C = self.in_channels
        as_tokens = x.ndim == 4 and x.shape[-1] == C
        as_maps = x.ndim in (4, 5) and x.shape[1] == C
        if self.layout == "tokens" and as_tokens or self.layout == "maps" and as_maps:
            return self.layout
        if self.layout == "auto" and as_tokens != as_maps:
            return "tokens" if as_tokens else "maps"
        if self.layout == "auto" and as_tokens and as_maps:
            raise ValueError(f"features of shape {tuple(x.shape)} could be tokens or maps; set layout of the neck")
        wanted = "tokens or maps" if self.layout == "auto" else self.layout
        raise ValueError(f"features of shape {tuple(x.shape)} are no {wanted} of in_channels={C}: expected "
                         f"(B, T, L, {C}) for tokens, (B*T, {C}, h, w) or (B, {C}, T, h, w) for maps")


@MODELS.register_module()
class KMTNeck(TemporalNeck):
    """``TemporalNeck`` with Kronecker mask temporal attention: a token sees all tokens of all other frames."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**_with_pattern("kmt", "KMTNeck", kwargs))


@MODELS.register_module()
class KMCTNeck(TemporalNeck):
    """``TemporalNeck`` with Kronecker mask causal temporal attention: a token sees all tokens of earlier frames."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**_with_pattern("kmct", "KMCTNeck", kwargs))


def _with_pattern(pattern: str, name: str, kwargs: dict) -> dict:
    if kwargs.get("pattern", pattern) != pattern:
        raise ValueError(f"{name} has the pattern {pattern!r}; use TemporalNeck for pattern={kwargs['pattern']!r}")
    return dict(kwargs, pattern=pattern)
