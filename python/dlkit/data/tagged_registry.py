"""Tagged sentences by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from .conllu import read_conllu
from .errors import DataError
from .iob import read_iob
from .python_tokens import load_python_tokens
from .segmentation import characters_of, spans_of, words_from
from .tagged_file import tagged_words
from .tagged_set import TaggedSentence, TaggedSet
from .text_file import Address, TextFile, find_text

_UD = "https://raw.githubusercontent.com/UniversalDependencies/"
_UNER = "https://raw.githubusercontent.com/UniversalNER/UNER_Chinese-GSDSIMP/"
_WNUT = "https://raw.githubusercontent.com/leondz/emerging_entities_17/master/"
_NLTK = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/"


def _files(folder: str, bases: Sequence[str], names: dict[str, str]) -> tuple[TextFile, ...]:
    return tuple(
        TextFile(folder, name, sha256, [Address(base + name) for base in bases])
        for name, sha256 in names.items()
    )


# Training, validation, test.
_EWT = _files(
    "ud_english_ewt",
    [_UD + "UD_English-EWT/r2.16/"],
    {
        "en_ewt-ud-train.conllu": "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
        "en_ewt-ud-dev.conllu": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
        "en_ewt-ud-test.conllu": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
    },
)
_GSD = _files(
    "ud_chinese_gsd",
    [_UD + "UD_Chinese-GSD/r1.4/", _UD + "UD_Chinese/r1.4/"],
    {
        "zh-ud-train.conllu": "94c1ad7f8f7d545169bafbef367852b965ec5eada13d614d8e8b6b9297ee6d0d",
        "zh-ud-dev.conllu": "574a2c826fc4207530be65b9cd9d8d9611a9749716ab1e3349ec681b93c7a42f",
        "zh-ud-test.conllu": "c5fe2733ca4a118725fc06d6a7dbce9952254a4a174f3bd75e13ab4d504e9970",
    },
)
_GSDSIMP = _files(
    "uner_chinese_gsdsimp",
    [_UNER + "main/", _UNER + "master/"],
    {
        "zh_gsdsimp-ud-train.iob2": "a03b5260c3d960aa711ff5f12b797de5c7d7f412563593c173cd0e7135001db5",
        "zh_gsdsimp-ud-dev.iob2": "8aeab3ac662468e258a65f887844c50cee8311cb080b60a421ff7aa8a05e8032",
        "zh_gsdsimp-ud-test.iob2": "f1d8faa790d914fe01a24627874c8e7fad9c40b54742f5aefab5ba3f7c8edede",
    },
)
_WNUT17 = _files(
    "wnut17",
    [_WNUT],
    {
        "wnut17train.conll": "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
        "emerging.dev.conll": "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
        "emerging.test.annotated": "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
    },
)

_CONLL2000 = tuple(
    TextFile(
        "nltk",
        f"conll2000-{part}.txt",
        sha256,
        [Address(_NLTK + "conll2000.zip", f"conll2000/{part}.txt")],
        "conll2000.zip",
        f"conll2000/{part}.txt",
    )
    for part, sha256 in (
        ("train", "82033cd7a72b209923a98007793e8f9de3abc1c8b79d646c50648eb949b87cea"),
        ("test", "73b7b1e565fa75a1e22fe52ecdf41b6624d6f59dacb591d44252bf4d692b1628"),
    )
)
#: Of the training sentences of CoNLL-2000, which has no validation part, the last so many.
_HELD_OUT = 1000


def _parts(
    name: str, task: str, files: Sequence[TextFile], read: Callable[[bytes, str], list[TaggedSentence]]
) -> TaggedSet:
    parts, place = [], ""
    for file in files:
        content, path = find_text(file)
        parts.append(read(content, str(path)))
        place = str(path.parent)
    return TaggedSet(name, task, parts[0], parts[1], parts[2], source=place)


def _characters(words: list[list[str]]) -> list[TaggedSentence]:
    return [TaggedSentence(*characters_of(sentence)) for sentence in words]


def _gsd_words(content: bytes, name: str) -> list[TaggedSentence]:
    return _characters([sentence.words for sentence in read_conllu(content, name)])


def _gsd_joint(content: bytes, name: str) -> list[TaggedSentence]:
    return [TaggedSentence(*characters_of(s.tokens, s.tags)) for s in tagged_words(content, name)]


def _gsdsimp_words(content: bytes, name: str) -> list[TaggedSentence]:
    found = read_iob(content, name, columns=5, word=1, tag=2, comments=True)
    return _characters([sentence.words for sentence in found])


def _gsdsimp_joint() -> TaggedSet:
    # The simplified text comes without parts of speech; the treebank in traditional characters has the same sentences.
    words = _parts("gsdsimp-segmentation", "segmentation", _GSDSIMP, _gsdsimp_words)
    tagged = _parts("gsd", "tokens", _GSD, tagged_words)
    parts = []
    for part in ("train", "validation", "test"):
        pairs = zip(getattr(words, part), getattr(tagged, part), strict=True)
        parts.append(
            [
                TaggedSentence(
                    *characters_of(found, _kinds(found, other.tokens, other.tags, f"{part} {number}"))
                )
                for number, (sentence, other) in enumerate(pairs)
                for found in [words_from(sentence.tokens, sentence.tags)]
            ]
        )
    train, validation, test = parts
    return TaggedSet(words.name, words.task, train, validation, test, source=words.source)


def _kinds(words: Sequence[str], others: Sequence[str], kinds: Sequence[str], where: str) -> Sequence[str]:
    """The kinds of words, from a text in other characters that is cut nearly alike."""
    if len(words) == len(others):
        return kinds
    if sum(map(len, words)) != sum(map(len, others)):
        raise DataError(f"gsdsimp-segmentation: sentence {where} is another one than that of gsd")
    covers = [kind for word, kind in zip(others, kinds, strict=True) for _ in word]
    return [covers[start] for start, _ in spans_of(words)]


def _gsdsimp_entities(content: bytes, name: str) -> list[TaggedSentence]:
    found = read_iob(content, name, columns=5, word=1, tag=2, comments=True)
    return [TaggedSentence(sentence.words, sentence.tags) for sentence in found]


def _wnut17(content: bytes, name: str) -> list[TaggedSentence]:
    return [TaggedSentence(sentence.words, sentence.tags) for sentence in read_iob(content, name)]


def _chunks() -> TaggedSet:
    parts: list[list[TaggedSentence]] = []
    for file in _CONLL2000:
        content, path = find_text(file)
        found = read_iob(content, f"{path}: {file.member}", columns=3, pos=1, tag=2, separator=" ")
        parts.append([TaggedSentence(sentence.words, sentence.tags, sentence.pos) for sentence in found])
    train, test = parts
    return TaggedSet(
        "conll2000", "chunks", train[:-_HELD_OUT], train[-_HELD_OUT:], test, source=str(path.parent)
    )


_LOADERS: dict[str, Callable[[], TaggedSet]] = {
    "python": load_python_tokens,
    "ewt": lambda: _parts("ewt", "tokens", _EWT, tagged_words),
    "gsd": lambda: _parts("gsd", "tokens", _GSD, tagged_words),
    "gsd-segmentation": lambda: _parts("gsd-segmentation", "segmentation", _GSD, _gsd_words),
    "gsdsimp-segmentation": lambda: _parts("gsdsimp-segmentation", "segmentation", _GSDSIMP, _gsdsimp_words),
    "gsdsimp-entities": lambda: _parts("gsdsimp-entities", "entities", _GSDSIMP, _gsdsimp_entities),
    "wnut17": lambda: _parts("wnut17", "entities", _WNUT17, _wnut17),
    "conll2000": _chunks,
}


#: The sets that have joint tags.
JOINT: dict[str, Callable[[], TaggedSet]] = {
    "gsd-segmentation": lambda: _parts("gsd-segmentation", "segmentation", _GSD, _gsd_joint),
    "gsdsimp-segmentation": _gsdsimp_joint,
}


def tagged_names() -> list[str]:
    """The names that `load_tagged` knows."""
    return list(_LOADERS)


def load_tagged(name: str, *, joint: bool = False) -> TaggedSet:
    """Load a set of tagged sentences.

    Parameters
    ----------
    name
        ``"python"`` (the interpreter's own library, needs no network); ``"ewt"`` and ``"gsd"``, universal parts of
        speech of English and Chinese; ``"gsd-segmentation"`` and ``"gsdsimp-segmentation"``, the words of traditional
        and simplified Chinese; ``"wnut17"`` and ``"gsdsimp-entities"``, named entities; ``"conll2000"``, chunks, with
        parts of speech as a tagger found them, the last 1000 training sentences for validation. All but the first are
        looked for in the folder ``DLKIT_DATA``, else downloaded; checksums are verified either way.
    joint
        Tags of characters also name the word's part of speech: ``B-NOUN``. Those of the simplified text are taken from
        the traditional one.

    Raises
    ------
    ValueError
        Unknown name (the message suggests the nearest), or a set that has no parts of speech of words of characters.
    DataError
        A file is damaged; `DataNotFoundError` if there is none.
    """
    key = str(name).strip().lower().replace("_", "-")
    if key not in _LOADERS:
        near = difflib.get_close_matches(key, _LOADERS, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"load_tagged: unknown set of tagged sentences {name!r}, expected one of {', '.join(_LOADERS)}{hint}"
        )
    if joint and key not in JOINT:
        raise ValueError(
            f"load_tagged: joint tags need words with parts of speech, which {key} does not have; expected one of "
            f"{', '.join(JOINT)}"
        )
    return (JOINT if joint else _LOADERS)[key]()
