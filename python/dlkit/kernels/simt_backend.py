"""The SIMT machine as a backend."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from dlkit.kernels import simt
from dlkit.kernels.backend import Backend, DeviceUnavailableError


class Simt(Backend):
    """Arrays of `dlkit.kernels.simt`, kernels of ``dlkit._simt``."""

    name = "simt"
    xp = simt

    @functools.cached_property
    def library(self) -> Any:
        """The module ``dlkit._simt``."""
        try:
            from dlkit import _simt
        except ImportError as error:
            raise DeviceUnavailableError(
                f"simt: this build of dlkit has no emulated GPU ({error}); build it anew from its sources: make build"
            ) from error
        return _simt

    def from_host(self, array: Any, device: str) -> Any:
        """Copy an array of the host into the machine's memory."""
        return simt.array(array)

    def add_at(self, target: Any, index: Any, values: Any) -> None:
        """Add values to elements of an array, one after another."""
        np.add.at(target._host, simt._index(index), simt._operand(values))
