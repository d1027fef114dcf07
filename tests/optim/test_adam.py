"""Adam and AdamW: against the textbook in float64 and against PyTorch, over many steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.optim import Adam, AdamW

_SETTINGS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.0},
    {"betas": (0.5, 0.9)},
    {"betas": (0.0, 0.99)},
    {"betas": (0.9, 0.0)},
    {"eps": 1e-3},
    {"maximize": True, "weight_decay": 0.1},
    {"lr": 0.1, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.3},
]
settings = pytest.mark.parametrize("options", _SETTINGS, ids=str)
kinds = pytest.mark.parametrize("kind", [Adam, AdamW])


def textbook(kind: Any, options: dict[str, Any]) -> Any:
    """Kingma & Ba, 2015, algorithm 1; Loshchilov & Hutter, 2019, algorithm 2, with the decay times lr."""
    lr, (b1, b2) = options.get("lr", 1e-3), options.get("betas", (0.9, 0.999))
    eps, decay = options.get("eps", 1e-8), options.get("weight_decay", 0.01 if kind is AdamW else 0)

    def update(p: Any, g: Any, state: dict[str, Any], t: int) -> Any:
        if options.get("maximize"):
            g = -g
        if kind is Adam:
            g = g + decay * p
        m = state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
        v = state["v"] = b2 * state.get("v", 0) + (1 - b2) * g**2
        step = lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        return p - step - (lr * decay * p if kind is AdamW else 0)

    return update


@kinds
@settings
def test_against_the_textbook(kind: Any, options: Any, dtype: Any, course: Any, close: Any) -> None:
    values, _ = course.ours(lambda p: kind(p, **options), dtype)
    assert all(value.dtype == dtype for value in values)
    close(values, course.textbook(textbook(kind, options)), 3e-6 if dtype is np.float32 else 1e-13)


@kinds
@settings
def test_against_pytorch(kind: Any, options: Any, dtype: Any, course: Any, close: Any, torch: Any) -> None:
    values, optimizer = course.ours(lambda p: kind(p, **options), dtype)
    theirs, other = course.torchs(lambda p: getattr(torch.optim, kind.__name__)(p, **options), torch, dtype)
    tolerance = 3e-6 if dtype is np.float32 else 1e-13
    close(values, theirs, tolerance)
    mine, them = optimizer.state_dict()["state"], other.state_dict()["state"]
    assert [entry["step"] for entry in mine.values()] == [25] * len(mine)
    for name in ("exp_avg", "exp_avg_sq"):
        assert list(mine) == list(them)
        close([e[name] for e in mine.values()], [e[name].numpy() for e in them.values()], tolerance)


@kinds
def test_arguments_are_pytorchs(kind: Any, torch: Any, course: Any, close: Any) -> None:
    theirs_of = getattr(torch.optim, kind.__name__)
    values, _ = course.ours(lambda p: kind(p, 0.1, (0.8, 0.9), 1e-4, 0.2), np.float64)
    theirs, _ = course.torchs(lambda p: theirs_of(p, 0.1, (0.8, 0.9), 1e-4, 0.2), torch, np.float64)
    close(values, theirs, 1e-13)
    ours, them = kind([dl.zeros(1)]).defaults, theirs_of([torch.zeros(1)]).defaults
    assert ours == {name: them[name] for name in ours}


@kinds
def test_the_first_step_is_of_size_lr(kind: Any, rng: np.random.Generator) -> None:
    # Whatever the gradient: m / sqrt(v) is its sign.
    p = dl.zeros(6, requires_grad=True)
    p.grad = np.array([1e-4, -1e-4, 1, -1, 1e4, -1e4], np.float32)
    kind([p], lr=0.01, weight_decay=0).step()
    np.testing.assert_allclose(p.data, -0.01 * np.sign(p.grad.data), rtol=2e-4)


@kinds
def test_parameters_that_join_later_count_their_own_steps(kind: Any, torch: Any) -> None:
    arrays = [np.array([1.0, 2.0]), np.array([3.0])]
    ours = [dl.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    mine, other = kind(ours, lr=0.1), getattr(torch.optim, kind.__name__)(theirs, lr=0.1)
    for step in range(12):
        for i in (0, 1):
            has = step >= 5 if i else step % 3 != 1  # the second begins late, the first pauses now and then
            g = np.full(arrays[i].shape, np.sin(step + i))
            ours[i].grad = g if has else None
            theirs[i].grad = torch.tensor(g) if has else None
        mine.step()
        other.step()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-13)
    assert [mine.state[t]["step"] for t in ours] == [8, 7]


@kinds
def test_a_step_that_failed_does_not_count(kind: Any) -> None:
    first, second = (dl.tensor(np.ones(3, d), requires_grad=True) for d in (np.float32, np.float64))
    optimizer = kind([first, second], lr=0.1)

    def step() -> None:
        first.grad, second.grad = np.ones(3, np.float32), np.ones(3)
        optimizer.step()

    step()
    optimizer.param_groups[0]["lr"] = float("inf")
    with pytest.raises(ValueError, match="adam_step: lr is inf"):
        step()
    assert [optimizer.state[t]["step"] for t in (first, second)] == [1, 1]
    optimizer.param_groups[0]["lr"] = 0.1
    kept = optimizer.state[second]["exp_avg"]
    optimizer.state[second]["exp_avg"] = np.zeros(4)
    with pytest.raises(ValueError, match=r"adam_step: exp_avgs\[0\] is \(4,\) but params\[0\] is \(3,\)"):
        step()
    # float32 had its step, float64 had none.
    assert [optimizer.state[t]["step"] for t in (first, second)] == [2, 1]
    optimizer.state[second]["exp_avg"] = kept
    step()
    assert [optimizer.state[t]["step"] for t in (first, second)] == [3, 2]


@kinds
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": -1}, "lr is -1; expected a finite number, 0 or more"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"lr": "0.1"}, "lr is '0.1'; expected a finite number"),
        ({"eps": -1e-8}, "eps is -1e-08; expected a finite number, 0 or more"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"weight_decay": -1}, "weight_decay is -1; expected a finite number, 0 or more"),
        ({"betas": (1.0, 0.9)}, r"betas is \(1.0, 0.9\); expected two numbers from 0 to below 1"),
        ({"betas": (0.9, 1.0)}, r"betas is \(0.9, 1.0\)"),
        ({"betas": (-0.1, 0.9)}, r"betas is \(-0.1, 0.9\)"),
        ({"betas": (0.9, float("nan"))}, r"betas is \(0.9, nan\)"),
        ({"betas": (0.9,)}, r"betas is \(0.9,\); expected two numbers"),
        ({"betas": 0.9}, "betas is 0.9; expected two numbers"),
        ({"betas": ("a", "b")}, r"betas is \('a', 'b'\); expected two numbers"),
        ({"betas": None}, "betas is None; expected two numbers"),
    ],
)
def test_settings_out_of_range(kind: Any, options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: {text}"):
        kind([dl.zeros(1)], **options)
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: {text}"):
        kind([{"params": [dl.zeros(1)], **options}])


@kinds
def test_state_of_pytorch_and_back(kind: Any, torch: Any, course: Any, close: Any) -> None:
    # Ten steps there, eight here, the others there: as if nothing had happened.
    make = lambda p: getattr(torch.optim, kind.__name__)(p, lr=0.02, weight_decay=0.05)  # noqa: E731
    expected, _ = course.torchs(make, torch, np.float64)
    parameters = [torch.nn.Parameter(torch.tensor(start)) for start in course.starts]
    theirs = make(parameters)
    tensors = course.tensors(np.float64)
    ours = kind(tensors)
    for step, gradients in enumerate(course.gradients):
        if step == 10:
            ours.load_state_dict(theirs.state_dict())
            for tensor, parameter in zip(tensors, parameters, strict=True):
                tensor.data[...] = parameter.detach().numpy()
        if step == 18:
            state = ours.state_dict()
            state["state"] = {
                i: {name: torch.as_tensor(value).clone() for name, value in entry.items()}
                for i, entry in state["state"].items()
            }
            theirs = make(parameters)
            theirs.load_state_dict(state)
            for tensor, parameter in zip(tensors, parameters, strict=True):
                parameter.data[...] = torch.tensor(tensor.data)
        if 10 <= step < 18:
            for tensor, gradient in zip(tensors, gradients, strict=True):
                tensor.grad = gradient
            ours.step()
        else:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = torch.tensor(gradient)
            theirs.step()
    close([p.detach().numpy() for p in parameters], expected, 1e-13)


def test_states_of_pytorch_that_mean_something_else(torch: Any) -> None:
    def saved(kind: str, **options: Any) -> Any:
        parameter = torch.nn.Parameter(torch.ones(2))
        optimizer = getattr(torch.optim, kind)([parameter], lr=0.1, **options)
        parameter.grad = torch.ones(2)
        optimizer.step()
        return optimizer.state_dict()

    with pytest.raises(ValueError, match=r"Adam: .*amsgrad"):
        Adam([dl.ones(2)]).load_state_dict(saved("Adam", amsgrad=True))
    with pytest.raises(ValueError, match=r"Adam: .*decoupled_weight_decay=True; expected one of Adam"):
        Adam([dl.ones(2)]).load_state_dict(saved("AdamW"))
    with pytest.raises(ValueError, match=r"AdamW: .*decoupled_weight_decay=False; expected one of AdamW"):
        AdamW([dl.ones(2)]).load_state_dict(saved("Adam", weight_decay=0.1))
    Adam([dl.ones(2)]).load_state_dict(saved("AdamW", weight_decay=0))  # the same without decay
    with pytest.raises(
        ValueError, match=r"Adam: the state has momentum_buffer for parameter 0; expected step, exp_avg"
    ):
        Adam([dl.ones(2)]).load_state_dict(saved("SGD", momentum=0.9))
    with pytest.raises(
        ValueError, match=r"SGD: the state has step, exp_avg, exp_avg_sq for parameter 0; expected mom"
    ):
        dl.optim.SGD([dl.ones(2)], momentum=0.9).load_state_dict(saved("Adam"))
