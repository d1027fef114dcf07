// The word2vec chapter on a GPU, or on the SIMT machine: word2vec.h's updates, whose pointers are the device's, and the
// kernel of the engine (device_engine.h).
//
// Words of a batch, and sentences in flight, work at one time on the same matrices, as the CPU engine's workers do
// (Hogwild), with one difference: with some thousand of them no step may be lost, since frequent words would lose most
// of theirs. So rows are changed by atomic additions alone, whose order is left to chance; what is read of a row may
// lack steps that others are about to add.
//
// Read naive_words.cu first, then matrix_words.cu with device_pairs.h, then sentences.cu.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/view.h"
#include "word2vec/word2vec.h"

namespace dlkit::device {

using Stream = void*;  // cudaStream_t

// Elements of a row: for the definition, and where each warp of a block has 128 of them.
constexpr Index kMostNaiveDim = 4096, kMostDim = 1024;

struct WordVariant {
  const char* name;
  const char* idea;
  const char* needs;
};

constexpr WordVariant kWordVariants[] = {
    {"naive", "a block for each word, pair by pair, in the original program's order", ""},
    {"matrix", "a block for each word; all its pairs at once, outputs in registers, inputs in shared memory",
     "at most 1024 columns, and contexts and outputs of a word that fit in the shared memory of a block"},
};

// The words of a batch at one time; what each does is word2vec.h's. *loss is added to.
template <class T>
void naive_words(Stream stream, const WordUpdate<T>& p, double* loss);
template <class T>
void matrix_words(Stream stream, const WordUpdate<T>& p, double* loss);
// Bytes of shared memory that matrix_words takes, and how many there are.
template <class T>
std::size_t matrix_words_shared(const WordUpdate<T>& p);
std::size_t shared_memory();

}  // namespace dlkit::device
