"""Training: the loop, its callbacks, checkpoints, run folders, and a scikit-learn face.

Examples
--------
>>> import dlkit as dl
>>> digits = dl.data.load("digits")
>>> model = dl.models.MLP(64, hidden=(64,), out_features=10)
>>> adam, loss = dl.optim.Adam(model.parameters()), dl.nn.CrossEntropyLoss()
>>> trainer = dl.train.Trainer(model, adam, loss, progress=False)
>>> history = trainer.fit(dl.data.Batches(*digits.train), epochs=5, validation=digits.test)
>>> history[-1]["val_accuracy"] > 0.8
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .averaging import AverageWeights
from .callback import Callback
from .checkpoint import load_checkpoint, save_checkpoint
from .checkpointing import Checkpoint
from .early_stopping import EarlyStopping
from .embedding_page import write_embedding_page
from .embedding_plot import draw_embedding_map
from .errors import CheckpointError, Interrupted, NonFiniteLossError, RunFolderError, TrainError
from .history import History
from .progress import ProgressBar
from .run_folder import RunFolder
from .tensorboard import TensorBoard
from .trainer import Trainer

if TYPE_CHECKING:
    from . import plots
    from .estimator import MLPClassifier, PerceptronClassifier, SoftmaxClassifier

__all__ = [
    "AverageWeights",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "EarlyStopping",
    "History",
    "Interrupted",
    "MLPClassifier",
    "NonFiniteLossError",
    "PerceptronClassifier",
    "ProgressBar",
    "RunFolder",
    "RunFolderError",
    "SoftmaxClassifier",
    "TensorBoard",
    "TrainError",
    "Trainer",
    "draw_embedding_map",
    "load_checkpoint",
    "plots",
    "save_checkpoint",
    "write_embedding_page",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes a second to import: only who asks for an estimator waits for it.
    if name in ("MLPClassifier", "PerceptronClassifier", "SoftmaxClassifier"):
        from . import estimator

        return getattr(estimator, name)
    if name in ("plots", "estimator"):
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
