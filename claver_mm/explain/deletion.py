"""Deletion test: does a score fall more without what is called relevant than without as much of anything?

Pure: imports torch and nothing of ``mm*``.
Letters: ``B`` video-text pairs, ``T`` frames, ``H, W`` pixels, ``h, w`` patches of a frame down and across.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from ..model import CLAVER


@torch.no_grad()
def deletion_drops(model: nn.Module, clips: Tensor, tokens: Tensor, relevance: Tensor, share: float = 0.2,
                   draws: int = 5, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """How much similarity falls without the most relevant patches, and without random ones.

    Args:
        model: As for ``claver_mm.explain.relevance.relevance``.
        clips: Normalised, ``(B, 3, T, H, W)``.
        tokens: Token ids of the text of each clip, ``(B, context)``.
        relevance: Of patches, ``(B, T, h, w)``.
        share: Of all patches of a clip, how many go.
        draws: Random choices that the second drop is the mean over.
        generator: Of these choices, on the CPU.

    Returns:
        Similarity with all patches less that without the chosen ones, ``(B,)`` each.
    """
    model = CLAVER.of(model)
    text = model.text_features(tokens)

    def similarity(clips: Tensor) -> Tensor:
        return (model.video_features(clips) * text).sum(dim=-1)

    before = similarity(clips)
    random = [before - similarity(remove_patches(clips, torch.rand(relevance.shape, generator=generator), share))
              for _ in range(draws)]
    return before - similarity(remove_patches(clips, relevance, share)), torch.stack(random).mean(dim=0)


def remove_patches(clips: Tensor, order: Tensor, share: float) -> Tensor:
    """Paint the highest patches of each clip, over all its frames, in the mean colour of the data (zero).

    Args:
        clips: Normalised, ``(B, 3, T, H, W)``.
        order: ``(B, T, h, w)``; patches with the highest values go. Pixels on the right and below that make up no
            whole patch belong to none, as to a ViT (27 patches of 14 pixels in 384).
        share: Of all patches of a clip, rounded down.

    Raises:
        ValueError: A share outside 0 to 1, an order of other clips or frames, or patches of less than a pixel.
    """
    (H, W), (h, w) = clips.shape[-2:], order.shape[-2:]
    if (len(clips), clips.shape[2]) != tuple(order.shape[:2]):
        raise ValueError(f"order {tuple(order.shape)} is not of the clips and frames of {tuple(clips.shape)}")
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    if h > H or w > W:
        raise ValueError(f"frames of {H} x {W} pixels do not divide into {h} x {w} patches")
    count = int(share * order[0].numel())
    gone = torch.zeros(order.shape).flatten(1).scatter_(1, order.cpu().flatten(1).topk(count).indices, 1)
    gone = gone.view(order.shape).repeat_interleave(H // h, dim=2).repeat_interleave(W // w, dim=3)
    gone = torch.nn.functional.pad(gone, (0, W - gone.shape[3], 0, H - gone.shape[2]))
    return clips * (1 - gone.to(clips)).unsqueeze(1)
