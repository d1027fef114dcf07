"""Every operation of the room on an emulated GPU: values and gradients are those of the CPU, and stay on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck

MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "add number": lambda a, b: 2.5 + a + 1,
    "mul list": lambda a, b: a * [1.0, 2.0, 3.0, 4.0],
    "sub": lambda a, b: a - b[0],
    "rsub": lambda a, b: 1 - a,
    "mul": lambda a, b: a * b * 3.0,
    "div": lambda a, b: a / (b * b + 1),
    "pow": lambda a, b: (a * a + 1) ** b,
    "pow number": lambda a, b: a**3 + a**2,
    "mod": lambda a, b: a % 0.7,
    "neg": lambda a, b: -a,
    "maximum": lambda a, b: dl.maximum(a, b),
    "minimum": lambda a, b: dl.minimum(a, 0.1),
    "matmul": lambda a, b: a @ b.T,
    "matmul vector": lambda a, b: a @ b[0],
    "matmul stack": lambda a, b: dl.stack([a, b]) @ b.T,
    "relu": lambda a, b: a.relu(),
    "sigmoid": lambda a, b: a.sigmoid(),
    "tanh": lambda a, b: a.tanh(),
    "gelu": lambda a, b: dl.nn.functional.gelu(a),
    "leaky_relu": lambda a, b: dl.nn.functional.leaky_relu(a, -0.5),
    "elu": lambda a, b: dl.nn.functional.elu(a, -0.5),
    "exp log": lambda a, b: (a.exp() + 1).log() + (b * b).log1p(),
    "sqrt": lambda a, b: (a * a + 1).sqrt(),
    "sin cos": lambda a, b: a.sin() + b.cos(),
    "abs square": lambda a, b: a.abs() + b.square(),
    "clamp": lambda a, b: a.clamp(-0.5, 0.5) + b.clamp(min=0),
    "where": lambda a, b: dl.where(a > b, a, b * 2),
    "where number": lambda a, b: dl.where(a > 0, a, 0.0),
    "masked_fill": lambda a, b: a.masked_fill(a > 0, -1.0),
    "softmax": lambda a, b: a.softmax() + b.softmax(0),
    "log_softmax": lambda a, b: a.log_softmax() + b.log_softmax(0),
    "sum": lambda a, b: a.sum() + b.sum(0) + b.sum(1, keepdim=True),
    "mean": lambda a, b: a.mean(0) + b.mean(),
    "var": lambda a, b: a.var(0) + b.std(),
    "max": lambda a, b: a.max() + b.max(1).values.sum(),
    "min": lambda a, b: a.min() + b.min(0, keepdim=True).values,
    "logsumexp": lambda a, b: a.logsumexp(1) + b.logsumexp(1),
    "norm": lambda a, b: a.norm() + b.norm(3.0, 1) + a.norm(float("inf")),
    "reshape": lambda a, b: a.reshape(2, 6) * b.view(2, -1),
    "permute": lambda a, b: a.permute(1, 0) * b.transpose(0, 1) + a.T,
    "expand": lambda a, b: a.unsqueeze(0).expand(2, 3, 4) * b,
    "squeeze flatten": lambda a, b: a.reshape(1, 3, 4).squeeze(0).flatten() * b.flatten(),
    "cat stack": lambda a, b: dl.cat([a, b], 1).sum() * dl.stack([a, b], 2),
    "split": lambda a, b: a.split(3, 1)[1] * b.split([1, 3], 1)[0],
    "chunk unbind": lambda a, b: a.chunk(2, 1)[0].sum() + b.unbind(0)[1],
    "index": lambda a, b: a[1] * b[:, 2][0] + a[0, 1],
    "index twice": lambda a, b: a[[0, 2, 2]] * b[[0, 0, 1]],
    "index array": lambda a, b: a[np.array([0, 2, 2]), [1, 1, 1]] * b[0, :3],
    "index mask": lambda a, b: a[MASK] * b[MASK],
    "index step": lambda a, b: a[::2, 1:] * b[1:, ::-1][..., :3],
    "gather": lambda a, b: a.gather(1, [[0, 0], [3, 1], [2, 2]]) * b.gather(0, [[2, 2, 0, 0]]).sum(),
    "clone contiguous": lambda a, b: a.clone() * b.T.contiguous().T,
    "to": lambda a, b: a.to("float32").to("float64") * b.cpu().sum().to(b.device),
    "linear": lambda a, b: dl.nn.functional.linear(a, b, None, "tanh"),
}


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[Any, Any]:
    return rng.normal(size=(3, 4)), rng.normal(size=(3, 4))


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_gradients(simt: Any, pair: Any, name: str) -> None:
    results = []
    for device in ("cpu", "simt"):
        a, b = (dl.tensor(array, requires_grad=True, device=device) for array in pair)
        out = OPERATIONS[name](a, b)
        assert out.device == device
        weights = dl.tensor(np.cos(np.arange(out.numel())).reshape(out.shape), device=device)
        (out * weights).sum().backward()
        for tensor in (a, b):
            assert tensor.grad is None or tensor.grad.device == device
        results.append([t if t is None else t.detach().cpu().numpy() for t in (out, a.grad, b.grad)])
    for expected, got in zip(*results, strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)


def test_comparisons_logic_and_integers(simt: Any, pair: Any) -> None:
    for function in (
        lambda a, b: (a > b) & ~(a >= 1) | (b != 0) ^ (a == a),
        lambda a, b: (a < b).any(1),
        lambda a, b: (a <= b).all(),
        lambda a, b: a.argmax(1) + b.argmin(1),
        lambda a, b: (a * 5).long() // 2 % 3,
        lambda a, b: (a * 5).long() @ (b * 5).long().T,
        lambda a, b: a.max(1).indices,
        lambda a, b: dl.nn.functional.one_hot((a.abs() * 2).long()),
        lambda a, b: -(a * 5).long() - 2,
    ):
        got, expected = (function(*(dl.tensor(x, device=d) for x in pair)) for d in ("simt", "cpu"))
        assert got.device == "simt"
        assert got.dtype == expected.dtype
        assert got.tolist() == expected.tolist()
    with pytest.raises(ZeroDivisionError):
        dl.tensor([1], device="simt") // 0


def test_gradcheck_on_a_device(simt: Any, pair: Any) -> None:
    a, b = (dl.tensor(array, requires_grad=True, device="simt") for array in pair)
    before = a.tolist()
    assert gradcheck(lambda x, y: (x @ y.T).tanh().sum(0), [a, b])
    assert a.tolist() == before


def test_gradients_keep_their_memory_on_the_device(simt: Any) -> None:
    weight = dl.ones(3, device="simt", requires_grad=True)
    places = set()
    for _ in range(3):
        weight.zero_grad()
        (weight * weight).sum().backward()
        assert weight.grad is not None
        places.add(weight.grad.data.data.ptr)
    assert len(places) == 1
    held = weight.grad
    weight.zero_grad()
    (weight * 3).sum().backward()
    assert held.tolist() == [2, 2, 2]
    assert weight.grad.tolist() == [3, 3, 3]
    (weight * 3).sum().backward()
    assert weight.grad.tolist() == [6, 6, 6]


def test_hooks_and_custom_functions(simt: Any) -> None:
    class Double(dl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            assert g.device == "simt"
            return g * 2

    x = dl.ones(3, device="simt", requires_grad=True)
    x.register_hook(lambda g: g.mul_(5))
    Double.apply(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [10, 10, 10]
    (gradient,) = dl.autograd.grad((x * x).sum(), x)
    assert gradient is not None
    assert gradient.device == "simt"


def test_moves_are_part_of_the_graph(simt: Any) -> None:
    x = dl.ones(3, requires_grad=True)
    (x.to("simt") * 2).cpu().sum().backward()
    assert x.grad is not None
    assert x.grad.device == "cpu"
    assert x.grad.tolist() == [2, 2, 2]
    assert x.to("cpu") is x
    there = x.detach().to("simt", "float64")
    assert (there.device, there.dtype) == ("simt", np.float64)
    assert x.to(device="simt", dtype="float64").device == "simt"
    for wrong, match in (
        ((), "nothing is given; expected a dtype or a device"),
        (("simt", "cpu"), "device is given twice"),
        (("float32", "float64"), "dtype is given twice"),
        (("simd",), r"dtype is 'simd'; expected a NumPy dtype .* or a device such as 'cuda'"),
    ):
        with pytest.raises(TypeError, match=match):
            x.to(*wrong)


def test_to_the_host_only_when_asked(simt: Any) -> None:
    x = dl.tensor([[1.5, 2.0]], device="simt")
    assert x.device == "simt"
    assert repr(x) == "tensor([[1.5, 2. ]], device='simt')"
    assert f"{x[0, 0]:.2f}" == "1.50"
    assert (x[0, 0].item(), float(x[0, 1]), int(x[0, 1]), bool(x[0, 0])) == (1.5, 2.0, 2, True)
    assert x.tolist() == [[1.5, 2.0]]
    assert 1.5 in x
    assert [row.tolist() for row in x] == [[1.5, 2.0]]
    np.testing.assert_array_equal(x.cpu().numpy(), [[1.5, 2.0]])
    for convert in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.from_dlpack(x)):
        with pytest.raises(TypeError, match=r"the tensor is on simt; expected one on the CPU \(.*\.cpu\(\)"):
            convert()


def test_arrays_of_the_device_become_tensors(simt: Any) -> None:
    array = simt.ones((2, 3), np.float32)
    shared = dl.Tensor(array)
    assert shared.data is array
    assert dl.tensor(array).data is not array
    assert dl.tensor(array, device="cpu").device == "cpu"
    shared.add_(1)
    assert array.tolist() == [[2] * 3] * 2
    with pytest.raises(TypeError, match="Tensor: data is an array of complex64"):
        dl.Tensor(simt.ones(2, np.complex64))


def test_creation(device: str) -> None:
    for make in (
        lambda **k: dl.zeros(2, 3, **k),
        lambda **k: dl.ones((2, 3), dtype="int64", **k),
        lambda **k: dl.full((2,), 2.5, **k),
        lambda **k: dl.arange(5, **k),
        lambda **k: dl.linspace(0, 1, 3, **k),
        lambda **k: dl.eye(3, **k),
        lambda **k: dl.rand(2, 3, **k),
        lambda **k: dl.randn(2, 3, dtype="float64", **k),
        lambda **k: dl.tensor([1, 2], **k),
        lambda **k: dl.tensor([1, 2], dtype="float64", requires_grad=True, **k),
    ):
        dl.manual_seed(5)
        expected = make()
        dl.manual_seed(5)
        got = make(device=device)
        assert got.device == device
        assert (got.dtype, got.requires_grad) == (expected.dtype, expected.requires_grad)
        assert got.tolist() == expected.tolist()
        assert dl.zeros_like(got).device == device
        assert dl.ones_like(got).device == device
    with pytest.raises(
        ValueError, match="zeros: device is 'gpu'; expected 'cpu', 'cuda', 'cuda:0' or 'simt'"
    ):
        dl.zeros(2, device="gpu")
    data = np.ones(2, np.float32)
    assert not np.shares_memory(dl.tensor(data, device="cpu").data, data)


def test_changes_in_place(simt: Any) -> None:
    x = dl.zeros(2, 3, device="simt")
    x.copy_(np.arange(6.0).reshape(2, 3))  # a copy may come from anywhere
    x += 1
    x *= 2
    x[0, 1] = 9
    x[1] = [1.0, 2.0, 3.0]
    x.clamp_(max=8)
    assert x.tolist() == [[2, 8, 6], [1, 2, 3]]
    view = x[0]
    view.fill_(0)
    assert x.tolist() == [[0, 0, 0], [1, 2, 3]]
    y = (x * dl.ones(2, 3, device="simt", requires_grad=True)).sum()
    x.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_mixed_devices_are_named(simt: Any) -> None:
    a, b = dl.ones(2, 2, device="simt"), dl.ones(2, 2)
    host = np.ones((2, 2), np.float32)
    both = "is on simt but .* is on cpu|is on cpu but .* is on simt"
    tracked = dl.ones(2, 2, device="simt", requires_grad=True)
    for call in (
        lambda: a + b,
        lambda: b - a,
        lambda: a * host,
        lambda: host / a,
        lambda: a**b,
        lambda: a % b,
        lambda: a // b,
        lambda: a == b,
        lambda: a < host,
        lambda: a @ b,
        lambda: a.long() @ b.long(),
        lambda: dl.maximum(a, b),
        lambda: dl.where(a > 0, a, b),
        lambda: dl.where(host > 0, a, a),
        lambda: dl.cat([a, b]),
        lambda: dl.stack([b, a]),
        lambda: a.add_(b),
        lambda: a.__setitem__(0, b[0]),
        lambda: tracked.sum(0).backward(np.ones(2, np.float32)),
        lambda: dl.nn.functional.linear(a, b),
        lambda: dl.nn.functional.cross_entropy(a, np.array([0, 1])),
        lambda: dl.nn.functional.mse_loss(a, b),
        lambda: dl.nn.functional.nll_loss(a, np.array([0, 1])),
    ):
        with pytest.raises(TypeError, match=both):
            call()
    with pytest.raises(TypeError, match=r"Tensor.grad: value is on cpu; expected simt"):
        tracked.grad = b
    with pytest.raises(TypeError, match="the index is on simt but the tensor is on cpu"):
        b[a.argmax()]
    assert (a == None) is False  # noqa: E711


def test_index_out_of_range(simt: Any) -> None:
    x = dl.ones(3, 2, device="simt")
    for index in (3, [0, 3], (slice(None), 2), dl.tensor([-4], device="simt")):
        with pytest.raises(IndexError, match="indexing"):
            x[index]
    with pytest.raises(IndexError, match="gather: index holds 0 to 2"):
        x.gather(1, [[0, 2]] * 3)


def test_graphs_are_shown(simt: Any, tmp_path: Any) -> None:
    a = dl.tensor(2.0, requires_grad=True, name="a", device="simt")
    b = dl.tensor(1.0, requires_grad=True, name="b", device="simt")
    e = (a + b) * (b + 1)
    table = dl.autograd.graph_table(e)
    assert table["b"].derivative is not None
    assert table["b"].derivative.item() == 5
    e.backward()
    dl.autograd.draw(e, tmp_path / "graph.svg")
    assert "5" in str(dl.autograd.graph_table(e))


def test_copies_and_pickles(simt: Any) -> None:
    import copy
    import pickle

    x = dl.tensor([1.0, 2.0], requires_grad=True, device="simt")
    for other in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert other.device == "simt"
        assert other.requires_grad
        assert other.tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_assigned_gradients_take_the_dtype_and_keep_the_shape(device: str, shape: tuple[int, ...]) -> None:
    x = dl.ones(shape, requires_grad=True, device=device)
    x.grad = dl.full(shape, 2.5, dtype="float64", device=device)
    assert (x.grad.shape, x.grad.dtype, x.grad.device) == (shape, np.float32, device)
    x.grad = [[1.0] * 3] * 2 if shape else 1.0
    assert x.grad.device == device
