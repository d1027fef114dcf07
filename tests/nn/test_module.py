"""The module: registration, names, state, modes, hooks, copies."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn


class Scale(nn.Module):
    """A factor that is learned, a buffer that is kept, one that is not."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.factor = nn.Parameter(np.ones(size, np.float32))
        self.register_buffer("count", np.zeros((), np.int64))
        self.register_buffer("cache", np.zeros(size, np.float32), persistent=False)

    def forward(self, x: Any) -> Any:
        return x * self.factor


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.scale = Scale()
        self.last = nn.Linear(2, 1, bias=False)
        self.settings = {"not": "a module"}

    def forward(self, x: Any) -> Any:
        return self.last(self.scale(self.first(x)))


NAMES = ["first.weight", "first.bias", "scale.factor", "last.weight"]
STATE = ["first.weight", "first.bias", "scale.factor", "scale.count", "last.weight"]


class TestRegistration:
    def test_names(self) -> None:
        net = Net()
        assert [name for name, _ in net.named_parameters()] == NAMES
        assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
        assert [name for name, _ in net.named_modules()] == ["", "first", "scale", "last"]
        assert list(net.modules()) == [net, net.first, net.scale, net.last]
        assert [name for name, _ in net.named_children()] == ["first", "scale", "last"]
        assert list(net.children()) == [net.first, net.scale, net.last]
        assert [name for name, _ in net.named_buffers()] == ["scale.count", "scale.cache"]
        assert list(net.named_parameters(recurse=False)) == []
        assert [n for n, _ in net.scale.named_parameters(recurse=False)] == ["factor"]
        assert [n for n, _ in net.named_parameters(prefix="net")] == [f"net.{name}" for name in NAMES]

    def test_as_in_pytorch(self, torch: Any) -> None:
        class Theirs(torch.nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.b = torch.nn.Linear(2, 2)
                self.w = torch.nn.Parameter(torch.zeros(1))
                self.register_buffer("m", torch.zeros(1))
                self.a = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())

        class Ours(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.b = nn.Linear(2, 2)
                self.w = nn.Parameter([0.0])
                self.register_buffer("m", [0.0])
                self.a = nn.Sequential(nn.Linear(2, 2), nn.ReLU())

        ours, theirs = Ours(), Theirs()
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for method in ("named_parameters", "named_modules", "named_children", "named_buffers"):
            assert [n for n, _ in getattr(ours, method)()] == [n for n, _ in getattr(theirs, method)()]
        assert repr(ours) == repr(theirs).replace("Theirs", "Ours")

    def test_by_dotted_name(self) -> None:
        net = Net()
        assert net.get_parameter("scale.factor") is net.scale.factor
        assert net.get_submodule("scale") is net.scale
        assert net.get_submodule("") is net
        for name in ("scale.nothing", "scale.count", "factor", "nothing.factor", ""):
            with pytest.raises(AttributeError, match="has no"):
                net.get_parameter(name)
        with pytest.raises(AttributeError, match=r"get_submodule: Net has no module 'scale\.x'"):
            net.get_submodule("scale.x")

    def test_shared_things_are_listed_once(self) -> None:
        net = Net()
        net.tied = net.first
        net.again = net.last.weight
        assert [n for n, _ in net.named_parameters()] == ["again", *NAMES[:-1]]
        assert len(list(net.modules())) == 4
        # But the state has every name, as in PyTorch: each can be loaded elsewhere.
        assert {"tied.weight", "first.weight", "again", "last.weight"} <= set(net.state_dict())

    def test_replaced(self) -> None:
        net = Net()
        net.first = nn.Linear(3, 2, bias=False)
        assert [n for n, _ in net.named_parameters()] == ["first.weight", *NAMES[2:]]
        net.scale.factor = nn.Parameter([2.0, 3.0])
        assert net.get_parameter("scale.factor").tolist() == [2, 3]
        net.scale = None
        assert [n for n, _ in net.named_parameters()] == ["first.weight", "last.weight"]
        net.last.weight = None
        assert [n for n, _ in net.named_parameters()] == ["first.weight"]

    def test_what_a_name_held_before_is_forgotten(self) -> None:
        # A parameter in the place of a module, and so on: one name, one thing.
        net = Net()
        net.first = nn.Parameter([1.0])
        assert [n for n, _ in net.named_parameters()] == ["first", "scale.factor", "last.weight"]
        net.scale.count = nn.Linear(1, 1)
        assert "scale.count.weight" in net.state_dict()
        assert "scale.count" not in net.state_dict()
        net.scale.register_buffer("fresh", [0.0])
        net.scale.register_parameter("fresh", nn.Parameter([1.0]))
        assert [n for n, _ in net.scale.named_buffers()] == ["cache"]
        net.scale.register_buffer("fresh", [0.0])
        assert "fresh" not in dict(net.scale.named_parameters())
        net.scale.register_buffer("cache", [0.0])  # persistent now
        assert "cache" in net.scale.state_dict()

    def test_deleted(self) -> None:
        net = Net()
        del net.first
        del net.scale.cache
        assert not hasattr(net, "first")
        assert list(net.state_dict()) == STATE[2:]
        with pytest.raises(AttributeError):
            del net.first
        with pytest.raises(AttributeError):
            net.nothing

    def test_wrong_kinds(self) -> None:
        net = Net()
        with pytest.raises(
            TypeError, match=r"Linear\.weight: value is a ndarray; expected a Parameter or None"
        ):
            net.first.weight = np.zeros((2, 3))
        with pytest.raises(
            TypeError, match=r"Linear\.weight: value is a Tensor; expected a Parameter or None"
        ):
            net.first.weight = dl.zeros(2, 3)
        with pytest.raises(TypeError, match=r"Scale\.count: value is a int; expected a Tensor or None"):
            net.scale.count = 3
        with pytest.raises(TypeError, match=r"Net\.first: value is a str; expected a Module or None"):
            net.first = "layer"
        with pytest.raises(
            TypeError, match=r"register_parameter: w is a ndarray; expected a Parameter or None"
        ):
            net.register_parameter("w", np.zeros(3))
        with pytest.raises(TypeError, match=r"add_module: m is a type; expected a Module or None"):
            net.add_module("m", nn.ReLU)
        with pytest.raises(TypeError, match=r"register_buffer: b is .*; expected"):
            net.register_buffer("b", "text")

    @pytest.mark.parametrize("name", ["", "a.b", 3, None])
    def test_names_that_are_none(self, name: Any) -> None:
        net = Net()
        for register in (net.register_parameter, net.register_buffer, net.add_module):
            with pytest.raises(
                ValueError, match=r"name is .*; expected a string that is not empty and has no dot"
            ):
                register(name, None)

    @pytest.mark.parametrize("name", ["forward", "settings", "parameters", "training"])
    def test_names_that_are_taken(self, name: str) -> None:
        with pytest.raises(KeyError, match=f"Net has an attribute '{name}' already"):
            Net().register_buffer(name, [0.0])

    def test_before_init(self) -> None:
        class Early(nn.Module):
            def __init__(self, what: Any) -> None:
                self.plain = 3
                self.what = what

        assert Early(4).plain == 3
        for what in (nn.Parameter([1.0]), nn.ReLU()):
            with pytest.raises(
                AttributeError, match=r"Early: what assigned before .* call super\(\).__init__\(\)"
            ):
                Early(what)
        with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) of Early first"):
            Early(4).register_buffer("b", None)

    def test_forward_is_needed(self) -> None:
        with pytest.raises(TypeError, match="Module: forward is not defined"):
            nn.Module()(1)


