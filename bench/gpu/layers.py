"""Every layer kernel against PyTorch (cuDNN and its own kernels) and CuPy, as a share of the bandwidth of a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from device import Device, main, relative_error
from record import Record
from timing import Contender, Deadline, compare, input_sets

NAIVE, AUTOMATIC = 0, 3  # rungs of the module API
KINDS = {"relu": 0, "sigmoid": 3, "tanh": 4, "gelu": 7}
FLOAT = 0  # the module API's dtype


@dataclass
class Operation:
    """One operation at one size, on one input set."""

    name: str
    bytes: int  # each input read once, each output written once
    run: Callable[[int], object]  # at a rung
    peer: Callable[[], object]
    out: torch.Tensor | None = None  # what `run` writes
    reference: Callable[[], torch.Tensor] | None = None  # of float64
    cupy: Callable[[], object] | None = None
    rungs: tuple[int, ...] = (NAIVE, AUTOMATIC)


Builder = Callable[[Device, int, int], Operation]


def _as_cupy(tensor: torch.Tensor) -> Any:
    import cupy

    return cupy.from_dlpack(tensor)


def _on_stream(body: Callable[[Any], object]) -> Callable[[], object]:
    """Return a call of `body(cupy)` on PyTorch's current stream."""

    def call() -> object:
        import cupy

        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            return body(cupy)

    return call


def _activation(kind: str) -> Builder:
    functions = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu}

    def build(device: Device, rows: int, cols: int) -> Operation:
        m, function = device.module, functions[kind]
        x, y = device.random(rows, cols), device.empty(rows, cols)
        n = rows * cols

        def run(rung: int) -> None:
            m.activation(device.stream(), FLOAT, KINDS[kind], x.data_ptr(), y.data_ptr(), n, 0.0, rung)

        operation = Operation(
            f"activation {kind}", 8 * n, run, lambda: function(x), y, lambda: function(x.double())
        )
        if not device.dry_run and kind in ("relu", "tanh"):
            a, out = _as_cupy(x), _as_cupy(torch.empty_like(x))
            operation.cupy = _on_stream(
                lambda cp: cp.maximum(a, 0, out=out) if kind == "relu" else cp.tanh(a, out=out)
            )
        return operation

    return build


def _tanh_backward(device: Device, rows: int, cols: int) -> Operation:
    m, n = device.module, rows * cols
    grad, saved, out = device.random(rows, cols), device.random(rows, cols).tanh(), device.empty(rows, cols)

    def run(rung: int) -> None:
        m.activation_backward(
            device.stream(),
            FLOAT,
            KINDS["tanh"],
            grad.data_ptr(),
            saved.data_ptr(),
            out.data_ptr(),
            n,
            0.0,
            rung,
        )

    return Operation(
        "activation_backward tanh", 12 * n, run, lambda: torch.ops.aten.tanh_backward(grad, saved), out,
        lambda: grad.double() * (1 - saved.double() ** 2),
    )  # fmt: skip


def _softmax(logarithm: bool) -> Builder:
    def build(device: Device, rows: int, cols: int) -> Operation:
        x, out = device.random(rows, cols), device.empty(rows, cols)
        function = torch.log_softmax if logarithm else torch.softmax

        def run(rung: int) -> None:
            device.module.softmax(
                device.stream(), FLOAT, x.data_ptr(), cols, out.data_ptr(), rows, cols, logarithm, rung
            )

        name = "log_softmax" if logarithm else "softmax"
        return Operation(
            name, 8 * rows * cols, run, lambda: function(x, 1), out, lambda: function(x.double(), 1)
        )

    return build


def _softmax_backward(device: Device, rows: int, cols: int) -> Operation:
    grad, y, out = device.random(rows, cols), device.random(rows, cols).softmax(1), device.empty(rows, cols)

    def run(rung: int) -> None:
        device.module.softmax_backward(
            device.stream(), FLOAT, grad.data_ptr(), y.data_ptr(), out.data_ptr(), rows, cols, False, rung
        )

    def reference() -> torch.Tensor:
        g, s = grad.double(), y.double()
        return s * (g - (g * s).sum(1, keepdim=True))

    return Operation(
        "softmax_backward", 12 * rows * cols, run,
        lambda: torch.ops.aten._softmax_backward_data(grad, y, 1, torch.float32), out, reference,
    )  # fmt: skip


