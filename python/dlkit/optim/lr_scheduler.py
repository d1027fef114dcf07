"""Schedules of the learning rate. Call ``step()`` after the optimizer's, once for each epoch (or batch)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlkit.optim.optimizer import Optimizer


def _check_optimizer(optimizer: Any, operation: str) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{operation}: optimizer is a {type(optimizer).__name__}; expected an Optimizer")


class LRScheduler:
    """Base of schedules: changes ``lr`` of each group at every `step`.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        -1 to begin; to go on without a saved state, the number of the last step before this one (one less than were
        made), with ``lr`` and ``initial_lr`` in the groups as they were.

    Attributes
    ----------
    last_epoch : int
        How many steps were made.
    base_lrs : list of float
        The learning rates at the beginning.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        _check_optimizer(optimizer, type(self).__name__)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                # Another schedule of this optimizer may have changed the rate already: the first one's counts.
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: last_epoch is {last_epoch} but group {i} of the optimizer "
                    "has no initial_lr"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        if last_epoch == -1:
            self.step()
        else:  # the rates are those of this step already
            self.last_epoch += 1
            self._set(self._rates())

    def get_lr(self) -> list[float]:
        """Return the rate of each group at `last_epoch`, from those before. Every schedule defines it."""
        raise TypeError(f"{type(self).__name__}: get_lr is not defined; a LRScheduler's subclass defines it")

    def get_last_lr(self) -> list[float]:
        """Return the rates that the last `step` set."""
        return list(self._last_lr)

    def step(self) -> None:
        """Go on by one, and set the rates."""
        self._admit()
        self.last_epoch += 1
        self._set(self.get_lr())

    def _admit(self) -> None:
        # Groups that were added to the optimizer after this schedule begin from their own rates.
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            self.base_lrs.append(group.setdefault("initial_lr", group["lr"]))

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on: everything but the optimizer and functions."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and not callable(v)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        if "last_epoch" not in state_dict:
            raise ValueError(
                f"{type(self).__name__}: the state is not one of state_dict; expected 'last_epoch'"
            )
        self.__dict__.update({k: v for k, v in state_dict.items() if k in self.__dict__ and k != "optimizer"})


class LambdaLR(LRScheduler):
    """The rate at the beginning times a function of the number of steps.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable from int to float, or a list of them, one for each group
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(optimizer, "LambdaLR")
        groups = len(optimizer.param_groups)
        functions = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(functions) != groups:
            raise ValueError(
                f"LambdaLR: lr_lambda has {len(functions)} functions; expected one for each of {groups} groups"
            )
        self.lr_lambdas = functions
        super().__init__(optimizer, last_epoch)
        self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        """Return the rates at `last_epoch`."""
        if len(self.lr_lambdas) != len(self.base_lrs):
            raise ValueError(
                f"LambdaLR: the optimizer has {len(self.base_lrs)} groups by now; lr_lambda has "
                f"{len(self.lr_lambdas)} functions"
            )
        return [base * f(self.last_epoch) for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on. The functions are not part of it."""
        return {k: v for k, v in super().state_dict().items() if k != "lr_lambdas"}


class StepLR(LRScheduler):
    """Times `gamma` every `step_size` steps."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size is {step_size}; expected at least 1")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates at `last_epoch`."""
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [rate * self.gamma if due else rate for rate in self._rates()]