class TestState:
    def test_dict(self) -> None:
        net = Net()
        state = net.state_dict()
        assert list(state) == STATE
        assert all(type(value) is np.ndarray for value in state.values())
        assert state["first.weight"] is net.first.weight.data  # not a copy, as in PyTorch

    @pytest.mark.parametrize("convert", [np.array, dl.tensor, lambda v: v.copy("F"), np.ndarray.tolist])
    def test_there_and_back(self, convert: Any) -> None:
        a, b = Net(), Net()
        a.scale.count = dl.tensor(7)
        before = b.first.weight.data
        result = b.load_state_dict({name: convert(value) for name, value in a.state_dict().items()})
        assert result == ([], [])
        assert b.first.weight.data is before  # in place: optimizers and views go on
        assert b.scale.count.item() == 7
        for name, value in a.state_dict().items():
            np.testing.assert_array_equal(b.state_dict()[name], value)
        x = dl.ones(2, 3)
        np.testing.assert_array_equal(a(x).data, b(x).data)

    def test_dtypes_are_converted(self) -> None:
        net = Net()
        net.load_state_dict({n: np.asarray(v, ">f8") + 0.5 for n, v in net.state_dict().items()})
        assert [v.dtype.name for v in net.state_dict().values()] == [
            "float32",
            "float32",
            "float32",
            "int64",
            "float32",
        ]
        assert net.scale.factor.tolist() == [1.5, 1.5]

    def test_with_pytorch(self, torch: Any) -> None:
        ours, theirs = nn.Linear(3, 2), torch.nn.Linear(3, 2)
        for state in (theirs.state_dict(), dict(theirs.named_parameters())):  # with and without a graph
            with dl.no_grad():
                ours.weight.zero_()
            ours.load_state_dict(state)
            np.testing.assert_array_equal(ours.weight.data, theirs.weight.detach().numpy())
        with dl.no_grad():
            ours.weight.fill_(3)
        theirs.load_state_dict({name: torch.from_numpy(v.copy()) for name, v in ours.state_dict().items()})
        assert (theirs.weight == 3).all()
        theirs.half()
        ours.load_state_dict(theirs.state_dict())

    def test_names_on_one_side(self) -> None:
        state = Net().state_dict()
        del state["first.bias"], state["last.weight"]
        state.update({"other.weight": np.zeros(3), "zero": np.zeros(0)})
        net = Net()
        kept = {name: value.copy() for name, value in net.state_dict().items()}
        state["first.weight"] = state["first.weight"] + 1
        with pytest.raises(
            ValueError,
            match=r"does not fit Net: missing: first\.bias, last\.weight; unexpected: other\.weight, zero",
        ):
            net.load_state_dict(state)
        for name, value in net.state_dict().items():  # nothing has changed
            np.testing.assert_array_equal(value, kept[name])
        result = net.load_state_dict(state, strict=False)
        assert result.missing_keys == ["first.bias", "last.weight"]
        assert result.unexpected_keys == ["other.weight", "zero"]
        np.testing.assert_array_equal(net.first.weight.data, state["first.weight"])
        np.testing.assert_array_equal(net.first.bias.data, kept["first.bias"])

    @pytest.mark.parametrize("strict", [True, False])
    def test_wrong_shapes_are_all_named(self, strict: bool) -> None:
        net = Net()
        kept = net.first.bias.data.copy()
        state = dict(net.state_dict())
        state["first.bias"] = state["first.bias"] + 1
        state["first.weight"], state["last.weight"] = np.zeros((3, 2)), np.zeros(2)
        with pytest.raises(
            ValueError,
            match=r"first\.weight is \(3, 2\), expected \(2, 3\); last\.weight is \(2,\), expected \(1, 2\)",
        ):
            net.load_state_dict(state, strict=strict)
        np.testing.assert_array_equal(net.first.bias.data, kept)

    def test_values_that_are_no_arrays(self) -> None:
        net = Net()
        for wrong in ("text", None, np.zeros((2, 3), complex), np.array([[None] * 3] * 2)):
            with pytest.raises(TypeError, match=r"load_state_dict: first\.weight is .*; expected"):
                net.load_state_dict({**net.state_dict(), "first.weight": wrong})

    @pytest.mark.parametrize("wrong", ["model.safetensors", None, [1, 2], Net()])
    def test_what_is_no_state(self, wrong: Any) -> None:
        with pytest.raises(
            TypeError, match=rf"load_state_dict: state_dict is a {type(wrong).__name__}; expected a mapping"
        ):
            Net().load_state_dict(wrong)

    def test_a_graph_notices(self) -> None:
        net = Net()
        loss = net(dl.ones(1, 3)).sum()
        net.load_state_dict(Net().state_dict())
        with pytest.raises(RuntimeError, match="changed"):
            loss.backward()

    def test_into_itself(self) -> None:
        net = Net()
        net.load_state_dict(net.state_dict())

    def test_names_with_dots_go_down_the_tree(self) -> None:
        outer = nn.Sequential(nn.Sequential(Net()))
        assert list(outer.state_dict()) == [f"0.0.{name}" for name in STATE]
        outer.load_state_dict(outer.state_dict())