def _cross_entropy(device: Device, rows: int, cols: int) -> Operation:
    m = device.module
    logits, grad = device.random(rows, cols), device.empty(rows, cols)
    labels = torch.randint(cols, (rows,), device=device.torch)
    losses, result = device.empty(rows), device.empty(1)
    scratch = device.bytes(m.cross_entropy_scratch(FLOAT, rows))

    def run(rung: int) -> None:
        m.cross_entropy(
            device.stream(), FLOAT, logits.data_ptr(), cols, labels.data_ptr(), rows, cols, 0.0, -100, 1.0, 2,
            losses.data_ptr(), result.data_ptr(), grad.data_ptr(), scratch.data_ptr(), rung,
        )  # fmt: skip

    def gradient(x: torch.Tensor) -> torch.Tensor:
        probabilities = torch.softmax(x, 1)
        probabilities[torch.arange(rows, device=device.torch), labels] -= 1
        return probabilities.div_(rows)

    leaf = logits.clone().requires_grad_()

    def peer() -> object:
        return torch.autograd.grad(F.cross_entropy(leaf, labels), leaf)

    return Operation(
        "cross_entropy with gradient", 8 * rows * cols, run, peer, grad, lambda: gradient(logits.double())
    )


def _dropout(device: Device, rows: int, cols: int) -> Operation:
    n = rows * cols
    x, y = device.random(rows, cols), device.empty(rows, cols)

    def run(rung: int) -> None:
        device.module.dropout(device.stream(), FLOAT, x.data_ptr(), y.data_ptr(), n, 0.5, 1, 0, 0, rung)

    return Operation("dropout", 8 * n, run, lambda: F.dropout(x, 0.5, training=True))


def _column_sum(device: Device, rows: int, cols: int) -> Operation:
    m = device.module
    x, out = device.random(rows, cols), device.empty(cols)
    scratch = device.bytes(m.column_sum_scratch(FLOAT, rows, cols))

    def run(rung: int) -> None:
        m.column_sum(
            device.stream(),
            FLOAT,
            x.data_ptr(),
            cols,
            rows,
            cols,
            out.data_ptr(),
            False,
            scratch.data_ptr(),
            rung,
        )

    operation = Operation(
        "column_sum", 4 * rows * cols, run, lambda: x.sum(0), out, lambda: x.double().sum(0)
    )
    if not device.dry_run:
        a, total = _as_cupy(x), _as_cupy(torch.empty_like(out))
        operation.cupy = _on_stream(lambda cp: cp.sum(a, axis=0, out=total))
    return operation


def _layer_norm(device: Device, rows: int, cols: int) -> Operation:
    x, out, weight, bias = (device.random(*s) for s in ((rows, cols), (rows, cols), (cols,), (cols,)))
    mean, rstd = device.empty(rows), device.empty(rows)

    def run(rung: int) -> None:
        device.module.layer_norm(
            device.stream(), FLOAT, x.data_ptr(), weight.data_ptr(), bias.data_ptr(), out.data_ptr(),
            mean.data_ptr(), rstd.data_ptr(), rows, cols, 1e-5, rung,
        )  # fmt: skip

    return Operation(
        "layer_norm", 8 * rows * cols, run, lambda: F.layer_norm(x, (cols,), weight, bias), out,
        lambda: F.layer_norm(x.double(), (cols,), weight.double(), bias.double()),
    )  # fmt: skip


