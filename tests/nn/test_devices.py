"""Modules and losses on an emulated GPU: moved in place, saved as host arrays, and the numbers of the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.kernels.backend import backend_named

F = nn.functional


def _network() -> Any:
    dl.manual_seed(1)
    return nn.Sequential(
        nn.Dropout(0.2), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 4)
    )


def test_a_module_is_moved_in_place(simt: Any) -> None:
    model = _network()
    model.register_buffer("count", dl.tensor([1, 2]))
    (model(dl.ones(3, 6)).sum()).backward()
    weight, gradient = model[1].weight, model[1].weight.grad.tolist()
    values = weight.tolist()
    assert model.to("simt") is model
    assert model[1].weight is weight
    assert {t.device for t in [*model.parameters(), *model.buffers()]} == {"simt"}
    assert weight.tolist() == values
    assert weight.grad.device == "simt"
    assert weight.grad.tolist() == gradient
    assert model.count.dtype == np.int64
    model.to("float64", "cpu")
    assert (weight.device, weight.dtype, weight.grad) == ("cpu", np.float64, None)
    assert model.count.dtype == np.int64
    model.to(device="simt", dtype=np.float32).cpu()
    assert weight.device == "cpu"
    for wrong in ("simd", "int64", np.int32):
        with pytest.raises(TypeError, match="expected float32 or float64 or a device such as 'cuda'"):
            model.to(wrong)
    with pytest.raises(ValueError, match="device is 'cuda:x'"):
        model.to("cuda:x")


def test_a_graph_notices_that_a_module_was_moved(simt: Any) -> None:
    layer = nn.Linear(2, 2)
    loss = layer(dl.ones(1, 2)).sum()
    layer.to("simt")
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_state_goes_through_files_and_onto_any_device(simt: Any, tmp_path: Any) -> None:
    model = _network().to("simt")
    state = model.state_dict()
    assert all(isinstance(array, simt.SimtArray) for array in state.values())
    nn.save_safetensors(model, tmp_path / "model.safetensors")
    loaded = nn.load_safetensors(tmp_path / "model.safetensors")
    assert all(type(array) is np.ndarray for array in loaded.values())
    for source in (state, loaded):
        for device in ("cpu", "simt"):
            other = _network().to(device)
            for parameter in other.parameters():
                parameter.data.fill(0)
            other.load_state_dict(source)
            assert {p.device for p in other.parameters()} == {device}
            for name, array in other.state_dict().items():
                np.testing.assert_array_equal(dl.Tensor(array).cpu().numpy(), loaded[name])


def test_initial_values_do_not_depend_on_the_device(simt: Any) -> None:
    for function in (
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.xavier_uniform_,
        nn.init.kaiming_normal_,
        nn.init.orthogonal_,
        nn.init.trunc_normal_,
        nn.init.eye_,
        nn.init.ones_,
        lambda t: nn.init.constant_(t, 0.1),
    ):
        drawn = []
        for device in ("cpu", "simt"):
            dl.manual_seed(4)
            drawn.append(function(dl.zeros(4, 6, device=device)).tolist())
        assert drawn[0] == drawn[1]


def test_layers(simt: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 2, 6)).astype(np.float32)
    results = []
    for device in ("cpu", "simt"):
        model = _network().to(device)
        dl.manual_seed(2)
        out = model(dl.tensor(x, device=device))
        out.sum().backward()
        results.append([out.cpu().detach().numpy(), *(p.grad.cpu().numpy() for p in model.parameters())])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


LABELS = np.array([0, 3, 1, 2, 3, 0])
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1),
    "cross_entropy none": lambda x, y: F.cross_entropy(x, y, reduction="none").square().sum(),
    "cross_entropy scaled": lambda x, y: F.cross_entropy(x, y) * 3,
    "cross_entropy ignoring": lambda x, y: F.cross_entropy(x, y, ignore_index=3),
    "cross_entropy weighted": lambda x, y: F.cross_entropy(
        x, y, weight=[1.0, 2.0, 0.5, 3.0], label_smoothing=0.1, ignore_index=2
    ),
    "cross_entropy soft": lambda x, y: F.cross_entropy(x, (x.detach() * 2).softmax(), label_smoothing=0.1),
    "cross_entropy 3d": lambda x, y: F.cross_entropy(x.reshape(3, 4, 2), y.reshape(3, 2)),
    "nll_loss": lambda x, y: F.nll_loss(x.log_softmax(), y, ignore_index=0),
    "nll_loss weighted": lambda x, y: F.nll_loss(x.log_softmax(), y, weight=[1.0, 2.0, 0.5, 3.0]),
    "mse_loss": lambda x, y: F.mse_loss(x, x.detach() * 2),
    "l1_loss": lambda x, y: F.l1_loss(x, x.detach() * 2, reduction="sum"),
    "smooth_l1_loss": lambda x, y: F.smooth_l1_loss(x, x.detach() * 3),
    "huber_loss": lambda x, y: F.huber_loss(x, x.detach() * 3),
    "bce": lambda x, y: F.binary_cross_entropy(x.sigmoid(), (x.detach() > 0).float(), weight=2.0),
    "bce logits": lambda x, y: F.binary_cross_entropy_with_logits(
        x, (x.detach() > 0).float(), pos_weight=[1.0, 2.0, 3.0, 4.0]
    ),
    "multi_margin_loss": lambda x, y: F.multi_margin_loss(x, y, p=2, weight=[1.0, 2.0, 0.5, 3.0]),
    "hinge_loss": lambda x, y: F.hinge_loss(x, (x.detach() > 0).float() * 2 - 1),
    "labels as a list": lambda x, y: F.cross_entropy(x, LABELS.tolist()),
}


class NoReading:
    """An array's class without the ways to the host: to take one means to wait for the device."""

    ways = ("get", "item", "tolist", "__bool__", "__float__", "__int__", "__index__")


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_the_cpu_and_wait_for_nothing(
    simt: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    x = rng.normal(size=(6, 4)).astype(np.float32)
    results = []
    for device in ("cpu", "simt"):
        tensor = dl.tensor(x, requires_grad=True, device=device)
        labels = dl.tensor(LABELS, device=device)
        with monkeypatch.context() as patch:
            for way in NoReading.ways:
                patch.setattr(simt.SimtArray, way, _waits)
            loss = LOSSES[name](tensor, labels)
            loss.backward()
        assert loss.device == device
        assert tensor.grad is not None
        results.append((loss.item(), tensor.grad.cpu().numpy()))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-5)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-4, atol=1e-6)


