"""Say why a loss is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlkit.kernels.backend import to_host

from .errors import NonFiniteLossError

if TYPE_CHECKING:
    from .trainer import Trainer


def non_finite_error(
    trainer: Trainer,
    value: float,
    x: NDArray[Any],
    y: NDArray[Any],
    outputs: NDArray[Any],
    within: int = 1,
) -> NonFiniteLossError:
    """The error for a loss of `value`, with where it was met, the likely cause, and what to try.

    `within` tells among how many batches it was, the given one the last of them.
    """
    x, y, outputs = to_host(x), to_host(y), to_host(outputs)
    what = "NaN" if np.isnan(value) else "infinite"
    where = f"in epoch {trainer.epoch + 1}, step {trainer.step + 1}"
    if within > 1:
        where = f"in epoch {trainer.epoch + 1}, between step {trainer.step - within + 1} and {trainer.step}"
    if cause := _not_finite_in("the inputs of this batch", x) or _not_finite_in(
        "the labels of this batch", y
    ):
        advice = "clean the data"
    elif names := [
        name for name, p in trainer.model.named_parameters() if not np.isfinite(to_host(p.data)).all()
    ]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        cause = f"the weights {names[0]}{more} are not finite: training has diverged"
        advice = f"try a learning rate below {trainer.lr:g}, or clip_norm=1.0"
    elif cause := _not_finite_in("the outputs of the model", outputs):
        advice = f"the activations overflow: try a learning rate below {trainer.lr:g}, or clip_norm=1.0"
    else:
        cause = f"the outputs reach {float(np.abs(outputs).max()) if outputs.size else 0.0:.3g}"
        advice = (
            f"the loss function overflows: try a learning rate below {trainer.lr:g}, or scale the targets"
        )
    return NonFiniteLossError(f"the loss is {what} {where}: {cause}; {advice}")


def _not_finite_in(what: str, array: NDArray[Any]) -> str | None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    return f"{what} hold {int((~np.isfinite(array)).sum())} values that are NaN or infinite"
