from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import graph_table


def leaf(value, name=None):
    return dl.tensor(value, requires_grad=True, name=name)


@pytest.fixture(params=["before", "after", "retained"])
def course(request):
    """The table of e = (a + b) (b + 1), made before or after the backward pass."""
    a, b = leaf(2.0), leaf(1.0)
    c, d = a + b, b + 1
    e = c * d
    if request.param != "before":
        e.backward(retain_graph=request.param == "retained")
    return graph_table(e)


class TestTheGraphOfTheCourse:
    def test_every_value_and_derivative(self, course):
        found = {
            row.name: (row.value.item(), None if row.derivative is None else row.derivative.item())
            for row in course
        }
        assert found == {"a": (2, 2), "b": (1, 5), "c": (3, 2), "1": (1, None), "d": (2, 3), "e": (6, 1)}

    def test_operations_and_their_inputs(self, course):
        assert {row.name: (row.operation, row.inputs) for row in course} == {
            "a": ("leaf", ()),
            "b": ("leaf", ()),
            "c": ("add", ("a", "b")),
            "1": ("constant", ()),
            "d": ("add", ("b", "1")),
            "e": ("mul", ("c", "d")),
        }
        assert course["e"].formula == "c × d"
        assert course["d"].formula == "b + 1"

    def test_local_derivatives_give_the_derivatives(self, course):
        # The chain rule, with nothing but what the table says.
        total = dict.fromkeys("abcde1", 0.0)
        total["e"] = 1.0
        for row in reversed(list(course)):
            for name, local in zip(row.inputs, row.local, strict=False):
                if local is not None:
                    total[name] += total[row.name] * local
        for row in course:
            if row.derivative is not None:
                assert total[row.name] == row.derivative.item()

    def test_as_text(self, course):
        lines = str(course).splitlines()
        assert lines[0].split() == ["name", "operation", "value", "de/d(name)"]
        assert ["c", "a", "+", "b", "3", "2"] in [line.split() for line in lines]
        assert ["1", "constant", "1"] in [line.split() for line in lines]
        assert repr(course) == str(course)
        assert len(lines) == 2 + 6

    def test_access(self, course):
        assert len(course) == 6
        assert course[-1].name == "e"
        assert course["a"] is course[0]
        with pytest.raises(KeyError, match="graph_table: no node is called 'z'; there are a, b, c"):
            course["z"]


def test_no_gradient_is_touched():
    a, b = leaf(2.0), leaf(1.0)
    e = (a + b) * (b + 1)
    graph_table(e)
    assert a.grad is None
    e.backward()
    graph_table(e)
    assert (a.grad.item(), b.grad.item()) == (2.0, 5.0)


class TestNames:
    def test_own_names_then_variables_then_numbers(self):
        first = leaf(2.0, "alpha")
        second = leaf(3.0)
        y = (first * second).exp() + 1
        assert [row.name for row in graph_table(y)] == ["alpha", "second", "v1", "v2", "1", "y"]
        y.name = "result"
        assert graph_table(y)[-1].name == "result"

    def test_given(self):
        a, b = leaf(2.0), leaf(1.0)
        table = graph_table(a * b, names={"width": a, "height": b})
        assert [row.name for row in table] == ["width", "height", "v1"]
        assert graph_table(a * b, names={})[0].name == "x1"

    def test_the_same_name_twice(self):
        a, b = leaf(2.0, "w"), leaf(1.0, "w")
        assert [row.name for row in graph_table(a * b, names={})] == ["w", "w_2", "v1"]

    def test_private_variables_and_other_things(self):
        _hidden, number = leaf(2.0), 3
        assert graph_table(_hidden * number)[0].name == "x1"


class TestValues:
    def test_a_leaf_alone(self):
        table = graph_table(leaf(2.0, "a"))
        assert [(row.name, row.value.item(), row.derivative.item()) for row in table] == [("a", 2.0, 1.0)]

    def test_a_tensor_without_gradient(self):
        (row,) = graph_table(dl.tensor([1, 2], name="n"))
        assert (row.operation, row.value.tolist(), row.derivative) == ("constant", [1, 2], None)

    def test_several_elements(self):
        x = leaf([1.0, -2.0, 3.0])
        table = graph_table((x * x).sum())
        assert table["x"].derivative.tolist() == [2.0, -4.0, 6.0]
        assert table["x"].value_text == "[1, −2, 3]"
        assert table["x"].local == ()
        assert table[-1].value.item() == 14.0

    def test_large_ones_are_shown_by_shape(self):
        x = dl.ones(20, 10, requires_grad=True)
        middle = x * 2
        table = graph_table(middle.sum())
        assert table["x"].value_text == "(20, 10)"
        assert table["x"].derivative_text == "(20, 10), norm 28.3"
        assert table["middle"].value.shape == (20, 10)
        del middle
        y = (x * 2).sum()
        assert graph_table(y)["v1"].value is None
        assert graph_table(y)["v1"].value_text == "(20, 10)"

    def test_several_outputs(self):
        x = leaf([1.0, 2.0, 3.0])
        first, second = x.split([1, 2])
        table = graph_table((first * second).sum())
        assert table["x"].derivative.tolist() == [5.0, 1.0, 1.0]
        assert table["first"].formula == "split[0](v1)"

    def test_functions(self):
        x = leaf(4.0)
        y = -(x.sqrt())
        table = graph_table(y)
        assert table["v1"].formula == "sqrt(x)"
        assert table["v1"].local == (0.25,)
        assert table["y"].formula == "−v1"

    def test_as_they_were_when_it_was_made(self):
        x = leaf([1.0, 2.0])
        table = graph_table((x * x).sum())
        with dl.no_grad():
            x.zero_()
        assert table["x"].value.tolist() == [1.0, 2.0]


def test_released_graphs_show_no_partial_derivatives():
    # x is used by a small node, which is kept for drawing, and by large ones, which are released.
    x = dl.ones(2, requires_grad=True)
    large = x.expand(50, 2) * 1.0
    y = (x * 3).sum() + large.sum()
    y.backward()
    table = graph_table(y)
    assert table["x"].derivative.tolist() == [53.0, 53.0]
    middle = x * 1
    y = (middle * 3).sum() + (middle.expand(50, 2) * 1.0).sum()
    y.backward()
    assert graph_table(y)["middle"].derivative is None


def test_hooks_are_not_called():
    calls = []
    x = leaf(2.0)
    middle = x * x
    middle.register_hook(calls.append)
    x.register_hook(calls.append)
    graph_table(middle * 2)
    assert not calls


@pytest.mark.parametrize("given", [2.0, None, np.ones(2), "e"], ids=repr)
def test_of_something_else(given):
    with pytest.raises(TypeError, match=r"graph_table: tensor is an? .*; expected a Tensor"):
        graph_table(given)
