"""SGD: against the textbook in float64 and against PyTorch, over many steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.optim import SGD

_SETTINGS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.05},
    {"momentum": 0.9, "dampening": 0.3},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
    {"momentum": 1.0},
    {"maximize": True},
    {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1, "maximize": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True},
]
settings = pytest.mark.parametrize("options", _SETTINGS, ids=str)


def textbook(lr: float, options: dict[str, Any]) -> Any:
    """Sutskever et al., 2013, in PyTorch's form: v = momentum v + (1 - dampening) g, at first v = g."""
    momentum, dampening = options.get("momentum", 0), options.get("dampening", 0)

    def update(p: Any, g: Any, state: dict[str, Any], t: int) -> Any:
        if options.get("maximize"):
            g = -g
        g = g + options.get("weight_decay", 0) * p
        if momentum:
            state["v"] = g if t == 1 else momentum * state["v"] + (1 - dampening) * g
            g = g + momentum * state["v"] if options.get("nesterov") else state["v"]
        return p - lr * g

    return update


@settings
def test_against_the_textbook(options: Any, dtype: Any, course: Any, close: Any) -> None:
    values, _ = course.ours(lambda p: SGD(p, lr=0.03, **options), dtype)
    assert all(value.dtype == dtype for value in values)
    close(values, course.textbook(textbook(0.03, options)), 3e-6 if dtype is np.float32 else 1e-14)


@settings
def test_against_pytorch(options: Any, dtype: Any, course: Any, close: Any, torch: Any) -> None:
    values, optimizer = course.ours(lambda p: SGD(p, 0.03, **options), dtype)
    theirs, other = course.torchs(lambda p: torch.optim.SGD(p, 0.03, **options), torch, dtype)
    tolerance = 2e-6 if dtype is np.float32 else 1e-14
    close(values, theirs, tolerance)
    if options.get("momentum"):
        buffers = [entry["momentum_buffer"] for entry in optimizer.state_dict()["state"].values()]
        expected = [entry["momentum_buffer"].numpy() for entry in other.state_dict()["state"].values()]
        close(buffers, expected, tolerance)


def test_arguments_are_pytorchs(torch: Any, course: Any, close: Any) -> None:
    # In their order, and by default.
    values, _ = course.ours(lambda p: SGD(p, 0.1, 0.9, 0.0, 0.01, True), np.float64)
    theirs, _ = course.torchs(lambda p: torch.optim.SGD(p, 0.1, 0.9, 0.0, 0.01, True), torch, np.float64)
    close(values, theirs, 1e-14)
    ours, them = SGD([dl.zeros(1)]).defaults, torch.optim.SGD([torch.zeros(1)]).defaults
    assert ours == {name: them[name] for name in ours}


def test_without_momentum_nothing_is_kept(course: Any) -> None:
    _, optimizer = course.ours(lambda p: SGD(p, lr=0.1), np.float32)
    assert optimizer.state == {}
    assert optimizer.state_dict()["state"] == {}


def test_momentum_switched_on_later() -> None:
    p = dl.tensor([1.0], requires_grad=True)
    optimizer = SGD([p], lr=0.1)
    p.grad = [1.0]
    optimizer.step()
    optimizer.param_groups[0]["momentum"] = 0.9
    optimizer.step()
    optimizer.step()
    assert p.item() == pytest.approx(1 - 0.1 - 0.1 - 0.19)


def test_a_step_that_failed_leaves_no_state_behind() -> None:
    # Velocities that were never written must not be taken for real ones.
    p = dl.tensor(np.ones(1000, np.float32), requires_grad=True)
    optimizer = SGD([p], lr=0.1, momentum=0.9)
    p.grad = np.ones(1000, np.float32)
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="sgd_step: lr is nan"):
        optimizer.step()
    assert optimizer.state == {}
    assert (p.data == 1).all()
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(p.data, 1 - 0.1 - 0.19, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": -0.1}, "lr is -0.1; expected a finite number, 0 or more"),
        ({"lr": float("nan")}, "lr is nan; expected a finite number"),
        ({"lr": float("inf")}, "lr is inf; expected a finite number"),
        ({"lr": "fast"}, "lr is 'fast'; expected a finite number"),
        ({"lr": None}, "lr is None; expected a finite number"),
        ({"lr": True}, "lr is True; expected a finite number"),
        ({"lr": [0.1]}, r"lr is \[0.1\]; expected a finite number"),
        ({"momentum": -1}, "momentum is -1; expected a finite number, 0 or more"),
        ({"momentum": float("inf")}, "momentum is inf"),
        ({"dampening": float("nan")}, "dampening is nan; expected a finite number"),
        ({"weight_decay": -1e-3}, "weight_decay is -0.001; expected a finite number, 0 or more"),
        ({"weight_decay": "x"}, "weight_decay is 'x'"),
        (
            {"nesterov": True},
            r"nesterov is True with momentum 0.0 and dampening 0.0; expected\s+momentum above 0",
        ),
        (
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            "nesterov is True with momentum 0.9 and dampening 0.1",
        ),
    ],
)
def test_settings_out_of_range(options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^SGD: {text}"):
        SGD([dl.zeros(1)], **options)
    with pytest.raises(ValueError, match=rf"^SGD: {text}"):  # in a group, too
        SGD([{"params": [dl.zeros(1)], **options}])


def test_numbers_of_numpy_are_numbers() -> None:
    p = dl.tensor([1.0], requires_grad=True)
    p.grad = [1.0]
    SGD([p], lr=np.float32(0.5), momentum=np.float64(0.5), weight_decay=np.int64(0)).step()
    assert p.item() == 0.5


def test_state_of_pytorch(torch: Any, course: Any, close: Any) -> None:
    # Ten steps there, the others here, as if nothing had happened.
    theirs = [torch.nn.Parameter(torch.tensor(start)) for start in course.starts]
    other = torch.optim.SGD(theirs, lr=0.02, momentum=0.8, weight_decay=0.01, nesterov=True)
    tensors = course.tensors(np.float64)
    ours = SGD(tensors, lr=1.0)
    for step, gradients in enumerate(course.gradients):
        if step == 10:
            ours.load_state_dict(other.state_dict())
            for tensor, parameter in zip(tensors, theirs, strict=True):
                tensor.data[...] = parameter.detach().numpy()
        for tensor, parameter, gradient in zip(tensors, theirs, gradients, strict=True):
            tensor.grad, parameter.grad = gradient, torch.tensor(gradient)
        other.step()
        if step >= 10:
            ours.step()
    close([t.data for t in tensors], [p.detach().numpy() for p in theirs], 1e-13)
    assert ours.param_groups[0]["lr"] == 0.02
    assert ours.param_groups[0]["nesterov"] is True


def test_state_of_pytorch_without_momentum(torch: Any) -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    other = torch.optim.SGD([parameter], lr=0.5)
    parameter.grad = torch.ones(2)
    other.step()
    p = dl.zeros(2, requires_grad=True)
    ours = SGD([p])
    ours.load_state_dict(other.state_dict())
    p.grad = [1.0, 1.0]
    ours.step()
    assert p.tolist() == [-0.5, -0.5]