def _waits(*arguments: Any) -> Any:
    raise AssertionError("the host waits for the device")


@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,
        lambda x, y: F.cross_entropy(x, y, weight=[1.0] * 4),
        lambda x, y: F.nll_loss(x, y, weight=[1.0] * 4),
        F.nll_loss,
        F.multi_margin_loss,
    ],
)
def test_a_label_out_of_range_is_nan_on_a_device(simt: Any, loss: Any) -> None:
    x = dl.ones(3, 4, device="simt")
    for wrong in (4, -1):
        assert np.isnan(loss(x, dl.tensor([0, wrong, 1], device="simt")).item())


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_a_training_step_waits_for_nothing(
    simt: Any, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    model = _network().to("simt")
    update = getattr(dl.optim, optimizer)(model.parameters(), lr=0.1)
    x, y = dl.ones(3, 6, device="simt"), dl.tensor([0, 1, 3], device="simt")
    for way in NoReading.ways:
        monkeypatch.setattr(simt.SimtArray, way, _waits)
    for norm_type in (2, 3, float("inf")):
        loss = F.cross_entropy(model(x), y)
        update.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1, norm_type)
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        update.step()


NUMBERS = np.array([[0, 3, 1], [2, 2, 5], [0, 4, 0], [1, 5, 3]])
# A module that normalises or embeds, the sizes of what goes into it (None: NUMBERS), and the size of what comes out.
LAYERS: dict[str, tuple[Callable[[], Any], Any, int]] = {
    "Embedding": (lambda: nn.Embedding(6, 5), None, 15),
    "Embedding padding": (lambda: nn.Embedding(6, 5, padding_idx=2), None, 15),
    "LayerNorm": (lambda: nn.LayerNorm(5), (4, 5), 5),
    "LayerNorm 2d": (lambda: nn.LayerNorm((3, 2), eps=0.01, bias=False), (4, 3, 2), 6),
    "LayerNorm plain": (lambda: nn.LayerNorm(5, elementwise_affine=False), (4, 2, 5), 10),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(5), (4, 5), 5),
    "BatchNorm1d 3d": (lambda: nn.BatchNorm1d(3, eps=0.01, momentum=0.3), (4, 3, 2), 6),
    "BatchNorm1d plain": (lambda: nn.BatchNorm1d(5, affine=False), (4, 5), 5),
    "BatchNorm1d untracked": (lambda: nn.BatchNorm1d(5, track_running_stats=False), (4, 5), 5),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (4, 3, 2, 2), 12),
    "BatchNorm2d mean of all": (lambda: nn.BatchNorm2d(3, momentum=None), (4, 3, 2, 2), 12),
}


