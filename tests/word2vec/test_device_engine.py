"""The engine's kernel against the CPU's engine: on the SIMT machine, and on a GPU.

With one sentence in flight it does what one worker does, with the same random numbers; with several the loss falls as
the CPU's does.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tested_backends import needs
from word2vec_cases import PIECE, Case, aligned

from dlkit.kernels.backend import backend_named, resolve_device, to_host
from dlkit.models.word2vec_trainer import Word2VecTrainer

SETTINGS = "skip_gram", "mean", "divide", "negatives", "hierarchical", "window", "shrink"


@pytest.fixture(params=["simt", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    needs(request.param)
    return resolve_device(request.param, "test")


class OnDevice:
    """The engine of a case on a device."""

    def __init__(self, case: Any, device: str, vector_size: int = 11) -> None:
        self.case, self.device, s = case, device, case.settings
        self.backend = backend_named(device.partition(":")[0])
        self.engine = self.backend.library.Word2VecEngine(
            case.counts, *(s[name] for name in SETTINGS), vector_size, s["seed"], s["sample"], 0.75, 0
        )

    def run(
        self, epoch: int = 0, in_flight: int = 1, workers: int = 1, first: int = 0, matrices: Any = None
    ) -> list[Any]:
        case, n = self.case, self.case.words
        matrices = (case.w_in, case.w_out, case.w_nodes) if matrices is None else matrices
        there = [self.backend.from_host(m, self.device) for m in matrices]
        self.done = self.engine.train(
            *(case.text, *(int(m.data.ptr) for m in there), epoch, 0.05, 0.01, n, n * epoch, 2 * n),
            *(in_flight, first, workers, self.backend.stream(there[0])),
        )
        return [to_host(m) for m in there]


def check(case: Any, device: str, epoch: int = 0, vector_size: int = 11, within: float = 1e-5) -> None:
    engine, on_device = case.engine(), OnDevice(case, device, vector_size)
    expected = case.run(engine, epoch=epoch)
    for got, right, before in zip(
        on_device.run(epoch), expected, (case.w_in, case.w_out, case.w_nodes), strict=True
    ):
        np.testing.assert_allclose(got, right, atol=within)
        assert np.isfinite(right).all()
        assert (got[:, vector_size:] == before[:, vector_size:]).all()
    words, kept, loss, pairs = engine.progress()
    assert on_device.engine.progress()[:2] == (words, kept)
    assert on_device.engine.progress()[3] == pairs
    assert np.isclose(on_device.engine.progress()[2], loss, rtol=1e-5)
    assert np.abs(expected[0] - case.w_in).max() > 0.03  # it has learned something


@pytest.mark.parametrize("skip_gram", [True, False], ids=["sg", "cbow"])
@pytest.mark.parametrize("how", ["ns", "hs", "both"])
def test_one_sentence_in_flight_is_one_worker(
    device: str, skip_gram: bool, how: str, rng: np.random.Generator
) -> None:
    negatives = 0 if how == "hs" else 5
    case = Case(rng, tokens=1500, skip_gram=skip_gram, hierarchical=how != "ns", negatives=negatives)
    check(case, device, epoch=1)


@pytest.mark.parametrize(
    "settings",
    [
        {"sample": 0},
        {"shrink": False},
        {"window": 1},
        {"window": 10},
        {"window": 40},
        {"negatives": 1},
        {"negatives": 7},
        {"negatives": 25},
        {"negatives": 40},
        {"skip_gram": False, "mean": False, "divide": True},
        {"skip_gram": False, "divide": True, "negatives": 12},
        {"seed": 2**63 + 5},
    ],
    ids=str,
)
def test_settings(device: str, settings: dict[str, Any], rng: np.random.Generator) -> None:
    check(Case(rng, tokens=600, **settings), device)


def test_words_that_come_again(device: str, rng: np.random.Generator) -> None:
    """Of three words each window has most several times, and most negatives are the word itself, or drawn twice."""
    for skip_gram in (True, False):
        check(Case(rng, words=3, tokens=400, sample=0, window=6, skip_gram=skip_gram), device)


def wide(rng: np.random.Generator, vector_size: int, **settings: Any) -> Any:
    case = Case(rng, tokens=150, **settings)
    words, padded = len(case.counts), -(-vector_size // 16) * 16
    shapes = (words, padded), (words, padded), (words - 1, padded)
    case.w_in, case.w_out, case.w_nodes = (aligned(*shape) for shape in shapes)
    case.w_in[:, :vector_size] = rng.standard_normal((words, vector_size)) / np.sqrt(vector_size)
    case.w_out[:, :vector_size] = rng.standard_normal((words, vector_size)) / np.sqrt(vector_size)
    case.dim = padded
    return case


@pytest.mark.parametrize("vector_size", [1, 31, 100, 128, 300])
def test_sizes(device: str, vector_size: int, rng: np.random.Generator) -> None:
    """Up to 128 elements are one warp's, 300 are three's."""
    for skip_gram, hierarchical in ((True, False), (False, True)):
        case = wide(rng, vector_size, skip_gram=skip_gram, hierarchical=hierarchical)
        check(case, device, vector_size=vector_size, within=2e-5)


def test_segments_and_pieces(device: str, rng: np.random.Generator) -> None:
    """Sentences longer than a segment, one of them over several pieces; and as many threads as there are."""
    case = Case(rng, tokens=2 * PIECE + 500, negatives=1, window=1, sample=3e-3)
    ends = np.flatnonzero(case.text == -1)
    keep = np.ones(len(case.text), bool)
    keep[ends[(ends > 900) & (ends < 2 * PIECE + 300)]] = False
    case.text = case.text[keep]
    on_device = OnDevice(case, device)
    for got, right in zip(on_device.run(workers=2), case.run(case.engine()), strict=True):
        np.testing.assert_allclose(got, right, atol=1e-4)
    assert on_device.engine.progress()[0] == case.words


def test_more_pieces_than_a_shard_has(device: str, rng: np.random.Generator) -> None:
    case = Case(rng, tokens=130 * PIECE, negatives=1, window=1, sample=1e-8)  # 64 pieces on a GPU, else 2
    on_device = OnDevice(case, device)
    engine = case.engine()
    for got, right in zip(on_device.run(), case.run(engine), strict=True):
        np.testing.assert_allclose(got, right, atol=1e-4)
    assert on_device.engine.progress()[:2] == engine.progress()[:2]
    assert on_device.done == on_device.engine.pieces(len(case.text)) == -(-len(case.text) // PIECE)


def test_from_a_piece_on(device: str, rng: np.random.Generator) -> None:
    """A text whose beginning is done already: what is drawn of a piece is its own."""
    case = Case(rng, tokens=2 * PIECE + 600, negatives=1, window=1, sample=1e-3)
    whole = OnDevice(case, device)
    expected = whole.run()
    part = OnDevice(case, device)
    text = case.text.copy()
    until = PIECE + int(np.argmax(text[PIECE:] == -1))
    head = np.full_like(text, -1)
    head[:until] = text[:until]
    words = int((text >= 0).sum())
    there = [part.backend.from_host(m, device) for m in (case.w_in, case.w_out, case.w_nodes)]
    # The first piece alone, with the end of its last sentence; as long, for the rates.
    part.engine.train(
        *(head, *(int(m.data.ptr) for m in there), 0, 0.05, 0.01, words, 0, 2 * words),
        *(1, 0, 1, part.backend.stream(there[0])),
    )
    for got, right in zip(part.run(first=1, matrices=[to_host(m) for m in there]), expected, strict=True):
        assert (got == right).all()


def test_a_word_alone(device: str) -> None:
    text = SimpleNamespace(tokens=np.array([0, 0, -1, -1, 0], np.int32))
    vectors = []
    for where in (device, "cpu"):
        trainer = Word2VecTrainer([3], vector_size=5, negative=2, hs=True, sg=True, sample=0, device=where)
        trainer.fit(text, epochs=2, workers=1)
        assert trainer.path(0) == ([], [])
        vectors.append(trainer.outputs)
    np.testing.assert_allclose(*vectors, atol=1e-7)
    assert np.abs(vectors[0]).max() > 0


def test_several_in_flight(device: str, rng: np.random.Generator) -> None:
    """The loss of an epoch is within what seeds make of the CPU's, and no step is lost."""
    losses = []
    case = Case(rng, words=300, tokens=4000, sample=0, negatives=3, window=2)
    for seed in range(6):
        case.settings["seed"] = seed
        engine = case.engine()
        case.run(engine)
        losses.append(engine.progress()[2] / engine.progress()[3])
    case.settings["seed"] = 0
    for in_flight in (3, 8):
        on_device = OnDevice(case, device)
        on_device.run(in_flight=in_flight)
        words, _, loss, pairs = on_device.engine.progress()
        assert words == case.words
        assert abs(loss / pairs - np.mean(losses)) < 3 * np.std(losses)


