"""Layers, losses and what they are made of. Names, arguments and state dicts are PyTorch's."""

from __future__ import annotations

from dlkit.nn import functional, init, utils
from dlkit.nn.activation import (
    ELU,
    GELU,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from dlkit.nn.container import ModuleList, Sequential
from dlkit.nn.conv import Conv1d, Conv2d
from dlkit.nn.crf import CRF
from dlkit.nn.dropout import Dropout
from dlkit.nn.embedding import Embedding
from dlkit.nn.large_softmax import (
    AdaptiveLogSoftmaxWithLoss,
    SampledSoftmaxLoss,
    TiedAdaptiveLogSoftmaxWithLoss,
)
from dlkit.nn.linear import Linear
from dlkit.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HingeLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    SmoothL1Loss,
)
from dlkit.nn.module import Module, evaluation_mode
from dlkit.nn.normalisation import BatchNorm1d, BatchNorm2d, LayerNorm
from dlkit.nn.parameter import Parameter
from dlkit.nn.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    KMaxPool1d,
    Maxout,
    MaxOverTime,
    MaxPool1d,
    MaxPool2d,
    StochasticPool2d,
)
from dlkit.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, Recurrent, RecurrentCell, RNNCell
from dlkit.nn.reshaping import Flatten, Identity
from dlkit.nn.serialize import load_safetensors, save_safetensors

__all__ = [
    "CRF",
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveLogSoftmaxWithLoss",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "Hardtanh",
    "HingeLoss",
    "HuberLoss",
    "Identity",
    "KMaxPool1d",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxOverTime",
    "MaxPool1d",
    "MaxPool2d",
    "Maxout",
    "Module",
    "ModuleList",
    "MultiMarginLoss",
    "NLLLoss",
    "Parameter",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "RecurrentCell",
    "SampledSoftmaxLoss",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "StochasticPool2d",
    "Tanh",
    "TiedAdaptiveLogSoftmaxWithLoss",
    "evaluation_mode",
    "functional",
    "init",
    "load_safetensors",
    "save_safetensors",
    "utils",
]
