"""The updates of word vectors: the chapter csrc/word2vec.

Each function takes what one word of a text, or a batch of them, says about two matrices, and changes these where they
are. As in the original program the words of the context predict the word in the middle. A batch's words are taken one
after the other; of matrices on a device at one time, with no step lost (csrc/word2vec/device.h). Training on a text is
the engine's work, not Python's: these functions are for studying, for tests, and for algorithms of one's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, is_device_array, to_host

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["cbow_hs_update", "cbow_update", "sghs_update", "sgns_update"]

devices: Any = OnDemand("dlkit.kernels.device_word2vec")


def sgns_update(
    center: Any,
    contexts: Any,
    negatives: Any,
    w_in: Array,
    w_out: Array,
    lr: float,
    *,
    variant: str | None = None,
) -> float:
    """Take a step of skip-gram with negative sampling, in place.

    With ``y = sigmoid(w_in[c] . w_out[w])`` the loss is the sum over the contexts c of ``-log y`` for w = `center` and
    of ``-log(1 - y)`` for each negative w.

    Parameters
    ----------
    center : int, or integer array of shape (B,)
        Rows of `w_out`: the words in the middle.
    contexts : integer array of shape (C,) or (B, C)
        Rows of `w_in`; -1: none, for contexts of different sizes.
    negatives : integer array of shape (K,) or (B, K), or (C, K) or (B, C, K)
        Rows of `w_out` that are drawn at random; -1: none. With one axis fewer than `contexts` and K have together all
        contexts of a word share them. One that is the center itself is left out, as the original program does.
    w_in, w_out : arrays of shape (V, D) and (V, D), float32 or float64, contiguous
        Changed where they are. On a device both; rows are then checked on the host, and the loss waits for the device.
    lr : float
        Learning rate, 0 or more.
    variant : str, optional
        One of ``variants("sgns_update")``, of a device ``variants("sgns_update", "cuda")``. The default, ``matrix``,
        takes one step of gradient descent for a word's whole loss where its contexts share the negatives; the others
        one for each pair. On a device it is ``naive`` for what ``matrix`` does not take.

    Returns
    -------
    float
        The loss before the step (of ``matrix``), or of each pair before its step.

    Raises
    ------
    TypeError
        If a matrix is no float32 or float64, or rows are no integers.
    ValueError
        If shapes do not fit, a matrix is not contiguous or writeable, or a name is unknown.
    IndexError
        If a row is not there.

    Notes
    -----
    Mikolov, Sutskever, Chen, Corrado & Dean, "Distributed representations of words and phrases and their
    compositionality", NIPS 2013, equation 4. Sharing: Ji, Satish, Li & Dubey 2016. Sources: csrc/word2vec.
    """
    inputs, outputs, labels = _sampled("sgns_update", center, contexts, negatives, may_own=True)
    return _update("sgns_update", inputs, outputs, labels, w_in, w_out, lr, False, False, False, variant)


def cbow_update(
    center: Any,
    contexts: Any,
    negatives: Any,
    w_in: Array,
    w_out: Array,
    lr: float,
    *,
    mean: bool = True,
    divide: bool = False,
    variant: str | None = None,
) -> float:
    """Take a step of the continuous bag of words with negative sampling, in place.

    Like `sgns_update`, but the rows of `w_in` that a word's contexts name predict it together: their mean or sum h
    takes the place of each.

    Parameters
    ----------
    center, contexts, w_in, w_out, lr, variant
        As for `sgns_update`.
    negatives : integer array of shape (K,) or (B, K)
    mean : bool
        Whether h is the contexts' mean, not their sum.
    divide : bool
        Whether each context gets its part of h's step, not all of it. The gradient is ``mean=True, divide=True`` or
        ``mean=False, divide=False``; the original program has ``mean=True, divide=False``, as has gensim, whose
        ``cbow_mean=0`` is ``mean=False, divide=True``.

    Returns
    -------
    float
        The loss before the step.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `sgns_update`.

    Notes
    -----
    Mikolov, Chen, Corrado & Dean, "Efficient estimation of word representations in vector space", 2013; Irsoy, Benton &
    Stratos, "Corrected CBOW performs as well as skip-gram", 2021.
    """
    inputs, outputs, labels = _sampled("cbow_update", center, contexts, negatives, may_own=False)
    return _update(
        "cbow_update", inputs, outputs, labels, w_in, w_out, lr, True, bool(mean), bool(divide), variant
    )


def sghs_update(
    contexts: Any,
    nodes: Any,
    codes: Any,
    w_in: Array,
    w_nodes: Array,
    lr: float,
    *,
    variant: str | None = None,
) -> float:
    """Take a step of skip-gram with hierarchical softmax, in place.

    A word's probability is a product over the inner nodes n on its path in a binary tree: ``sigmoid(w_in[c] .
    w_nodes[n])`` where its code is 0, one minus that where it is 1. The loss is minus its logarithm, summed over the
    contexts c.

    Parameters
    ----------
    contexts : integer array of shape (C,) or (B, C)
        Rows of `w_in`; -1: none.
    nodes : integer array of shape (L,) or (B, L)
        Rows of `w_nodes`, from the root on; -1: none.
    codes : integer array of the same shape
        0 or 1: which way the path turns there.
    w_in, w_nodes : arrays of shape (V, D) and (N, D), float32 or float64, contiguous
        Changed where they are.
    lr, variant
        As for `sgns_update`.

    Returns
    -------
    float
        The loss before the step.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `sgns_update`.

    Notes
    -----
    Morin & Bengio, "Hierarchical probabilistic neural network language model", 2005; Mikolov et al. 2013.
    """
    inputs, outputs, labels = _path("sghs_update", contexts, nodes, codes)
    return _update("sghs_update", inputs, outputs, labels, w_in, w_nodes, lr, False, False, False, variant)


def cbow_hs_update(
    contexts: Any,
    nodes: Any,
    codes: Any,
    w_in: Array,
    w_nodes: Array,
    lr: float,
    *,
    mean: bool = True,
    divide: bool = False,
    variant: str | None = None,
) -> float:
    """Take a step of the continuous bag of words with hierarchical softmax, in place.

    The loss is that of `sghs_update`, for the mean or sum of the contexts' rows in the place of each, as `cbow_update`
    has it; parameters, result and errors are theirs.
    """
    inputs, outputs, labels = _path("cbow_hs_update", contexts, nodes, codes)
    return _update(
        "cbow_hs_update",
        inputs,
        outputs,
        labels,
        w_in,
        w_nodes,
        lr,
        True,
        bool(mean),
        bool(divide),
        variant,
    )


def _update(
    operation: str, inputs: Any, outputs: Any, labels: Any, w_in: Any, w_out: Any, lr: float, *how: Any
) -> float:
    if is_device_array(w_in) or is_device_array(w_out):
        found: float = devices.update_words(operation, inputs, outputs, labels, w_in, w_out, lr, *how)
        return found
    cbow, mean, divide, variant = how
    return _cpu.update_words(
        operation, inputs, outputs, labels, w_in, w_out, lr, cbow, mean, divide, True, variant
    )


def _rows(operation: str, argument: str, value: Any) -> NDArray[np.int64]:
    array = to_host(value) if is_device_array(value) else np.asarray(value)
    if array.dtype.kind not in "iu" and array.size > 0:
        raise TypeError(f"{operation}: {argument} has dtype {array.dtype}; expected integers")
    return array.astype(np.int64)


def _sampled(
    operation: str, center: Any, contexts: Any, negatives: Any, *, may_own: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Contexts, and center and negatives side by side with their labels, with an axis for words."""
    middle = _rows(operation, "center", center)
    inputs, drawn = _rows(operation, "contexts", contexts), _rows(operation, "negatives", negatives)
    if middle.ndim > 1:
        raise ValueError(f"{operation}: center is {middle.shape}; expected an integer or (words,)")
    if inputs.ndim != middle.ndim + 1 or inputs.shape[: middle.ndim] != middle.shape:
        expected = "(contexts,)" if middle.ndim == 0 else f"({middle.shape[0]}, contexts)"
        raise ValueError(
            f"{operation}: contexts is {inputs.shape}; expected {expected}, as center is {middle.shape}"
        )
    own = may_own and drawn.ndim == inputs.ndim + 1
    of_each = inputs.shape if own else middle.shape
    if drawn.ndim != len(of_each) + 1 or drawn.shape[:-1] != of_each:
        choices = [(*middle.shape, "K"), *([(*inputs.shape, "K")] if may_own else [])]
        texts = " or ".join(
            "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")" for shape in choices
        )
        raise ValueError(f"{operation}: negatives is {drawn.shape}; expected {texts}")
    if middle.ndim == 0:
        middle, inputs, drawn = middle[None], inputs[None], drawn[None]
    if middle.size and middle.min() < 0:
        raise IndexError(f"{operation}: center has row {middle.min()}; expected 0 or more")
    middle = middle.reshape(-1, 1, 1) if own else middle[:, None]
    outputs = np.concatenate(
        [np.broadcast_to(middle, (*drawn.shape[:-1], 1)), np.where(drawn == middle, -1, drawn)], -1
    )
    labels = np.zeros(outputs.shape, np.uint8)
    labels[..., 0] = 1
    return np.ascontiguousarray(inputs), np.ascontiguousarray(outputs), labels


