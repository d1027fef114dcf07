// Functions that Python calls without building a tuple or a dictionary of arguments: for kernels that take about as
// long as a call. The Python wrappers in dlkit.kernels pass every argument by position.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <exception>
#include <new>
#include <stdexcept>
#include <thread>

namespace dlkit {

// Runs body and hands its result to Python, an exception as the Python exception that pybind11 would make of it.
template <class Body>
PyObject* guarded(const Body& body) {
  try {
    return body();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const pybind11::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// Lets other Python threads run while it lives. Lighter than pybind11's, which also tracks threads that Python does
// not know; kernels touch no Python object meanwhile.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ~ReleaseGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      // The interpreter is ending, and CPython before 3.14 ends this thread by pthread_exit, which unwinds the stack as
      // an exception does: through destructors that need the interpreter. Wait for the process to end instead.
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace dlkit
