"""The towers by the path that they had before there was a room of them; see ``claver_mm.towers``."""
from .towers.architectures import (
    PAPER_ARCHS,
    Arch,
    activation,
    model_config,
    vision_depth,
    vision_heads,
    vision_width,
)
from .towers.head import CLIPHead
from .towers.image import build_image_trunk, clip_tokens, image_tokens
from .towers.positions import resize_positions
from .towers.tokenizer import count_tokens, tokenize, tokenizer_of

__all__ = ["PAPER_ARCHS", "Arch", "CLIPHead", "activation", "build_image_trunk", "clip_tokens", "count_tokens",
           "image_tokens", "model_config", "resize_positions", "tokenize", "tokenizer_of", "vision_depth",
           "vision_heads", "vision_width"]