class TestModes:
    def test_train_and_eval(self) -> None:
        net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout()))
        assert all(m.training for m in net.modules())
        assert net.eval() is net
        assert not any(m.training for m in net.modules())
        net[1].train()
        assert [m.training for m in net.modules()] == [False, False, True, True]
        assert net.train(False).train() is net
        assert all(m.training for m in net.modules())

    def test_evaluation_mode_gives_each_part_its_own_mode_back(self) -> None:
        model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
        model[1].eval()
        with nn.evaluation_mode(model):
            assert not any(part.training for part in model.modules())
        with pytest.raises(ValueError, match="Dropout"), nn.evaluation_mode(model):
            nn.Dropout(2.0)
        assert [part.training for part in model.modules()] == [True, True, False, False]
        with (
            pytest.raises(TypeError, match="module is a str; expected a Module"),
            nn.evaluation_mode("model"),
        ):
            pass

    def test_frozen(self) -> None:
        net = Net()
        assert net.first.requires_grad_(False) is net.first
        net(dl.ones(2, 3)).sum().backward()
        assert net.first.weight.grad is None
        assert net.first.bias.grad is None
        assert net.last.weight.grad is not None
        net.requires_grad_()
        net(dl.ones(2, 3)).sum().backward()
        assert net.first.weight.grad is not None

    def test_frozen_layers_stay_under_an_optimizer(self) -> None:
        net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        net[0].requires_grad_(False)
        optimizer = dl.optim.Adam(net.parameters(), weight_decay=0.1)
        before = copy.deepcopy(net.state_dict())
        for _ in range(3):
            optimizer.zero_grad()
            net(dl.ones(4, 2)).sum().backward()
            optimizer.step()
        after = net.state_dict()
        assert [(after[n] == before[n]).all() for n in after] == [True, True, False, False]

    def test_zero_grad(self) -> None:
        net = Net()
        net(dl.ones(2, 3)).sum().backward()
        net.zero_grad(set_to_none=False)
        assert [float(np.abs(p.grad.data).sum()) for p in net.parameters()] == [0] * 4
        net(dl.ones(2, 3)).sum().backward()
        held = net.first.weight.grad.data
        value = held.copy()
        net.zero_grad()
        assert [p.grad for p in net.parameters()] == [None] * 4
        net(2 * dl.ones(2, 3)).sum().backward()
        np.testing.assert_array_equal(held, value)  # who keeps a gradient, keeps it

    def test_gradients_add_up(self) -> None:
        net = Net()
        net(dl.ones(2, 3)).sum().backward()
        once = [p.grad.data.copy() for p in net.parameters()]
        net(dl.ones(2, 3)).sum().backward()
        for p, g in zip(net.parameters(), once, strict=True):
            np.testing.assert_allclose(p.grad.data, 2 * g, rtol=1e-6)

    def test_dtypes(self) -> None:
        net = Net()
        net(dl.ones(2, 3)).sum().backward()
        parameters = list(net.parameters())
        expected = [p.data.copy() for p in parameters]
        assert net.double() is net
        assert [p.dtype.name for p in net.parameters()] == ["float64"] * 4
        assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
        assert all((a.data == b).all() for a, b in zip(net.parameters(), expected, strict=True))
        assert [p.grad for p in net.parameters()] == [None] * 4
        assert net.scale.count.dtype == np.int64
        assert net.scale.cache.dtype == np.float64
        net(dl.ones(2, 3).double()).sum().backward()
        assert net.first.weight.grad.dtype == np.float64
        assert net.float().first.weight.dtype == np.float32
        assert net.to("float64").to(np.float32).last.weight.dtype == np.float32

    @pytest.mark.parametrize("dtype", ["simd", "float16", int, None, ">f4"])
    def test_other_dtypes(self, dtype: Any) -> None:
        with pytest.raises(TypeError, match=r"to: dtype is .*; expected float32 or float64"):
            Net().to(dtype)

    def test_apply(self) -> None:
        net, seen = Net(), []
        assert net.apply(lambda m: seen.append(type(m).__name__)) is net
        assert seen == ["Linear", "Scale", "Linear", "Net"]  # the innermost first, as in PyTorch
        net.apply(lambda m: nn.init.zeros_(m.weight) if isinstance(m, nn.Linear) else None)
        assert not net.first.weight.data.any()


