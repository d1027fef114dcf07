"""The dictionary of the package jieba, for taggers of Chinese; in traditional characters by the package opencc."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def jieba_lexicon(script: str, folder: Path) -> Path:
    """Return the file of jieba's words, a word and its count a line.

    Parameters
    ----------
    script
        "simplified", as jieba has them, or "traditional": as they are written in Taiwan.
    folder
        Where those that are converted go; what is there already is not made again.

    Raises
    ------
    SystemExit
        A package is not installed.
    """
    found = importlib.util.find_spec("jieba")  # not imported: only its file is needed
    if found is None or found.origin is None:
        raise SystemExit("jieba is not installed (pip install 'dlkit[chinese]')")
    path = Path(found.origin).with_name("dict.txt")
    if script == "simplified":
        return path
    converted = folder / "jieba-traditional.txt"
    if not converted.is_file():
        try:
            from opencc import OpenCC
        except ImportError:
            raise SystemExit("opencc is not installed (pip install 'dlkit[chinese]')") from None
        lines = path.read_text(encoding="utf-8").splitlines()
        words = OpenCC("s2tw").convert("\n".join(line.split()[0] for line in lines)).split("\n")
        counts = [line.split()[1] for line in lines]
        text = "".join(f"{word} {count}\n" for word, count in zip(words, counts, strict=True))
        converted.parent.mkdir(parents=True, exist_ok=True)
        converted.write_text(text, encoding="utf-8")
    return converted
