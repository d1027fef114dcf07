#include <pybind11/stl.h>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "word2vec/engine.h"

namespace dlkit {
namespace {

using word2vec::Trainer;

using Tokens = py::array_t<std::int32_t, py::array::c_style>;
using Rows = py::array_t<float, py::array::c_style>;

float* rows_of(const py::object& object, const char* argument, std::size_t rows, Index dim) {
  if (object.is_none()) return nullptr;
  if (!py::isinstance<Rows>(object))
    throw py::type_error(std::string("word2vec: ") + argument + " is no contiguous array of float32");
  const auto array = py::reinterpret_borrow<Rows>(object);
  const auto address = reinterpret_cast<std::uintptr_t>(array.data());
  if (array.ndim() != 2 || static_cast<std::size_t>(array.shape(0)) != rows || array.shape(1) != dim ||
      !array.writeable() || (rows > 0 && address % 64 != 0))
    fail("word2vec", std::string(argument) + " is " + shape_text(array.shape(), static_cast<int>(array.ndim())) +
                         "; expected (" + std::to_string(rows) + ", " + std::to_string(dim) +
                         "), writeable and aligned to 64 bytes");
  return const_cast<float*>(array.data());
}

struct Engine {
  word2vec::Settings settings;
  std::vector<std::uint64_t> counts;
  Trainer trainer;
  word2vec::Progress progress;

