"""``dlkit train xor``: the perceptron fails XOR, a network with one hidden layer solves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels, nn, optim
from dlkit.autograd import Tensor, no_grad
from dlkit.data import Batches
from dlkit.kernels.backend import move, to_host
from dlkit.models import MLP, Perceptron
from dlkit.models.mlp import ACTIVATIONS
from dlkit.train import Trainer

from .card import FILE as CARD_FILE
from .card import Card
from .figures import Contender, boundaries
from .folders import open_run, write_json
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, option
from .work import peak_memory

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([0, 1, 1, 0], np.int64)


@dataclass(frozen=True)
class XorSettings(Settings):
    """The network, and how long both may learn."""

    hidden: tuple[int, ...] = option((4,), "Units of the hidden layers.", group="Model", at_least=1)
    activation: str = option("tanh", "Nonlinearity.", group="Model", choices=ACTIVATIONS)
    epochs: int = option(200, "Passes of the network over the four samples.", at_least=1)
    lr: float = option(0.05, "Learning rate of Adam.", above=0)
    perceptron_epochs: int = option(100, "Passes of the perceptron over the four samples.", at_least=1)

    @property
    def may_change(self) -> frozenset[str]:
        """The settings that a resumed run may change."""
        return frozenset({"epochs"})


def train(settings: XorSettings, options: RunOptions) -> Result:
    """Train both and draw their decision boundaries side by side."""
    kernels.manual_seed(settings.seed)
    perceptron, perceptron_wrong = _train_perceptron(settings, options.device)

    arguments: dict[str, Any] = {
        "in_features": 2,
        "hidden": list(settings.hidden),
        "out_features": 2,
        "activation": settings.activation,
    }
    network = MLP(**arguments).to(options.device)
    run = open_run("xor", settings, options, may_change=settings.may_change)
    card = Card("MLP", arguments, ["0", "1"], features=2)
    write_json(run, CARD_FILE, card.as_dict())
    trainer = Trainer(
        network,
        optim.Adam(list(network.parameters()), lr=settings.lr),
        nn.CrossEntropyLoss(),
        run=run,
        progress=options.progress,
    )
    batches = Batches(X, Y, batch_size=len(X), shuffle=False)
    history = trainer.fit(batches, epochs=settings.epochs, validation=(X, Y), resume=options.resume)
    network_wrong = [round((1 - record["val_accuracy"]) * len(Y)) for record in history]

    def ask_network(points: NDArray[np.float32]) -> ArrayLike:
        with no_grad():
            outputs = network(Tensor(move(np.asarray(points), options.device)))
            classes: ArrayLike = to_host(outputs.data).argmax(axis=1)
            return classes

    boundaries(
        [
            Contender("Perceptron, its best epoch", perceptron.predict, perceptron_wrong),
            Contender(
                f"Network {'-'.join(str(units) for units in (2, *settings.hidden, 2))}",
                ask_network,
                network_wrong,
                lines=_hidden_lines(network) if settings.hidden else (),
            ),
        ],
        X,
        Y,
        run.path("boundaries.png"),
    )
    metrics: dict[str, Any] = {
        "perceptron_best": len(Y) - min(perceptron_wrong),
        "network_right": len(Y) - network_wrong[-1],
        "network_solved_after": _solved_after(network_wrong),
        "network_loss": history[-1]["val_loss"],
        "shown": float(network_wrong[-1] == 0 and min(perceptron_wrong) > 0),
        "epochs": trainer.epoch,
        "train_seconds": sum(record["seconds"] for record in history),
        "peak_memory": peak_memory(),
    }
    write_json(run, "result.json", {"recipe": "xor", **metrics})
    target = RECIPE.target()
    solved = metrics["network_solved_after"]
    lines = [
        (
            "perceptron",
            f"never more than {metrics['perceptron_best']} of 4 right in {settings.perceptron_epochs} "
            f"epochs: no line separates XOR",
        ),
        (
            "network",
            f"{metrics['network_right']} of 4 right, loss {metrics['network_loss']:.2g}"
            + (f"; for good after epoch {solved}" if solved else ""),
        ),
        ("training", f"{trainer.epoch} epochs in {metrics['train_seconds']:.2f} s"),
    ]
    if target is not None:
        lines.insert(
            2, ("to reach", f"{target.text}: {'reached' if target.reached(metrics) else 'not reached'}")
        )
    return Result("xor", run.folder, metrics, lines, target)


def _train_perceptron(settings: XorSettings, device: str) -> tuple[Perceptron, list[int]]:
    """Return the perceptron with the weights of its best epoch, and how many samples were wrong after each.

    It begins with random weights and takes small steps: from zero weights its lines would run through the
    samples.
    """
    perceptron = Perceptron(2, 1)
    generator = kernels.random.generator()
    perceptron.weight.data[...] = generator.standard_normal((1, 2))
    perceptron.bias.data[...] = generator.standard_normal(1)
    perceptron.to(device)
    samples = Batches(X, Y, batch_size=len(X), seed=settings.seed)
    wrong: list[int] = []
    best = perceptron.weight.data.copy(), perceptron.bias.data.copy()
    for _ in range(settings.perceptron_epochs):
        for x, y in samples:
            perceptron.learn(x, y, lr=0.1)
        wrong.append(int(np.count_nonzero(perceptron.predict(X) != Y)))
        if wrong[-1] == min(wrong):
            best = perceptron.weight.data.copy(), perceptron.bias.data.copy()
    perceptron.weight.data[...], perceptron.bias.data[...] = best
    return perceptron, wrong


def _hidden_lines(network: MLP) -> list[tuple[float, float, float]]:
    """Where the input of each hidden unit of the first layer is zero."""
    state = network.state_dict()
    weight, bias = state["0.weight"], state["0.bias"]
    lines = zip(to_host(weight).tolist(), to_host(bias).tolist(), strict=True)
    return [(w[0], w[1], b) for w, b in lines]


def _solved_after(wrong: list[int]) -> int | None:
    """The epoch after which no sample was wrong any more, or None."""
    if wrong[-1]:
        return None
    last_mistake = max((i for i, count in enumerate(wrong) if count), default=-1)
    return last_mistake + 2


RECIPE = Recipe(
    name="xor",
    summary="The perceptron fails XOR, a network with a hidden layer solves it",
    settings_type=XorSettings,
    train=train,
    targets={"": Target("network 4 of 4, perceptron at most 3", "shown", 1.0)},
)
