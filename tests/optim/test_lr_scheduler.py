"""Schedules of the learning rate: against PyTorch's, step for step; alone, in sequence, together, restored."""

from __future__ import annotations

import copy
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import optim
from dlkit.optim import lr_scheduler

_BASE = (0.1, 0.02)


def ours() -> tuple[Any, Any]:
    groups = [{"params": [dl.zeros(1)], "lr": lr} for lr in _BASE]
    return optim.SGD(groups), lr_scheduler


def theirs(torch: Any) -> tuple[Any, Any]:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in _BASE]
    return torch.optim.SGD(groups), torch.optim.lr_scheduler


def rates(optimizer: Any) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def run(make: Any, pair: tuple[Any, Any], steps: int) -> list[list[float]]:
    optimizer, library = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch wants to see steps of the optimizer
        schedule = make(library, optimizer)
        found = [rates(optimizer)]
        for _ in range(steps):
            schedule.step()
            found.append(rates(optimizer))
            assert schedule.get_last_lr() == found[-1]
    return found


_SCHEDULES: dict[str, Any] = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda e: 0.9**e),
    "LambdaLR of each": lambda s, o: s.LambdaLR(o, [lambda e: 1 / (e + 1), lambda e: 1 + e % 3]),
    "StepLR": lambda s, o: s.StepLR(o, 4),
    "StepLR 1": lambda s, o: s.StepLR(o, step_size=1, gamma=0.8),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 7, 7, 20], gamma=0.5),
    "MultiStepLR in disorder": lambda s, o: s.MultiStepLR(o, [9, 2]),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "ConstantLR": lambda s, o: s.ConstantLR(o),
    "ConstantLR 0.5": lambda s, o: s.ConstantLR(o, 0.5, 8),
    "ConstantLR at once": lambda s, o: s.ConstantLR(o, 0.5, 0),
    "LinearLR": lambda s, o: s.LinearLR(o),
    "LinearLR down": lambda s, o: s.LinearLR(o, 1.0, 0.0, 12),
    "LinearLR up": lambda s, o: s.LinearLR(o, start_factor=0.01, total_iters=9),
    "LinearLR 1": lambda s, o: s.LinearLR(o, 0.5, 1.0, 1),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 10),
    "CosineAnnealingLR to a minimum": lambda s, o: s.CosineAnnealingLR(o, T_max=7, eta_min=0.01),
    "CosineAnnealingLR 1": lambda s, o: s.CosineAnnealingLR(o, 1),
    "warm-up, then cosine": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 15)], milestones=[5]
    ),
    "warm-up with a hold": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.25, total_iters=4), s.ConstantLR(o, 1.0, 3), s.ExponentialLR(o, 0.8)], [4, 8]
    ),
    "steps after a constant": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 100), s.StepLR(o, 3, 0.5), s.MultiStepLR(o, [2, 4])], [2, 12]
    ),
    "the second from the beginning": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], [0]
    ),
    "a single one": lambda s, o: s.SequentialLR(o, [s.StepLR(o, 3)], []),
}
every = pytest.mark.parametrize("make", _SCHEDULES.values(), ids=_SCHEDULES)


@every
def test_against_pytorch(make: Any, torch: Any) -> None:
    np.testing.assert_allclose(run(make, ours(), 45), run(make, theirs(torch), 45), rtol=1e-12, atol=1e-18)


