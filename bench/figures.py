"""Draw the pictures of the docs: run the recipes that make them, and copy what they draw into ``docs``.

``make figures`` runs it, in about half a minute.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from dlkit.recipes import get

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "models" / "images"

#: Recipe, what it draws, and the names in the docs.
PICTURES = {
    "graph": {"graph.svg": "graph.svg"},
    "xor": {"boundaries.png": "xor.png"},
    "gradient-descent": {"descent.png": "descent.png"},
    "perceptron": {"weights.png": "perceptron-weights.png"},
    "mlp": {
        "loss.png": "mlp-loss.png",
        "confusion.png": "mlp-confusion.png",
        "mistakes.png": "mlp-mistakes.png",
    },
    "cnn": {
        "filters.png": "cnn-filters.png",
        "activations.png": "cnn-activations.png",
        "saliency.png": "cnn-saliency.png",
    },
    "bag-of-words": {
        "likeness.png": "bag-of-words-likeness.png",
        "sentences.png": "bag-of-words-sentences.png",
        "words.png": "bag-of-words-words.png",
    },
}


def main() -> int:
    """Run the recipes and copy their pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dlkit-figures-") as temporary:
        for name, pictures in PICTURES.items():
            print(name, file=sys.stderr, flush=True)
            folder = Path(temporary) / name
            get(name).run(run_dir=folder, progress=False)
            for drawn, wanted in pictures.items():
                shutil.copyfile(folder / drawn, IMAGES / wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