def _with_layer(name: str) -> tuple[Any, Any]:
    layer, shape, width = LAYERS[name]
    dl.manual_seed(5)
    model = nn.Sequential(layer(), nn.Flatten(), nn.Linear(width, 3))
    x = NUMBERS if shape is None else np.random.default_rng(6).normal(1, 2, shape).astype(np.float32)
    return model, x


def _close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-5)


def _host(state: Any) -> dict[str, Any]:
    return {name: dl.tensor(array).cpu().numpy().copy() for name, array in state.items()}


@pytest.mark.parametrize("name", LAYERS)
def test_embeddings_and_norms_train_as_on_the_cpu_and_wait_for_nothing(
    simt: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    results = []
    for device in ("cpu", "simt"):
        model, host = _with_layer(name)
        model.to(device)
        update = dl.optim.SGD(model.parameters(), lr=0.1)
        x = dl.tensor(host, device=device, requires_grad=host.dtype.kind == "f")
        labels = dl.tensor([0, 1, 2, 1], device=device)
        seen = []
        with monkeypatch.context() as patch:
            for way in NoReading.ways:
                patch.setattr(simt.SimtArray, way, _waits)
            for training in (True, True, False):  # the last one with running statistics
                model.train(training)
                loss = F.cross_entropy(model(x), labels)
                update.zero_grad()
                loss.backward()
                seen += [loss.detach(), *(p.grad.clone() for p in model.parameters())]
                update.step()
        assert {t.device for t in [*seen, *model.parameters(), *model.buffers()]} == {device}
        if x.grad is not None:
            seen.append(x.grad)
        results.append(([t.cpu().numpy() for t in seen], _host(model.state_dict())))
    for expected, got in zip(results[0][0], results[1][0], strict=True):
        _close(got, expected)
    assert list(results[0][1]) == list(results[1][1])
    for key, expected in results[0][1].items():
        assert results[1][1][key].dtype == expected.dtype
        _close(results[1][1][key], expected)


@pytest.mark.parametrize("name", LAYERS)
def test_embeddings_and_norms_move_in_the_middle_of_training(simt: Any, name: str) -> None:
    results = []
    for devices in (("cpu",) * 4, ("cpu", "simt", "simt", "cpu"), ("simt", "cpu", "cpu", "simt")):
        model, host = _with_layer(name)
        update = dl.optim.Adam(model.parameters(), lr=0.1)
        for device in devices:
            model.to(device)
            loss = model(dl.tensor(host, device=device)).square().sum()
            update.zero_grad()
            loss.backward()
            update.step()
        state = model.state_dict()
        results.append(_host(state))
        for there in ("cpu", "simt"):  # the state goes either way
            other = _with_layer(name)[0].to(there)
            other.load_state_dict(state)
            assert {t.device for t in [*other.parameters(), *other.buffers()]} == {there}
            for key, array in _host(other.state_dict()).items():
                np.testing.assert_array_equal(array, results[-1][key])
            _close(
                other.eval()(dl.tensor(host, device=there)).tolist(),
                model.eval()(dl.tensor(host, device=devices[-1])).tolist(),
            )
    for got in results[1:]:
        for key, expected in results[0].items():
            np.testing.assert_allclose(got[key], expected, rtol=1e-2, atol=1e-3)


def test_an_embedding_on_a_device(simt: Any) -> None:
    table = dl.tensor(np.arange(6.0).reshape(3, 2), device="simt")
    layer = nn.Embedding.from_pretrained(table, freeze=False)
    assert layer.weight.device == "simt"
    assert layer.weight.tolist() == table.tolist()
    assert layer([[0, 2]]).tolist() == [[[0, 1], [4, 5]]]
    assert layer(np.zeros((2, 0), int).tolist()).shape == (2, 0, 2)
    out = layer(dl.tensor([0, 3, -1], device="simt"))
    assert np.isnan(out.cpu().detach().numpy()).any(axis=1).tolist() == [False, True, True]
    for _ in range(2):  # the second time added to the first
        layer(dl.tensor([0, 3, 0], device="simt")).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[4, 4], [0, 0], [0, 0]]
    assert (nn.Embedding(4, 2, padding_idx=1).to("simt").weight[1] == 0).all().item()
    layer.reset_parameters()
    assert layer.weight.device == "simt"


