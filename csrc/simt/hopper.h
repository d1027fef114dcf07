// Hopper's asynchronous units on the SIMT machine: barriers that count bytes, the copy engine, wgmma. For
// core/cuda/hopper.h.
//
// They are made to be late, or early, where a GPU may be: every other copy lands when it is asked for, though its stage
// may still be read, and the others when somebody waits for them; a product is computed when its thread waits for it.
// So a kernel that waits for too little, or gives a stage back too soon, computes something else than it should.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/device.h"

namespace dlkit::simt {

using Barrier = std::uint64_t;

struct TensorMap {
  const void* data;
  std::uint32_t element_bytes;
  bool round_to_tf32;
  std::uint64_t extent[3], stride[2];
  std::uint32_t box[2];
};
// Refuses what the driver refuses.
TensorMap make_tensor_map(const void* data, std::size_t element_bytes, bool round_to_tf32,
                          const std::uint64_t (&extent)[3], const std::uint64_t (&stride)[2],
                          const std::uint32_t (&box)[2]);

// Few, so that persistent kernels have more tiles than blocks.
constexpr int multiprocessors() { return 4; }

// Where a window onto the block's shared memory begins; on a GPU too the dynamic part is aligned to no more than 128.
constexpr unsigned kSharedWindow = 1024 + 128;
unsigned shared_address(const void* p);

void barrier_init(Barrier* barrier, unsigned arrivals);
void barrier_arrive(Barrier* barrier, unsigned expected_bytes);
void barrier_wait(Barrier* barrier, unsigned parity);

void copy_tile(void* to, const TensorMap& from, Barrier* barrier, int element, int row, int matrix);

enum class WgmmaType : std::uint8_t { tf32, half, bfloat16 };
void wgmma(Counted<float>* d, int n, WgmmaType type, std::uint64_t a, bool a_columns, std::uint64_t b, bool b_rows,
           bool accumulate);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int pending);

}  // namespace dlkit::simt
