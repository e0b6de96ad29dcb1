"""The temporal transformer of CLAVER: Kronecker mask blocks over the tokens of a clip (paper section 3.1, equation 2).

Pure PyTorch, imports nothing of ``mm*``.
Letters: ``B`` clips, ``T`` frames, ``L`` tokens of a frame, ``D`` width, ``H`` heads, ``C = D / H``.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear

from .attention import attend_rows, kronecker_attention
from .attention.patterns import check_pattern


class QuickGELU(nn.Module):
    """The activation of OpenAI's CLIP, ``x * sigmoid(1.702 x)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class KroneckerAttention(nn.Module):
    """Multi-head attention over the tokens of a clip under a Kronecker mask.

    Args:
        width: ``D``.
        heads: ``H``; must divide ``width``.
        pattern: A name in ``claver_mm.attention.PATTERNS``.
    """

    def __init__(self, width: int, heads: int, pattern: str) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads")
        self.heads = heads
        self.pattern = pattern
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, num_frames: int, class_tokens_only: bool = False) -> Tensor:
        """``(B, T*L, D) -> (B, T*L, D)``, or ``(B, T, D)``: the rows of the class tokens alone."""
        if class_tokens_only:
            rows = torch.arange(0, x.shape[1], x.shape[1] // num_frames, device=x.device)
            q = self._heads(self._part(x[:, rows], 0))
            k, v = (self._heads(self._part(x, part)) for part in (1, 2))
            x = attend_rows(q, rows, k, v, self.pattern, num_frames)
        else:
            x = kronecker_attention(*self.queries_keys_values(x), self.pattern, num_frames)
        return self.merge_heads(x)

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(B, S, D)`` -> three of ``(B, H, S, C)``."""
        return tuple(self._heads(part) for part in self.in_proj(x).chunk(3, dim=-1))

    def merge_heads(self, x: Tensor) -> Tensor:
        """Output projection: ``(B, H, S, C) -> (B, S, D)``."""
        return self.out_proj(x.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _part(self, x: Tensor, part: int) -> Tensor:
        """Queries (0), keys (1) or values (2) alone, ``(B, S, D)``."""
        D = self.out_proj.in_features
        rows = slice(part * D, (part + 1) * D)
        return linear(x, self.in_proj.weight[rows], self.in_proj.bias[rows])


class DropPath(nn.Module):
    """Stochastic depth: in training a whole branch of a clip is dropped with probability ``p``, the rest scaled up."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"drop-path rate must lie in [0, 1), got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = x.new_empty((len(x),) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * keep / (1 - self.p)


class KroneckerBlock(nn.Module):
    """Pre-norm block: ``x + Attn(LN x)``, then ``x + MLP(LN x)``."""

    def __init__(self, width: int, heads: int, pattern: str, mlp_ratio: float = 4.0, drop_path: float = 0.0,
                 act_layer: Callable[[], nn.Module] = QuickGELU) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.ln_1 = nn.LayerNorm(width)
        self.attn = KroneckerAttention(width, heads, pattern)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, hidden))
        self.mlp.add_module("act", act_layer())
        self.mlp.add_module("c_proj", nn.Linear(hidden, width))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, num_frames: int, class_tokens_only: bool = False) -> Tensor:
        """``(B, T*L, D) -> (B, T*L, D)``, or ``(B, T, D)``: queries, projection and MLP of class tokens alone."""
        attended = self.attn(self.ln_1(x), num_frames, class_tokens_only)
        if class_tokens_only:
            x = x[:, ::x.shape[1] // num_frames]
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.ln_2(x)))