class MultiStepLR(LRScheduler):
    """Times `gamma` at each of the `milestones`."""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = sorted(int(m) for m in milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates at `last_epoch`."""
        times = Counter(self.milestones)[self.last_epoch]
        return [rate * self.gamma**times for rate in self._rates()]


class ExponentialLR(LRScheduler):
    """Times `gamma` at every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates at `last_epoch`."""
        return [rate * self.gamma if self.last_epoch else rate for rate in self._rates()]


class ConstantLR(LRScheduler):
    """Times `factor` for the first `total_iters` steps."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor is {factor}; expected 0 to 1")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates at `last_epoch`."""
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self._rates()]
        if self.last_epoch != self.total_iters:
            return self._rates()
        if self.factor == 0:
            return list(self.base_lrs)
        return [rate * (1 / self.factor) for rate in self._rates()]


class LinearLR(LRScheduler):
    """Times a factor that goes from `start_factor` to `end_factor` in `total_iters` steps: a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float
        Above 0, at most 1.
    end_factor : float
        From 0 to 1.
    total_iters : int
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor is {start_factor}; expected above 0, at most 1")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor is {end_factor}; expected 0 to 1")
        if total_iters < 1:
            raise ValueError(f"LinearLR: total_iters is {total_iters}; expected at least 1")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates at `last_epoch`."""
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._rates()]
        if self.last_epoch > self.total_iters:
            return self._rates()
        change = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * change
        return [rate * (1 + change / before) for rate in self._rates()]


class CosineAnnealingLR(LRScheduler):
    """Down to `eta_min` along half a cosine in `T_max` steps (Loshchilov & Hutter, 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max is {T_max}; expected at least 1")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates at `last_epoch`."""
        t, low = self.last_epoch, self.eta_min
        if t == 0:
            return self._rates()
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:
            return [
                rate + (base - low) * (1 - math.cos(math.pi / self.T_max)) / 2
                for base, rate in zip(self.base_lrs, self._rates(), strict=True)
            ]
        ratio = (1 + math.cos(math.pi * t / self.T_max)) / (1 + math.cos(math.pi * (t - 1) / self.T_max))
        return [ratio * (rate - low) + low for rate in self._rates()]


class SequentialLR(LRScheduler):
    """Schedules one after another: `schedulers[i]` until step `milestones[i]`. For example a warm-up, then a cosine.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
        Of the same optimizer.
    milestones : list of int
        One fewer than schedulers.
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(optimizer, "SequentialLR")
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers and {len(milestones)} milestones; "
                "expected one milestone fewer than schedulers"
            )
        for i, scheduler in enumerate(schedulers):
            if getattr(scheduler, "optimizer", None) is not optimizer:
                raise ValueError(f"SequentialLR: scheduler {i} is not one of this optimizer")
        self.optimizer = optimizer
        self._schedulers = list(schedulers)
        self._milestones = [int(m) for m in milestones]
        self.last_epoch = last_epoch + 1
        # Each of them has already set the rates of its own step 0: begin anew with the first.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        for scheduler in self._schedulers:
            scheduler.last_epoch -= 1
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first.step()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:
        """Go on by one, and set the rates."""
        self._admit()
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            # It begins from the rates at the beginning.
            for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = base
            scheduler.last_epoch = -1
        scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on, with the state of each schedule."""
        state = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "_schedulers")}
        state["_schedulers"] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        state = dict(state_dict)
        parts = state.pop("_schedulers", None)
        if parts is None or len(parts) != len(self._schedulers):
            raise ValueError(f"SequentialLR: the state is not one of {len(self._schedulers)} schedulers")
        super().load_state_dict(state)
        for scheduler, part in zip(self._schedulers, parts, strict=True):
            scheduler.load_state_dict(part)


class ReduceLROnPlateau:
    """Times `factor` when a quantity has not improved for more than `patience` steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether smaller or larger is better.
    factor : float
        From 0 to below 1.
    patience : int
    threshold : float
        How much better counts as better.
    threshold_mode : {"rel", "abs"}
        As a fraction of the best, or as a difference.
    cooldown : int
        Steps after a reduction that are not counted.
    min_lr : float, or a list of them, one for each group
    eps : float
        Smaller changes of the rate are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        _check_optimizer(optimizer, "ReduceLROnPlateau")
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor is {factor}; expected from 0 to below 1")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode is {mode!r}; expected 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: threshold_mode is {threshold_mode!r}; expected 'rel' or 'abs'"
            )
        groups = len(optimizer.param_groups)
        self.min_lrs = (
            [float(min_lr)] * groups if isinstance(min_lr, (int, float)) else [float(m) for m in min_lr]
        )
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"ReduceLROnPlateau: min_lr has {len(self.min_lrs)} values; expected one for each of {groups} groups"
            )
        self.optimizer = optimizer
        self.mode, self.factor, self.patience, self.eps = mode, factor, patience, eps
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: Any) -> None:
        """Take note of the quantity, a number or Tensor, and reduce the rates if it is time to."""
        current = float(metrics)
        groups = len(self.optimizer.param_groups)
        if len(self.min_lrs) < groups and len(set(self.min_lrs)) == 1:
            self.min_lrs += self.min_lrs[:1] * (groups - len(self.min_lrs))
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"ReduceLROnPlateau: the optimizer has {groups} groups by now; min_lr has {len(self.min_lrs)} values"
            )
        self.last_epoch += 1
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                rate = max(group["lr"] * self.factor, lowest)
                if group["lr"] - rate > self.eps:
                    group["lr"] = rate
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, value: float) -> bool:
        if self.threshold_mode == "rel":
            margin = 1 - self.threshold if self.mode == "min" else 1 + self.threshold
            return value < self.best * margin if self.mode == "min" else value > self.best * margin
        if self.mode == "min":
            return value < self.best - self.threshold
        return value > self.best + self.threshold

    def get_last_lr(self) -> list[float]:
        """Return the rates that the last `step` set."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        if "best" not in state_dict:
            raise ValueError("ReduceLROnPlateau: the state is not one of state_dict; expected 'best'")
        self.__dict__.update({k: v for k, v in state_dict.items() if k in self.__dict__ and k != "optimizer"})
