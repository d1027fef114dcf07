// What Hopper (sm_90a) adds: barriers in shared memory that count bytes (mbarrier), tile copies by the copy engine
// (TMA), products of 64 x N by the four warps of a warpgroup (wgmma), and registers that move between warpgroups
// (setmaxnreg).
//
// A tile in shared memory has rows of 128 bytes, in groups of 8 (an atom, 1024 bytes, aligned to 1024). Within an atom
// the copy engine and wgmma both exchange the 16-byte chunks of a row by the row's number: chunk c of row r lies where
// chunk c ^ (r % 8) would, so that neither rows nor columns of chunks meet in one bank (the "128-byte swizzle").
//
// Accumulators of thread t of a warpgroup, with w = t / 32, g = t % 32 / 4 and q = t % 4 (PTX ISA, "Register Fragments
// for wgmma"): d[4 j + 0, 1] = D[16 w + g][8 j + 2 q + 0, 1]      d[4 j + 2, 3] = D[16 w + g + 8][8 j + 2 q + 0, 1]
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <type_traits>

#include "core/cuda/launch.h"
#include "core/cuda/memory.h"
#include "core/cuda/number.h"

#if defined(DLKIT_SIMT)
#include "simt/hopper.h"
#else
#include <cuda.h>  // types alone: nothing of the driver's library is linked
#endif

namespace dlkit {

constexpr int kWarpgroup = 128;

// Float32 in memory, of which the tensor cores see 10 bits of mantissa.
struct tf32 {
  float value;
};

// Whether this pass of the compiler is for a processor that has all this. Kernels are empty where it is false.
#if !defined(DLKIT_SIMT) && defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool kHopper = false;
#else
constexpr bool kHopper = true;
#endif

// A matrix for the copy engine, or a stack of them: extent[0] elements lie side by side, rows (extent[1]) stride[0]
// bytes apart, matrices (extent[2]) stride[1] bytes apart. Copies move `box` elements and rows: box[0] elements are 128
// bytes. What a box has outside of the matrix is 0.
struct TensorLayout {
  const void* data;         // aligned to 16
  std::uint64_t extent[3];  // 1 to 2^32
  std::uint64_t stride[2];  // multiples of 16, below 2^40
  std::uint32_t box[2];     // at most 256 each
};

#if defined(DLKIT_SIMT)

// In the shared memory of the block, 8 bytes.
using Barrier = simt::Barrier;
using TensorMap = simt::TensorMap;

template <class T>
TensorMap make_tensor_map(const TensorLayout& layout) {
  return simt::make_tensor_map(layout.data, sizeof(T), std::is_same_v<T, tf32>, layout.extent, layout.stride,
                               layout.box);
}

inline bool device_is_hopper() { return true; }
template <auto kKernel>
bool has_hopper_code() {
  return true;
}
inline int hopper_multiprocessors() { return simt::multiprocessors(); }

inline unsigned shared_address(const void* p) { return simt::shared_address(p); }

inline void barrier_init(Barrier* barrier, unsigned arrivals) { simt::barrier_init(barrier, arrivals); }
inline void barrier_init_fence() {}
inline void barrier_arrive(Barrier* barrier) { simt::barrier_arrive(barrier, 0); }
inline void barrier_arrive_expect(Barrier* barrier, unsigned bytes) { simt::barrier_arrive(barrier, bytes); }
inline void barrier_wait(Barrier* barrier, unsigned parity) { simt::barrier_wait(barrier, parity); }

inline void tma_prefetch(const TensorMap&) {}
inline void tma_load(void* to, const TensorMap& from, Barrier* barrier, int element, int row, int matrix) {
  simt::copy_tile(to, from, barrier, element, row, matrix);
}

template <int N, class T, bool AColumns, bool BRows>
void wgmma(real<float> (&d)[N / 2], std::uint64_t a, std::uint64_t b, bool accumulate) {
  constexpr auto type = std::is_same_v<T, tf32>   ? simt::WgmmaType::tf32
                        : std::is_same_v<T, half> ? simt::WgmmaType::half
                                                  : simt::WgmmaType::bfloat16;
  simt::wgmma(d, N, type, a, AColumns, b, BRows, accumulate);
}
inline void loads_stay_behind() {}
inline void wgmma_fence() { simt::wgmma_fence(); }
inline void wgmma_commit() { simt::wgmma_commit(); }
template <int Pending, int Count>
void wgmma_wait(real<float> (&)[Count]) {
  simt::wgmma_wait(Pending);
}

template <int Registers>
void registers_more() {}
template <int Registers>
void registers_fewer() {}

#else

using Barrier = std::uint64_t;
using TensorMap = CUtensorMap;

// The driver's function that writes tensor maps, found when it is first needed: the module imports without a driver.
inline auto tensor_map_encoder() {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
          "cuTensorMapEncodeTiled");
    if (found != cudaDriverEntryPointSuccess || function == nullptr)
      throw DeviceError("cuTensorMapEncodeTiled: the driver does not have it; expected a driver of CUDA 12 or newer");
    return reinterpret_cast<Encode>(function);
  }();
  return encode;
}

