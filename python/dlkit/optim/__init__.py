"""Optimizers, schedules of the learning rate, and clipping of gradients. Names and arguments are PyTorch's."""

from __future__ import annotations

from dlkit.nn.utils import clip_grad_norm_, clip_grad_value_
from dlkit.optim import lr_scheduler
from dlkit.optim.adadelta import Adadelta
from dlkit.optim.adam import Adam, AdamW
from dlkit.optim.optimizer import Optimizer
from dlkit.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adam",
    "AdamW",
    "Optimizer",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]
