// The engine of word vectors on a device: the text is the host's, the matrices are the device's.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "bindings/device/arguments.h"
#include "bindings/device/bindings.h"
#include "word2vec/device.h"
#include "word2vec/device_engine.h"

namespace dlkit {
namespace py = pybind11;
namespace {

using Tokens = py::array_t<std::int32_t, py::array::c_style>;

struct DeviceWord2Vec {
  std::size_t rows;
  word2vec::Settings settings;
  std::unique_ptr<device::DeviceTrainer> trainer;
  word2vec::Progress progress;
};

std::unique_ptr<DeviceWord2Vec> make(const std::vector<std::uint64_t>& counts, bool skip_gram, bool mean, bool divide,
                                     int negatives, bool hierarchical, int window, bool shrink, int vector_size,
                                     std::uint64_t seed, double sample, double exponent, int number) {
  const Arguments a("word2vec");
  if (counts.empty()) a.fail("there are no words; expected one or more");
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] == 0 || (i > 0 && counts[i] > counts[i - 1])) a.fail("counts do not fall, or are 0");
  if (counts.size() > 0x7FFFFFFF) a.fail("there are more than 2^31 - 1 words");
  a.expect(vector_size >= 1 && vector_size <= device::kMostDim, "vector_size", std::to_string(vector_size),
           "1 to 1024 on a device");
  if (negatives < 0 || window < 1 || window > 10000 || negatives > 10000) a.fail("a setting is out of its bounds");
  a.expect(std::isfinite(sample) && sample >= 0, "sample", sample, "0 or more");
  a.expect(std::isfinite(exponent), "ns_exponent", exponent, "a finite number");
  auto engine = std::make_unique<DeviceWord2Vec>();
  engine->rows = counts.size();
  engine->settings = {skip_gram,    mean,   divide, negatives,
                      hierarchical, window, shrink, (vector_size + kMostLanes - 1) / kMostLanes * kMostLanes,
                      seed,         nullptr};
  const py::gil_scoped_release release;
  engine->trainer =
      std::make_unique<device::DeviceTrainer>(engine->settings, vector_size, counts, sample, exponent, number);
  return engine;
}

Index train(DeviceWord2Vec& self, const Tokens& tokens, Address w_in, Address w_out, Address w_nodes, int epoch,
            double first_rate, double last_rate, std::uint64_t words, std::uint64_t before, std::uint64_t total,
            int in_flight, Index first, int workers, Address stream) {
  Arguments a("word2vec");
  if (tokens.ndim() != 1) a.fail("tokens is no vector");
  a.expect(in_flight >= 1 && in_flight <= 1 << 20, "sentences in flight", std::to_string(in_flight), "1 to 2^20");
  a.expect(workers >= 1, "workers", std::to_string(workers), "1 or more");
  a.expect(first >= 0 && first <= device::DeviceTrainer::pieces(tokens.size()), "first", std::to_string(first),
           "a piece of the text");
  const auto rows = static_cast<Index>(self.rows);
  const Index size = a.count("matrices", rows, self.settings.dim);
  const device::Matrices matrices = {a.out<float>("w_in", w_in, size), a.out_or_null<float>("w_out", w_out, size),
                                     a.out_or_null<float>("w_nodes", w_nodes, size - self.settings.dim)};
  if ((self.settings.negatives > 0 && matrices.w_out == nullptr) ||
      (self.settings.hierarchical && rows > 1 && matrices.w_nodes == nullptr))
    a.fail("a matrix is missing");
  const word2vec::Piece text = {tokens.data(), tokens.size(), words, epoch, first_rate, last_rate, before, total};
  const py::gil_scoped_release release;
  return self.trainer->train(text, first, matrices, in_flight, workers, stream_of(stream), self.progress);
}

}  // namespace

void bind_device_word2vec_engine(py::module_& module) {
  using py::arg;
  py::class_<DeviceWord2Vec>(module, "Word2VecEngine")
      .def(py::init(&make), arg("counts"), arg("skip_gram"), arg("mean"), arg("divide"), arg("negatives"),
           arg("hierarchical"), arg("window"), arg("shrink"), arg("vector_size"), arg("seed"), arg("sample"),
           arg("exponent"), arg("device"))
      .def("train", &train, arg("tokens"), arg("w_in"), arg("w_out"), arg("w_nodes"), arg("epoch"), arg("first_rate"),
           arg("last_rate"), arg("words"), arg("before"), arg("total"), arg("in_flight"), arg("first"), arg("workers"),
           arg("stream"))
      .def("default_in_flight", [](const DeviceWord2Vec& self) { return self.trainer->default_in_flight(); })
      .def("pieces", [](const DeviceWord2Vec&, Index tokens) { return device::DeviceTrainer::pieces(tokens); })
      .def("stop", [](DeviceWord2Vec& self) { self.progress.stop = true; })
      .def("go_on", [](DeviceWord2Vec& self) { self.progress.stop = false; })
      .def("set_progress",
           [](DeviceWord2Vec& self, std::uint64_t words, std::uint64_t kept, double loss, std::uint64_t pairs) {
             self.progress.words = words;
             self.progress.kept = kept;
             self.progress.loss = loss;
             self.progress.pairs = pairs;
           })
      .def("progress", [](const DeviceWord2Vec& self) {
        return py::make_tuple(self.progress.words.load(), self.progress.kept.load(), self.progress.loss.load(),
                              self.progress.pairs.load());
      });
}

}  // namespace dlkit