# Their definitions, without recursion: the rate's factor at each step.
_CLOSED: dict[str, Any] = {
    "StepLR": lambda e: 0.1 ** (e // 4),
    "MultiStepLR": lambda e: 0.5 ** ((e >= 3) + 2 * (e >= 7) + (e >= 20)),
    "ExponentialLR": lambda e: 0.9**e,
    "ConstantLR 0.5": lambda e: 0.5 if e < 8 else 1,
    "LinearLR up": lambda e: 0.01 + 0.99 * min(e, 9) / 9,
    "LinearLR down": lambda e: 1 - min(e, 12) / 12,
    "CosineAnnealingLR": lambda e: (1 + math.cos(math.pi * e / 10)) / 2,
    "warm-up, then cosine": lambda e: (
        0.1 + 0.9 * e / 5 if e < 5 else (1 + math.cos(math.pi * (e - 5) / 15)) / 2
    ),
}


@pytest.mark.parametrize("name", _CLOSED)
def test_against_the_definition(name: str) -> None:
    expected = [[base * _CLOSED[name](e) for base in _BASE] for e in range(46)]
    np.testing.assert_allclose(run(_SCHEDULES[name], ours(), 45), expected, rtol=1e-11, atol=1e-16)


_TOGETHER: dict[str, Any] = {
    "exponential on steps": lambda s, o: [s.ExponentialLR(o, 0.95), s.StepLR(o, 4, 0.5)],
    "warm-up on exponential": lambda s, o: [s.LinearLR(o, 0.1, total_iters=6), s.ExponentialLR(o, 0.9)],
    "constant on cosine": lambda s, o: [s.ConstantLR(o, 0.1, 5), s.CosineAnnealingLR(o, 20)],
    "three": lambda s, o: [s.MultiStepLR(o, [4, 9]), s.LinearLR(o), s.ExponentialLR(o, 0.99)],
}


@pytest.mark.parametrize("make", _TOGETHER.values(), ids=_TOGETHER)
def test_chained_against_pytorch(make: Any, torch: Any) -> None:
    # All of them at every step, each from the rate that the one before has left.
    class Chain:
        def __init__(self, schedules: Any) -> None:
            self.schedules = schedules

        def step(self) -> None:
            for schedule in self.schedules:
                schedule.step()

        def get_last_lr(self) -> list[float]:
            found: list[float] = self.schedules[-1].get_last_lr()
            return found

    chained = lambda s, o: Chain(make(s, o))  # noqa: E731
    np.testing.assert_allclose(run(chained, ours(), 40), run(chained, theirs(torch), 40), rtol=1e-12)


@every
@pytest.mark.parametrize("at", [0, 1, 4, 5, 13])
@pytest.mark.parametrize("through_json", [False, True])
def test_restored(make: Any, at: int, through_json: bool) -> None:
    expected = run(make, ours(), 30)
    optimizer, _ = ours()
    schedule = make(lr_scheduler, optimizer)
    for _ in range(at):
        schedule.step()
    state = {"schedule": schedule.state_dict(), "optimizer": optimizer.state_dict()}
    state = json.loads(json.dumps(state)) if through_json else copy.deepcopy(state)
    later, _ = ours()
    restored = make(lr_scheduler, later)
    later.load_state_dict(state["optimizer"])
    restored.load_state_dict(state["schedule"])
    assert restored.get_last_lr() == expected[at]
    for step in range(at + 1, 31):
        restored.step()
        np.testing.assert_allclose(rates(later), expected[step], rtol=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda s, o, e: s.LambdaLR(o, lambda step: 0.9**step, last_epoch=e),
        lambda s, o, e: s.StepLR(o, 4, 0.5, last_epoch=e),
        lambda s, o, e: s.MultiStepLR(o, [3, 8], last_epoch=e),
        lambda s, o, e: s.ExponentialLR(o, 0.9, last_epoch=e),
        lambda s, o, e: s.ConstantLR(o, 0.5, 8, last_epoch=e),
        lambda s, o, e: s.LinearLR(o, 0.1, 1.0, 9, last_epoch=e),
        lambda s, o, e: s.CosineAnnealingLR(o, 10, 0.001, last_epoch=e),
    ],
)
@pytest.mark.parametrize("made", range(1, 12))
def test_going_on_by_last_epoch(make: Any, made: int) -> None:
    # With the optimizer's state alone: after `made` steps, last_epoch=made - 1 goes on as if nothing had happened.
    optimizer, library = ours()
    schedule = make(library, optimizer, -1)
    for _ in range(made):
        schedule.step()
    later, _ = ours()
    later.load_state_dict(optimizer.state_dict())
    restored = make(library, later, made - 1)
    for _ in range(20):
        np.testing.assert_allclose(rates(later), rates(optimizer), rtol=1e-12)
        assert restored.last_epoch == schedule.last_epoch
        assert restored.get_last_lr() == rates(later)
        schedule.step()
        restored.step()


def test_going_on_by_last_epoch_without_initial_lr() -> None:
    with pytest.raises(
        KeyError, match=r"StepLR: last_epoch is 3 but group 0 of the optimizer has no initial_lr"
    ):
        lr_scheduler.StepLR(ours()[0], 4, last_epoch=3)


