"""Losses as modules: the functions' settings are kept, printed, saved and checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.nn import functional as F

_WEIGHT = np.array([0.5, 2.0, 1.0], np.float32)

# Module, its settings, the function that it is, what its targets are drawn from.
_LOSSES: list[tuple[type[nn.Module], dict[str, Any], Any, str]] = [
    (nn.MSELoss, {}, F.mse_loss, "numbers"),
    (nn.L1Loss, {}, F.l1_loss, "numbers"),
    (nn.SmoothL1Loss, {"beta": 0.5}, F.smooth_l1_loss, "numbers"),
    (nn.HuberLoss, {"delta": 0.5}, F.huber_loss, "numbers"),
    (nn.BCELoss, {"weight": _WEIGHT}, F.binary_cross_entropy, "probabilities"),
    (
        nn.BCEWithLogitsLoss,
        {"weight": _WEIGHT, "pos_weight": 2 * _WEIGHT},
        F.binary_cross_entropy_with_logits,
        "probabilities",
    ),
    (nn.HingeLoss, {"margin": 0.5}, F.hinge_loss, "signs"),
    (
        nn.CrossEntropyLoss,
        {"weight": _WEIGHT, "ignore_index": 1, "label_smoothing": 0.2},
        F.cross_entropy,
        "labels",
    ),
    (nn.NLLLoss, {"weight": _WEIGHT, "ignore_index": 1}, F.nll_loss, "labels"),
    (nn.MultiMarginLoss, {"p": 2, "margin": 0.5, "weight": _WEIGHT}, F.multi_margin_loss, "labels"),
]
_IDS = [case[0].__name__ for case in _LOSSES]


def drawn(rng: np.random.Generator, kind: str) -> tuple[Any, Any]:
    x = rng.standard_normal((5, 3)).astype(np.float32)
    if kind == "labels":
        return x, np.array([0, 1, 2, 2, 0])
    if kind == "signs":
        return x, rng.choice([-1.0, 1.0], (5, 3)).astype(np.float32)
    if kind == "probabilities":
        return rng.uniform(0.1, 0.9, (5, 3)).astype(np.float32), rng.uniform(0, 1, (5, 3)).astype(np.float32)
    return x, rng.standard_normal((5, 3)).astype(np.float32)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("kind", "settings", "function", "draw"), _LOSSES, ids=_IDS)
def test_is_the_function(
    kind: Any, settings: Any, function: Any, draw: str, reduction: str, rng: np.random.Generator
) -> None:
    x, target = drawn(rng, draw)
    plain = kind(reduction=reduction)(dl.tensor(x), target)
    np.testing.assert_array_equal(plain.data, function(x, target, reduction=reduction).data)
    with_settings = kind(**settings, reduction=reduction)(dl.tensor(x), target)
    expected = function(x, target, reduction=reduction, **settings)
    np.testing.assert_array_equal(with_settings.data, expected.data)
    if settings:  # each has an effect
        assert (with_settings.data != plain.data).any()


@pytest.mark.parametrize(
    ("kind", "settings", "function", "draw"),
    [case for case in _LOSSES if case[0] is not nn.HingeLoss],
    ids=[name for name in _IDS if name != "HingeLoss"],
)
def test_against_pytorch_with_a_state_of_the_same_names(
    kind: Any, settings: Any, function: Any, draw: str, torch: Any, rng: np.random.Generator
) -> None:
    x, target = drawn(rng, draw)
    given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    theirs = getattr(torch.nn, kind.__name__)(**given)
    ours = kind(**settings)
    np.testing.assert_allclose(
        ours(dl.tensor(x), target).data, theirs(torch.tensor(x), torch.tensor(target)).numpy(), rtol=1e-5
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    fresh = kind(**{k: np.zeros_like(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()})
    fresh.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(fresh(x, target).data, ours(x, target).data)
    defaults, their_defaults = kind(), getattr(torch.nn, kind.__name__)()
    assert list(defaults.state_dict()) == list(their_defaults.state_dict()) == []
    for name in ("reduction", "ignore_index", "label_smoothing", "beta", "delta", "p", "margin"):
        assert getattr(defaults, name, None) == getattr(their_defaults, name, None)


@pytest.mark.parametrize(("kind", "settings", "function", "draw"), _LOSSES, ids=_IDS)
def test_has_nothing_to_learn(kind: Any, settings: Any, function: Any, draw: str) -> None:
    assert list(kind(**settings).parameters()) == []


def test_repr() -> None:
    assert repr(nn.MSELoss()) == "MSELoss()"
    assert repr(nn.MSELoss("sum")) == "MSELoss(reduction='sum')"


def test_to_float64_takes_weights_along(rng: np.random.Generator) -> None:
    loss = nn.CrossEntropyLoss(_WEIGHT).double()
    assert loss.weight is not None
    assert loss.weight.dtype == np.float64
    assert loss(rng.standard_normal((2, 3)), [0, 1]).dtype == np.float64


class TestErrors:
    @pytest.mark.parametrize("kind", [case[0] for case in _LOSSES], ids=_IDS)
    def test_reduction(self, kind: Any) -> None:
        with pytest.raises(
            ValueError, match=rf"{kind.__name__}: reduction is 'max'; expected 'mean', 'sum' or"
        ):
            kind(reduction="max")

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (lambda: nn.CrossEntropyLoss(label_smoothing=2), "label_smoothing is 2; expected 0 to 1"),
            (lambda: nn.MultiMarginLoss(p=3), "p is 3; expected 1 or 2"),
            (lambda: nn.HuberLoss(delta=0), "HuberLoss: delta is 0; expected more than 0"),
            (lambda: nn.SmoothL1Loss(beta=-1), "SmoothL1Loss: beta is -1; expected 0 or more"),
        ],
    )
    def test_settings_when_it_is_made(self, make: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            make()

    def test_weights_that_are_no_numbers(self) -> None:
        with pytest.raises(TypeError, match="weight is"):
            nn.CrossEntropyLoss("heavy")