def test_the_same_bits_with_one_in_flight(device: str, rng: np.random.Generator) -> None:
    case = Case(rng, tokens=800)
    first, second = OnDevice(case, device).run(), OnDevice(case, device).run()
    for one, other in zip(first, second, strict=True):
        assert (one == other).all()


def test_stop(device: str, rng: np.random.Generator) -> None:
    case = Case(rng, tokens=300)
    on_device = OnDevice(case, device)
    on_device.engine.stop()
    on_device.run()
    assert on_device.done == 0
    assert on_device.engine.progress()[0] == 0
    on_device.engine.go_on()
    on_device.engine.set_progress(3, 2, 1.5, 1)
    assert on_device.engine.progress() == (3, 2, 1.5, 1)
    on_device.run()
    assert on_device.done == 1
    assert on_device.engine.progress()[0] == case.words + 3


def test_errors(device: str, rng: np.random.Generator) -> None:
    case = Case(rng, tokens=300)
    on_device = OnDevice(case, device)
    there = [int(on_device.backend.from_host(m, device).data.ptr) for m in (case.w_in, case.w_out)]
    arguments = (0, 0.05, 0.01, 10, 0, 10)
    train = on_device.engine.train
    with pytest.raises(IndexError, match="tokens has word 60"):
        train(np.array([60], np.int32), *there, 0, *arguments, 1, 0, 1, 0)
    with pytest.raises(ValueError, match="a matrix is missing"):
        train(case.text, there[0], 0, 0, *arguments, 1, 0, 1, 0)
    with pytest.raises(ValueError, match="sentences in flight is 0; expected 1 to"):
        train(case.text, *there, 0, *arguments, 0, 0, 1, 0)
    with pytest.raises(ValueError, match="first is 2; expected a piece of the text"):
        train(case.text, *there, 0, *arguments, 1, 2, 1, 0)
    make = on_device.backend.library.Word2VecEngine
    with pytest.raises(ValueError, match="there are no words"):
        make([], True, True, False, 5, False, 5, True, 16, 1, 0.0, 0.75, 0)
    with pytest.raises(ValueError, match="counts do not fall"):
        make([1, 2], True, True, False, 5, False, 5, True, 16, 1, 0.0, 0.75, 0)


