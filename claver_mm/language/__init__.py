"""The language branch: class names, templates, prompt banks and the text side of a training step."""
from .bank import KINDS, PromptBank, read_bank
from .checks import check_bank
from .encoder import encode_texts
from .prompts import ACTION_TEMPLATES, class_texts, read_lines, readable
from .texts import Texts

__all__ = ["ACTION_TEMPLATES", "KINDS", "PromptBank", "Texts", "check_bank", "class_texts", "encode_texts", "read_bank",
           "read_lines", "readable"]
