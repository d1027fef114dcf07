"""Embeddings as a module."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.autograd.base import as_array, mark_changed, shape_text
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import device_of
from dlkit.nn import functional, init
from dlkit.nn.embedding_functional import row_number
from dlkit.nn.linear import positive_integer
from dlkit.nn.module import Module, float_dtype
from dlkit.nn.parameter import Parameter


class Embedding(Module):
    """A table of vectors, one for each of num_embeddings words, looked up by number.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns of the table.
    padding_idx : int, optional
        A row that is 0 at the start and gets no gradient, for the places that fill short sequences up.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter of shape (num_embeddings, embedding_dim)
        From N(0, 1) at the start, as in PyTorch.

    Examples
    --------
    >>> Embedding(10, 3)([[1, 2, 4, 5], [4, 3, 2, 9]]).shape
    (2, 4, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.num_embeddings = positive_integer(num_embeddings, "Embedding", "num_embeddings")
        self.embedding_dim = positive_integer(embedding_dim, "Embedding", "embedding_dim")
        self.padding_idx = row_number(padding_idx, self.num_embeddings, "Embedding")
        kind = float_dtype(dtype, "Embedding")
        self.weight = Parameter(np.empty((self.num_embeddings, self.embedding_dim), kind))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """Make a layer of a table of vectors that is there already.

        Parameters
        ----------
        embeddings : Tensor or array of shape (num_embeddings, embedding_dim)
            Copied; the layer is on its device.
        freeze : bool
            Whether the table stays as it is in training.
        padding_idx : int, optional
            A row that gets no gradient.

        Raises
        ------
        TypeError, ValueError
            If it is no matrix of float32 or float64.
        """
        table = as_array(embeddings, "Embedding.from_pretrained", "embeddings")
        if table.ndim != 2:
            raise ValueError(
                f"Embedding.from_pretrained: embeddings is {shape_text(table.shape)}; "
                "expected (num_embeddings, embedding_dim)"
            )
        layer = cls(table.shape[0], table.shape[1], padding_idx, dtype=table.dtype)
        layer.to(device_of(table))
        np.copyto(layer.weight._array, table)
        layer.weight.requires_grad = not freeze
        return layer

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight._array[self.padding_idx] = 0
            mark_changed(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Integers of shape (...) to vectors (..., embedding_dim)."""
        return functional.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Return sizes, and the padding row if there is one."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