  Engine(const word2vec::Settings& given, std::vector<std::uint64_t> of_words, double sample, double exponent)
      : settings(given), counts(std::move(of_words)), trainer(given, counts, sample, exponent) {}
};

}  // namespace

void bind_word2vec_engine(py::module_& module) {
  py::class_<Engine>(module, "Word2VecEngine")
      .def(py::init([](std::vector<std::uint64_t> counts, bool skip_gram, bool mean, bool divide, int negatives,
                       bool hierarchical, int window, bool shrink, Index dim, std::uint64_t seed, double sample,
                       double exponent, const py::object& variant, bool prefetch, bool reuse_window,
                       Index shared_negatives, Index hot_rows) {
             constexpr const char* kOperation = "word2vec";
             const PairVariant* const chosen = variant_named(variant.ptr(), pair_variants(), kOperation);
             if (counts.empty()) fail(kOperation, "there are no words; expected one or more");
             for (std::size_t i = 0; i < counts.size(); ++i)
               if (counts[i] == 0 || (i > 0 && counts[i] > counts[i - 1]))
                 fail(kOperation, "counts do not fall, or are 0");
             if (counts.size() > 0x7FFFFFFF) fail(kOperation, "there are more than 2^31 - 1 words");
             if (hot_rows < 0 || shared_negatives < 1 || negatives < 0 || window < 1 || window > 10000 ||
                 negatives > 10000 || dim < 1 || dim % kMostLanes != 0)
               fail(kOperation, "a setting is out of its bounds");
             check_setting(kOperation, "sample", sample, finite_and_not_negative(sample), "0 or more");
             check_setting(kOperation, "ns_exponent", exponent, std::isfinite(exponent), "a finite number");
             const word2vec::Settings settings = {skip_gram,
                                                  mean,
                                                  divide,
                                                  negatives,
                                                  hierarchical,
                                                  window,
                                                  shrink,
                                                  dim,
                                                  seed,
                                                  chosen != nullptr ? chosen : &pair_variants().back(),
                                                  prefetch,
                                                  reuse_window,
                                                  shared_negatives,
                                                  hot_rows};
             const py::gil_scoped_release release;
             return std::make_unique<Engine>(settings, std::move(counts), sample, exponent);
           }),
           py::arg("counts"), py::arg("skip_gram"), py::arg("mean"), py::arg("divide"), py::arg("negatives"),
           py::arg("hierarchical"), py::arg("window"), py::arg("shrink"), py::arg("dim"), py::arg("seed"),
           py::arg("sample"), py::arg("exponent"), py::arg("variant"), py::arg("prefetch") = true,
           py::arg("reuse_window") = false, py::arg("shared_negatives") = 1, py::arg("hot_rows") = 0)
      .def(
          "train",
          [](Engine& self, const Tokens& tokens, const py::object& w_in, const py::object& w_out,
             const py::object& w_nodes, int epoch, double first_rate, double last_rate, std::uint64_t words,
             std::uint64_t before, std::uint64_t total, int workers, Index first) {
            const std::size_t rows = self.counts.size();
            if (tokens.ndim() != 1) fail("word2vec", "tokens is no vector");
            if (workers < 1) fail("word2vec", "workers is " + std::to_string(workers) + "; expected 1 or more");
            float* const in = rows_of(w_in, "w_in", rows, self.settings.dim);
            float* const out = rows_of(w_out, "w_out", rows, self.settings.dim);
            float* const nodes = rows_of(w_nodes, "w_nodes", rows - 1, self.settings.dim);
            if (in == nullptr || (self.settings.negatives > 0 && out == nullptr) ||
                (self.settings.hierarchical && rows > 1 && nodes == nullptr))
              fail("word2vec", "a matrix is missing");
            if (first < 0 || first > Trainer::pieces(tokens.size()))
              fail("word2vec", "first is " + std::to_string(first) + "; expected 0 to " +
                                   std::to_string(Trainer::pieces(tokens.size())) + ", the pieces of the text");
            const word2vec::Piece text = {tokens.data(), tokens.size(), words,  epoch,
                                          first_rate,    last_rate,     before, total};
            const py::gil_scoped_release release;
            return self.trainer.train(text, first, in, out, nodes, workers, self.progress);
          },
          py::arg("tokens"), py::arg("w_in"), py::arg("w_out"), py::arg("w_nodes"), py::arg("epoch"),
          py::arg("first_rate"), py::arg("last_rate"), py::arg("words"), py::arg("before"), py::arg("total"),
          py::arg("workers"), py::arg("first") = 0)
      .def_static(
          "count_words",
          [](const Tokens& tokens, Index words) {
            if (tokens.ndim() != 1) fail("word2vec", "tokens is no vector");
            const py::gil_scoped_release release;
            return word2vec::count_words(tokens.data(), tokens.size(), words);
          },
          py::arg("tokens"), py::arg("words"))
      .def_static("pieces", &Trainer::pieces, py::arg("tokens"))
      .def("draw",
           [](const Engine& self, const std::vector<std::uint64_t>& bits) {
             if (self.settings.negatives == 0) fail("word2vec", "negatives is 0; there is nothing to draw from");
             std::vector<std::int32_t> drawn;
             for (const std::uint64_t each : bits) drawn.push_back(self.trainer.noise().draw(each));
             return drawn;
           })
      .def("path",
           [](const Engine& self, std::size_t word) {
             const word2vec::HuffmanTree& tree = self.trainer.tree();
             if (word + 1 >= tree.begins.size())
               throw py::index_error("word2vec: there is no path to word " + std::to_string(word));
             const auto begin = tree.begins[word], end = tree.begins[word + 1];
             py::list nodes, codes;
             for (auto i = begin; i < end; ++i) {
               const std::uint32_t turn = tree.turns[static_cast<std::size_t>(i)];
               nodes.append(word2vec::HuffmanTree::node(turn));
               codes.append(word2vec::HuffmanTree::code(turn));
             }
             return py::make_tuple(nodes, codes);
           })
      .def("stop", [](Engine& self) { self.progress.stop = true; })
      .def("go_on", [](Engine& self) { self.progress.stop = false; })
      .def("set_progress",
           [](Engine& self, std::uint64_t words, std::uint64_t kept, double loss, std::uint64_t pairs) {
             self.progress.words = words;
             self.progress.kept = kept;
             self.progress.loss = loss;
             self.progress.pairs = pairs;
           })
      .def("progress", [](const Engine& self) {
        return py::make_tuple(self.progress.words.load(), self.progress.kept.load(), self.progress.loss.load(),
                              self.progress.pairs.load());
      });
}

}  // namespace dlkit
