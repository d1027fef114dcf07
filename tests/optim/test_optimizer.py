"""The optimizer: groups, gradients that are missing, state to and fro, arrays of any kind, errors."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn, optim
from dlkit.optim import SGD, Adam, AdamW, Optimizer

_KINDS: list[Any] = [
    pytest.param(lambda p, **o: SGD(p, **{"lr": 0.1, **o}), id="SGD"),
    pytest.param(lambda p, **o: SGD(p, **{"lr": 0.1, "momentum": 0.9, **o}), id="momentum"),
    pytest.param(lambda p, **o: SGD(p, **{"lr": 0.1, "momentum": 0.9, "nesterov": True, **o}), id="Nesterov"),
    pytest.param(lambda p, **o: Adam(p, **{"lr": 0.1, **o}), id="Adam"),
    pytest.param(lambda p, **o: AdamW(p, **{"lr": 0.1, **o}), id="AdamW"),
]
every = pytest.mark.parametrize("make", _KINDS)


def leaf(values: Any, gradient: Any = None, dtype: Any = np.float32) -> dl.Tensor:
    tensor = dl.tensor(np.array(values, dtype), requires_grad=True)
    if gradient is not None:
        tensor.grad = np.array(gradient, dtype)
    return tensor


def give(tensors: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for tensor in tensors:
        tensor.grad = np.asarray(rng.standard_normal(tensor.shape), tensor.dtype)


class TestSteps:
    @every
    def test_parameters_without_gradients_stay(self, make: Any) -> None:
        moved, still = leaf([1.0], [1.0]), leaf([1.0])
        optimizer = make([still, moved], weight_decay=0.5)
        optimizer.step()
        assert moved.item() != 1
        assert still.item() == 1
        assert still not in optimizer.state
        make([still]).step()  # none has one
        assert still.item() == 1

    @every
    def test_a_gradient_of_zeros_is_one(self, make: Any) -> None:
        p = leaf([1.0], [0.0])
        make([p], weight_decay=0.5).step()
        assert p.item() < 1

    @every
    @pytest.mark.parametrize("layout", ["transposed", "strided", "reversed", "fortran"])
    def test_layouts(self, make: Any, layout: str, dtype: Any, rng: np.random.Generator) -> None:
        base = rng.standard_normal((6, 8)).astype(dtype)
        view = {
            "transposed": base.T,
            "strided": base[::2, 1::3],
            "reversed": base[::-1, ::-1],
            "fortran": np.asfortranarray(base),
        }[layout]
        untouched = base.copy()
        odd, plain = dl.Tensor(view, requires_grad=True), leaf(view, dtype=dtype)
        mine, other = make([odd], weight_decay=0.01), make([plain], weight_decay=0.01)
        for step in range(5):
            give([odd], step)
            give([plain], step)
            mine.step()
            other.step()
        assert odd.data is view  # in place
        np.testing.assert_allclose(odd.data, plain.data, rtol=1e-6 if dtype is np.float32 else 1e-14)
        if layout == "strided":  # what lies between is left alone
            mask = np.ones(base.shape, bool)
            mask[::2, 1::3] = False
            np.testing.assert_array_equal(base[mask], untouched[mask])

    @every
    def test_gradients_of_any_layout(self, make: Any, rng: np.random.Generator) -> None:
        a, b = leaf(np.ones((4, 3))), leaf(np.ones((4, 3)))
        g = rng.standard_normal((3, 4)).astype(np.float32)
        a.grad, b.grad = g.T, g.T.copy()
        for p in (a, b):
            make([p]).step()
        np.testing.assert_array_equal(a.data, b.data)

    @every
    def test_dtypes_side_by_side(self, make: Any) -> None:
        single, double = leaf([1.0, 2.0], [0.5, -1]), leaf([1.0, 2.0], [0.5, -1], np.float64)
        optimizer = make([single, double, leaf([3.0], [1.0])])
        for _ in range(3):
            optimizer.step()
        assert single.dtype == np.float32
        assert double.dtype == np.float64
        np.testing.assert_allclose(single.data, double.data, rtol=1e-6)
        for tensor in optimizer.state:
            for value in optimizer.state[tensor].values():
                assert not isinstance(value, np.ndarray) or value.dtype == tensor.dtype

    @every
    def test_data_assigned_between_steps(self, make: Any) -> None:
        # A new array under .data is the one that is updated from then on; the old one is left alone.
        p, q = leaf([1.0, 2.0]), leaf([1.0, 2.0])
        mine, other = make([p]), make([q])
        old = p.data
        for step in range(4):
            if step == 2:
                kept = old.copy()
                p.data = np.array([5.0, 6.0], np.float32)
                q.data[...] = [5, 6]
            give([p], step)
            give([q], step)
            mine.step()
            other.step()
        np.testing.assert_array_equal(p.data, q.data)
        np.testing.assert_array_equal(old, kept)

    @every
    def test_a_graph_notices(self, make: Any) -> None:
        p = leaf([1.0, 2.0], [1.0, 1.0])
        loss = (p * p).sum()
        make([p]).step()
        with pytest.raises(RuntimeError, match="changed"):
            loss.backward()

    @every
    def test_same_bits_again(self, make: Any) -> None:
        results = []
        for _ in range(2):
            tensors = [leaf(np.full(shape, 0.5)) for shape in ((100, 70), (70,), ())]
            optimizer = make(tensors, weight_decay=0.01)
            for step in range(5):
                give(tensors, step)
                optimizer.step()
            results.append(b"".join(t.data.tobytes() for t in tensors))
        assert results[0] == results[1]

    @every
    def test_finds_the_minimum(self, make: Any) -> None:
        p = leaf([3.0, -2.0], dtype=np.float64)
        optimizer = make([p], lr=0.05)
        for _ in range(500):
            optimizer.zero_grad()
            ((p - dl.tensor(np.array([1.0, 2.0]))) ** 2).sum().backward()
            optimizer.step()
        np.testing.assert_allclose(p.data, [1, 2], atol=0.05)

    @every
    def test_numbers_that_are_none_go_through(self, make: Any) -> None:
        # The trainer looks for them; the optimizer does what its definition says.
        p = leaf([1.0, 1.0], [np.nan, 1.0])
        make([p]).step()
        assert np.isnan(p.data[0])
        assert np.isfinite(p.data[1])

    @every
    def test_closure(self, make: Any) -> None:
        p = leaf([2.0])
        optimizer = make([p])

        def closure() -> dl.Tensor:
            optimizer.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            return loss

        with dl.no_grad():  # the closure records all the same
            assert optimizer.step(closure).item() == 4
        assert p.item() < 2
        assert optimizer.step() is None


class TestGroups:
    def test_settings_of_each(self, torch: Any) -> None:
        arrays = [np.array([1.0, 2.0]), np.array([3.0]), np.array([4.0])]
        ours = [leaf(a, dtype=np.float64) for a in arrays]
        theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]

        def make(library: Any, p: Any) -> Any:
            return library.SGD(
                [{"params": p[:1], "lr": 0.5}, {"params": p[1], "momentum": 0.0}, {"params": [p[2]]}],
                lr=0.1,
                momentum=0.9,
            )

        mine, other = make(optim, ours), make(torch.optim, theirs)
        for _ in range(3):
            for t, u in zip(ours, theirs, strict=True):
                t.grad, u.grad = np.ones(t.shape), torch.ones_like(u)
            mine.step()
            other.step()
        for t, u in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(t.data, u.detach().numpy(), rtol=1e-14)
        assert [g["lr"] for g in mine.param_groups] == [0.5, 0.1, 0.1]
        assert [g["momentum"] for g in mine.param_groups] == [0.9, 0.0, 0.9]
        assert [len(g["params"]) for g in mine.param_groups] == [1, 1, 1]

    def test_changed_while_going_on(self) -> None:
        p = leaf([0.0], [1.0])
        optimizer = SGD([p], lr=1.0)
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.5
        optimizer.step()
        assert p.item() == -1.5

    def test_added(self) -> None:
        first, second = leaf([0.0], [1.0]), leaf([0.0], [1.0])
        optimizer = SGD([first], lr=1.0)
        optimizer.add_param_group({"params": [second], "lr": 0.25})
        optimizer.step()
        assert (first.item(), second.item()) == (-1, -0.25)
        assert optimizer.param_groups[1]["momentum"] == 0

    @pytest.mark.parametrize(
        "params",
        [
            lambda m: m.parameters(),
            lambda m: list(m.parameters()),
            lambda m: m.named_parameters(),
            lambda m: [{"params": m.parameters()}],
            lambda m: ({"params": [p]} for p in m.parameters()),
            lambda m: dict(m.named_parameters()).values(),
            lambda m: [{"params": m.named_parameters(), "lr": 0.1}],
        ],
    )
    def test_what_params_may_be(self, params: Any) -> None:
        model = nn.Linear(2, 1)
        listed = [p for group in Adam(params(model)).param_groups for p in group["params"]]
        assert [id(p) for p in listed] == [id(p) for p in model.parameters()]

    def test_empty_group(self) -> None:
        optimizer = SGD([{"params": []}, {"params": [leaf([0.0], [1.0])]}], lr=1.0)
        optimizer.step()
        assert optimizer.state_dict()["param_groups"][0]["params"] == []

    def test_zero_grad(self) -> None:
        p, q = leaf([1.0], [1.0]), leaf([1.0])
        optimizer = SGD([{"params": [p]}, {"params": [q]}], lr=1.0)
        optimizer.zero_grad(set_to_none=False)
        assert p.grad.tolist() == [0]
        assert q.grad is None
        optimizer.zero_grad()
        assert p.grad is None

    def test_repr(self) -> None:
        text = repr(Adam([{"params": [leaf([1.0])], "lr": 0.5}, {"params": [leaf([1.0])]}]))
        assert text.splitlines()[0] == "Adam ("
        assert "group 0: 1 parameters, lr=0.5, betas=(0.9, 0.999)" in text


class TestState:
    @every
    @pytest.mark.parametrize("how", ["itself", "deepcopy", "pickle", "json"])
    def test_goes_on_to_the_same_bits(self, make: Any, how: str) -> None:
        def begin() -> tuple[list[dl.Tensor], Any]:
            tensors = [leaf(np.full(shape, 0.5)) for shape in ((5, 7), (3,), ())]
            return tensors, make([{"params": tensors[:1], "lr": 0.2}, {"params": tensors[1:]}])

        tensors, optimizer = begin()
        for step in range(8):
            if step == 4:
                state = optimizer.state_dict()
                if how == "json":
                    state = json.loads(json.dumps(state, default=np.ndarray.tolist))
                elif how != "itself":
                    state = copy.deepcopy(state) if how == "deepcopy" else pickle.loads(pickle.dumps(state))
                twins, twin = begin()
                twin.load_state_dict(state)
                for a, b in zip(twins, tensors, strict=True):
                    a.data[...] = b.data
            give(tensors, step)
            optimizer.step()
            if step >= 4:
                give(twins, step)
                twin.step()
        for a, b in zip(twins, tensors, strict=True):
            np.testing.assert_array_equal(a.data, b.data)
        assert twin.state_dict().keys() == optimizer.state_dict().keys()

    def test_layout_is_pytorchs(self, torch: Any) -> None:
        ours, theirs = leaf([1.0], [1.0]), torch.nn.Parameter(torch.ones(1))
        theirs.grad = torch.ones(1)
        mine, other = Adam([ours]), torch.optim.Adam([theirs])
        mine.step()
        other.step()
        a, b = mine.state_dict(), other.state_dict()
        assert a["state"].keys() == b["state"].keys()
        assert a["state"][0].keys() == b["state"][0].keys()
        assert a["param_groups"][0]["params"] == b["param_groups"][0]["params"] == [0]
        assert set(a["param_groups"][0]) <= set(b["param_groups"][0])

    def test_is_copied(self) -> None:
        p, q = leaf([1.0], [1.0]), leaf([1.0], [1.0])
        first, second = SGD([p], lr=0.1, momentum=0.9), SGD([q], lr=0.1, momentum=0.9)
        first.step()
        second.load_state_dict(first.state_dict())
        before = first.state[p]["momentum_buffer"].copy()
        second.step()
        np.testing.assert_array_equal(first.state[p]["momentum_buffer"], before)

    def test_in_another_dtype(self) -> None:
        p, q = leaf([1.0], [1.0]), leaf([1.0], [1.0], np.float64)
        first, second = Adam([p]), Adam([q])
        first.step()
        second.load_state_dict(first.state_dict())
        second.step()
        assert second.state[q]["exp_avg"].dtype == np.float64

    def test_groups_are_the_same_dicts(self) -> None:
        # Schedules hold them.
        optimizer = Adam([leaf([1.0])], lr=0.5, betas=(0.5, 0.5))
        group = optimizer.param_groups[0]
        optimizer.load_state_dict(json.loads(json.dumps(Adam([leaf([1.0])], lr=0.25).state_dict())))
        assert optimizer.param_groups[0] is group
        assert group["lr"] == 0.25
        assert group["betas"] == (0.9, 0.999)
        assert type(group["betas"]) is tuple

    def test_lr_of_pytorch_that_is_a_tensor(self, torch: Any) -> None:
        other = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(0.5))
        ours = Adam([leaf([1.0])])
        ours.load_state_dict(other.state_dict())
        assert ours.param_groups[0]["lr"] == 0.5
        assert type(ours.param_groups[0]["lr"]) is float

    @pytest.mark.parametrize(
        ("change", "error", "text"),
        [
            (lambda s: s.pop("state"), ValueError, "the state is not one of state_dict; expected 'state' and"),
            (lambda s: s.pop("param_groups"), ValueError, "the state is not one of state_dict"),
            (lambda s: s["param_groups"].append(s["param_groups"][0]), ValueError, r"groups of \[2, 2\] parameters"),
            (lambda s: s["param_groups"][0]["params"].pop(), ValueError, r"groups of \[1\] parameters"),
            (lambda s: s["param_groups"][0].pop("params"), ValueError, "expected groups with 'params'"),
            (lambda s: s.update(param_groups=3), ValueError, "expected groups with 'params'"),
            (lambda s: s.update(state=[1]), ValueError, "a dict per parameter"),
            (lambda s: s["state"].update({0: 3}), ValueError, "a dict per parameter"),
            (lambda s: s["state"].update({7: s["state"][0]}), ValueError, "entry for parameter 7, which"),
            (lambda s: s["state"].update({"x": s["state"][0]}), ValueError, "entry for parameter x, which"),
            (lambda s: s["state"][0].pop("exp_avg"), ValueError, "has step, exp_avg_sq for parameter 0"),
            (lambda s: s["state"][0].update(exp_avg=np.zeros(5)), ValueError, r"exp_avg is \(5,\); expected"),
            (lambda s: s["state"][0].update(exp_avg=0.5), ValueError, r"exp_avg is \(\); expected the"),
            (lambda s: s["state"][0].update(exp_avg="x"), TypeError, "exp_avg is .*; expected"),
            (lambda s: s["state"][0].update(step=-1), ValueError, "step is -1; expected an integer of 0 or more"),
            (lambda s: s["state"][0].update(step=1.5), ValueError, "step is 1.5; expected an integer"),
            (lambda s: s["state"][0].update(step=float("nan")), ValueError, "step is nan; expected an integer"),
            (lambda s: s["state"][0].update(step="1"), ValueError, "step is '1'; expected an integer"),
            (lambda s: s["param_groups"][0].update(lr=-1), ValueError, "lr is -1; expected a finite number"),
            (lambda s: s["param_groups"][0].update(lr="x"), ValueError, "lr is 'x'; expected a finite number"),
            (lambda s: s["param_groups"][0].update(betas=[0.9]), ValueError, r"betas is \(0.9,\); expected two"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit(self, change: Any, error: Any, text: str) -> None:
        p, q = leaf([1.0, 2.0], [1.0, 1.0]), leaf([1.0], [1.0])
        optimizer = Adam([p, q], lr=0.5)
        optimizer.step()
        state = copy.deepcopy(optimizer.state_dict())
        state["param_groups"][0]["lr"] = 0.75
        change(state)
        kept = copy.deepcopy(optimizer.state_dict())
        with pytest.raises(error, match=f"^Adam: .*{text}"):
            optimizer.load_state_dict(state)
        now = optimizer.state_dict()
        assert now["param_groups"] == kept["param_groups"]  # nothing has changed
        for number, entry in kept["state"].items():
            for name, value in entry.items():
                np.testing.assert_array_equal(now["state"][number][name], value)

    @pytest.mark.parametrize("wrong", [None, 3, "file", [], np.zeros(2)])
    def test_what_is_no_state(self, wrong: Any) -> None:
        with pytest.raises(ValueError, match="the state is not one of state_dict"):
            SGD([leaf([1.0])]).load_state_dict(wrong)


class TestErrors:
    @pytest.mark.parametrize(
        ("params", "error", "text"),
        [
            ([], ValueError, "params is empty; expected at least one tensor"),
            (iter([]), ValueError, "params is empty"),
            (dl.zeros(2), TypeError, r"params is a Tensor; expected an iterable .*write\s+model.parameters\(\)"),
            (np.zeros(2), TypeError, "params is a ndarray; expected an iterable"),
            (nn.Linear(2, 2), TypeError, r"params is a Linear; expected an iterable .*model.parameters\(\)"),
            (nn.Sequential(nn.Linear(2, 2)), TypeError, "parameter 0 is a Linear; expected a Tensor"),
            ({"params": [dl.zeros(1)]}, TypeError, "params is a dict; expected an iterable"),
            ("weights", TypeError, "params is a str; expected an iterable"),
            (None, TypeError, "params is a NoneType; expected an iterable"),
            ({dl.zeros(1), dl.zeros(2)}, TypeError, r"params is a set; expected a list \(sets have no order\)"),
            ([{"params": {dl.zeros(1)}}], TypeError, "params is a set; expected a list"),
            ([{"params": np.zeros(2)}], TypeError, "params is a ndarray; expected a Tensor or a list"),
            ([{"params": 3}], TypeError, "params is a int; expected a Tensor or a list"),
            ([np.zeros(2)], TypeError, "parameter 0 is a ndarray; expected a Tensor"),
            ([dl.zeros(2), {"params": []}], TypeError, "parameter 1 is a dict; expected a Tensor"),
            ([{"params": [dl.zeros(1)]}, dl.zeros(1)], TypeError, "a group is a Tensor; expected a dict with 'params'"),
            ([{"lr": 0.1}], TypeError, "a group is a dict; expected a dict with 'params'"),
            ([{"params": [dl.zeros(1)], "learning_rate": 1}], ValueError, "a group has the setting 'learning_rate'"),
            ([dl.tensor([1, 2])], TypeError, "parameter 0 is of dtype int64; expected float32 or float64"),
            ([dl.zeros(1), dl.ones(2, requires_grad=True) * 2], ValueError, "parameter 1 is the result of mul"),
        ],
    )  # fmt: skip
    def test_what_is_to_be_optimized(self, params: Any, error: Any, text: str) -> None:
        with pytest.raises(error, match=f"^SGD: {text}"):
            SGD(params)

    def test_twice(self) -> None:
        p = leaf([1.0])
        with pytest.raises(ValueError, match="parameter 1 appears more than once"):
            SGD([p, p])
        optimizer = SGD([p])
        with pytest.raises(ValueError, match="parameter 0 appears more than once"):
            optimizer.add_param_group({"params": [p]})
        assert len(optimizer.param_groups) == 1

    @every
    def test_memory_in_common(self, make: Any) -> None:
        base = np.ones(4, np.float32)
        a, b = (dl.Tensor(base[i : i + 3], requires_grad=True) for i in (0, 1))
        give([a, b], 0)
        with pytest.raises(ValueError, match="shares memory with"):
            make([a, b]).step()
        assert (base == 1).all()

    @every
    def test_read_only(self, make: Any) -> None:
        base = np.ones(3, np.float32)
        base.flags.writeable = False
        p = dl.Tensor(base, requires_grad=True)
        give([p], 0)
        with pytest.raises(ValueError, match=r"params\[0\] is read-only"):
            make([p]).step()

    @every
    def test_a_gradient_of_another_shape_or_dtype(self, make: Any) -> None:
        # .data was given an array that the gradient is not for.
        p = leaf([1.0, 2.0], [1.0, 1.0])
        p.data = np.ones(3, np.float32)
        with pytest.raises(ValueError, match=r"grads\[0\] is \(2,\) but params\[0\] is \(3,\)"):
            make([p]).step()
        p.data = np.ones(2)
        with pytest.raises(TypeError, match=r"grads\[0\] is float32 but params\[0\] is float64"):
            make([p]).step()

    def test_update_is_needed(self) -> None:
        with pytest.raises(TypeError, match="Optimizer: update is not defined"):
            Optimizer([leaf([1.0])], {}).step()


def test_one_of_ones_own() -> None:
    # What a course's student writes: settings by name, state of any kind.
    class Slow(Optimizer):
        def __init__(self, params: Any, lr: float = 0.5) -> None:
            super().__init__(params, {"lr": lr})

        def update(self, group: dict[str, Any]) -> None:
            for p in group["params"]:
                if p.grad is not None:
                    entry = self.state.setdefault(p, {"count": 0, "note": "x"})
                    entry["count"] += 1
                    p.data = p.data - group["lr"] / entry["count"] * p.grad.data

    p, q = leaf([0.0], [1.0]), leaf([0.0], [1.0])
    optimizer, other = Slow([p]), Slow([q], lr=1.0)
    optimizer.step()
    optimizer.step()
    assert p.item() == -0.75
    other.load_state_dict(optimizer.state_dict())
    other.step()
    assert q.item() == pytest.approx(-0.5 / 3)
    assert optim.lr_scheduler.ExponentialLR(other, 0.1).get_last_lr() == [0.5]


def test_copies_belong_to_their_own_parameters() -> None:
    p = leaf([1.0], [1.0])
    optimizer = Adam([p])
    optimizer.step()
    before = p.item()
    twin = copy.deepcopy(optimizer)
    twin.step()
    assert p.item() == before
    q = twin.param_groups[0]["params"][0]
    assert q is not p
    assert twin.state[q]["step"] == 2


def test_names() -> None:
    assert sorted(optim.__all__, key=str.lower) == sorted(set(optim.__all__), key=str.lower)
    assert optim.clip_grad_norm_ is nn.utils.clip_grad_norm_
    assert all(hasattr(optim, name) for name in optim.__all__)
