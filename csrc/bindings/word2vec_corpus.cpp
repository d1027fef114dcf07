#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "word2vec/corpus.h"
#include "word2vec/phrases.h"

namespace py = pybind11;

namespace dlkit {
namespace {

using word2vec::Broken;
using word2vec::Counting;
using word2vec::Encoding;
using word2vec::Text;
using word2vec::Vocabulary;

constexpr std::uint64_t kMostPiece = std::uint64_t{1} << 28;
constexpr int kMostWorkers = 256;

Text text_of(int file, std::uint64_t size, std::uint64_t piece, bool own, int workers) {
  if (piece < 1 || piece > kMostPiece)
    throw py::value_error("piece is " + std::to_string(piece) + "; expected 1 to " + std::to_string(kMostPiece));
  if (workers < 1 || workers > kMostWorkers)
    throw py::value_error("workers is " + std::to_string(workers) + "; expected 1 to " + std::to_string(kMostWorkers));
  if (size >> 62 != 0) throw py::value_error("size is " + std::to_string(size) + "; expected less than 2^62");
  return {file, size, piece, own};
}

Broken broken_named(const std::string& errors) {
  if (errors == "strict") return Broken::strict;
  if (errors == "replace") return Broken::replace;
  if (errors == "ignore") return Broken::ignore;
  throw py::value_error("errors is '" + errors + "'; expected strict, replace or ignore");
}

py::list words_of(const Vocabulary& vocabulary) {
  py::list words(vocabulary.size());
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    const std::string_view word = vocabulary.word(i);
    PyObject* const text = PyUnicode_DecodeUTF8(word.data(), static_cast<Py_ssize_t>(word.size()), "strict");
    if (text == nullptr) throw py::error_already_set();
    PyList_SET_ITEM(words.ptr(), static_cast<Py_ssize_t>(i), text);
  }
  return words;
}

template <class T>
py::array_t<std::int64_t> as_array(const std::vector<T>& values) {
  py::array_t<std::int64_t> array(static_cast<py::ssize_t>(values.size()));
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

struct Counter {
  Counting counting;
  std::mutex mutex;

  Counter(const Text& text, Broken broken, std::uint64_t max_vocab_size, int workers)
      : counting(text, broken, max_vocab_size, workers) {}
};

struct Encoder {
  std::shared_ptr<const Vocabulary> vocabulary;
  Encoding encoding;
  std::mutex mutex;

  Encoder(std::shared_ptr<const Vocabulary> words, const Text& text, Broken broken, std::uint64_t max_sentence,
          bool breaks, int to, int workers)
      : vocabulary(std::move(words)), encoding(text, *vocabulary, broken, max_sentence, breaks, to, workers) {}
};

struct Pairs {
  word2vec::PairCounting counting;
  std::mutex mutex;

  Pairs(std::uint64_t max_pairs, std::int32_t words, const std::vector<std::int32_t>& connectors)
      : counting(max_pairs, words, connectors) {}
};

struct Joiner {
  std::shared_ptr<const Vocabulary> vocabulary;
  word2vec::Joining joining;
  std::mutex mutex;

  Joiner(std::shared_ptr<const Vocabulary> words, const std::vector<std::vector<std::int32_t>>& phrases,
         const std::vector<std::int32_t>& connectors, std::string delimiter, const Text& text, Broken broken, int to,
         int workers)
      : vocabulary(std::move(words)),
        joining(text, *vocabulary, phrases, connectors, std::move(delimiter), broken, to, workers) {}
};

template <class Owner, class Work>
bool step_of(Owner& owner, Work& work) {
  const ReleaseGil release;
  const std::lock_guard lock(owner.mutex);
  return work.step();
}

}  // namespace

void bind_word2vec_corpus(py::module_& module) {
  py::class_<Vocabulary, std::shared_ptr<Vocabulary>>(module, "WordCorpusVocabulary", "Words and their counts.")
      .def(py::init<const std::vector<std::string>&, const std::vector<std::uint64_t>&>(), py::arg("words"),
           py::arg("counts"))
      .def("__len__", &Vocabulary::size)
      .def("words", &words_of)
      .def("counts", [](const Vocabulary& self) { return as_array(self.counts()); })
      .def("previous", [](const Vocabulary& self) { return as_array(self.previous()); });

  py::class_<Counter>(module, "WordCorpusCounter", "A text whose words are counted.")
      .def(py::init([](int file, std::uint64_t size, std::uint64_t piece, bool own, const std::string& errors,
                       std::uint64_t max_vocab_size, int workers) {
             const Text text = text_of(file, size, piece, own, workers);
             return std::make_unique<Counter>(text, broken_named(errors), max_vocab_size, workers);
           }),
           py::arg("file"), py::arg("size"), py::arg("piece"), py::arg("own"), py::arg("errors"),
           py::arg("max_vocab_size"), py::arg("workers"))
      .def("step", [](Counter& self) { return step_of(self, self.counting); })
      .def_property_readonly("bytes_done", [](const Counter& self) { return self.counting.bytes_done(); })
      .def_property_readonly("words", [](const Counter& self) { return self.counting.words(); })
      .def_property_readonly("distinct", [](const Counter& self) { return self.counting.distinct(); })
      .def_property_readonly("largest", [](const Counter& self) { return self.counting.largest(); })
      .def(
          "vocabulary",
          [](Counter& self, std::uint64_t min_count, std::uint64_t max_final_vocab, const Vocabulary* old) {
            const ReleaseGil release;
            const std::lock_guard lock(self.mutex);
            return std::make_shared<Vocabulary>(self.counting.vocabulary(min_count, max_final_vocab, old));
          },
          py::arg("min_count"), py::arg("max_final_vocab"), py::arg("old"));

  py::class_<Encoder>(module, "WordCorpusEncoder", "A text that becomes numbers of words.")
      .def(py::init([](std::shared_ptr<Vocabulary> vocabulary, int file, std::uint64_t size, std::uint64_t piece,
                       bool own, const std::string& errors, std::uint64_t max_sentence, bool breaks, int to,
                       int workers) {
             if (vocabulary == nullptr) throw py::type_error("there is no vocabulary");
             if (max_sentence < 1) throw py::value_error("max_sentence is 0; expected 1 or more");
             const Text text = text_of(file, size, piece, own, workers);
             return std::make_unique<Encoder>(std::move(vocabulary), text, broken_named(errors), max_sentence, breaks,
                                              to, workers);
           }),
           py::arg("vocabulary"), py::arg("file"), py::arg("size"), py::arg("piece"), py::arg("own"), py::arg("errors"),
           py::arg("max_sentence"), py::arg("breaks"), py::arg("to"), py::arg("workers"))
      .def("step", [](Encoder& self) { return step_of(self, self.encoding); })
      .def_property_readonly("bytes_done", [](const Encoder& self) { return self.encoding.bytes_done(); })
      .def_property_readonly("words", [](const Encoder& self) { return self.encoding.words(); })
      .def_property_readonly("kept", [](const Encoder& self) { return self.encoding.kept(); })
      .def_property_readonly("sentences", [](const Encoder& self) { return self.encoding.sentences(); });

  py::class_<Pairs>(module, "WordPairCounter", "Words beside each other, counted.")
      .def(py::init([](std::uint64_t max_pairs, std::int32_t words, const std::vector<std::int32_t>& connectors) {
             if (words < 0) throw py::value_error("words is below 0");
             return std::make_unique<Pairs>(max_pairs, words, connectors);
           }),
           py::arg("max_pairs"), py::arg("words"), py::arg("connectors"))
      .def("add",
           [](Pairs& self, const py::array_t<std::int32_t, py::array::c_style>& tokens) {
             const std::int32_t* const data = tokens.data();
             const auto count = static_cast<std::uint64_t>(tokens.size());
             const ReleaseGil release;
             const std::lock_guard lock(self.mutex);
             self.counting.add(data, count);
           })
      .def_property_readonly("distinct", [](const Pairs& self) { return self.counting.distinct(); })
      .def(
          "phrases",
          [](Pairs& self, const Vocabulary& vocabulary, std::uint64_t words, std::uint64_t different,
             std::uint64_t min_count, double threshold, bool npmi) {
            std::vector<word2vec::Phrase> found;
            {
              const ReleaseGil release;
              const std::lock_guard lock(self.mutex);
              found = self.counting.phrases(vocabulary.counts(), words, different, min_count, threshold, npmi);
            }
            py::list rows;
            for (const word2vec::Phrase& phrase : found) {
              py::tuple said(phrase.words.size());
              for (std::size_t i = 0; i < phrase.words.size(); ++i)
                said[i] = py::str(vocabulary.word(static_cast<std::size_t>(phrase.words[i])));
              rows.append(py::make_tuple(said, phrase.count, phrase.score));
            }
            return rows;
          },
          py::arg("vocabulary"), py::arg("words"), py::arg("different"), py::arg("min_count"), py::arg("threshold"),
          py::arg("npmi"));

  py::class_<Joiner>(module, "WordPairJoiner", "A text whose phrases are joined.")
      .def(py::init([](std::shared_ptr<Vocabulary> vocabulary, const std::vector<std::vector<std::int32_t>>& phrases,
                       const std::vector<std::int32_t>& connectors, const std::string& delimiter, int file,
                       std::uint64_t size, std::uint64_t piece, bool own, const std::string& errors, int to,
                       int workers) {
             if (vocabulary == nullptr) throw py::type_error("there is no vocabulary");
             const Text text = text_of(file, size, piece, own, workers);
             return std::make_unique<Joiner>(std::move(vocabulary), phrases, connectors, delimiter, text,
                                             broken_named(errors), to, workers);
           }),
           py::arg("vocabulary"), py::arg("phrases"), py::arg("connectors"), py::arg("delimiter"), py::arg("file"),
           py::arg("size"), py::arg("piece"), py::arg("own"), py::arg("errors"), py::arg("to"), py::arg("workers"))
      .def("step", [](Joiner& self) { return step_of(self, self.joining); })
      .def_property_readonly("bytes_done", [](const Joiner& self) { return self.joining.bytes_done(); })
      .def_property_readonly("joined", [](const Joiner& self) { return self.joining.joined(); });
}

}  // namespace dlkit