class TestHooks:
    def test_before_and_after(self) -> None:
        layer, order = Scale(), []
        layer.register_forward_pre_hook(lambda m, args: order.append(("before", m, args)))
        layer.register_forward_hook(lambda m, args, out: order.append(("after", m, args, out)))
        x = dl.ones(2)
        y = layer(x)
        assert order == [("before", layer, (x,)), ("after", layer, (x,), y)]

    def test_what_they_return(self) -> None:
        layer = Scale()
        first = layer.register_forward_pre_hook(lambda m, args: args[0] * 10)
        second = layer.register_forward_pre_hook(lambda m, args: (args[0] + 1,))
        third = layer.register_forward_hook(lambda m, args, out: out * 100)
        assert layer(dl.ones(2)).tolist() == [1100, 1100]
        first()
        assert layer(dl.ones(2)).tolist() == [200, 200]
        second()
        third()
        third()  # a second time does nothing
        assert layer(dl.ones(2)).tolist() == [1, 1]

    def test_handles_are_pytorchs(self) -> None:
        # handle.remove(), and `with handle:`.
        layer = Scale()
        handle = layer.register_forward_hook(lambda m, args, out: out * 2)
        assert layer(dl.ones(2)).tolist() == [2, 2]
        handle.remove()
        assert layer(dl.ones(2)).tolist() == [1, 1]
        with layer.register_forward_pre_hook(lambda m, args: args[0] * 3):
            assert layer(dl.ones(2)).tolist() == [3, 3]
        assert layer(dl.ones(2)).tolist() == [1, 1]

    def test_gradients_go_through(self) -> None:
        layer = Scale()
        layer.register_forward_hook(lambda m, args, out: out * 3)
        layer(dl.ones(2)).sum().backward()
        assert layer.factor.grad.tolist() == [3, 3]

    def test_one_that_removes_itself(self) -> None:
        layer, calls = Scale(), []
        handles: list[Any] = []

        def once(module: Any, args: Any, out: Any) -> None:
            calls.append(1)
            handles[0].remove()

        handles.append(layer.register_forward_hook(once))
        layer(dl.ones(2))
        layer(dl.ones(2))
        assert calls == [1]


