"""Optimizer and schedule settings, shared by the recipes that descend a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlkit import optim
from dlkit.nn import Module

from .classifier import ClassifierSettings
from .settings import SettingsError, option

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class DescentSettings(ClassifierSettings):
    """A classifier trained by gradient descent."""

    lr: float = option(1e-3, "Learning rate.", above=0)
    optimizer: str = option("adam", "Update rule.", choices=OPTIMIZERS)
    momentum: float = option(0.0, "Momentum of sgd.", at_least=0, below=1)
    nesterov: bool = option(False, "Nesterov's momentum.")
    weight_decay: float = option(0.0, "Pull of the weights towards zero.", at_least=0)
    schedule: str = option(
        "constant",
        "Learning rate over time: constant, or falling to zero along a cosine.",
        choices=SCHEDULES,
    )
    clip_norm: float | None = option(None, "Scale gradients to at most this norm.", above=0)

    def check(self) -> None:
        """Momentum belongs to SGD alone."""
        super().check()
        if self.momentum and self.optimizer != "sgd":
            raise SettingsError(
                f"momentum is {self.momentum:g} but optimizer is {self.optimizer}: momentum belongs to sgd"
            )
        if self.nesterov and not self.momentum:
            raise SettingsError(
                "nesterov is set but momentum is 0: Nesterov's method needs momentum, such as 0.9"
            )

    @property
    def may_change(self) -> frozenset[str]:
        """More epochs may be added later, unless the schedule runs out with them."""
        return frozenset({"epochs"}) if self.schedule == "constant" else frozenset()


def make_optimizer(settings: DescentSettings, model: Module) -> optim.Optimizer:
    """Make the optimizer that the settings ask for."""
    parameters = list(model.parameters())
    if settings.optimizer == "sgd":
        return optim.SGD(
            parameters,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
        )
    kind = optim.Adam if settings.optimizer == "adam" else optim.AdamW
    return kind(parameters, lr=settings.lr, weight_decay=settings.weight_decay)


def make_schedule(settings: DescentSettings, optimizer: optim.Optimizer, updates: int) -> Any:
    """Make the schedule over all `updates`, or None for a constant learning rate."""
    if settings.schedule == "cosine":
        return optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=updates)
    return None