def test_state_of_pytorch(torch: Any) -> None:
    for name in ("StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "LinearLR"):
        make = _SCHEDULES[name]
        expected = run(make, ours(), 20)
        other, library = theirs(torch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schedule = make(library, other)
            for _ in range(7):
                schedule.step()
        mine, _ = ours()
        restored = make(lr_scheduler, mine)
        mine.load_state_dict(other.state_dict())
        restored.load_state_dict(schedule.state_dict())
        for step in range(8, 21):
            restored.step()
            np.testing.assert_allclose(rates(mine), expected[step], rtol=1e-12)


def test_the_optimizer_uses_the_rate() -> None:
    p = dl.tensor([0.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    for _ in range(3):
        p.grad = [1.0]
        optimizer.step()
        schedule.step()
    assert p.item() == -1.75


_PLATEAU: list[dict[str, Any]] = [
    {},
    {"patience": 2, "factor": 0.5},
    {"patience": 0, "factor": 0.9, "cooldown": 3},
    {"mode": "max", "patience": 1},
    {"mode": "max", "patience": 1, "threshold": 0.3, "threshold_mode": "abs"},
    {"patience": 1, "threshold": 0.2},
    {"patience": 1, "threshold": 0.2, "threshold_mode": "abs"},
    {"patience": 1, "min_lr": 0.01},
    {"patience": 1, "min_lr": [0.05, 0.001]},
    {"patience": 0, "factor": 0.5, "eps": 0.01},
    {"patience": 0, "factor": 0.0},
]


@pytest.mark.parametrize("options", _PLATEAU, ids=str)
def test_plateau_against_pytorch(options: Any, torch: Any, rng: np.random.Generator) -> None:
    metrics = np.round(1 / np.arange(1, 80) + 0.1 * rng.standard_normal(79), 2)
    metrics[[10, 40]] = np.nan, np.inf
    mine, other = ours()[0], theirs(torch)[0]
    schedule = lr_scheduler.ReduceLROnPlateau(mine, **options)
    expected = torch.optim.lr_scheduler.ReduceLROnPlateau(other, **options)
    for i, metric in enumerate(metrics):
        if i == 33:  # restored in between
            state = json.loads(json.dumps(schedule.state_dict()))
            schedule = lr_scheduler.ReduceLROnPlateau(mine, **options)
            schedule.load_state_dict(state)
        schedule.step(dl.tensor(metric) if i % 2 else float(metric))
        expected.step(metric)
        np.testing.assert_allclose(rates(mine), rates(other), rtol=1e-12)
        assert schedule.get_last_lr() == rates(mine)
        assert schedule.num_bad_epochs == expected.num_bad_epochs


def test_one_of_ones_own() -> None:
    class Halving(lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / 2**self.last_epoch for base in self.base_lrs]

    optimizer, _ = ours()
    schedule = Halving(optimizer)
    schedule.step()
    schedule.step()
    assert rates(optimizer) == [0.025, 0.005]
    with pytest.raises(TypeError, match="LRScheduler: get_lr is not defined"):
        lr_scheduler.LRScheduler(ours()[0])


@pytest.mark.parametrize(
    ("name", "make"), [(name, make) for name, make in _SCHEDULES.items() if "Lambda" not in name]
)
def test_groups_added_later(name: str, make: Any) -> None:
    # Those that were there go on as before; the new one begins from its own rate.
    expected = run(make, ours(), 30)
    optimizer, _ = ours()
    schedule = make(lr_scheduler, optimizer)
    for step in range(1, 31):
        if step == 3:
            optimizer.add_param_group({"params": [dl.zeros(1)], "lr": 1.0})
            assert rates(optimizer) == [*expected[2], 1.0]
        schedule.step()
        np.testing.assert_allclose(rates(optimizer)[:2], expected[step], rtol=1e-12)
        assert np.isfinite(rates(optimizer)[-1])
    if name == "ExponentialLR":
        np.testing.assert_allclose(rates(optimizer)[2], 0.9**28)


def test_groups_added_later_that_are_not_provided_for() -> None:
    optimizer, _ = ours()
    schedule = lr_scheduler.LambdaLR(optimizer, lambda e: 1.0)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.01, 0.001])
    usual = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.05)
    optimizer.add_param_group({"params": [dl.zeros(1)], "lr": 1.0})
    with pytest.raises(
        ValueError, match="LambdaLR: the optimizer has 3 groups by now; lr_lambda has 2 functions"
    ):
        schedule.step()
    with pytest.raises(ValueError, match="the optimizer has 3 groups by now; min_lr has 2 values"):
        plateau.step(1.0)
    for _ in range(3):
        usual.step(1.0)
    assert rates(optimizer)[2] == 0.05


class TestErrors:
    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (lambda s, o: s.StepLR(o, 0), "StepLR: step_size is 0; expected at least 1"),
            (lambda s, o: s.LinearLR(o, 0.0), "LinearLR: start_factor is 0.0; expected above 0, at most 1"),
            (lambda s, o: s.LinearLR(o, 1.5), "LinearLR: start_factor is 1.5"),
            (lambda s, o: s.LinearLR(o, end_factor=-1), "LinearLR: end_factor is -1; expected 0 to 1"),
            (lambda s, o: s.LinearLR(o, total_iters=0), "LinearLR: total_iters is 0; expected at least 1"),
            (lambda s, o: s.ConstantLR(o, 1.5), "ConstantLR: factor is 1.5; expected 0 to 1"),
            (lambda s, o: s.ConstantLR(o, float("nan")), "ConstantLR: factor is nan; expected 0 to 1"),
            (lambda s, o: s.CosineAnnealingLR(o, 0), "CosineAnnealingLR: T_max is 0; expected at least 1"),
            (lambda s, o: s.LambdaLR(o, [lambda e: 1]), "LambdaLR: lr_lambda has 1 functions; expected one for"),
            (lambda s, o: s.ReduceLROnPlateau(o, factor=1.0), "factor is 1.0; expected from 0 to below 1"),
            (lambda s, o: s.ReduceLROnPlateau(o, factor=-0.5), "factor is -0.5; expected from 0 to below 1"),
            (lambda s, o: s.ReduceLROnPlateau(o, "least"), "mode is 'least'; expected 'min' or 'max'"),
            (lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="x"), "threshold_mode is 'x'; expected 'rel' or 'abs'"),
            (lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]), "min_lr has 1 values; expected one for"),
            (lambda s, o: s.SequentialLR(o, [], []), "SequentialLR: 0 schedulers and 0 milestones; expected one"),
            (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]), "SequentialLR: 1 schedulers and 1 milestones"),
            (
                lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1), s.StepLR(ours()[0], 1)], [3]),
                "SequentialLR: scheduler 1 is not one of this optimizer",
            ),
        ],
    )  # fmt: skip
    def test_settings(self, make: Any, text: str) -> None:
        optimizer, library = ours()
        with pytest.raises(ValueError, match=text):
            make(library, optimizer)

    @pytest.mark.parametrize(
        "make",
        [
            lambda o: lr_scheduler.StepLR(o, 3),
            lambda o: lr_scheduler.LambdaLR(o, lambda e: 1.0),
            lambda o: lr_scheduler.ReduceLROnPlateau(o),
            lambda o: lr_scheduler.SequentialLR(o, [], []),
        ],
    )
    def test_optimizer(self, make: Any) -> None:
        for wrong in (None, [dl.zeros(1)], dl.nn.Linear(1, 1)):
            with pytest.raises(
                TypeError, match=rf"LR\w*: optimizer is a {type(wrong).__name__}; expected an Optimizer"
            ):
                make(wrong)

    def test_states(self) -> None:
        optimizer, _ = ours()
        with pytest.raises(ValueError, match="StepLR: the state is not one of state_dict"):
            lr_scheduler.StepLR(optimizer, 3).load_state_dict({})
        with pytest.raises(ValueError, match="ReduceLROnPlateau: the state is not one of state_dict"):
            lr_scheduler.ReduceLROnPlateau(optimizer).load_state_dict({"last_epoch": 3})
        sequence = _SCHEDULES["warm-up, then cosine"](lr_scheduler, ours()[0])
        with pytest.raises(ValueError, match="SequentialLR: the state is not one of 2 schedulers"):
            sequence.load_state_dict(_SCHEDULES["a single one"](lr_scheduler, ours()[0]).state_dict())
