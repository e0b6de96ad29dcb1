"""Kronecker mask attention, as a library of its own: pure PyTorch, imports nothing of ``mm*``.

``kronecker_attention`` is the door; ``naive_attention`` is the slow reference that every fast form is tested against.
"""
from .naive import naive_attention, naive_attention_weights
from .ops import kronecker_attention
from .patterns import PATTERNS, may_see, tokens_per_frame

__all__ = ["PATTERNS", "kronecker_attention", "may_see", "naive_attention", "naive_attention_weights",
           "tokens_per_frame"]
