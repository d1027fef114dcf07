"""The ladders: which variants of an operation there are."""

from __future__ import annotations

from typing import NamedTuple

from dlkit import _cpu
from dlkit.kernels import augment, conv, pool
from dlkit.kernels.backend import check_backend, nearest
from dlkit.kernels.layers import ladders
from dlkit.kernels.nearest import ladders as nearest_ladders
from dlkit.kernels.recurrent import ladders as recurrent_ladders
from dlkit.kernels.word2vec import ladders as word2vec_ladders


class Variant(NamedTuple):
    """One step of a ladder, to be passed by name as ``variant=``."""

    name: str
    idea: str
    needs: str


def variants(operation: str, backend: str = "cpu") -> list[Variant]:
    """Return the variants of an operation, the textbook's definition first.

    Parameters
    ----------
    operation : str
    backend : {"cpu", "cuda", "simt"}
        Whose: ``simt`` has those of ``cuda`` that an emulated GPU can run.

    Raises
    ------
    ValueError
        If `operation` has no ladder, or the backend is unknown.
    DeviceUnavailableError
        If this build does not have the backend.
    """
    check_backend(backend, "variants")
    tables: dict[str, list[tuple[str, str, str]]]
    if backend == "cpu":
        chapters = (
            ladders,
            conv.ladders,
            pool.ladders,
            augment.ladders,
            recurrent_ladders,
            word2vec_ladders,
            nearest_ladders,
        )
        tables = {"matmul": _cpu.matmul_variants(), **{k: v for each in chapters for k, v in each().items()}}
    else:
        from dlkit.kernels import (
            device_conv,
            device_layers,
            device_matmul,
            device_pool,
            device_recurrent,
            device_word2vec,
        )

        tables = {
            "matmul": device_matmul.variants(backend),
            **device_layers.ladders(backend),
            **device_conv.ladders(backend),
            **device_pool.ladders(backend),
            **device_recurrent.ladders(backend),
            **device_word2vec.ladders(backend),
        }
    if operation not in tables:
        names = tuple(tables)
        close = nearest(operation, names)
        raise ValueError(f"variants: operation is {operation!r}; expected one of {', '.join(names)}{close}")
    return [Variant(*row) for row in tables[operation]]
