"""What the tests of several recipes need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dlkit.train import Callback, Interrupted


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A run whose trainer, a class of the recipe's module, writes a checkpoint at a step and is stopped there."""

    def run_until(module: Any, trainer: str, step: int, run: Callable[[], Any]) -> None:
        class Stop(Callback):
            def on_batch_end(self, trainer: Any) -> None:
                if trainer.step == step:
                    trainer.save(trainer.run.checkpoint)
                    raise Interrupted("stopped")

        class Stopped(getattr(module, trainer)):  # type: ignore[misc]
            def __init__(self, *arguments: Any, callbacks: Any = (), **named: Any) -> None:
                super().__init__(*arguments, callbacks=[*callbacks, Stop()], **named)

        with monkeypatch.context() as patched:
            patched.setattr(module, trainer, Stopped)
            with pytest.raises(Interrupted):
                run()

    return run_until