// T is tf32, or any type of 16 bits, which are copied as they are.
template <class T>
TensorMap make_tensor_map(const TensorLayout& layout) {
  constexpr bool is_tf32 = std::is_same_v<T, tf32>;
  static_assert(is_tf32 || sizeof(T) == 2);
  // Boxes of three dimensions; the copy engine rounds to tf32 on the way.
  const cuuint32_t box[3] = {layout.box[0], layout.box[1], 1}, steps[3] = {1, 1, 1};
  const cuuint64_t extent[3] = {layout.extent[0], layout.extent[1], layout.extent[2]};
  const cuuint64_t stride[2] = {layout.stride[0], layout.stride[1]};
  TensorMap map;
  const CUresult status = tensor_map_encoder()(
      &map, is_tf32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : CU_TENSOR_MAP_DATA_TYPE_UINT16, 3,
      const_cast<void*>(layout.data), extent, stride, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw DeviceError("cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(status)) + " for extents (" +
                      std::to_string(extent[0]) + ", " + std::to_string(extent[1]) + ", " + std::to_string(extent[2]) +
                      "), strides (" + std::to_string(stride[0]) + ", " + std::to_string(stride[1]) + ") bytes, box (" +
                      std::to_string(box[0]) + ", " + std::to_string(box[1]) + ")");
  return map;
}

// Of the current device; asked once per device.
inline int device_attribute(cudaDeviceAttr attribute, std::atomic<int> (&known)[64]) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  if (device < 64 && (value = known[device].load(std::memory_order_relaxed)) != 0) return value;
  check(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
  if (device < 64) known[device].store(value, std::memory_order_relaxed);
  return value;
}
inline int hopper_multiprocessors() {
  static std::atomic<int> known[64];
  return device_attribute(cudaDevAttrMultiProcessorCount, known);
}
// Compute capability 9 alone: sm_90a runs on nothing newer.
inline bool device_is_hopper() {
  static std::atomic<int> known[64];
  return device_attribute(cudaDevAttrComputeCapabilityMajor, known) == 9;
}

// Whether a kernel was compiled for sm_90a. In a build that leaves that out, a Hopper GPU runs code in which the kernel
// is empty, which has next to no registers.
template <auto kKernel>
bool has_hopper_code() {
  static const bool has = [] {
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kKernel)), "cudaFuncGetAttributes");
    return attributes.numRegs >= 64;
  }();
  return has;
}

__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// A phase of a barrier ends when `arrivals` threads have arrived and all bytes they expect have come; phases are told
// apart by their parity, the first one's is 0. barrier_wait(b, p) returns once the phase of parity p has ended, so on a
// new barrier barrier_wait(b, 1) returns at once.
__device__ __forceinline__ void barrier_init(Barrier* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// After barrier_init, before the barrier of the block that shows the others: the copy engine has to see it too.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
__device__ __forceinline__ void barrier_arrive_expect(Barrier* barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void barrier_wait(Barrier* barrier, unsigned parity) {
  const unsigned address = shared_address(barrier);
  unsigned done;
  do {
    asm volatile(
        "{\n\t.reg .pred p;\n\t"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
        "selp.u32 %0, 1, 0, p;\n\t}"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
  } while (done == 0);
}

__device__ __forceinline__ void tma_prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
// One box from (element, row, matrix) on into shared memory, swizzled; its bytes, those outside of the matrix too,
// count for the barrier. `map` is a parameter of the kernel (__grid_constant__). One thread calls it.
__device__ __forceinline__ void tma_load(void* to, const TensorMap& map, Barrier* barrier, int element, int row,
                                         int matrix) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(barrier)), "r"(element), "r"(row), "r"(matrix)
      : "memory");
}

// Operands and registers of wgmma, for N = 64, 128 and 256: 32, 64 and 128 accumulators.
#define DLKIT_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define DLKIT_D16(i) DLKIT_D4(i), DLKIT_D4(i + 4), DLKIT_D4(i + 8), DLKIT_D4(i + 12)
#define DLKIT_D32(i) DLKIT_D16(i), DLKIT_D16(i + 16)
#define DLKIT_D64(i) DLKIT_D32(i), DLKIT_D32(i + 32)
#define DLKIT_D128(i) DLKIT_D64(i), DLKIT_D64(i + 64)
#define DLKIT_NAMES_32                                                                                             \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29," \
  "%30,%31"
#define DLKIT_NAMES_64                                                                                \
  DLKIT_NAMES_32                                                                                      \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55," \
  "%56,%57,%58,%59,%60,%61,%62,%63"
#define DLKIT_NAMES_128                                                                              \
  DLKIT_NAMES_64                                                                                     \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87" \
  ",%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108"    \
  ",%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