def test_errors_of_the_trainer(device: str) -> None:
    with pytest.raises(ValueError, match="vector_size is 1025; expected 1 to 1024 on a device"):
        Word2VecTrainer([1], vector_size=1025, device=device)
    with pytest.raises(
        ValueError, match="a window of 500 words, vectors of 100 elements and 5 negatives take"
    ):
        Word2VecTrainer([1], window=500, device=device)
    with pytest.raises(ValueError, match=f"variant is 'naive'; expected 'matrix' on {device}"):
        Word2VecTrainer([1], variant="naive", device=device)
    with pytest.raises(ValueError, match=f"shared_negatives is 2; expected 1 on {device}"):
        Word2VecTrainer([1], shared_negatives=2, device=device)
    with pytest.raises(ValueError, match=r"device is 'gpu'; expected 'cpu', 'cuda'"):
        Word2VecTrainer([1], device="gpu")


def test_work_of_a_word(rng: np.random.Generator) -> None:
    """A context's row is read once and added to once for all windows that it is in."""
    needs("simt")
    from dlkit import _simt

    words, window, negatives, dim = 100, 5, 5, 128
    case = wide(rng, dim, words=words, sample=0, shrink=False, window=window, negatives=negatives)
    case.text = np.append(np.arange(words), -1).astype(np.int32)  # each word once
    on_device = OnDevice(case, "simt", dim)
    before = _simt.get_mode()
    _simt.set_mode("both")
    _simt.reset_counters()
    try:
        on_device.run()
        (record,) = _simt.counters()
    finally:
        _simt.set_mode(before)
        _simt.reset_counters()
    assert (record["operation"], record["kernel"]) == ("word2vec", "sentences")
    outputs = negatives + 1
    # Contexts once; outputs for each word, but for negatives that were the word itself; the queue, loss and pairs.
    rows = record["global_atomic_bytes"] / (4 * dim)
    assert words * (1 + outputs) * 0.97 < rows <= words * (1 + outputs) + 0.1
    pairs = outputs * (2 * window * words - window * (window + 1))
    assert 0.97 * 6 * dim * pairs < record["flops"] < 1.25 * 6 * dim * pairs
    assert record["shared_load_conflicts"] + record["shared_store_conflicts"] == 0


def test_how_many_are_in_flight() -> None:
    """So many as have the most frequent word once among their words, and no more than the device holds."""
    needs("simt")
    from dlkit import _simt

    def default(counts: list[int], sample: float = 0.0, window: int = 5) -> int:
        engine = _simt.Word2VecEngine(
            counts, True, True, False, 5, False, window, True, 100, 1, sample, 0.75, 0
        )
        found: int = engine.default_in_flight()
        return found

    assert default([10]) == 1
    assert default([10, 10, 10, 10]) == 4
    assert default([10] * 1000) == 16  # by registers
    assert default([10] * 1000, window=60) < 5  # by shared memory
    assert default([800, *[10] * 20]) == 1
    assert default([800, *[10] * 20], sample=0.01) > 2
