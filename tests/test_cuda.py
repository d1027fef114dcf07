"""python/dlkit/cuda.py: a recorded step goes on as the step run from Python: on a GPU, and with a faked recording."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from tested_backends import needs

import dlkit as dl
from dlkit.kernels.backend import backend_named


class FakeGraphs:
    """In place of the kernels' module: while it captures, launches are noted instead of made; a replay makes them."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.noted: list[Callable[[], None]] | None = None

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.library, name)
        if name.endswith(("_scratch", "_workspace", "_variants", "_factors", "_choice")):
            return function

        def launch(*arguments: Any) -> None:
            if self.noted is None:
                function(*arguments)
            else:
                self.noted.append(lambda: function(*arguments))

        return launch

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        self.noted = noted = []
        try:
            body()
        finally:
            self.noted = None

        def launch() -> None:
            for one in noted:
                one()

        return launch


@pytest.fixture(params=["simt", "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What steps are recorded on: a GPU with its graphs, or the emulated one with others in their place."""
    needs(request.param)
    if request.param == "simt":
        backend = backend_named("simt")
        graphs = FakeGraphs(backend.library)
        monkeypatch.setitem(backend.__dict__, "library", graphs)
        monkeypatch.setitem(backend.__dict__, "capture", graphs.capture)
    name: str = request.param
    return name


def _steps(
    device: str, optimizer: Any, recorded: bool, clip: bool = False, count: int = 7
) -> tuple[list[float], Any, Any]:
    dl.manual_seed(1)
    model = dl.models.MLP(6, (8,), 3, dropout=0.4, input_dropout=0.2).to(device)
    update = optimizer(list(model.parameters()))
    schedule = dl.optim.lr_scheduler.ExponentialLR(update, 0.7)
    rng = np.random.default_rng(2)
    x, y = dl.zeros(4, 6, device=device), dl.zeros(4, dtype="int64", device=device)

    def step() -> Any:
        loss = dl.nn.functional.cross_entropy(model(x), y)
        update.zero_grad()
        loss.backward()
        if clip:
            dl.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        update.step()
        return loss

    run = dl.cuda.Graph(step, backend=device) if recorded else step
    losses = []
    for _ in range(count):
        x.copy_(rng.normal(size=(4, 6)).astype(np.float32))
        y.copy_(rng.integers(0, 3, 4))
        losses.append(run().item())
        schedule.step()
    assert not recorded or run.recorded
    return losses, model, update


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: dl.optim.Adam(p, lr=0.05),
        lambda p: dl.optim.AdamW(p, lr=0.05),
        lambda p: dl.optim.SGD(p, lr=0.5),
        lambda p: dl.optim.SGD(p, lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.01),
    ],
)
def test_replays_are_the_steps_run_from_python(device: str, optimizer: Any, clip: bool) -> None:
    eager, expected, first = _steps(device, optimizer, recorded=False, clip=clip)
    end = dl.kernels.random.position()
    replayed, model, second = _steps(device, optimizer, recorded=True, clip=clip)
    assert replayed == eager
    assert dl.kernels.random.position() == end
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name].get(), array.get())
    for before, after in zip(
        first.state_dict()["state"].values(), second.state_dict()["state"].values(), strict=True
    ):
        assert before.get("step") == after.get("step")


def test_masks_differ_from_replay_to_replay(device: str) -> None:
    dl.manual_seed(0)
    x = dl.ones(64, device=device)
    graph = dl.cuda.Graph(lambda: dl.nn.functional.dropout(x, 0.5), warmup=1, backend=device)
    masks = [tuple(graph().tolist()) for _ in range(5)]
    dl.manual_seed(0)
    assert masks == [tuple(dl.nn.functional.dropout(x, 0.5).tolist()) for _ in range(5)]
    assert len(set(masks)) == 5


def test_draws_of_stochastic_pooling_differ_from_replay_to_replay(device: str) -> None:
    dl.manual_seed(0)
    x = dl.tensor(1 + np.arange(96, dtype=np.float32).reshape(1, 2, 6, 8), device=device)
    draw = partial(dl.nn.functional.stochastic_pool2d, x, 2)
    graph = dl.cuda.Graph(draw, warmup=1, backend=device)
    draws = [tuple(graph().cpu().numpy().ravel()) for _ in range(5)]
    dl.manual_seed(0)
    assert draws == [tuple(draw().cpu().numpy().ravel()) for _ in range(5)]
    assert len(set(draws)) == 5


def test_results_stay_the_same_tensors(device: str) -> None:
    x = dl.ones(3, device=device)
    graph = dl.cuda.Graph(lambda: x.relu(), warmup=1, backend=device)
    graph()
    first = graph()
    x.fill_(5)
    assert graph() is first
    assert first.tolist() == [5, 5, 5]
    assert graph.calls == 3


def test_a_failing_step_is_told_as_it_is(device: str) -> None:
    calls = []

    def step() -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise ZeroDivisionError("mine")
        return None

    graph = dl.cuda.Graph(step, warmup=1, backend=device)
    graph()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="mine"):
            graph()
    assert not graph.recorded


def test_the_first_step_with_momentum_cannot_be_recorded(device: str) -> None:
    weight = dl.ones(3, device=device, requires_grad=True)
    update = dl.optim.SGD([weight], lr=0.1, momentum=0.9)

    def step() -> None:
        if graph.calls:
            weight.grad = dl.ones(3, device=device)
            update.step()

    graph = dl.cuda.Graph(step, warmup=1, backend=device)
    graph()
    with pytest.raises(RuntimeError, match="first step with momentum cannot be recorded"):
        graph()


def test_wrong_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(TypeError, match="Graph: step is a int; expected something to call"):
        dl.cuda.Graph(3, backend="simt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Graph: warmup is 0; expected at least 1"):
        dl.cuda.Graph(lambda: None, warmup=0, backend="simt")
    with pytest.raises(ValueError, match=r"Graph: backend is 'cud'; expected one of .*did you mean 'cuda'"):
        dl.cuda.Graph(lambda: None, backend="cud")


@pytest.mark.parametrize("backend", ["cpu", "simt"])
def test_where_nothing_can_be_recorded(backend: str) -> None:
    with pytest.raises(ValueError, match=f"Graph: backend is '{backend}', where launches cannot be recorded"):
        dl.cuda.Graph(lambda: pytest.fail("the step was run"), backend=backend)


def test_without_a_gpu() -> None:
    if dl.cuda.is_available():
        assert dl.cuda.device_count() >= 1
        return
    with pytest.raises(RuntimeError, match=r"^cuda"):
        dl.cuda.Graph(lambda: None)
