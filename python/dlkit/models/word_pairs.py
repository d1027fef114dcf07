"""What people said of pairs of words beside the cosines of their vectors."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dlkit.data.errors import DataError
from dlkit.data.text_file import lines_of, read_bytes

from .word_analogies import folded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .word_table import WordTable


class Correlation(NamedTuple):
    """A coefficient of correlation, and how likely one as large or larger is where there is none.

    Attributes
    ----------
    statistic
        From -1 to 1; NaN where one side is constant.
    pvalue
        Two-sided, of Student's t with n - 2 degrees of freedom.
    """

    statistic: float
    pvalue: float


def compare_pairs(
    wv: WordTable,
    pairs: str | os.PathLike[str],
    delimiter: str,
    encoding: str,
    end: int,
    case_insensitive: bool,
    dummy4unknown: bool,
) -> tuple[Correlation, Correlation, float]:
    """Compare cosines of the first `end` words with the pairs of a file: `KeyedVectors.evaluate_word_pairs`."""
    known, _ = folded(wv, end, case_insensitive)
    name = os.fspath(pairs)
    gold: list[float] = []
    rows: list[tuple[int, int]] = []
    unknown = 0
    for line in lines_of(read_bytes(pairs), name, encoding):
        columns = (line.upper() if case_insensitive else line).split(delimiter)
        if line.startswith("#") or len(columns) != 3:
            continue
        try:
            value = float(columns[2])
        except ValueError:
            continue
        if not math.isfinite(value):
            continue
        one, other = known.get(columns[0], -1), known.get(columns[1], -1)
        if min(one, other) < 0:
            unknown += 1
            if not dummy4unknown:
                continue
        rows.append((one, other))
        gold.append(value)
    if not rows:
        raise DataError(
            f"{name}: no pair of known words, expected lines of two words and a number, separated by {delimiter!r}"
        )
    index = np.array(rows, np.int64)
    first, second = wv.vectors[index[:, 0]], wv.vectors[index[:, 1]]
    cosines = np.einsum("ij,ij->i", first, second, dtype=np.float64)
    cosines *= wv.scale[index[:, 0]].astype(np.float64) * wv.scale[index[:, 1]]
    cosines[index.min(axis=1) < 0] = 0
    scores = np.array(gold)
    ratio = 100 * unknown / (len(rows) if dummy4unknown else len(rows) + unknown)
    return _pearson(scores, cosines), _pearson(_ranks(scores), _ranks(cosines)), ratio


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The places of values in their order; of equal ones the mean of theirs."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2)[group]


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> Correlation:
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.linalg.norm(x) * np.linalg.norm(y))
    if len(x) < 3 or spread == 0:
        return Correlation(math.nan if spread == 0 else math.copysign(1.0, float(x @ y)), math.nan)
    r = max(-1.0, min(1.0, float(x @ y) / spread))
    return Correlation(r, _p_value(r, len(x)))


def _p_value(r: float, n: int) -> float:
    """The share of samples of n independent normal pairs with a correlation beyond r, either way.

    Its density is that of sin(t) with t of density cos(t)^(n - 3) from -pi/2 to pi/2: integrated from asin(|r|) on by
    Gauss and Legendre's rule.
    """
    start = math.asin(abs(r))
    nodes, weights = np.polynomial.legendre.leggauss(100)
    # What is more than 40 decay lengths away adds nothing.
    reach = min(math.pi / 2 - start, 40 / max((n - 3) * math.tan(start) if start < 1.57 else math.inf, 1e-9))
    reach = max(reach, min(math.pi / 2 - start, 12 / math.sqrt(n)))
    t = start + (nodes + 1) / 2 * reach
    tail = float(np.sum(weights * np.cos(t) ** (n - 3))) * reach / 2
    whole = math.sqrt(math.pi) * math.exp(math.lgamma((n - 2) / 2) - math.lgamma((n - 1) / 2))
    return min(1.0, 2 * tail / whole)
