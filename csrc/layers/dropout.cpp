// Dropout on vectors: random words for 1024 elements at a time into a buffer in the first-level cache, then one pass
// that compares, scales and stores.
//
// Integer work per element: a quarter of a Philox block, 10 rounds of 2 multiplications and 4 exclusive ors.
// Bytes: 2 elements. Bound: the integer multiplier. No mask is stored: backward makes the same words again, which
// costs less than a byte of mask per element written and read.
#include "core/philox_words.h"
#include "layers/kernels.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr Index kWords = 1024;

template <class T>
void dropout(const T* x, T* y, Index n, std::uint64_t seed, std::uint64_t offset, std::uint32_t threshold, T scale) {
  alignas(64) std::uint64_t buffer[(kWords + 4) / 2 + 2 * Lanes64::lanes];
  while (n > 0) {
    const Index skip = static_cast<Index>(offset % 4);
    const Index count = n < kWords ? n : kWords;
    philox_words(seed, offset / 4, (skip + count + 3) / 4, buffer);
    std::uint32_t words[kWords + 4];
    __builtin_memcpy(words, reinterpret_cast<const char*>(buffer) + skip * 4, static_cast<std::size_t>(count) * 4);
    for (Index i = 0; i < count; ++i) y[i] = words[i] >= threshold ? x[i] * scale : T(0);
    x += count;
    y += count;
    n -= count;
    offset += static_cast<std::uint64_t>(count);
  }
}

template <class T>
constexpr DropoutKernels<T> kKernels = {dropout<T>};

}  // namespace

extern const Both<DropoutKernels> dropout_table;
const Both<DropoutKernels> dropout_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