def test_embeddings_and_norms_refuse_several_devices(simt: Any) -> None:
    x, there = dl.ones(4, 3), dl.ones(4, 3, device="simt")
    numbers = dl.tensor([0, 1])
    for call, match in (
        (lambda: nn.Embedding(4, 3).to("simt")(numbers), "embedding: x is on cpu but weight is on simt"),
        (lambda: nn.Embedding(4, 3)(numbers.to("simt")), "embedding: x is on simt but weight is on cpu"),
        (lambda: nn.LayerNorm(3)(there), "layer_norm: x is on simt but weight is on cpu"),
        (lambda: nn.LayerNorm(3).to("simt")(x), "layer_norm: x is on cpu but weight is on simt"),
        (lambda: nn.BatchNorm1d(3)(there), "batch_norm: x is on simt but running_mean is on cpu"),
        (lambda: nn.BatchNorm1d(3).to("simt")(x), "batch_norm: x is on cpu but running_mean is on simt"),
    ):
        with pytest.raises(TypeError, match=match):
            call()


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("dtypes", [("float32",), ("float32", "float64")])
def test_clipping(simt: Any, rng: np.random.Generator, norm_type: float, dtypes: tuple[str, ...]) -> None:
    results = []
    gradients = [rng.normal(size=(3, 4)).astype(d) for d in dtypes for _ in range(2)]
    for limit in (0.5, 1e6):
        for device in ("cpu", "simt"):
            parameters = [dl.tensor(g * 0, requires_grad=True, device=device) for g in gradients]
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = dl.tensor(gradient, device=device)
            norm = nn.utils.clip_grad_norm_(parameters, limit, norm_type)
            assert norm.device == device
            results.append([norm.item(), *(p.grad.cpu().numpy() for p in parameters)])
        for expected, got in zip(*results[-2:], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5)
    bad = dl.tensor([1.0], requires_grad=True, device="simt")
    bad.grad = dl.tensor([float("nan")], device="simt")
    with pytest.raises(RuntimeError, match="the norm of the gradients is nan"):
        nn.utils.clip_grad_norm_([bad], 1.0, norm_type, error_if_nonfinite=True)


def test_what_one_step_launches(simt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_named("simt")
    library, launched = backend.library, []

    class Counted:
        def __getattr__(self, name: str) -> Any:
            function = getattr(library, name)

            def call(*arguments: Any) -> Any:
                launched.append(name)
                return function(*arguments)

            return call

    monkeypatch.setitem(backend.__dict__, "library", Counted())
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).to("simt")
    update = dl.optim.Adam(model.parameters())
    for _ in range(2):
        launched.clear()
        loss = F.cross_entropy(model(dl.ones(3, 6, device="simt")), dl.tensor([0, 1, 3], device="simt"))
        update.zero_grad()
        loss.backward()
        update.step()
    assert sorted(n for n in launched if not n.endswith(("_scratch", "_workspace"))) == sorted(
        [
            *("matmul", "matmul", "cross_entropy"),
            *("matmul", "matmul", "matmul", "column_sum", "column_sum", "activation_backward", "adam_step"),
        ]
    )
