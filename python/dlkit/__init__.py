"""dlkit: a small, fast deep-learning library over hand-written kernels."""

from __future__ import annotations

__version__ = "0.1.0"
