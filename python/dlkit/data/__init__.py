"""Data sets, their files, and batches.

Examples
--------
>>> import dlkit as dl
>>> digits = dl.data.load("digits")
>>> digits.x_train.shape
(1442, 64)
>>> batches = dl.data.Batches(digits.x_train, digits.y_train, batch_size=64, seed=0)
>>> len(batches)
23
"""

from __future__ import annotations

from .augment import Augment
from .bag_of_words import BagOfWords
from .batches import Batches, holdout
from .corpora import Corpus, frequent_words, load_corpus, read_corpus
from .dataset import Dataset
from .drawn_batches import DrawnBatches
from .errors import DataError, DataNotFoundError
from .idx import read_idx
from .phrases import ENGLISH_CONNECTOR_WORDS, Phrases
from .registry import load, names
from .sequence_tasks import AddingProblem, CopyMemory
from .sparse_batches import SparseBatches
from .sparse_rows import SparseRows
from .stream_batches import StreamBatches
from .tagged_file import read_tagged
from .tagged_registry import load_tagged, tagged_names
from .tagged_set import TaggedSentence, TaggedSet
from .text_batches import TextBatches, pad_sentences
from .text_dataset import Split, TextDataset
from .text_registry import load_text, text_names
from .tokens import words_of
from .vocabulary import Vocabulary
from .word_corpus import CorpusVocabulary, EncodedText, WordCorpus
from .word_vectors import WordVectors, read_word_vectors, write_word_vectors

__all__ = [
    "ENGLISH_CONNECTOR_WORDS",
    "AddingProblem",
    "Augment",
    "BagOfWords",
    "Batches",
    "CopyMemory",
    "Corpus",
    "CorpusVocabulary",
    "DataError",
    "DataNotFoundError",
    "Dataset",
    "DrawnBatches",
    "EncodedText",
    "Phrases",
    "SparseBatches",
    "SparseRows",
    "Split",
    "StreamBatches",
    "TaggedSentence",
    "TaggedSet",
    "TextBatches",
    "TextDataset",
    "Vocabulary",
    "WordCorpus",
    "WordVectors",
    "frequent_words",
    "holdout",
    "load",
    "load_corpus",
    "load_tagged",
    "load_text",
    "names",
    "pad_sentences",
    "read_corpus",
    "read_idx",
    "read_tagged",
    "read_word_vectors",
    "tagged_names",
    "text_names",
    "words_of",
    "write_word_vectors",
]
