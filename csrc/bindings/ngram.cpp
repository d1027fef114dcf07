#include "ngram/ngram.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/fastcall.h"

namespace py = pybind11;

namespace dlkit {
namespace {

using ngram::Counts;
using ngram::Text;
using ngram::Trie;
using ngram::Vocabulary;
using ngram::Word;

void check_order(int order, int most) {
  if (order < 1 || order > most)
    throw py::value_error("order is " + std::to_string(order) + "; expected 1 to " + std::to_string(most));
}

std::string_view bytes_of(const py::bytes& bytes) { return static_cast<std::string_view>(bytes); }

// Words as one string, an end of line after each.
py::bytes joined(const Vocabulary& vocabulary) {
  std::string text;
  for (Word word = 0; word < vocabulary.size(); ++word) {
    text += vocabulary.word(word);
    text += '\n';
  }
  return text;
}

// A text that is being read, to be counted.
struct Counter {
  explicit Counter(bool keep_empty) : text(vocabulary, keep_empty) {}

  void add(const py::bytes& piece) {
    const std::string_view view = bytes_of(piece);
    const ReleaseGil release;
    const std::lock_guard lock(mutex);
    check_unused();
    text.add(view.data(), view.size());
  }
  std::unique_ptr<Counts> count(int order, std::uint64_t min_count) {
    check_order(order, ngram::kMostOrder);
    const ReleaseGil release;
    const std::lock_guard lock(mutex);
    check_unused();
    used = true;
    text.finish();
    return std::make_unique<Counts>(ngram::count_ngrams(vocabulary, std::move(text), order, min_count));
  }
  void check_unused() const {
    if (used) throw std::invalid_argument("the text has been counted already");
  }

  Vocabulary vocabulary;
  Text text;
  bool used = false;
  std::mutex mutex;
};

// A trie and its words: never changed once it is made.
struct Table {
  std::shared_ptr<const Vocabulary> vocabulary;
  Trie trie;

  std::vector<std::uint64_t> sizes() const {
    std::vector<std::uint64_t> result;
    for (int n = 1; n <= trie.order(); ++n) result.push_back(trie.level(n).count);
    return result;
  }
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (int n = 1; n <= trie.order(); ++n) sum += trie.level(n).bytes.size();
    return sum;
  }
  py::tuple score(const py::bytes& bytes, bool keep_empty) const {
    const std::string_view view = bytes_of(bytes);
    Text text(*vocabulary, keep_empty);
    std::size_t scores = 0;
    {
      const ReleaseGil release;
      text.add(view.data(), view.size());
      text.finish();
      scores = text.stream.size() - text.sentences;
    }
    const auto size = static_cast<py::ssize_t>(scores);
    py::array_t<double> log10(size);
    py::array_t<std::uint8_t> matched(size), known(size);
    py::array_t<Word> words(size);
    double* const to = log10.mutable_data();
    std::uint8_t* const lengths = matched.mutable_data();
    std::uint8_t* const flags = known.mutable_data();
    Word* const numbers = words.mutable_data();
    {
      const ReleaseGil release;
      ngram::score_stream(trie, text.stream, to, lengths);
      std::size_t at = 0;
      for (std::size_t i = 0; i < text.stream.size(); ++i)
        if (text.stream[i] != ngram::kBegin) {
          numbers[at] = text.stream[i];
          flags[at++] = text.known[i];
        }
    }
    return py::make_tuple(log10, matched, words, known.view("bool"));
  }
  // After the words of one line, from the beginning of a sentence or from anywhere.
  py::array_t<double> after(const py::bytes& line, bool begin) const {
    const std::string_view view = bytes_of(line);
    py::array_t<double> result(static_cast<py::ssize_t>(trie.words()));
    double* const to = result.mutable_data();
    const ReleaseGil release;
    Text text(*vocabulary, false);
    text.add(view.data(), view.size());
    text.finish();
    if (text.sentences > 1) throw std::invalid_argument("the context has an end of line; expected words of one line");
    ngram::State state = begin ? trie.begin() : trie.empty();
    for (const Word word : text.stream)
      if (word != ngram::kBegin && word != ngram::kEnd) trie.next(state, word);
    ngram::distribution(trie, state, to);
    return result;
  }
  py::bytes arpa(int n, std::uint64_t first, std::uint64_t count) const {
    check_order(n, trie.order());
    std::string text;
    {
      const ReleaseGil release;
      text = ngram::arpa_lines(*vocabulary, trie, n, first, count);
    }
    return text;
  }
  py::memoryview level(int n) const {
    check_order(n, trie.order());
    const auto& bytes = trie.level(n).bytes;
    return py::memoryview::from_memory(bytes.data(), static_cast<py::ssize_t>(bytes.size()));
  }
};

std::unique_ptr<Table> table_from(int order, bool flat, const py::bytes& words,
                                  const std::vector<std::uint64_t>& counts, const std::vector<py::bytes>& levels) {
  check_order(order, ngram::kMostOrder);
  if (counts.size() != static_cast<std::size_t>(order) || levels.size() != counts.size())
    throw std::invalid_argument("order is " + std::to_string(order) + " but there are " +
                                std::to_string(counts.size()) + " counts and " + std::to_string(levels.size()) +
                                " levels");
  std::vector<std::string_view> parts(levels.size());
  std::transform(levels.begin(), levels.end(), parts.begin(), bytes_of);
  std::string_view left = bytes_of(words);
  const ReleaseGil release;
  auto vocabulary = std::make_shared<Vocabulary>();
  Word number = 0;
  while (!left.empty()) {
    const std::size_t length = left.find('\n');
    if (length == std::string_view::npos || length == 0)
      throw std::invalid_argument("a word of the vocabulary is empty or does not end");
    bool added = false;
    if (vocabulary->add(left.substr(0, length), added) != number || (number > ngram::kEnd) != added)
      throw std::invalid_argument("word " + std::to_string(number) + " of the vocabulary is out of its place");
    left.remove_prefix(length + 1);
    ++number;
  }
  if (number != vocabulary->size()) throw std::invalid_argument("the vocabulary lacks <unk>, <s> and </s>");
  auto table = std::make_unique<Table>(Table{vocabulary, Trie(order, vocabulary->size(), flat)});
  for (int n = order; n >= 1; --n)
    table->trie.set_bytes(n, counts[n - 1], reinterpret_cast<const std::uint8_t*>(parts[n - 1].data()),
                          parts[n - 1].size());
  table->trie.check();
  return table;
}

struct Arpa {
  void add(const py::bytes& piece) {
    const std::string_view view = bytes_of(piece);
    const ReleaseGil release;
    const std::lock_guard lock(mutex);
    reader.add(view.data(), view.size());
  }
  std::unique_ptr<Table> finish() {
    const ReleaseGil release;
    const std::lock_guard lock(mutex);
    if (used) throw std::invalid_argument("the file has been read already");
    reader.finish();
    used = true;
    Trie trie = reader.build();
    return std::make_unique<Table>(Table{std::make_shared<Vocabulary>(std::move(reader.vocabulary)), std::move(trie)});
  }

