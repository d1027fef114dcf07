"""The MLP end to end: a training step of dlkit beside PyTorch's, launched call by call and replayed as a CUDA graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from device import Device, main
from record import Record
from timing import Deadline

import dlkit as dl
from dlkit import nn, optim
from dlkit.data.digits import load_digits
from dlkit.models import MLP

HIDDEN = (512, 512)
BATCH = 64


class DlkitTrainer:
    """dlkit's MLP and Adam on arrays of the device."""

    def __init__(self, device: Device, in_features: int) -> None:
        dl.manual_seed(0)
        self.model = MLP(in_features, HIDDEN, 10)
        self.xp: Any = np
        if not device.dry_run:
            import cupy

            self.xp = cupy
            self.model.to("cuda")
        self.optimizer = optim.Adam(self.model.parameters(), lr=1e-3)
        self.loss = nn.CrossEntropyLoss()
        self.x = self.xp.zeros((BATCH, in_features), dtype=np.float32)
        self.y = self.xp.zeros(BATCH, dtype=np.int64)

    def fill(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
        """Put a batch where the step reads it."""
        self.x[...] = self.xp.asarray(x)
        self.y[...] = self.xp.asarray(y)

    def step(self) -> None:
        """Train on that batch."""
        self.optimizer.zero_grad()
        self.loss(self.model(dl.tensor(self.x)), self.y).backward()
        self.optimizer.step()

    def graph(self) -> Callable[[], object]:
        """Return what makes a step: the first calls from Python, all others by a CUDA graph."""
        return dl.cuda.Graph(self.step)

    def accuracy(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
        """Return the share of x that is classified as y says."""
        with dl.no_grad():
            logits = self.model(dl.tensor(self.xp.asarray(x))).data
        found = logits.argmax(axis=1)
        return float((found == self.xp.asarray(y)).mean())

    def finish(self) -> None:
        """Wait for the device."""
        if self.xp is not np:
            self.xp.cuda.Device().synchronize()


class TorchTrainer:
    """The same model in PyTorch, with its fused Adam."""

    def __init__(self, device: Device, in_features: int) -> None:
        torch.manual_seed(0)
        sizes = [in_features, *HIDDEN]
        layers: list[torch.nn.Module] = []
        for a, b in zip(sizes, HIDDEN, strict=False):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers, torch.nn.Linear(HIDDEN[-1], 10)).to(device.torch)
        options: dict[str, Any] = {} if device.dry_run else {"fused": True, "capturable": True}
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, **options)
        self.loss = torch.nn.CrossEntropyLoss()
        self.x = torch.zeros(BATCH, in_features, device=device.torch)
        self.y = torch.zeros(BATCH, dtype=torch.int64, device=device.torch)
        self.device = device

    def fill(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
        """Put a batch where the step reads it."""
        self.x.copy_(torch.from_numpy(x))
        self.y.copy_(torch.from_numpy(y))

    def step(self) -> None:
        """Train on that batch."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.model(self.x), self.y).backward()
        self.optimizer.step()

    def graph(self) -> Callable[[], object]:
        """Return the replay of a captured step."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        captured = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(captured):
            self.step()
        return captured.replay

    def accuracy(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
        """Return the share of x that is classified as y says."""
        with torch.no_grad():
            found = self.model(torch.from_numpy(x).to(self.device.torch)).argmax(1).cpu().numpy()
        return float((found == y).mean())

    def finish(self) -> None:
        """Wait for the device."""
        if not self.device.dry_run:
            torch.cuda.synchronize()


Trainer = DlkitTrainer | TorchTrainer


def time_steps(trainer: Trainer, step: Callable[[], object], count: int) -> float:
    """Return the seconds of a step, of `count` in a row."""
    trainer.finish()
    begin = time.perf_counter()
    for _ in range(count):
        step()
    trainer.finish()
    return (time.perf_counter() - begin) / count


def measure(device: Device, deadline: Deadline, record: Record) -> None:
    """Record a row for each library and way to launch, with the accuracy of a training run each."""
    data = load_digits()
    x, y = np.ascontiguousarray(data.x_train), np.ascontiguousarray(data.y_train)
    epochs = 1 if device.dry_run else 10
    count = 2 if device.dry_run else 300
    for name, kind in (("dlkit", DlkitTrainer), ("torch", TorchTrainer)):
        for way in ("eager", "graph"):
            with record.row(
                f"{name}, {way}", library=name, launch=way, batch=BATCH, hidden=list(HIDDEN)
            ) as row:
                if deadline.left() == 0:
                    row["failure"] = "no time left"
                    continue
                if way == "graph" and device.dry_run:
                    raise RuntimeError("no graphs without a GPU")
                trainer: Trainer = kind(device, x.shape[1])
                trainer.fill(x[:BATCH], y[:BATCH])
                trainer.step()
                step = trainer.graph() if way == "graph" else trainer.step
                rng = np.random.default_rng(0)
                begin = time.perf_counter()
                for _ in range(epochs):
                    order = rng.permutation(len(x))
                    for i in range(0, len(x) - BATCH + 1, BATCH):
                        chosen = order[i : i + BATCH]
                        trainer.fill(x[chosen], y[chosen])
                        step()
                trainer.finish()
                row["training_seconds"] = time.perf_counter() - begin
                row["epochs"] = epochs
                row["accuracy"] = trainer.accuracy(data.x_test, data.y_test)
                row["step_seconds"] = min(time_steps(trainer, step, count) for _ in range(3))


if __name__ == "__main__":
    main("train", measure)
