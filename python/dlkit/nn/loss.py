"""Losses as modules. Each is `dlkit.nn.functional`'s function with the settings kept."""

from __future__ import annotations

from typing import Any

from dlkit.autograd.base import as_array
from dlkit.autograd.tensor import Tensor
from dlkit.nn import losses_functional as functional
from dlkit.nn.module import Module


class _Loss(Module):
    """A loss with a reduction."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        functional.check_reduction(reduction, type(self).__name__)
        self.reduction = reduction

    def extra_repr(self) -> str:
        """Return the reduction, where it is not the mean."""
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"

    def _keep(self, name: str, value: Any) -> None:
        # A buffer, so that it goes along with state_dict and to().
        if value is not None and not isinstance(value, Tensor):
            value = Tensor(as_array(value, type(self).__name__, name))
        self.register_buffer(name, value)


class CrossEntropyLoss(_Loss):
    """Softmax cross-entropy of logits (N, C) and labels (N,). See `dlkit.nn.functional.cross_entropy`.

    Parameters
    ----------
    weight : array of shape (C,), optional
    ignore_index : int
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing is {label_smoothing}; expected 0 to 1")
        self._keep("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        """(N, C) and (N,) to a single value."""
        return functional.cross_entropy(
            logits, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(_Loss):
    """Negative log-likelihood of log-probabilities (N, C) and labels (N,).

    Parameters
    ----------
    weight : array of shape (C,), optional
    ignore_index : int
    reduction : {"mean", "sum", "none"}
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._keep("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, log_probabilities: Tensor, target: Any) -> Tensor:
        """(N, C) and (N,) to a single value."""
        return functional.nll_loss(log_probabilities, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(_Loss):
    """(x - target)^2, of tensors of one shape."""

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """Any shape to a single value."""
        return functional.mse_loss(x, target, self.reduction)


class L1Loss(_Loss):
    """|x - target|, of tensors of one shape."""

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """Any shape to a single value."""
        return functional.l1_loss(x, target, self.reduction)


class SmoothL1Loss(_Loss):
    """d^2 / (2 beta) where d = |x - target| is below beta, else d - beta / 2.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    beta : float
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not beta >= 0:
            raise ValueError(f"SmoothL1Loss: beta is {beta}; expected 0 or more")
        self.beta = beta

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """Any shape to a single value."""
        return functional.smooth_l1_loss(x, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """d^2 / 2 where d = |x - target| is below delta, else delta (d - delta / 2).

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    delta : float
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta is {delta}; expected more than 0")
        self.delta = delta

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """Any shape to a single value."""
        return functional.huber_loss(x, target, self.reduction, self.delta)


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities.

    Parameters
    ----------
    weight : array, optional
        A factor of the losses, broadcast.
    reduction : {"mean", "sum", "none"}
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._keep("weight", weight)

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """Any shape to a single value."""
        return functional.binary_cross_entropy(x, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of sigmoid(x), without overflow.

    Parameters
    ----------
    weight : array, optional
        A factor of the losses, broadcast.
    reduction : {"mean", "sum", "none"}
    pos_weight : array, optional
        A factor of the positive part, broadcast.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._keep("weight", weight)
        self._keep("pos_weight", pos_weight)

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """Any shape to a single value."""
        return functional.binary_cross_entropy_with_logits(
            x, target, self.weight, self.reduction, self.pos_weight
        )


class MultiMarginLoss(_Loss):
    """The multi-class hinge of scores (N, C) and labels (N,).

    Parameters
    ----------
    p : {1, 2}
    margin : float
    weight : array of shape (C,), optional
        A factor for each label.
    reduction : {"mean", "sum", "none"}
    """

    weight: Tensor | None

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p is {p}; expected 1 or 2")
        self._keep("weight", weight)
        self.p, self.margin = p, margin

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """(N, C) and (N,) to a single value."""
        return functional.multi_margin_loss(x, target, self.p, self.margin, self.weight, self.reduction)


class HingeLoss(_Loss):
    """max(0, margin - t x) with targets t of -1 and 1.

    Parameters
    ----------
    margin : float
    reduction : {"mean", "sum", "none"}
    """

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """Scores and targets of one shape to a single value."""
        return functional.hinge_loss(x, target, self.margin, self.reduction)
