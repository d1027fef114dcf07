// Float32 on Hopper's tensor cores: operands rounded to tf32 by the copy engine, sums in float32. See hopper_tile.h.
//
// wgmma reads tf32 along K only: A's rows and B's columns must be contiguous. Others take mma_tf32.cu.
#include "matmul/hopper_launch.h"

namespace dlkit::device {

bool takes_hopper_tf32(const DeviceMatmul& p) {
  return p.type == DeviceType::float32 && p.out_type == DeviceType::float32 && p.precision == Precision::tf32 &&
         hopper::takes<hopper::kernel<tf32, real<float>, 128, false, false>>(p, false);
}

void hopper_tf32(const DeviceMatmul& p) { hopper::choose_width<tf32, real<float>, false, false>("hopper_tf32", p); }

}  // namespace dlkit::device
