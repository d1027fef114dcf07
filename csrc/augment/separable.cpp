// The Gaussian down the columns, then along the rows; random words a vector of blocks at a time; the source in a frame
// of zeros, so that sampling has no branches.
//
// FLOPs per pixel: 8 (6 sigma + 1) for the two fields (sigma 4: 200), 20 for the place, 9 for each channel's value.
// Bytes: an image and its planes stay in the first- or second-level cache (28 x 28: 24 KB). Bound: multiply-adds at
// large sigma; else the integer multiplier (half a Philox block per pixel) and the four loads of each sample.
#include "augment/augment.h"
#include "core/philox_words.h"
#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// `noise` is rows of `stride` with zeros from the image's width on; `sums` a row with `radius` zeros on either side.
template <class T>
DLKIT_INLINE void smooth(const T* noise, Index height, Index stride, const T* weights, Index radius, T* sums, T* out) {
  using V = Vec<T>;
  for (Index row = 0; row < height; ++row) {
    const Index first = row > radius ? row - radius : 0;
    const Index last = row + radius < height ? row + radius : height - 1;
    for (Index at = 0; at < stride; at += V::lanes) {
      V sum = V::zero();
      const T* weight = weights + (first - row + radius);
      for (Index r = first; r <= last; ++r)
        sum = V::fma(V::broadcast(weight[r - first]), V::load(noise + r * stride + at), sum);
      sum.store(sums + radius + at);
    }
    for (Index at = 0; at < stride; at += V::lanes) {
      V sum = V::zero();
      for (Index k = 0; k <= 2 * radius; ++k) sum = V::fma(V::broadcast(weights[k]), V::load(sums + at + k), sum);
      sum.store(out + row * stride + at);
    }
  }
}

template <class T>
void image(const Distortion<T>& work, Index number, const T* weights, const T* x, T* y, T* scratch) {
  const Index height = work.height, width = work.width, pixels = work.pixels(), radius = work.radius();
  const Index stride = plane_stride(width);
  const bool elastic = work.alpha != 0;
  T* across = scratch;                 // the fields u
  T* down = across + height * stride;  // and v
  T* noise = down + height * stride;
  T* sums = noise + height * stride;
  T* place_x = sums + stride + 2 * radius + kPlaneLanes;
  T* place_y = place_x + stride;
  T* framed = place_y + stride;
  const Index framed_stride = width + 3;
  T* rest = framed + (height + 3) * framed_stride;

  if (elastic) {
    // Eight-byte words, whatever T is: aligned by hand.
    auto* words64 = reinterpret_cast<std::uint64_t*>((reinterpret_cast<std::uintptr_t>(rest) + 63) / 64 * 64);
    const std::uint64_t element =
        static_cast<std::uint64_t>(work.numbers[number]) * static_cast<std::uint64_t>(work.stride());
    philox_words(work.seed, element / 4, work.stride() / 4, words64);
    const char* words = reinterpret_cast<const char*>(words64);
    for (Index i = 0; i < stride + 2 * radius + kPlaneLanes; ++i) sums[i] = T(0);
    for (int field = 0; field < 2; ++field) {
      for (Index row = 0; row < height; ++row) {
        const char* from = words + (field * pixels + row * width) * 4;
        T* to = noise + row * stride;
        for (Index col = 0; col < width; ++col) {
          std::int32_t word;
          __builtin_memcpy(&word, from + col * 4, 4);
          to[col] = static_cast<T>(word) * T(0x1p-31);
        }
        for (Index col = width; col < stride; ++col) to[col] = T(0);
      }
      smooth(noise, height, stride, weights, radius, sums, field == 0 ? across : down);
    }
  }

  const T* m = work.matrices + number * 6;
  const T alpha = static_cast<T>(work.alpha);
  const T middle_x = static_cast<T>(width - 1) / 2, middle_y = static_cast<T>(height - 1) / 2;
  for (Index channel = 0; channel < work.channels; ++channel) {
    // One row and column of zeros before the image, two after it.
    for (Index row = 0; row < height + 3; ++row) {
      T* to = framed + row * framed_stride;
      const bool inside = row >= 1 && row <= height;
      const T* from = x + channel * pixels + (inside ? row - 1 : 0) * width;
      to[0] = to[width + 1] = to[width + 2] = T(0);
      for (Index col = 0; col < width; ++col) to[col + 1] = inside ? from[col] : T(0);
    }
    for (Index row = 0; row < height; ++row) {
      const T from_middle = static_cast<T>(row) - middle_y;
      const T start_x = m[1] * from_middle + m[2] + middle_x + 1, start_y = m[4] * from_middle + m[5] + middle_y + 1;
      const T *u = across + row * stride, *v = down + row * stride;
      for (Index col = 0; col < width; ++col) {
        const T c = static_cast<T>(static_cast<std::int32_t>(col)) - middle_x;
        T sx = m[0] * c + start_x, sy = m[3] * c + start_y;
        if (elastic) {
          sx += alpha * u[col];
          sy += alpha * v[col];
        }
        // In the frame, whose last two rows and columns are 0. Not a number: outside.
        sx = sx > T(0) ? sx : T(0);
        sy = sy > T(0) ? sy : T(0);
        place_x[col] = sx < static_cast<T>(width + 1) ? sx : static_cast<T>(width + 1);
        place_y[col] = sy < static_cast<T>(height + 1) ? sy : static_cast<T>(height + 1);
      }
      T* to = y + channel * pixels + row * width;
      for (Index col = 0; col < width; ++col) {
        const std::int32_t left = static_cast<std::int32_t>(place_x[col]);
        const std::int32_t top = static_cast<std::int32_t>(place_y[col]);
        const T fx = place_x[col] - static_cast<T>(left), fy = place_y[col] - static_cast<T>(top);
        const T* corner = framed + top * framed_stride + left;
        const T above = corner[0] + fx * (corner[1] - corner[0]);
        const T below = corner[framed_stride] + fx * (corner[framed_stride + 1] - corner[framed_stride]);
        to[col] = above + fy * (below - above);
      }
    }
  }
}

}  // namespace

extern const BothDistortKernels distort_table;
const BothDistortKernels distort_table = {{image<float>}, {image<double>}};

}  // namespace dlkit::DLKIT_TARGET