class TestCopies:
    @pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_are_whole_and_apart(self, how: Any) -> None:
        net = Net()
        net.scale.eval()
        net.first.weight.requires_grad = False
        net.last.weight.grad = np.ones((1, 2), np.float32)
        twin = how(net)
        assert [n for n, _ in twin.named_parameters()] == NAMES
        # Attribute and registered parameter are one.
        assert twin.first.weight is twin.get_parameter("first.weight")
        assert twin.scale.cache is dict(twin.named_buffers())["scale.cache"]
        assert not twin.scale.training
        assert not twin.first.weight.requires_grad
        x = dl.ones(2, 3)
        np.testing.assert_array_equal(twin(x).data, net(x).data)
        twin.load_state_dict({n: v + 1 for n, v in twin.state_dict().items()})
        assert (twin(x).data != net(x).data).any()
        assert "scale.cache" not in twin.state_dict()

    def test_tied_weights_stay_tied(self) -> None:
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        net[1].weight = net[0].weight
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert twin[1].weight is twin[0].weight

    def test_with_its_optimizer(self) -> None:
        net = Net()
        optimizer = dl.optim.Adam(net.parameters())
        net(dl.ones(2, 3)).sum().backward()
        optimizer.step()
        for twin, twins in (copy.deepcopy((net, optimizer)), pickle.loads(pickle.dumps((net, optimizer)))):
            before = twin.first.weight.data.copy()
            twins.zero_grad()
            twin(dl.ones(2, 3)).sum().backward()
            twins.step()
            assert (twin.first.weight.data != before).any()
            assert twins.state[twin.first.weight]["step"] == 2
            assert optimizer.state[net.first.weight]["step"] == 1


def test_repr() -> None:
    assert repr(Net()) == (
        "Net(\n  (first): Linear(in_features=3, out_features=2, bias=True)\n  (scale): Scale()\n"
        "  (last): Linear(in_features=2, out_features=1, bias=False)\n)"
    )
