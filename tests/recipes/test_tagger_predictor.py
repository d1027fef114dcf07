"""How a text becomes tokens, and what the loss of tags is."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit import kernels
from dlkit.data.tagger_batches import pack_tagged
from dlkit.data.tagger_features import SpellingTable, TaggerFeatures
from dlkit.kernels.backend import to_host
from dlkit.models import SequenceTagger
from dlkit.recipes.tagger_predictor import run_tagger, tokens_of


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Well-known: $3.50!", ["Well", "-", "known", ":", "$", "3.50", "!"]),
        ("I CAN'T", ["I", "CA", "N'T"]),
        ("Mail a.b@c.org, or http://x.y/z?q", ["Mail", "a.b@c.org", ",", "or", "http://x.y/z?q"]),
        ("the U.S. wait...", ["the", "U.S.", "wait", "..."]),
        ("don’t", ["do", "n’t"]),
        ("  ", []),
    ],
)
def test_english(text, tokens):
    assert tokens_of(text, "english") == tokens


def test_others():
    assert tokens_of("a b\tc", "characters") == ["a", "b", "c"]
    assert tokens_of("a b-c", "spaces") == ["a", "b-c"]
    assert tokens_of("x = f(1)", "python") == ["x", "=", "f", "(", "1", ")"]


@pytest.mark.parametrize("crf", [False, True], ids=["softmax", "crf"])
def test_tags_that_were_not_trained_count_for_nothing_in_the_loss(crf, device):
    rng = np.random.default_rng(0)
    tags = ("A", "B", "C")
    # More sentences than a batch has; of each batch some have a tag that is not known.
    sentences = [
        ([f"w{i}" for i in rng.integers(0, 5, length)], list(rng.choice(tags, length)))
        for length in rng.integers(1, 7, 80)
    ]
    features = TaggerFeatures.of(sentences, tags, characters=False)
    for words, labels in sentences[::7]:
        labels[rng.integers(len(words))] = "new"
    kernels.manual_seed(1)
    model = SequenceTagger(len(features.words), len(tags), dimensions=4, hidden=3, crf=crf).eval()
    model.to(device)
    table = SpellingTable(features)
    encoded = [table.encode(*sentence) for sentence in sentences]
    found, _, loss = run_tagger(model, table, encoded, with_loss=True)
    # One sentence after the other, by the definition: softmax leaves out tokens, a random field whole sentences.
    total, count = 0.0, 0
    for sentence in encoded:
        batch, labels = pack_tagged([sentence], table)
        scores = model(*batch.inputs)
        if crf:
            if (labels >= 0).all():
                total += model.loss(scores, labels, batch.batch_sizes).item() * len(labels)
                count += len(labels)
            continue
        shares = np.asarray(to_host(kernels.softmax(scores._array)), np.float64)
        for share, label in zip(shares, labels, strict=True):
            if label >= 0:
                total -= np.log(share[label])
                count += 1
    assert 0 < count < sum(len(words) for words, _ in sentences)
    assert loss == pytest.approx(total / count, rel=1e-5)
    assert [len(each) for each in found] == [len(words) for words, _ in sentences]  # all are tagged
    nothing = [table.encode(["w1", "w2"], ["new", "new"])]
    assert np.isnan(run_tagger(model, table, nothing, with_loss=True)[2])