def _layer_norm_backward(device: Device, rows: int, cols: int) -> Operation:
    m = device.module
    grad, x, dx, weight = (device.random(*s) for s in ((rows, cols), (rows, cols), (rows, cols), (cols,)))
    dweight, dbias, bias = device.empty(cols), device.empty(cols), device.random(cols)
    mean = x.mean(1)
    rstd = (x.var(1, correction=0) + 1e-5).rsqrt()
    scratch = device.bytes(m.layer_norm_backward_scratch(FLOAT, rows, cols))

    def run(rung: int) -> None:
        m.layer_norm_backward(
            device.stream(), FLOAT, grad.data_ptr(), x.data_ptr(), weight.data_ptr(), mean.data_ptr(),
            rstd.data_ptr(), dx.data_ptr(), dweight.data_ptr(), dbias.data_ptr(), scratch.data_ptr(), rows, cols, rung,
        )  # fmt: skip

    def peer() -> object:
        return torch.ops.aten.native_layer_norm_backward(
            grad, x, [cols], mean[:, None], rstd[:, None], weight, bias, [True, True, True]
        )

    def reference() -> torch.Tensor:
        leaf = x.double().requires_grad_()
        F.layer_norm(leaf, (cols,), weight.double(), bias.double()).backward(grad.double())
        assert leaf.grad is not None
        return leaf.grad

    return Operation("layer_norm_backward", 12 * rows * cols, run, peer, dx, reference)


def _batch_norm(device: Device, rows: int, cols: int) -> Operation:
    m = device.module
    channels = max(1, cols // 16)
    n, inner = rows, cols // channels
    x, out, weight, bias = (device.random(*s) for s in ((n, channels, inner),) * 2 + ((channels,),) * 2)
    mean, rstd = device.empty(channels), device.empty(channels)
    scratch = device.bytes(m.batch_norm_scratch(FLOAT, n, channels, inner))

    def run(rung: int) -> None:
        m.batch_norm(
            device.stream(), FLOAT, x.data_ptr(), weight.data_ptr(), bias.data_ptr(), out.data_ptr(), mean.data_ptr(),
            rstd.data_ptr(), n, channels, inner, 1e-5, scratch.data_ptr(), rung,
        )  # fmt: skip

    def norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, None, None, weight, bias, training=True)

    return Operation(
        "batch_norm", 12 * x.numel(), run, lambda: norm(x, weight, bias), out,
        lambda: norm(x.double(), weight.double(), bias.double()),
    )  # fmt: skip


def _embedding(device: Device, rows: int, cols: int) -> Operation:
    words = 16 * rows
    weight, out = device.random(words, cols), device.empty(rows, cols)
    indices = torch.randint(words, (rows,), device=device.torch)

    def run(rung: int) -> None:
        device.module.embedding(
            device.stream(),
            FLOAT,
            weight.data_ptr(),
            words,
            cols,
            indices.data_ptr(),
            rows,
            out.data_ptr(),
            rung,
        )

    return Operation(
        "embedding", 8 * rows * cols, run, lambda: F.embedding(indices, weight), out, lambda: weight[indices]
    )


def _embedding_backward(device: Device, rows: int, cols: int) -> Operation:
    m = device.module
    words = rows
    grad, out = device.random(rows, cols), device.empty(words, cols)
    indices = torch.randint(words, (rows,), device=device.torch)
    scratch = device.bytes(m.embedding_backward_scratch(FLOAT, rows, words, cols))

    def run(rung: int) -> None:
        m.embedding_backward(
            device.stream(), FLOAT, grad.data_ptr(), indices.data_ptr(), rows, words, cols, -1, out.data_ptr(),
            scratch.data_ptr(), rung,
        )  # fmt: skip

    return Operation(
        "embedding_backward", 8 * rows * cols, run,
        lambda: torch.ops.aten.embedding_dense_backward(grad, indices, words, -1, False), out,
        lambda: torch.zeros(words, cols, dtype=torch.float64, device=device.torch).index_add_(
            0, indices, grad.double()
        ),
    )  # fmt: skip


