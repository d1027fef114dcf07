"""Sequential and ModuleList."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.Sigmoid(), nn.Linear(5, 3), nn.Tanh()
    )


def ops(y: dl.Tensor) -> list[str]:
    """The operations that made it, the last first."""
    found = []
    node = y.grad_fn
    while node is not None and not isinstance(node, dl.Tensor):
        found.append(node.op)
        node = node.edges[0]
    return found


class TestSequential:
    def test_one_after_another(self, rng: np.random.Generator) -> None:
        model = network()
        x = dl.tensor(rng.standard_normal((6, 4)).astype(np.float32))
        y = x
        for module in model:
            y = module(y)
        np.testing.assert_allclose(model(x).data, y.data, rtol=1e-6)

    def test_linear_and_activation_are_one_operation(self) -> None:
        x = dl.ones(2, 4)
        assert ops(network()(x)) == ["linear_tanh", "linear_sigmoid", "linear_relu"]
        mixed = nn.Sequential(
            nn.Linear(4, 4), nn.Linear(4, 4), nn.GELU(), nn.ReLU(), nn.Linear(4, 4), nn.Dropout(0.5), nn.ReLU(),
            nn.Linear(4, 4),
        )  # fmt: skip
        assert ops(mixed(x)) == ["linear", "relu", "dropout", "linear", "relu", "gelu", "linear", "linear"]

    @pytest.mark.parametrize("bias", [True, False])
    def test_gradients_are_those_of_the_modules_one_by_one(
        self, bias: bool, rng: np.random.Generator
    ) -> None:
        def make() -> nn.Sequential:
            dl.manual_seed(5)
            return nn.Sequential(
                nn.Linear(4, 5, bias), nn.ReLU(), nn.Linear(5, 5, bias), nn.Tanh(), nn.Linear(5, 3, bias), nn.Sigmoid()
            ).double()  # fmt: skip

        fused, plain = make(), make()
        x = rng.standard_normal((6, 4))
        a, b = (dl.tensor(x, requires_grad=True) for _ in range(2))
        (fused(a) ** 2).sum().backward()
        y: Any = b
        for module in plain:
            y = module(y)
        (y**2).sum().backward()
        np.testing.assert_allclose(a.grad.data, b.grad.data, rtol=1e-12)
        for (name, p), q in zip(fused.named_parameters(), plain.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.data, q.grad.data, rtol=1e-12, err_msg=name)
        assert dl.autograd.gradcheck(lambda t, *_: fused(t), (a, *fused.parameters()))

    def test_hooks_see_what_the_module_returns(self) -> None:
        # With a hook on it, a Linear and its activation are called one by one.
        model = network()
        seen: dict[str, Any] = {}
        for name, module in model.named_modules():
            if name:
                module.register_forward_hook(lambda m, args, out, name=name: seen.__setitem__(name, out))
        x = dl.ones(2, 4)
        y = model(x)
        assert list(seen) == list("012345")
        np.testing.assert_allclose(seen["1"].data, np.maximum(seen["0"].data, 0))
        assert seen["5"] is y
        for index in (0, 1):  # a hook on either of the two is enough
            watched = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
            calls: list[Any] = []
            watched[index].register_forward_pre_hook(lambda m, args, calls=calls: calls.append(m))
            watched(x)
            assert calls == [watched[index]]

    def test_subclasses_are_called(self) -> None:
        class Doubled(nn.Linear):
            def forward(self, x: Any) -> Any:
                return super().forward(x) * 2

        class Off(nn.ReLU):
            def forward(self, x: Any) -> Any:
                return x

        x = dl.ones(2, 4)
        layer = Doubled(4, 3)
        plain = nn.functional.linear(x, layer.weight, layer.bias)
        np.testing.assert_allclose(nn.Sequential(layer, Off())(x).data, 2 * plain.data)

    def test_a_forward_of_its_own(self) -> None:
        layer, relu = nn.Linear(4, 3), nn.ReLU()
        relu.forward = lambda x: x - 1  # type: ignore[method-assign]
        x = dl.ones(2, 4)
        np.testing.assert_allclose(nn.Sequential(layer, relu)(x).data, layer(x).data - 1)

    def test_names(self) -> None:
        assert list(network().state_dict()) == [
            f"{i}.{name}" for i in (0, 2, 4) for name in ("weight", "bias")
        ]
        named = nn.Sequential({"first": nn.Linear(2, 3), "act": nn.ReLU(), "last": nn.Linear(3, 1)})
        assert [name for name, _ in named.named_children()] == ["first", "act", "last"]
        assert next(iter(named.state_dict())) == "first.weight"
        assert ops(named(dl.ones(1, 2))) == ["linear", "linear_relu"]
        assert named.first is named[0]

    def test_as_a_list(self) -> None:
        model = network()
        assert len(model) == 6
        assert model[-1] is list(model)[5]
        assert model[np.int64(1)] is model[1]
        part = model[:2]
        assert type(part) is nn.Sequential
        assert [a is b for a, b in zip(part, model, strict=False)] == [True, True]
        assert list(part.state_dict()) == ["0.weight", "0.bias"]
        assert [type(m) for m in model[::-2]] == [nn.Tanh, nn.Sigmoid, nn.ReLU]
        model[1] = nn.GELU()
        model[-1] = nn.Identity()
        assert [type(model[1]), type(model[5]), len(model)] == [nn.GELU, nn.Identity, 6]
        assert model.append(nn.Linear(3, 1)) is model
        assert model(dl.ones(2, 4)).shape == (2, 1)
        assert "6.weight" in model.state_dict()

    def test_of_nothing(self) -> None:
        x = dl.ones(2)
        assert nn.Sequential()(x) is x
        assert len(nn.Sequential()) == 0
        assert repr(nn.Sequential()) == "Sequential()"

    def test_nested(self, torch: Any) -> None:
        def make(library: Any) -> Any:
            return library.Sequential(
                library.Sequential(library.Linear(4, 3), library.ReLU()),
                library.Dropout(0.3),
                library.Linear(3, 2),
            )

        ours, theirs = make(nn), make(torch.nn)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert repr(ours) == repr(theirs).replace(", inplace=False", "")
        ours.load_state_dict(theirs.state_dict())
        x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
        expected = theirs.eval()(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(ours.eval()(dl.tensor(x)).data, expected, rtol=1e-5, atol=1e-6)

    def test_the_same_module_twice(self) -> None:
        layer = nn.Linear(3, 3)
        model = nn.Sequential(layer, nn.ReLU(), layer)
        assert len(list(model.parameters())) == 2
        assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]  # as PyTorch has it
        twin = copy.deepcopy(model)
        assert twin[0] is twin[2]
        twin.load_state_dict(model.state_dict())

    def test_trained_as_in_pytorch(self, torch: Any, rng: np.random.Generator) -> None:
        layers = lambda lib: lib.Sequential(  # noqa: E731
            lib.Linear(4, 8), lib.ReLU(), lib.Linear(8, 8), lib.Tanh(), lib.Linear(8, 3)
        )
        ours, theirs = layers(nn).double(), layers(torch.nn).double()
        ours.load_state_dict(theirs.state_dict())
        mine = dl.optim.Adam(ours.parameters(), lr=0.01)
        other = torch.optim.Adam(theirs.parameters(), lr=0.01)
        x, t = rng.standard_normal((32, 4)), rng.integers(0, 3, 32)
        for _ in range(20):
            mine.zero_grad()
            other.zero_grad()
            loss = nn.functional.cross_entropy(ours(dl.tensor(x)), t)
            expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(t))
            loss.backward()
            expected.backward()
            mine.step()
            other.step()
            np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-9)
        for name, value in ours.state_dict().items():
            np.testing.assert_allclose(value, theirs.state_dict()[name].numpy(), rtol=1e-6, atol=1e-9)

    def test_copies(self) -> None:
        model = network()
        x = dl.ones(2, 4)
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            np.testing.assert_array_equal(twin(x).data, model(x).data)
            assert twin[0].weight is twin.get_parameter("0.weight")
            assert twin[0].weight is not model[0].weight

    def test_errors(self) -> None:
        with pytest.raises(TypeError, match=r"Sequential: module 1 is a function; expected a Module"):
            nn.Sequential(nn.Linear(2, 2), dl.nn.functional.relu)
        with pytest.raises(TypeError, match=r"Sequential: module 0 is a list; expected a Module"):
            nn.Sequential([nn.Linear(2, 2)])
        with pytest.raises(TypeError, match=r"Sequential: module 0 is a type; expected a Module"):
            nn.Sequential(nn.ReLU)
        with pytest.raises(ValueError, match=r"name is 'a\.b'"):
            nn.Sequential({"a.b": nn.ReLU()})
        with pytest.raises(IndexError, match=r"Sequential: index is 6; there are 6 modules"):
            network()[6]
        with pytest.raises(IndexError, match=r"Sequential: index is -7; there are 6 modules"):
            network()[-7] = nn.ReLU()
        with pytest.raises(TypeError, match=r"Sequential: index is a str; expected an integer or a slice"):
            network()["0"]
        with pytest.raises(TypeError, match=r"Sequential: append is given a str; expected a Module"):
            network().append("ReLU")
        with pytest.raises(TypeError, match=r"Sequential: value is a NoneType; expected a Module"):
            network()[0] = None

    def test_errors_name_the_layer_that_does_not_fit(self) -> None:
        with pytest.raises(ValueError, match=r"linear: x is \(2, 5\) but weight is \(3, 6\)"):
            nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(6, 3))(dl.ones(2, 4))


@pytest.mark.parametrize("name", ["Sequential", "ModuleList"])
def test_list_operations_are_pytorchs(name: str, torch: Any) -> None:
    def play(library: Any) -> list[Any]:
        layers = [library.Linear(2, i) for i in range(1, 6)]
        made = library.Sequential(*layers[:3]) if name == "Sequential" else library.ModuleList(layers[:3])
        seen: list[Any] = []
        for change in (
            lambda: made.extend(layers[3:4]),
            lambda: made.insert(1, library.ReLU()),
            lambda: made.insert(0, layers[4]),
            lambda: made.pop(2),
            lambda: made.pop(-1),
            lambda: made.__delitem__(0),
            lambda: made.append(library.Tanh()),
            lambda: made.__delitem__(slice(1, None, 2)),
            lambda: made.__setitem__(0, library.Sigmoid()),
        ):
            change()
            seen.append(
                [(n, type(m).__name__, getattr(m, "out_features", 0)) for n, m in made.named_children()]
            )
            seen.append([n for n, _ in made.named_parameters()])
        return seen

    assert play(nn) == play(torch.nn)


def test_named_modules_are_numbered_after_a_deletion(torch: Any) -> None:
    # As in PyTorch.
    from collections import OrderedDict

    def names(library: Any) -> list[str]:
        model = library.Sequential(OrderedDict(a=library.ReLU(), b=library.Linear(2, 2), c=library.Tanh()))
        del model[0]
        return list(model.state_dict())

    assert names(nn) == names(torch.nn) == ["0.weight", "0.bias"]
    model = nn.Sequential({"a": nn.ReLU(), "b": nn.Tanh()})
    del model[0]
    assert not hasattr(model, "a")


def test_list_operations_with_wrong_arguments() -> None:
    modules = nn.ModuleList([nn.ReLU()])
    with pytest.raises(TypeError, match=r"ModuleList: insert is given a str; expected a Module"):
        modules.insert(0, "ReLU")
    with pytest.raises(IndexError, match=r"ModuleList: index is 1; there are 1 modules"):
        modules.pop(1)
    with pytest.raises(IndexError, match=r"ModuleList: index is -2; there are 1 modules"):
        del modules[-2]
    with pytest.raises(TypeError, match=r"Sequential: modules is a ReLU; expected an iterable of Modules"):
        nn.Sequential().extend(nn.ReLU())
    assert len(modules) == 1


class TestModuleList:
    def test_as_a_list(self) -> None:
        modules = nn.ModuleList(nn.Linear(i, i + 1) for i in range(1, 4))
        assert len(modules) == 3
        assert [m.in_features for m in modules] == [1, 2, 3]
        assert modules[-1].in_features == 3
        assert modules.extend([nn.ReLU()]).append(nn.Tanh()) is modules
        assert list(modules.state_dict()) == [f"{i}.{n}" for i in range(3) for n in ("weight", "bias")]
        part = modules[1:3]
        assert type(part) is nn.ModuleList
        assert [m.in_features for m in part] == [2, 3]
        modules[0] = nn.Identity()
        assert next(iter(modules.state_dict())) == "1.weight"

    def test_in_a_module(self, torch: Any) -> None:
        def make(library: Any) -> Any:
            class Deep(library.Module):  # type: ignore[name-defined, misc]
                def __init__(self) -> None:
                    super().__init__()
                    self.layers = library.ModuleList([library.Linear(3, 3) for _ in range(3)])

                def forward(self, x: Any) -> Any:
                    for layer in self.layers:
                        x = layer(x)
                    return x

            return Deep()

        ours, theirs = make(nn), make(torch.nn)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        ours.load_state_dict(theirs.state_dict())
        x = np.ones((2, 3), np.float32)
        np.testing.assert_allclose(
            ours(x).data, theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
        )
        assert len(list(ours.parameters())) == 6

    def test_is_not_called(self) -> None:
        with pytest.raises(TypeError, match="ModuleList: forward is not defined"):
            nn.ModuleList([nn.ReLU()])(dl.ones(1))

    def test_errors(self) -> None:
        with pytest.raises(TypeError, match=r"ModuleList: append is given a int; expected a Module"):
            nn.ModuleList([nn.ReLU(), 3])
        with pytest.raises(IndexError, match=r"ModuleList: index is 1; there are 1 modules"):
            nn.ModuleList([nn.ReLU()])[1]
        with pytest.raises(
            TypeError, match=r"ModuleList: modules is a ReLU; expected an iterable of Modules"
        ):
            nn.ModuleList(nn.ReLU())