def _path(
    operation: str, contexts: Any, nodes: Any, codes: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Contexts and nodes with an axis for words; a label is 1 where the code is 0."""
    inputs, outputs, turns = (
        _rows(operation, "contexts", contexts),
        _rows(operation, "nodes", nodes),
        _rows(operation, "codes", codes),
    )
    if inputs.ndim not in (1, 2):
        raise ValueError(
            f"{operation}: contexts is {inputs.shape}; expected (contexts,) or (words, contexts)"
        )
    if outputs.ndim != inputs.ndim or outputs.shape[:-1] != inputs.shape[:-1]:
        expected = "(nodes,)" if inputs.ndim == 1 else f"({inputs.shape[0]}, nodes)"
        raise ValueError(
            f"{operation}: nodes is {outputs.shape}; expected {expected}, as contexts is {inputs.shape}"
        )
    if turns.shape != outputs.shape:
        raise ValueError(f"{operation}: codes is {turns.shape}; expected {outputs.shape}, the shape of nodes")
    if ((turns != 0) & (turns != 1) & (outputs >= 0)).any():
        raise ValueError(f"{operation}: codes has {turns[(turns != 0) & (turns != 1)][0]}; expected 0 or 1")
    if inputs.ndim == 1:
        inputs, outputs, turns = inputs[None], outputs[None], turns[None]
    return (
        np.ascontiguousarray(inputs),
        np.ascontiguousarray(outputs),
        np.ascontiguousarray(turns == 0).view(np.uint8),
    )


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return the rows of `dlkit.kernels.variants` for each update."""
    return _cpu.word2vec_variants()
