"""The systems of the course, ready to train: one file each.

Examples
--------
>>> import dlkit as dl
>>> model = dl.models.MLP(64, (32,), 10)
>>> model(dl.zeros(5, 64)).shape
(5, 10)
"""

from __future__ import annotations

from .cnn import CNN
from .embedding_map import EmbeddingMap, principal_components, t_sne
from .feed_forward_language_model import FeedForwardLanguageModel
from .keyed_vectors import Correlation, KeyedVectors, UnknownWordError
from .language_model import RecurrentLanguageModel
from .mixture import MixtureLanguageModel, mixture_weight
from .mlp import MLP
from .ngram import NGramCounts, NGramFileError, NGramModel
from .perceptron import Perceptron, perceptron_loss
from .ranking_language_model import RankingLanguageModel
from .sentence_tagger import SentenceTagger
from .sequence_model import SequenceModel
from .sequence_tagger import SequenceTagger
from .softmax_regression import SoftmaxRegression
from .summary import Summary, summary
from .text_cnn import TextCNN
from .window_tagger import WindowTagger
from .word2vec import Word2Vec
from .word2vec_trainer import EpochReport, Position, TrainingProgress, Word2VecTrainer

__all__ = [
    "CNN",
    "MLP",
    "Correlation",
    "EmbeddingMap",
    "EpochReport",
    "FeedForwardLanguageModel",
    "KeyedVectors",
    "MixtureLanguageModel",
    "NGramCounts",
    "NGramFileError",
    "NGramModel",
    "Perceptron",
    "Position",
    "RankingLanguageModel",
    "RecurrentLanguageModel",
    "SentenceTagger",
    "SequenceModel",
    "SequenceTagger",
    "SoftmaxRegression",
    "Summary",
    "TextCNN",
    "TrainingProgress",
    "UnknownWordError",
    "WindowTagger",
    "Word2Vec",
    "Word2VecTrainer",
    "mixture_weight",
    "perceptron_loss",
    "principal_components",
    "summary",
    "t_sne",
]