// A, B, predicate, and what kind of operands they are: the numbers of the operands after the accumulators.
#define DLKIT_WGMMA(N, SHAPE, TYPES, COUNT, A, B, P, MAJORS, ...)                           \
  asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %" P                                   \
               ", 0;\n\t"                                                                   \
               "wgmma.mma_async.sync.aligned." SHAPE ".f32." TYPES " {" DLKIT_NAMES_##COUNT \
               "}, %" A ", %" B ", p, 1, 1" MAJORS ";\n\t}"                                 \
               : DLKIT_D##COUNT(0)                                                          \
               : "l"(a), "l"(b), "r"(static_cast<int>(accumulate))__VA_ARGS__)
#define DLKIT_WGMMA_16BIT(TYPES)                                                                            \
  if constexpr (N == 64)                                                                                    \
    DLKIT_WGMMA(64, "m64n64k16", TYPES, 32, "32", "33", "34", ", %35, %36", , "n"(AColumns), "n"(BRows));   \
  else if constexpr (N == 128)                                                                              \
    DLKIT_WGMMA(128, "m64n128k16", TYPES, 64, "64", "65", "66", ", %67, %68", , "n"(AColumns), "n"(BRows)); \
  else                                                                                                      \
    DLKIT_WGMMA(256, "m64n256k16", TYPES, 128, "128", "129", "130", ", %131, %132", , "n"(AColumns), "n"(BRows))

// d = A B, or d += A B with `accumulate`: A is 64 x K, B is K x N, K is 32 bytes of T (tf32, half or bfloat16). Both
// lie in shared memory and are named by descriptors. A's rows (B's columns) are rows of 128 bytes there, unless
// AColumns (BRows): then A's columns (B's rows) are, which T must have 16 bits for. All 128 threads of a warpgroup call
// it, between wgmma_fence and wgmma_commit; d may be read after wgmma_wait.
template <int N, class T, bool AColumns, bool BRows>
__device__ __forceinline__ void wgmma(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, bool accumulate) {
  static_assert(N == 64 || N == 128 || N == 256);
  if constexpr (std::is_same_v<T, tf32>) {
    static_assert(!AColumns && !BRows, "wgmma reads tf32 along K only");
    if constexpr (N == 64)
      DLKIT_WGMMA(64, "m64n64k8", "tf32.tf32", 32, "32", "33", "34", "");
    else if constexpr (N == 128)
      DLKIT_WGMMA(128, "m64n128k8", "tf32.tf32", 64, "64", "65", "66", "");
    else
      DLKIT_WGMMA(256, "m64n256k8", "tf32.tf32", 128, "128", "129", "130", "");
  } else if constexpr (std::is_same_v<T, half>) {
    DLKIT_WGMMA_16BIT("f16.f16");
  } else {
    static_assert(std::is_same_v<T, bfloat16>);
    DLKIT_WGMMA_16BIT("bf16.bf16");
  }
}

#undef DLKIT_WGMMA_16BIT
#undef DLKIT_WGMMA
#undef DLKIT_NAMES_128
#undef DLKIT_NAMES_64
#undef DLKIT_NAMES_32
#undef DLKIT_D128
#undef DLKIT_D64
#undef DLKIT_D32
#undef DLKIT_D16
#undef DLKIT_D4

// The compiler moves no load from behind this to before it.
__device__ __forceinline__ void loads_stay_behind() { asm volatile("" ::: "memory"); }

// Before the first wgmma, and after other instructions have written its accumulators.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Ends a group of the wgmmas since the last.
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Returns when all but the newest `Pending` groups have ended. `d`: their accumulators, which the compiler must not
// read earlier.
template <int Pending, int Count>
__device__ __forceinline__ void wgmma_wait(float (&d)[Count]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
  if constexpr (Pending == 0) {
#pragma unroll
    for (int i = 0; i < Count; ++i) asm volatile("" : "+f"(d[i])::"memory");
  }
}

// The registers of each thread of this warpgroup from here on: 24 to 256, a multiple of 8. The sum over the block's
// threads must not exceed what it started with; all warps of the warpgroup call it.
template <int Registers>
__device__ __forceinline__ void registers_more() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
__device__ __forceinline__ void registers_fewer() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

#endif

// How wgmma finds an operand of swizzled 128-byte rows in shared memory. With rows along K (the usual case), atoms of 8
// rows of the operand lie `stride` bytes apart and `leading` means nothing. Else an atom is 8 steps of K by 128 bytes
// of the operand's rows: `stride` bytes to the next 8 steps, `leading` to the next 128 bytes of rows. Bits: address
// 0-13, leading 16-29, stride 32-45, all in units of 16 bytes; 62-63: 1 for the 128-byte swizzle.
__host__ __device__ __forceinline__ std::uint64_t wgmma_descriptor(unsigned address, unsigned leading,
                                                                   unsigned stride) {
  const auto field = [](unsigned bytes) { return static_cast<std::uint64_t>((bytes & 0x3FFFF) >> 4); };
  return field(address) | field(leading) << 16 | field(stride) << 32 | std::uint64_t{1} << 62;
}
// The same operand `bytes` further on.
__host__ __device__ __forceinline__ std::uint64_t wgmma_advance(std::uint64_t descriptor, unsigned bytes) {
  return descriptor + (bytes >> 4);
}

}  // namespace dlkit
