// Float16 and bfloat16 on Hopper's tensor cores, sums in float32. See hopper_tile.h.
#include "matmul/hopper_launch.h"

namespace dlkit::device {
namespace {

template <class T, class Out>
void choose_layout(const DeviceMatmul& p) {
  const bool a_columns = !hopper::Side::of_a(p).lies_along_k(), b_rows = !hopper::Side::of_b(p).lies_along_k();
  constexpr const char* name = "hopper_16bit";
  if (a_columns)
    return b_rows ? hopper::choose_width<T, Out, true, true>(name, p)
                  : hopper::choose_width<T, Out, true, false>(name, p);
  return b_rows ? hopper::choose_width<T, Out, false, true>(name, p)
                : hopper::choose_width<T, Out, false, false>(name, p);
}

template <class T>
void choose_output(const DeviceMatmul& p) {
  return p.out_type == p.type ? choose_layout<T, T>(p) : choose_layout<T, real<float>>(p);
}

}  // namespace

bool takes_hopper_16bit(const DeviceMatmul& p) {
  return is_16bit(p.type) && (p.out_type == p.type || p.out_type == DeviceType::float32) &&
         hopper::takes<hopper::kernel<half, half, 128, false, false>>(p, true);
}

void hopper_16bit(const DeviceMatmul& p) {
  return p.type == DeviceType::float16 ? choose_output<half>(p) : choose_output<bfloat16>(p);
}

}  // namespace dlkit::device
