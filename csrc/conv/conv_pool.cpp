// Blocks of images as problems of their own: any variant of the convolution writes a block into scratch of about a
// third of a second-level cache, and pooling reads it from there. A larger image is a block; of one of more than 8 MB,
// some of its filters are, for which the variant prepares x each time anew.
//
// What is saved is the way of the convolution's output to memory and back, 8 bytes for each element, and the memory. It
// takes no operations; ReLU comes after the pooling, as it is the same there and has a quarter of the elements.
#include "conv/conv_pool.h"

#include <algorithm>

#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/split.h"

namespace dlkit {
namespace {

constexpr Index kBlockBytes = Index{384} << 10, kMostBytes = Index{8} << 20;

// Images of a block; or where that is 1, filters of one, whole groups of them.
struct Block {
  Index images, filters;

  Block(const ConvShape& s, Index item) {
    const Index plane = std::max<Index>(s.out_size() * item, 1), image = plane * std::max<Index>(s.filters, 1);
    images = std::clamp<Index>(kBlockBytes / image, 1, std::max<Index>(s.n, 1));
    filters = s.filters;
    if (image <= kMostBytes || s.filters == 0) return;
    const Index group = s.group_filters();
    const Index unit = s.groups > 1 ? group : 1, units = s.filters / unit;
    const EvenSplit parts(units, std::clamp<Index>(kMostBytes / (plane * unit), 1, units));
    filters = (parts.small + (parts.larger > 0 ? 1 : 0)) * unit;
  }
};

}  // namespace

template <class T>
void convolve_and_pool(const ConvMaxPool<T>& p, const ConvVariant<ConvForward<T>>* variant, int threads) {
  const ConvShape& s = p.conv;
  if (s.n == 0 || s.filters == 0) return;
  if (variant == nullptr) variant = &choose_conv<ConvForward<T>>(s);
  Block block(s, sizeof(T));
  if (block.images > 1) block.images = std::min(block.images, divide_up(s.n, threads));
  const Index image_parts = divide_up(s.n, block.images), filter_parts = divide_up(s.filters, block.filters);
  const Index parts = image_parts * filter_parts;

  const auto run = [&](Index part, int inner_threads) {
    const Index image = part / filter_parts * block.images, filter = part % filter_parts * block.filters;
    const Index images = std::min(block.images, s.n - image), filters = std::min(block.filters, s.filters - filter);
    ConvShape conv = s;
    conv.n = images;
    conv.filters = filters;
    Index channel = 0;
    if (s.groups > 1) {  // whole groups
      const Index group = filter / s.group_filters();
      conv.groups = filters / s.group_filters();
      conv.channels = conv.groups * s.group_channels();
      channel = group * s.group_channels();
    }
    T* const out = scratch<T>(Slot::passed_on, static_cast<std::size_t>(images * filters * s.out_size()));
    const ConvForward<T> forward = {conv,
                                    p.x + (image * s.channels + channel) * s.in_size(),
                                    p.weight + filter * s.depth(),
                                    p.bias != nullptr ? p.bias + filter : nullptr,
                                    out,
                                    false};
    convolve(forward, variant, inner_threads);
    PoolShape shape = p.pool;
    shape.planes = images * filters;
    const Index first = (image * s.filters + filter) * p.pool.out_size();
    const MaxPool<T> pooled = {shape,   out,   p.y + first, p.places != nullptr ? p.places + first : nullptr,
                               nullptr, p.relu};
    pool<MaxPool<T>>(pooled, nullptr, inner_threads);
  };
  if (parts < threads) {
    for (Index part = 0; part < parts; ++part) run(part, threads);
    return;
  }
  const int tasks = static_cast<int>(std::min<Index>(parts, 1 << 16));
  parallel_for(
      tasks,
      [&](int task) {
        for (Index part = parts * task / tasks; part < parts * (task + 1) / tasks; ++part) run(part, 1);
      },
      threads);
}

#define DLKIT_INSTANTIATE(T) \
  template void convolve_and_pool(const ConvMaxPool<T>&, const ConvVariant<ConvForward<T>>*, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
