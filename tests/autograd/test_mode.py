from __future__ import annotations

import threading

import pytest

import dlkit as dl
from dlkit import enable_grad, is_grad_enabled, no_grad, set_grad_enabled


@pytest.fixture(autouse=True)
def _as_it_was():
    assert is_grad_enabled()
    yield
    assert is_grad_enabled()


def double():
    return dl.ones(2, requires_grad=True) * 2


def test_recording_is_on():
    assert double().requires_grad


class TestContextManagers:
    def test_no_grad(self):
        with no_grad():
            y = double()
            assert not is_grad_enabled()
        assert not y.requires_grad
        assert y.grad_fn is None

    def test_nested(self):
        with no_grad():
            with enable_grad():
                assert double().requires_grad
                with no_grad():
                    assert not double().requires_grad
                assert is_grad_enabled()
            assert not double().requires_grad

    @pytest.mark.parametrize("make", [no_grad, lambda: set_grad_enabled(False)])
    def test_after_an_exception(self, make):
        with pytest.raises(KeyError), make():
            raise KeyError
        assert is_grad_enabled()

    def test_one_object_used_again_and_within_itself(self):
        guard = no_grad()
        for _ in range(2):
            with guard:
                with guard:
                    assert not is_grad_enabled()
                assert not is_grad_enabled()
            assert is_grad_enabled()

    @pytest.mark.parametrize("enabled", [True, False])
    def test_set_grad_enabled(self, enabled):
        with set_grad_enabled(enabled):
            assert is_grad_enabled() is enabled
            assert double().requires_grad is enabled
            with set_grad_enabled(not enabled):
                assert is_grad_enabled() is not enabled
            assert is_grad_enabled() is enabled


def test_set_grad_enabled_as_a_function():
    set_grad_enabled(False)
    try:
        assert not double().requires_grad
    finally:
        set_grad_enabled(True)
    assert double().requires_grad


class TestDecorators:
    def test_all_ways_to_write_them(self):
        @no_grad()
        def called():
            """Its text."""
            return double()

        @no_grad
        def bare():
            return double()

        @set_grad_enabled(False)
        def off():
            return double()

        @set_grad_enabled(True)
        def on():
            return double()

        @enable_grad()
        def enabled():
            return double()

        assert is_grad_enabled()
        for function in (called, bare, off):
            assert not function().requires_grad
            assert is_grad_enabled()
        with no_grad():
            assert on().requires_grad
            assert enabled().requires_grad
            assert not is_grad_enabled()
        assert called.__name__ == "called"
        assert called.__doc__ == "Its text."

    def test_arguments_results_exceptions_and_recursion(self):
        @no_grad()
        def count(n, *, step=1):
            assert not is_grad_enabled()
            if n < 0:
                raise ValueError(n)
            return n if n == 0 else 1 + count(n - step, step=step)

        assert count(3) == 3
        with pytest.raises(ValueError, match="-1"):
            count(3, step=2)
        assert is_grad_enabled()

    def test_methods(self):
        class Model:
            @no_grad()
            def predict(self, x):
                return x * 2

        assert not Model().predict(dl.ones(1, requires_grad=True)).requires_grad

    @pytest.mark.parametrize("decorate", [no_grad(), no_grad, set_grad_enabled(True)(lambda f: no_grad()(f))])
    def test_generators_only_while_they_run(self, decorate):
        modes = []

        @decorate
        def steps():
            try:
                got = yield double().requires_grad
                modes.append((got, is_grad_enabled()))
                yield 2
            except KeyError:
                yield "caught" if not is_grad_enabled() else "caught late"
            finally:
                modes.append(is_grad_enabled())
            return "end"

        generator = steps()
        assert next(generator) is False
        assert is_grad_enabled()
        assert generator.send("hello") == 2
        assert modes == [("hello", False)]
        assert generator.throw(KeyError()) == "caught"
        with pytest.raises(StopIteration) as stop:
            next(generator)
        assert stop.value.value == "end"
        closed = steps()
        next(closed)
        closed.close()
        assert modes[1:] == [False, False]
        assert is_grad_enabled()

    def test_of_something_else(self):
        with pytest.raises(TypeError, match="no_grad: given a int; expected a function to decorate"):
            no_grad(3)


def test_each_thread_has_its_own():
    seen, inside, finish = [], threading.Event(), threading.Event()

    def work():
        seen.append(is_grad_enabled())
        with no_grad():
            inside.set()
            finish.wait(10)
            seen.append(is_grad_enabled())

    with no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        assert inside.wait(10)
    assert is_grad_enabled()
    assert double().requires_grad
    finish.set()
    thread.join()
    assert seen == [True, False]


def test_backward_works_under_no_grad():
    x = dl.ones(2, requires_grad=True)
    y = (x * x).sum()
    with no_grad():
        y.backward()
    assert x.grad.tolist() == [2.0, 2.0]