class KroneckerTransformer(nn.Module):
    """Temporal embedding and ``depth`` Kronecker mask blocks.

    Args:
        width: ``D``.
        heads: ``H``.
        depth: Number of blocks.
        num_frames: ``T`` that the temporal embedding is made for; a clip of another length gets it interpolated.
        pattern: A name in ``claver_mm.attention.PATTERNS``. Under ``class_token`` patches pass through untouched.
        mlp_ratio: Hidden width of the MLP over ``D``.
        drop_path: Largest drop-path rate; it grows linearly with depth.
        act_layer: Activation of the MLP, that of the image encoder.
        embedding_std: Standard deviation of the temporal embedding's truncated normal.
        class_tokens_only: Give back the class tokens alone, ``(B, T, 1, D)``. They are the same; the last block saves
            the queries, projections and MLPs of all other tokens, which nothing would read.
        interpolate: Whether clips, and weights, of another length than ``num_frames`` are taken at all.
        zero_init_residual: Begin as the identity, exactly: every branch ends in zeros, and so does the temporal
            embedding. What stands before and after then gives what it gives without a temporal part.

    Raises:
        ValueError: Unknown pattern, or a size that does not fit.
    """

    def __init__(self, width: int, heads: int, depth: int, num_frames: int, pattern: str = "kmt",
                 mlp_ratio: float = 4.0, drop_path: float = 0.0,
                 act_layer: Callable[[], nn.Module] = QuickGELU, embedding_std: float = 0.02,
                 class_tokens_only: bool = False, interpolate: bool = True,
                 zero_init_residual: bool = False) -> None:
        super().__init__()
        check_pattern(pattern)
        for name, value in (("width", width), ("heads", heads), ("depth", depth), ("num_frames", num_frames)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
        self.pattern = pattern
        self.num_frames = num_frames
        self.embedding_std = embedding_std
        self.class_tokens_only = class_tokens_only
        self.interpolate = interpolate
        self.zero_init_residual = zero_init_residual
        self.temporal_embedding = nn.Parameter(torch.zeros(1, num_frames, width))
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        self.resblocks = nn.ModuleList(
            KroneckerBlock(width, heads, pattern, mlp_ratio, rate, act_layer) for rate in rates)
        self.register_load_state_dict_pre_hook(_fit_temporal_embedding)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew: CLIP's initialisation for the blocks, which the paper leaves open."""
        nn.init.trunc_normal_(self.temporal_embedding, std=self.embedding_std)
        init_transformer(self.resblocks)
        if self.zero_init_residual:
            nn.init.zeros_(self.temporal_embedding)
            for last in (layer for block in self.resblocks for layer in (block.attn.out_proj, block.mlp.c_proj)):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def embedding_for(self, num_frames: int) -> Tensor:
        """Temporal embedding ``(1, T, D)``, linearly interpolated where ``T`` is not the one it was made for."""
        if not self.interpolate and num_frames != self.num_frames:
            raise ValueError(f"a clip of {num_frames} frames, but the temporal embedding is made for "
                             f"{self.num_frames}; set num_frames of neck and pipeline alike, or interpolate=True")
        return resize_temporal_embedding(self.temporal_embedding, num_frames)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, L, D) -> (B, T, L, D)``, or ``(B, T, 1, D)`` with ``class_tokens_only``."""
        T = x.shape[1]
        x = x + self.embedding_for(T).unsqueeze(2)
        if self.pattern == "class_token":
            classes = self._blocks(x[:, :, :1])
            return classes if self.class_tokens_only else torch.cat([classes, x[:, :, 1:]], dim=2)
        return self._blocks(x)

    def _blocks(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        x = x.flatten(1, 2)
        *blocks, last = self.resblocks
        for block in blocks:
            x = block(x, T)
        return last(x, T, self.class_tokens_only).unflatten(1, (T, -1))


def number_of_blocks(depth: int | float, image_depth: int | None) -> int:
    """Depth as given, or as a share of the image tower's: ``(1/3, 12) -> 4``.

    Raises:
        ValueError: A depth that is neither, or a share of nothing.
    """
    if isinstance(depth, bool) or not isinstance(depth, int | float) or depth <= 0:
        raise ValueError(f"depth must be a number of blocks or a share of the backbone's in (0, 1], got {depth!r}")
    if isinstance(depth, int):
        return depth
    if depth > 1:
        raise ValueError(f"depth={depth} is a float and so a share of the backbone's, which cannot exceed 1; "
                         f"write {round(depth)} for a number of blocks")
    if image_depth is None:
        raise ValueError(f"depth={depth} is a share of the backbone's depth: give backbone_depth, or depth as a number")
    return max(round(depth * image_depth), 1)


def projections(channels: int, width: int) -> nn.ModuleList:
    """Down to a narrower transformer and up again, at first to zero; none where the widths agree."""
    if width == channels:
        return nn.ModuleList()
    down, up = nn.Linear(channels, width), nn.Linear(width, channels)
    nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)
    return nn.ModuleList([down, up])


def mix(tokens: Tensor, transformer: KroneckerTransformer, project: nn.ModuleList) -> Tensor:
    """Tokens that have seen each other over time: ``(B, T, L, D) -> (B, T, L, D)``, or ``(B, T, 1, D)``.

    With ``projections`` the transformer's result is added to the tokens; without, it takes their place.
    """
    if not len(project):
        return transformer(tokens)
    down, up = project
    mixed = up(transformer(down(tokens)))
    return tokens[:, :, :mixed.shape[2]] + mixed


def init_transformer(blocks: nn.ModuleList) -> None:
    """CLIP's initialisation of transformer blocks, ours and open_clip's (Radford et al. 2021, as released)."""
    for block in blocks:
        width = block.ln_1.weight.shape[0]
        branch_std = width ** -0.5 * (2 * len(blocks)) ** -0.5
        stds = (("in_proj", width ** -0.5), ("out_proj", branch_std), ("c_fc", (2 * width) ** -0.5),
                ("c_proj", branch_std))
        for name, parameter in block.named_parameters():
            for part, std in stds:
                if part in name:
                    nn.init.zeros_(parameter) if "bias" in name else nn.init.normal_(parameter, std=std)


def resize_temporal_embedding(embedding: Tensor, num_frames: int) -> Tensor:
    """``(1, T, D) -> (1, num_frames, D)`` by linear interpolation over time; the very tensor where ``T`` fits."""
    if embedding.shape[1] == num_frames:
        return embedding
    return interpolate(embedding.transpose(1, 2), size=num_frames, mode="linear").transpose(1, 2)


def _fit_temporal_embedding(module: KroneckerTransformer, state_dict: dict, prefix: str, *_) -> None:
    """Loading weights made for another number of frames interpolates their embedding, and says so."""
    key = prefix + "temporal_embedding"
    if key not in state_dict or state_dict[key].ndim != 3 or state_dict[key].shape[1] == module.num_frames:
        return
    frames = state_dict[key].shape[1]
    if not module.interpolate:
        raise ValueError(f"{key} is made for {frames} frames, the model for {module.num_frames}; "
                         f"set num_frames={frames}, or interpolate=True")
    warnings.warn(f"{key} is interpolated from {frames} to {module.num_frames} frames", stacklevel=2)
    embedding = state_dict[key]
    embedding = embedding if embedding.dtype == torch.float64 else embedding.float()
    state_dict[key] = resize_temporal_embedding(embedding, module.num_frames)
