"""A model asked in evaluation mode, whichever mode it was left in. Pure: imports torch alone, nothing of ``mm*``."""
from __future__ import annotations

from threading import Lock

from torch import nn


class EvaluationMode:
    """A context in which a model is in evaluation mode, whichever mode it was left in; threads share it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._lock = Lock()
        self._inside = 0
        self._left_on: list[nn.Module] = []

    def __reduce__(self) -> tuple:
        return type(self), (self.model,)

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            for module in self.model.modules():
                if module.training:
                    module.training = False
                    self._left_on.append(module)

    def __exit__(self, *_) -> None:
        with self._lock:
            self._inside -= 1
            while not self._inside and self._left_on:
                self._left_on.pop().training = True
