"""Kronecker mask attention, as a library of its own: pure PyTorch, imports nothing of ``mm*``.

``kronecker_attention`` is the door, ``choose_backend`` says which form it takes and why, ``attend_rows`` serves a few
queries; ``naive_attention`` is the slow reference that every fast form is tested against.
"""
from .choice import BACKENDS, Choice, choose_backend
from .masked import attend_rows
from .naive import naive_attention, naive_attention_weights
from .ops import kronecker_attention
from .patterns import PATTERNS, may_see, tokens_per_frame

__all__ = ["BACKENDS", "PATTERNS", "Choice", "attend_rows", "choose_backend", "kronecker_attention", "may_see",
           "naive_attention", "naive_attention_weights", "tokens_per_frame"]
