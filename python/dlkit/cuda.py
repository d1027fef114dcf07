"""NVIDIA GPUs: whether there are any, and training steps recorded as CUDA graphs.

Examples
--------
>>> import dlkit as dl
>>> dl.cuda.is_available()  # doctest: +SKIP
True
>>> model = dl.models.MLP(784).cuda()  # doctest: +SKIP
>>> optimizer = dl.optim.Adam(model.parameters())  # doctest: +SKIP
>>> x, y = dl.zeros(64, 784, device="cuda"), dl.zeros(64, dtype="int64", device="cuda")  # doctest: +SKIP
>>> def step():  # doctest: +SKIP
...     loss = dl.nn.functional.cross_entropy(model(x), y)
...     optimizer.zero_grad()
...     loss.backward()
...     optimizer.step()
...     return loss
>>> graph = dl.cuda.Graph(step)  # doctest: +SKIP
>>> for images, labels in batches:  # doctest: +SKIP
...     x.copy_(images)
...     y.copy_(labels)
...     loss = graph()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from dlkit.kernels.backend import backend_named, check_backend, why_not
from dlkit.kernels.recording import Recording

T = TypeVar("T")

Launch = Callable[[], None]


def is_available() -> bool:
    """Return whether a GPU can be used: CuPy, the kernels, a driver and a GPU are there."""
    return why_not("cuda") is None


def device_count() -> int:
    """Return how many GPUs there are, 0 where none can be used."""
    return int(backend_named("cuda").xp.cuda.runtime.getDeviceCount()) if is_available() else 0


def synchronize() -> None:
    """Wait until CuPy's current stream has done all that was launched on it."""
    backend_named("cuda").xp.cuda.get_current_stream().synchronize()


class Graph(Generic[T]):
    """A training step that is recorded once, and then launched as a whole.

    Each call makes one step. The first calls run it from Python as ever, the next one records it, and those after
    replay the recording: all kernels of the step in one launch. Random numbers, learning rates and Adam's corrections
    go on from call to call as if the step had been run from Python.

    Parameters
    ----------
    step : callable without arguments
        The step. Its inputs are tensors that stay: copy each batch into them with ``copy_``. It must not wait for the
        device (``item()``, printing), nor depend on anything in Python that changes, but the optimizer's settings.
    warmup : int
        How many calls run from Python first, at least 1: the optimizer's state and the gradients' memory must be there
        before the recording.
    backend : str
        ``"cuda"``.

    Raises
    ------
    DeviceUnavailableError
        If no GPU can be used.
    ValueError
        If launches cannot be recorded on that backend, or `warmup` is below 1.

    Notes
    -----
    What the step allocates while it is recorded belongs to the graph, from a memory pool of its own. The tensors that
    it returns are the same at each call, with new values.
    """

    def __init__(self, step: Callable[[], T], *, warmup: int = 2, backend: str = "cuda") -> None:
        if not callable(step):
            raise TypeError(f"Graph: step is a {type(step).__name__}; expected something to call")
        if warmup < 1:
            raise ValueError(f"Graph: warmup is {warmup}; expected at least 1")
        check_backend(backend, "Graph")
        if backend == "cuda" and (reason := why_not(backend)) is not None:
            backend_named(backend).library  # noqa: B018 (raises, with the reason)
            raise RuntimeError(reason)
        capture = backend_named(backend).capture
        if capture is None:
            raise ValueError(
                f"Graph: backend is {backend!r}, where launches cannot be recorded; expected 'cuda'"
            )
        self._capture = capture
        self._step = step
        self._warmup = warmup
        self._recording: Recording | None = None
        self._launch: Launch | None = None
        self._result: T | None = None
        self._backend = backend
        self.calls = 0

    def __call__(self) -> T:
        """Make one step, and return what it returns."""
        if self.calls < self._warmup:
            result = self._step()
            self.calls += 1
            return result
        if self._launch is None:
            self._record()
        else:
            assert self._recording is not None
            self._recording.next()
        assert self._launch is not None
        self._launch()
        self.calls += 1
        return self._result  # type: ignore[return-value]

    @property
    def recorded(self) -> bool:
        """Whether the step has been recorded."""
        return self._launch is not None

    def _record(self) -> None:
        recording = Recording(self._backend)

        def body() -> None:
            with recording:
                self._result = self._step()

        launch: Launch = self._capture(body)
        recording.first()
        self._recording, self._launch = recording, launch
