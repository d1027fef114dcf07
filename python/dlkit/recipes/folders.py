"""Run folders of recipes: where they go, what they were made with, what is in them."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from dlkit import kernels
from dlkit.train import RunFolder, RunFolderError
from dlkit.train.files import write_atomic

from .recipe import RunOptions
from .settings import Settings, SettingsError

#: What the files of a run folder hold, in the order in which they are shown.
CONTENTS = {
    "loss.png": "loss and accuracy over the epochs",
    "confusion.png": "which class is taken for which",
    "mistakes.png": "the most confident mistakes",
    "weights.png": "what each class looks for",
    "filters.png": "the filters of the first layer",
    "activations.png": "what each layer makes of an image",
    "saliency.png": "which pixels, or words, the answer hangs on",
    "boundaries.png": "who can separate XOR",
    "descent.png": "loss over epochs and over time",
    "folds.png": "accuracy on each fold of cross-validation",
    "ngrams.png": "which words excite the filters most",
    "gradients.png": "how far back gradients reach, before and after training",
    "initialisation.png": "what first weights do to gradients and to learning",
    "clipping.png": "gradient norm and loss of every update, clipped or not",
    "perplexity.png": "perplexity of every smoothing by order",
    "mixture.png": "perplexity by the network's share of the mixture",
    "surprise.png": "what surprises the model in the test text",
    "likeness.png": "how alike words are: one-hot vectors beside word vectors",
    "sentences.png": "how alike sentences are: bags of words beside word vectors",
    "words.png": "which words speak for each class",
    "table.txt": "the same in figures, and the memory of each representation",
    "map.png": "the most frequent words, laid out by likeness",
    "map.html": "the same as a page to zoom, hover and search in",
    "sample.txt": "what the model writes",
    "neighbours.txt": "some words and those nearest to them",
    "vectors.safetensors": "the word vectors; dlkit similar, analogy, map and evaluate read them",
    "graph.svg": "the graph with values and derivatives",
    "graph.png": "the graph with values and derivatives",
    "report.txt": "how well each class is found",
    "mistakes.txt": "the most confident mistakes",
    "result.json": "what the run came to",
    "metrics.jsonl": "what was measured, a record per line",
    "model.safetensors": "the weights; open in PyTorch too",
    "gradients.json": "the norms of the gradients",
    "model.ngram": "the n-gram model; dlkit.models.NGramModel.load reads it",
    "model.arpa": "the same as text, for KenLM and others",
    "features.json": "the words, characters and tags that the model knows",
    "lexicon.txt": "the list of words that it looks for",
    "vocabulary.json": "the words that the model knows",
    "ngrams.json": "which words excite each filter most",
    "predictions.json": "the answer to each test sentence",
    "model.json": "what the weights belong to, for dlkit predict",
    "checkpoint.safetensors": "the state to resume from",
    "settings.json": "what was asked for",
    "environment.json": "machine and versions",
}
_OTHERS = ("best.safetensors",)
#: Folders that a recipe of several runs makes within its own.
SUBFOLDERS = {
    **dict.fromkeys(("full-batch", "mini-batch", "online"), "its own run"),
    **{f"fold-{number}": "the run of a fold" for number in range(20)},
    **dict.fromkeys(("model", "clipped", "unclipped"), "its own run"),
    **{cell.replace("_", "-"): "the run of a cell" for cell in kernels.CELLS},
    **{
        f"{what}-{how}": "the run of some first weights"
        for what in ("relu", "tanh")
        for how in ("uniform-1", "orthogonal-1", "identity-1", "identity-0.9", "identity-1.1")
    },
}


def open_run(
    recipe: str,
    settings: Settings,
    options: RunOptions,
    *,
    may_change: Collection[str] = (),
) -> RunFolder:
    """Make the run folder, or open it to go on.

    Raises
    ------
    RunFolderError
        As `dlkit.train.RunFolder` says.
    """
    folder = options.folder if options.folder is not None else new_folder(recipe, settings)
    if options.overwrite:
        clear(folder)
    values = {
        "recipe": recipe,
        **settings.as_dict(),
        "threads": kernels.get_num_threads(),
        "device": options.device,
    }
    return RunFolder(
        folder,
        values,
        resume=options.resume,
        may_change={"threads", "device", *may_change},
        defaults=type(settings)().as_dict(),
    )


def stored_settings(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the recipe's name and the settings, ``threads`` and ``device`` included, that a run was made with.

    Raises
    ------
    RunFolderError
        There is no run, or its settings cannot be read.
    """
    file = folder / RunFolder.SETTINGS
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = "has no run in it" if folder.is_dir() else "does not exist"
        raise RunFolderError(f"run folder {folder} {there}") from None
    except NotADirectoryError:
        raise RunFolderError(f"run folder {folder} is a file, expected a folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"run folder {folder}: {RunFolder.SETTINGS} is not readable: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("recipe"), str):
        raise RunFolderError(f"run folder {folder}: {RunFolder.SETTINGS} names no recipe")
    return values.pop("recipe"), values


def clear(folder: Path) -> None:
    """Remove the files that an earlier run left, and nothing else.

    Raises
    ------
    SettingsError
        The folder holds files that no run writes, so that it may be something else.
    """
    if not folder.is_dir() or folder.is_symlink():
        return
    for name in SUBFOLDERS:
        clear(folder / name)
    known = {*CONTENTS, *_OTHERS, *SUBFOLDERS}
    strange = sorted(entry.name for entry in folder.iterdir() if entry.name not in known)
    if strange:
        some = ", ".join(strange[:3]) + (", …" if len(strange) > 3 else "")
        raise SettingsError(
            f"overwrite: {folder} holds files that no run writes ({some}): remove them yourself"
        )
    for entry in folder.iterdir():
        try:
            if entry.is_dir() and not entry.is_symlink():
                entry.rmdir()
            else:
                entry.unlink()
        except OSError as error:
            raise RunFolderError(
                f"run folder {folder}: cannot remove {entry.name}: {error.strerror}"
            ) from error


def contents(folder: Path) -> list[tuple[str, str]]:
    """The files of a run folder with what each holds, pictures first."""
    listed = [(name, text) for name, text in CONTENTS.items() if (folder / name).is_file()]
    return listed + [(f"{name}/", text) for name, text in SUBFOLDERS.items() if (folder / name).is_dir()]


def write_json(run: RunFolder, name: str, value: Any) -> Path:
    """Write a JSON file into a run folder."""
    path = run.path(name)
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
    return path


def new_folder(recipe: str, settings: Settings) -> Path:
    """A folder under ``runs/`` that is not there yet, named for the data set, or for a text of one's own."""
    data, corpus = getattr(settings, "data", ""), getattr(settings, "corpus", None)
    if corpus is not None:
        data = Path(corpus).name.split(".")[0]
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    base = "-".join(part for part in (recipe, data, stamp) if part)
    folder = Path("runs") / base
    count = 1
    while folder.exists():
        count += 1
        folder = Path("runs") / f"{base}-{count}"
    return folder
