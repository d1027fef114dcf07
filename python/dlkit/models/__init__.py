"""The systems of the course, ready to train: one file each.

Examples
--------
>>> import dlkit as dl
>>> model = dl.models.MLP(64, (32,), 10)
>>> model(dl.zeros(5, 64)).shape
(5, 10)
"""

from __future__ import annotations

from .mlp import MLP
from .perceptron import Perceptron, perceptron_loss
from .softmax_regression import SoftmaxRegression
from .text_cnn import TextCNN

__all__ = ["MLP", "Perceptron", "SoftmaxRegression", "TextCNN", "perceptron_loss"]
