"""Kernels: arrays in, arrays out."""

from __future__ import annotations

from dlkit.kernels.config import (
    config,
    counters,
    get_num_threads,
    measure_bandwidth,
    measure_peak,
    reset_counters,
    set_num_threads,
    show_config,
)
from dlkit.kernels.matmul import matmul
from dlkit.kernels.variants import Variant, variants

__all__ = [
    "Variant",
    "config",
    "counters",
    "get_num_threads",
    "matmul",
    "measure_bandwidth",
    "measure_peak",
    "reset_counters",
    "set_num_threads",
    "show_config",
    "variants",
]
