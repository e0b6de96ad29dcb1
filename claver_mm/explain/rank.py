"""Rank and condition of attention matrices: the low-rank bottleneck (paper appendix A, section 5, table 8).

In exact arithmetic a KMCTA matrix is lower triangular with a positive diagonal, so of full rank; KMTA and joint
attention carry no such guarantee, and ``singular_example`` is a KMTA matrix that is singular. The guarantee is one of
rank, not of condition: where all scores are equal, KMCTA takes a vector that is constant within frames and grows like
``(L - 1)^t`` with alternating signs to one that is 1 in frame 0 and 0 elsewhere, so that the condition is at least
``L (L - 1)^(T - 2)``: 3e8 for T=8, L=17, and 1e16, out of float64's reach, for T=8, L=197. KMTA's is about ``S`` there.

So ranks here are numerical: singular values count that exceed ``S * eps * s_max``, the default of NumPy and PyTorch,
for ``eps`` of float64 (what queries and keys determine) and of float32 (what is left in the precision that models run
in). Queries and keys are the model's; scores, softmax and singular values are computed in float64, since a softmax
rounded to float32 would hide a lost rank under its noise. The condition is ``s_max / s_min``.

Pure: imports nothing of ``mm*``.
Letters: ``B`` clips of a pass, ``N`` of all, ``H`` heads, ``T`` frames, ``L`` tokens of a frame, ``S = T * L``,
``C`` width of a head, ``D`` width.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..attention import naive_attention_weights
from ..temporal import KroneckerAttention, KroneckerTransformer
from .layers import attention_layers
from .twin import hooked


@contextmanager
def watch_attention(transformer: KroneckerTransformer, visit: Callable[[int, Tensor, int], None]) -> Iterator[None]:
    """Inside, ``visit(layer, weights, T)`` gets the attention matrices ``(B, H, S, S)`` of every layer that this thread
    runs.

    They are in float64 and whole, also where the last block computes the rows of class tokens alone. Under the pattern
    ``class_token`` the tokens are the class tokens, ``S = T``. The computation itself is left as it is.
    """
    def hook(layer: int) -> Callable:
        @torch.no_grad()
        def see(attention: KroneckerAttention, x: Tensor, num_frames: int, *_: object, **__: object) -> None:
            q, k = attention.queries_keys_values(x)[:2]
            visit(layer, naive_attention_weights(q.double(), k.double(), attention.pattern, num_frames), num_frames)
        return lambda attention, args, kwargs, _: see(attention, *args, **kwargs)

    with hooked((attention, hook(layer)) for layer, attention in enumerate(attention_layers(transformer) or ())):
        yield


def rank_and_condition(matrices: Tensor, eps: float = torch.finfo(torch.float64).eps) -> tuple[Tensor, Tensor]:
    """Numerical rank and condition of square matrices: ``(..., S, S) -> (...), (...)``.

    Args:
        matrices: Real matrices; singular values are computed in float64.
        eps: Singular values above ``S * eps * s_max`` count.

    The condition is infinite where the least singular value is exactly 0, and above ``1 / float64.eps`` it is noise.
    """
    values = torch.linalg.svdvals(matrices.double())  # from the largest down
    largest, least = values[..., :1], values[..., -1]
    return (values > matrices.shape[-1] * eps * largest).sum(-1), largest[..., 0] / least


@dataclass(frozen=True)
class RankSummary:
    """Ranks of the attention matrices of one layer and head over ``clips`` clips; ``*32`` at float32's tolerance."""
    layer: int
    head: int
    frames: int
    tokens: int  # S, the rank at most
    clips: int
    mean_rank: float
    min_rank: int
    full_rank: float  # share of the clips
    mean_rank32: float
    min_rank32: int
    full_rank32: float
    median_condition: float
    max_condition: float

    def as_dict(self) -> dict:
        """Plain numbers, for JSON."""
        return asdict(self)


class RankStudy:
    """Collects ranks while a transformer works, and sums them up by layer and head.

        study = RankStudy()
        with study.watching(transformer):
            model.test_step(batch)
        for row in study.summary(): ...

    Clips must be of one length.
    """

    def __init__(self) -> None:
        self._seen: dict[int, list[tuple[Tensor, ...]]] = {}
        self._size = (0, 0)  # T, S of the clips; no clip yet

    def watching(self, transformer: KroneckerTransformer) -> AbstractContextManager:
        """Inside, every forward pass of the transformer counts."""
        return watch_attention(transformer, self.add)

    def add(self, layer: int, weights: Tensor, frames: int) -> None:
        """Attention matrices ``(B, H, S, S)`` of a layer, for clips of ``frames`` frames.

        Raises:
            ValueError: Matrices of another size than those before.
        """
        size = (frames, weights.shape[-1])
        if self._size not in ((0, 0), size):
            raise ValueError(f"a clip of {size[0]} frames and {size[1]} tokens after clips of {self._size[0]} and "
                             f"{self._size[1]}; take a RankStudy of its own for each length")
        self._size = size
        rank, condition = rank_and_condition(weights)
        rank32, _ = rank_and_condition(weights, torch.finfo(torch.float32).eps)
        self._seen.setdefault(layer, []).append((rank.cpu(), rank32.cpu(), condition.cpu()))

    def summary(self) -> list[RankSummary]:
        """One row for each layer and head, in this order; none where nothing ran."""
        rows = []
        for layer, seen in sorted(self._seen.items()):
            rank, rank32, condition = (torch.cat(part) for part in zip(*seen))  # (N, H) each
            T, S = self._size
            for head in range(rank.shape[1]):
                r, r32, c = rank[:, head], rank32[:, head], condition[:, head]
                rows.append(RankSummary(layer, head, T, S, len(r), r.double().mean().item(), int(r.min()),
                                        (r == S).double().mean().item(), r32.double().mean().item(),
                                        int(r32.min()), (r32 == S).double().mean().item(), c.median().item(),
                                        c.max().item()))
        return rows


def singular_example() -> tuple[Tensor, Tensor]:
    """Queries and keys of T=2, L=2 under which KMTA's matrix is singular and KMCTA's is not (appendix A.3).

    Each token scores itself ln 2 above all others. KMTA gives ``[[I/2, J/4], [J/4, I/2]]``, which takes
    ``(1, 1, -1, -1)`` to 0: rank 3. KMCTA gives ``[[I, 0], [J/4, I/2]]``: rank 4.

    Returns:
        ``q`` and ``k``, each ``(1, 1, 4, 4)``, float64.
    """
    C = 4
    scores = torch.eye(4, dtype=torch.float64) * torch.tensor(2.0, dtype=torch.float64).log()
    return scores.mul(C ** 0.5)[None, None], torch.eye(4, dtype=torch.float64)[None, None]