  ngram::ArpaReader reader;
  bool used = false;
  std::mutex mutex;
};

}  // namespace

void bind_ngram(py::module_& module) {
  py::class_<Counter>(module, "NGramCounter", "Text that is read to be counted.")
      .def(py::init<bool>(), py::arg("keep_empty"))
      .def("add", &Counter::add, py::arg("piece"))
      .def("count", &Counter::count, py::arg("order"), py::arg("min_count"));

  // The vocabulary is copied into each table: models outlive their counts.
  py::class_<Counts>(module, "NGramCounts", "How often each n-gram occurs.")
      .def_property_readonly("order", &Counts::order)
      .def_readonly("tokens", &Counts::tokens)
      .def_readonly("sentences", &Counts::sentences)
      .def_property_readonly("nbytes", &Counts::bytes)
      .def_property_readonly("sizes",
                             [](const Counts& self) {
                               std::vector<std::size_t> sizes;
                               for (const auto& shape : self.shapes) sizes.push_back(shape.size());
                               return sizes;
                             })
      .def("words", [](const Counts& self) { return joined(self.vocabulary); })
      .def("count",
           [](const Counts& self, const std::vector<std::string>& words) -> std::uint64_t {
             check_order(static_cast<int>(words.size()), self.order());
             std::vector<Word> numbers;
             for (const auto& word : words) {
               numbers.push_back(self.vocabulary.find(word));
               if (numbers.back() == ngram::kNoWord) return 0;
             }
             return self.of(numbers);
           })
      .def(
          "estimate",
          [](const Counts& self, int order, int smoothing, double k, int cutoff) {
            check_order(order, self.order());
            if (smoothing < 0 || smoothing > static_cast<int>(ngram::Smoothing::modified_kneser_ney))
              throw py::value_error("smoothing is " + std::to_string(smoothing) + "; expected 0 to 4");
            const ngram::Estimation how{static_cast<ngram::Smoothing>(smoothing), k, cutoff};
            ngram::Discounts discounts;
            std::unique_ptr<Table> table;
            {
              const ReleaseGil release;
              Trie trie = ngram::estimate(self, order, how, discounts);
              table = std::make_unique<Table>(Table{std::make_shared<Vocabulary>(self.vocabulary), std::move(trie)});
            }
            const std::vector<bool> fallback = discounts.fallback;
            return py::make_tuple(std::move(table), discounts.of_order, fallback);
          },
          py::arg("order"), py::arg("smoothing"), py::arg("k"), py::arg("cutoff"));

  py::class_<Table>(module, "NGramTable", "An n-gram model that can be asked.")
      .def(py::init(&table_from), py::arg("order"), py::arg("flat"), py::arg("words"), py::arg("counts"),
           py::arg("levels"))
      .def_property_readonly("order", [](const Table& self) { return self.trie.order(); })
      .def_property_readonly("flat", [](const Table& self) { return self.trie.flat(); })
      .def_property_readonly("sizes", &Table::sizes)
      .def_property_readonly("nbytes", &Table::bytes)
      .def("words", [](const Table& self) { return joined(*self.vocabulary); })
      .def("find",
           [](const Table& self, const std::string& word) -> std::int64_t {
             const Word found = self.vocabulary->find(word);
             return found == ngram::kNoWord ? -1 : static_cast<std::int64_t>(found);
           })
      .def("score", &Table::score, py::arg("text"), py::arg("keep_empty"))
      .def("after", &Table::after, py::arg("context"), py::arg("begin"))
      .def("arpa", &Table::arpa, py::arg("n"), py::arg("first"), py::arg("count"))
      .def("level", &Table::level, py::arg("n"), py::keep_alive<0, 1>());

  py::class_<Arpa>(module, "NGramArpa", "An ARPA file that is read.")
      .def(py::init<>())
      .def("add", &Arpa::add, py::arg("piece"))
      .def("finish", &Arpa::finish);
}

}  // namespace dlkit