def _adam(device: Device, rows: int, cols: int) -> Operation:
    shapes = [(rows, cols // 2), (cols,), (rows, cols // 2 - 1), (rows,)]
    values, grads, first, second = ([device.random(*shape) for shape in shapes] for _ in range(4))
    second = [s.abs() for s in second]
    leaves = [value.clone().requires_grad_() for value in values]
    for leaf, grad in zip(leaves, grads, strict=True):
        leaf.grad = grad.clone()
    options: dict[str, Any] = {} if device.dry_run else {"fused": True, "capturable": True}
    optimizer = torch.optim.Adam(leaves, lr=1e-3, **options)
    table = [
        (*(t.data_ptr() for t in group), group[0].numel())
        for group in zip(values, grads, first, second, strict=True)
    ]

    def run(rung: int) -> None:
        device.module.adam_step(device.stream(), FLOAT, table, 1, 1e-3, 0.9, 0.999, 1e-8, 0.0, False, 0, rung)

    keep = (values, grads, first, second)  # alive while their addresses are used
    return Operation(
        "adam_step, 4 parameters", 28 * sum(v.numel() for v in values), run, lambda: (optimizer.step(), keep)
    )


def _sgd(device: Device, rows: int, cols: int) -> Operation:
    value, grad, velocity = (device.random(rows, cols) for _ in range(3))
    leaf = value.clone().requires_grad_()
    leaf.grad = grad.clone()
    options: dict[str, Any] = {} if device.dry_run else {"fused": True}
    optimizer = torch.optim.SGD([leaf], lr=1e-3, momentum=0.9, **options)
    table = [(value.data_ptr(), grad.data_ptr(), velocity.data_ptr(), value.numel())]

    def run(rung: int) -> None:
        device.module.sgd_step(device.stream(), FLOAT, table, 1e-3, 0.9, 0.0, 0.0, False, False, 0, rung)

    keep = (value, grad, velocity)
    return Operation("sgd_step with momentum", 20 * value.numel(), run, lambda: (optimizer.step(), keep))


def _crf_by_torch(x: torch.Tensor, transitions: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """The gradient by emissions (steps, batch, K) of the sum of the losses: the forward algorithm, step by step."""
    leaf = x.detach().requires_grad_()
    alpha = leaf[0]
    score = leaf.gather(2, tags[:, :, None]).sum()
    for t in range(1, len(leaf)):
        alpha = torch.logsumexp(alpha[:, :, None] + transitions, 1) + leaf[t]
        score = score + transitions[tags[t - 1], tags[t]].sum()
    (torch.logsumexp(alpha, 1).sum() - score).backward()
    assert leaf.grad is not None
    return leaf.grad


def _crf(device: Device, rows: int, cols: int) -> Operation:
    m = device.module
    steps, batch, k = (32, 512, 50) if rows > 1000 else (25, 32, 17) if rows > 10 else (3, 2, 5)
    count = steps * batch
    x, transitions, grad = device.random(count, k), device.random(k, k), device.empty(count, k)
    tags = torch.randint(k, (count,), device=device.torch)
    first = torch.arange(0, count + 1, batch, device=device.torch)
    losses, sums, weights = device.empty(1, batch), device.empty(1, k * k + 2 * k), device.empty(1, batch)
    weights.fill_(1)
    scratch = device.bytes(m.crf_loss_scratch(FLOAT, count, k, batch, True))

    def run(rung: int) -> None:
        m.crf_loss(
            *(device.stream(), FLOAT, count, steps, batch, k, x.data_ptr(), transitions.data_ptr(), 0, 0),
            *(first.data_ptr(), tags.data_ptr(), losses.data_ptr(), weights.data_ptr(), grad.data_ptr()),
            *(sums.data_ptr(), scratch.data_ptr()),
        )

    numbers, shape = tags.view(steps, batch), (steps, batch, k)
    return Operation(
        f"crf loss and gradients, {steps} steps of {batch}, {k} tags",
        8 * count * k,
        run,
        lambda: _crf_by_torch(x.view(shape), transitions, numbers),
        grad,
        lambda: _crf_by_torch(x.double().view(shape), transitions.double(), numbers).view(count, k),
        rungs=(AUTOMATIC,),
    )


def _plane(cols: int) -> tuple[int, int]:
    width = 64 if cols >= 128 else 4
    return max(2, cols // width // 2 * 2), width


def _pool(device: Device, rows: int, cols: int) -> tuple[Any, tuple[int, ...], torch.Tensor, torch.Tensor]:
    # Planes, what the module takes for windows of 2 x 2, an image and the gradient of its pooled.
    h, w = _plane(cols)
    numbers = (rows, h, w, 2, 2, 2, 2, 0, 0, 1, 1, h // 2, w // 2)
    return device.module, numbers, device.random(rows, 1, h, w), device.random(rows, 1, h // 2, w // 2)


def _step(rung: int) -> int:
    return 0 if rung == NAIVE else 3  # of pooling: naive, automatic


def _max_pool(device: Device, rows: int, cols: int) -> Operation:
    m, numbers, x, grad = _pool(device, rows, cols)
    y, places = torch.full_like(grad, float("nan")), torch.empty_like(grad, dtype=torch.uint8)

    def run(rung: int) -> None:
        m.max_pool(
            device.stream(),
            FLOAT,
            numbers,
            x.data_ptr(),
            y.data_ptr(),
            places.data_ptr(),
            0,
            False,
            _step(rung),
        )

    return Operation(
        "max_pool 2x2 with places", 4 * x.numel() + 5 * y.numel(), run,
        lambda: F.max_pool2d(x, 2, return_indices=True), y, lambda: F.max_pool2d(x.double(), 2),
    )  # fmt: skip


def _max_pool_backward(device: Device, rows: int, cols: int) -> Operation:
    m, numbers, x, grad = _pool(device, rows, cols)
    dx, places = torch.full_like(x, float("nan")), torch.empty_like(grad, dtype=torch.uint8)
    y = torch.empty_like(grad)
    _, indices = F.max_pool2d(x, 2, return_indices=True)
    m.max_pool(
        device.stream(), FLOAT, numbers, x.data_ptr(), y.data_ptr(), places.data_ptr(), 0, False, 3
    )  # fmt: skip

    def run(rung: int) -> None:
        m.max_pool_backward(
            device.stream(),
            FLOAT,
            numbers,
            grad.data_ptr(),
            places.data_ptr(),
            0,
            dx.data_ptr(),
            False,
            _step(rung),
        )

    def peer() -> torch.Tensor:
        backward = torch.ops.aten.max_pool2d_with_indices_backward
        return backward(grad, x, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)

    return Operation(
        "max_pool_backward 2x2", 4 * x.numel() + 5 * grad.numel(), run, peer, dx, lambda: peer().double()
    )


def _avg_pool(device: Device, rows: int, cols: int) -> Operation:
    m, numbers, x, grad = _pool(device, rows, cols)
    y = torch.full_like(grad, float("nan"))

    def run(rung: int) -> None:
        m.avg_pool(device.stream(), FLOAT, numbers, True, 0, x.data_ptr(), y.data_ptr(), False, _step(rung))

    return Operation(
        "avg_pool 2x2", 4 * (x.numel() + y.numel()), run, lambda: F.avg_pool2d(x, 2), y,
        lambda: F.avg_pool2d(x.double(), 2),
    )  # fmt: skip


def _stochastic_pool(device: Device, rows: int, cols: int) -> Operation:
    m, numbers, x, y = _pool(device, rows, cols)
    places = torch.empty_like(y, dtype=torch.uint8)
    x.abs_()

    def run(rung: int) -> None:
        addresses = (array.data_ptr() for array in (x, y, places))
        m.stochastic_pool(device.stream(), FLOAT, numbers, *addresses, 7, 0, 0, _step(rung))

    def peer() -> torch.Tensor:
        # PyTorch has none: windows side by side, an element of each drawn.
        h, w = x.shape[2:]
        windows = x.view(rows, h // 2, 2, w // 2, 2).transpose(2, 3).reshape(-1, 4)
        return windows.gather(1, torch.multinomial(windows, 1))

    return Operation("stochastic_pool 2x2", 4 * x.numel() + 5 * y.numel(), run, peer)


def _stochastic_average(device: Device, rows: int, cols: int) -> Operation:
    m, numbers, x, y = _pool(device, rows, cols)
    x.abs_()

    def run(rung: int) -> None:
        m.stochastic_average(device.stream(), FLOAT, numbers, x.data_ptr(), y.data_ptr(), _step(rung))

    def average(a: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(a * a, 2) / F.avg_pool2d(a, 2)

    return Operation(
        "stochastic_average 2x2", 4 * (x.numel() + y.numel()), run, lambda: average(x), y,
        lambda: average(x.double()),
    )  # fmt: skip


def _global_planes(device: Device, rows: int, cols: int) -> tuple[tuple[int, ...], torch.Tensor]:
    # Planes of 7 x 7, as many as make up the matrix.
    planes = max(rows * cols // 49, 1)
    return (planes, 7, 7, 1, 1), device.random(planes, 1, 7, 7)


def _global_avg_pool(device: Device, rows: int, cols: int) -> Operation:
    numbers, x = _global_planes(device, rows, cols)
    y = device.empty(numbers[0], 1, 1, 1)

    def run(rung: int) -> None:
        device.module.adaptive_avg_pool(
            device.stream(), FLOAT, numbers, x.data_ptr(), y.data_ptr(), False, _step(rung)
        )

    return Operation(
        "adaptive_avg_pool, global 7x7", 4 * (x.numel() + y.numel()), run,
        lambda: F.adaptive_avg_pool2d(x, 1), y, lambda: F.adaptive_avg_pool2d(x.double(), 1),
    )  # fmt: skip


def _global_avg_pool_backward(device: Device, rows: int, cols: int) -> Operation:
    numbers, x = _global_planes(device, rows, cols)
    grad, dx = device.random(numbers[0], 1, 1, 1), torch.full_like(x, float("nan"))

    def run(rung: int) -> None:
        device.module.adaptive_avg_pool(
            device.stream(), FLOAT, numbers, grad.data_ptr(), dx.data_ptr(), True, _step(rung)
        )

    def peer() -> torch.Tensor:
        return torch.ops.aten._adaptive_avg_pool2d_backward(grad, x)

    return Operation(
        "adaptive_avg_pool_backward, global 7x7", 4 * (dx.numel() + grad.numel()), run, peer, dx,
        lambda: (grad.double() / 49).expand(-1, -1, 7, 7),
    )  # fmt: skip


def _global_max_pool(device: Device, rows: int, cols: int) -> Operation:
    numbers, x = _global_planes(device, rows, cols)
    y, indices = (
        device.empty(numbers[0], 1, 1, 1),
        torch.empty(numbers[0], dtype=torch.int64, device=x.device),
    )

    def run(rung: int) -> None:
        addresses = (array.data_ptr() for array in (x, y, indices))
        device.module.adaptive_max_pool(device.stream(), FLOAT, numbers, *addresses, _step(rung))

    return Operation(
        "adaptive_max_pool, global 7x7", 4 * x.numel() + 12 * y.numel(), run,
        lambda: F.adaptive_max_pool2d(x, 1, return_indices=True), y,
        lambda: F.adaptive_max_pool2d(x.double(), 1),
    )  # fmt: skip


def _sentences(device: Device, rows: int, cols: int) -> tuple[torch.Tensor, torch.Tensor]:
    # Answers of filters over sentences of 56 words, as many as make up the matrix; room for as many indices.
    x = device.random(max(rows * cols // 56, 1), 1, 56)
    return x, torch.empty(4 * len(x), dtype=torch.int64, device=x.device)


def _max_over_time(device: Device, rows: int, cols: int) -> Operation:
    x, indices = _sentences(device, rows, cols)
    y = device.empty(len(x), 1)

    def run(rung: int) -> None:
        addresses = x.data_ptr(), 0, y.data_ptr(), indices.data_ptr()
        device.module.max_over_time(device.stream(), FLOAT, *x.shape, *addresses, _step(rung))

    return Operation(
        "max_over_time, 56 steps", 4 * x.numel() + 12 * y.numel(), run, lambda: x.max(2), y,
        lambda: x.double().max(2)[0],
    )  # fmt: skip


def _k_max_pool(device: Device, rows: int, cols: int) -> Operation:
    x, indices = _sentences(device, rows, cols)
    y = device.empty(len(x), 1, 3)

    def run(rung: int) -> None:
        addresses = x.data_ptr(), y.data_ptr(), indices.data_ptr()
        device.module.k_max_pool(device.stream(), FLOAT, len(x), 56, 3, *addresses, _step(rung))

    def peer() -> torch.Tensor:
        return x.gather(2, x.topk(3, 2)[1].sort(2)[0])

    return Operation(
        "k_max_pool, 3 of 56", 4 * x.numel() + 12 * y.numel(), run, peer, y, lambda: peer().double()
    )


def _maxout(inner: int) -> Builder:
    def build(device: Device, rows: int, cols: int) -> Operation:
        outer = max(rows * cols // (2 * inner), 1)
        x, y = device.random(outer, 2, inner), device.empty(outer, inner)
        places = torch.empty_like(y, dtype=torch.uint8)

        def run(rung: int) -> None:
            addresses = x.data_ptr(), y.data_ptr(), places.data_ptr(), 0
            device.module.maxout(device.stream(), FLOAT, outer, 2, inner, *addresses, _step(rung))

        what = "feature maps" if inner > 1 else "features"
        return Operation(
            f"maxout of pairs of {what}", 4 * x.numel() + 5 * y.numel(), run, lambda: x.max(1), y,
            lambda: x.double().max(1)[0],
        )  # fmt: skip

    return build


BUILDERS: list[Builder] = [
    _activation("relu"), _softmax(False), _cross_entropy, _layer_norm, _adam, _column_sum, _dropout,
    _activation("tanh"), _activation("gelu"), _activation("sigmoid"), _tanh_backward, _softmax(True),
    _softmax_backward, _layer_norm_backward, _batch_norm, _max_pool, _max_pool_backward, _avg_pool,
    _embedding, _embedding_backward, _sgd, _crf, _stochastic_pool, _stochastic_average, _global_avg_pool,
    _global_avg_pool_backward, _global_max_pool, _max_over_time, _k_max_pool, _maxout(784), _maxout(1),
]  # fmt: skip
SIZES = [(16384, 4096), (64, 512)]  # of memory's speed, and of the course's


def _contenders(sets: list[Operation]) -> Iterator[Contender]:
    first = sets[0]
    yield Contender("torch", [operation.peer for operation in sets])
    if first.cupy is not None:
        yield Contender("cupy", [operation.cupy for operation in sets if operation.cupy is not None])

    def check() -> float:
        if first.out is None or first.reference is None:
            return 0.0
        error = relative_error(first.out, first.reference())
        first.out.fill_(float("nan"))
        return error

    for rung in first.rungs:
        calls = [lambda o=operation, r=rung: o.run(r) for operation in sets]  # type: ignore[misc]
        yield Contender("naive" if rung == NAIVE else "automatic", calls, check)


def measure(device: Device, deadline: Deadline, record: Record) -> None:
    """Record a row for each operation and size."""
    for size in [(8, 33)] if device.dry_run else SIZES:
        for build in BUILDERS:
            name = build.__qualname__.partition(".")[0].strip("_")
            with record.row(f"{name} {size[0]}x{size[1]}", shape=list(size)) as row:
                if deadline.left() == 0:
                    row["failure"] = "no time left"
                    continue
                first = build(device, *size)
                row.update(operation=first.name, bytes=first.bytes)
                most = 2 if device.dry_run else 32
                count = input_sets(first.bytes, device.cache_bytes, most)
                sets = [first, *(build(device, *size) for _ in range(count - 1))]
                contenders, rounds = list(_contenders(sets)), 2 if device.dry_run else 7
                results = compare(contenders, device.clock, deadline, record.start, rounds=rounds)
                row["results"] = [result.record() for result in results]


if __name__ == "__main__":
    main("layers", measure)
