# What csrc/bindings/device adds to the module dlkit._simt, and to dlkit._cuda alike: kernels on addresses.
#
# Addresses and streams are integers, 0 for none. dtype: 0 float32, 1 float64, 2 float16, 3 bfloat16. Strides are in
# elements. rung: 0 naive, 1 estimate, 2 fused, 3 automatic. Everything is launched on `stream`; nothing waits.
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pairs: TypeAlias = Sequence[tuple[int, int]]
Entries4: TypeAlias = Sequence[tuple[int, int, int, int]]
Entries5: TypeAlias = Sequence[tuple[int, int, int, int, int]]

class DeviceError(RuntimeError): ...

# Matmul
def matmul(
    stream: int,
    dtype: int,
    out_dtype: int,
    variant: str | None,
    precision: int,
    m: int,
    n: int,
    k: int,
    batch: int,
    a: int,
    a_row: int,
    a_col: int,
    a_batch: int,
    b: int,
    b_row: int,
    b_col: int,
    b_batch: int,
    c: int,
    c_row: int,
    c_batch: int,
    bias: int,
    activation: int,
    accumulate: bool,
    workspace: int,
    workspace_bytes: int,
) -> None: ...
def matmul_workspace(
    dtype: int,
    out_dtype: int,
    variant: str | None,
    precision: int,
    m: int,
    n: int,
    k: int,
    batch: int,
    a_row: int,
    a_col: int,
    b_row: int,
    b_col: int,
) -> int: ...
def matmul_variants() -> list[tuple[str, str, str]]: ...
def matmul_choice(
    dtype: int,
    out_dtype: int,
    precision: int,
    m: int,
    n: int,
    k: int,
    batch: int,
    a_row: int,
    a_col: int,
    b_row: int,
    b_col: int,
) -> str: ...

# Convolution. operation: 0 forward, 1 backward_input, 2 backward_weight; size: of x or of the kernel, for those.
def conv_variants() -> dict[str, list[tuple[str, str, str]]]: ...
def conv_plan(
    operation: int,
    dims: int,
    dtype: int,
    precision: int,
    variant: str | None,
    first_shape: Sequence[int],
    second_shape: Sequence[int],
    size: tuple[int, int],
    geometry: tuple[int, ...],
) -> tuple[tuple[int, ...], str, int]: ...
def conv(
    stream: int,
    operation: int,
    dims: int,
    dtype: int,
    precision: int,
    variant: str | None,
    first_shape: Sequence[int],
    second_shape: Sequence[int],
    size: tuple[int, int],
    geometry: tuple[int, ...],
    first: int,
    second: int,
    bias: int,
    out: int,
    relu: bool,
    accumulate: bool,
    workspace: int,
) -> None: ...

# Pooling. numbers: planes, height, width, kernel, stride, padding, dilation, extents of the output; of adaptive windows
# planes and extents of input and output. step: 0 naive, 1 packs, 2 warps, 3 automatic; pool_variants has of each
# operation name, idea, needs and number of its steps.
def pool_variants() -> dict[str, list[tuple[str, str, str, int]]]: ...
def takes_packs(dtype: int, numbers: Sequence[int], divisor: int) -> bool: ...
def max_pool(
    stream: int,
    dtype: int,
    numbers: Sequence[int],
    x: int,
    y: int,
    places: int,
    indices: int,
    relu: bool,
    step: int,
) -> None: ...
def max_pool_backward(
    stream: int,
    dtype: int,
    numbers: Sequence[int],
    grad: int,
    places: int,
    indices: int,
    dx: int,
    any_window: bool,
    step: int,
) -> None: ...
def avg_pool(
    stream: int,
    dtype: int,
    numbers: Sequence[int],
    include_pad: bool,
    divisor: int,
    x: int,
    y: int,
    backward: bool,
    step: int,
) -> None: ...
def stochastic_pool(
    stream: int,
    dtype: int,
    numbers: Sequence[int],
    x: int,
    y: int,
    places: int,
    seed: int,
    offset: int,
    offset_pointer: int,
    step: int,
) -> None: ...
def stochastic_average(
    stream: int,
    dtype: int,
    numbers: Sequence[int],
    x: int,
    y: int,
    step: int,
) -> None: ...
def stochastic_average_backward(
    stream: int,
    dtype: int,
    numbers: Sequence[int],
    grad: int,
    x: int,
    dx: int,
    scratch: int,
    step: int,
) -> None: ...
def adaptive_avg_pool(
    stream: int,
    dtype: int,
    numbers: Sequence[int],
    x: int,
    y: int,
    backward: bool,
    step: int,
) -> None: ...
def adaptive_max_pool(
    stream: int,
    dtype: int,
    numbers: Sequence[int],
    x: int,
    y: int,
    indices: int,
    step: int,
) -> None: ...
def k_max_pool(
    stream: int,
    dtype: int,
    rows: int,
    cols: int,
    k: int,
    x: int,
    y: int,
    indices: int,
    step: int,
) -> None: ...
def max_over_time(
    stream: int,
    dtype: int,
    count: int,
    channels: int,
    cols: int,
    x: int,
    lengths: int,
    y: int,
    indices: int,
    step: int,
) -> None: ...
def maxout(
    stream: int,
    dtype: int,
    outer: int,
    pieces: int,
    inner: int,
    x: int,
    y: int,
    places: int,
    indices: int,
    step: int,
) -> None: ...
def maxout_backward(
    stream: int,
    dtype: int,
    outer: int,
    pieces: int,
    inner: int,
    grad: int,
    places: int,
    indices: int,
    dx: int,
    step: int,
) -> None: ...

# Layers
def layer_variants() -> list[tuple[str, str, str, str]]: ...
def activation(
    stream: int, dtype: int, kind: int, x: int, y: int, n: int, alpha: float, rung: int
) -> None: ...
def activation_backward(
    stream: int, dtype: int, kind: int, grad: int, saved: int, out: int, n: int, alpha: float, rung: int
) -> None: ...
def softmax(
    stream: int,
    dtype: int,
    x: int,
    row_stride: int,
    out: int,
    rows: int,
    cols: int,
    logarithm: bool,
    rung: int,
) -> None: ...
def softmax_backward(
    stream: int, dtype: int, grad: int, y: int, out: int, rows: int, cols: int, logarithm: bool, rung: int
) -> None: ...
def cross_entropy(
    stream: int,
    dtype: int,
    logits: int,
    row_stride: int,
    labels: int,
    rows: int,
    cols: int,
    label_smoothing: float,
    ignore_index: int,
    grad_scale: float,
    reduction: int,
    losses: int,
    result: int,
    grad: int,
    scratch: int,
    rung: int,
) -> None: ...
def cross_entropy_scratch(dtype: int, rows: int) -> int: ...
def dropout(
    stream: int,
    dtype: int,
    x: int,
    y: int,
    n: int,
    p: float,
    seed: int,
    offset: int,
    offset_pointer: int,
    rung: int,
) -> None: ...
def column_sum(
    stream: int,
    dtype: int,
    x: int,
    row_stride: int,
    rows: int,
    cols: int,
    out: int,
    accumulate: bool,
    scratch: int,
    rung: int,
) -> None: ...
def column_sum_scratch(dtype: int, rows: int, cols: int) -> int: ...
def sum_squares(stream: int, dtype: int, arrays: Pairs, out: int, scratch: int) -> None: ...
def sum_squares_scratch(dtype: int, sizes: Sequence[int]) -> int: ...
def scale_inplace(stream: int, dtype: int, arrays: Pairs, factor: float, factor_pointer: int) -> None: ...
def clip_factor(stream: int, sum_squares: int, max_norm: float, out: int) -> None: ...
def clamp_inplace(stream: int, dtype: int, arrays: Pairs, limit: float) -> None: ...
def sgd_step(
    stream: int,
    dtype: int,
    parameters: Entries4,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first_step: bool,
    factors_pointer: int,
    rung: int,
) -> None: ...
def sgd_factors(
    dtype: int,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first_step: bool,
) -> bytes: ...
def adam_step(
    stream: int,
    dtype: int,
    parameters: Entries5,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    factors_pointer: int,
    rung: int,
) -> None: ...
def adam_factors(
    dtype: int,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> bytes: ...
def embedding(
    stream: int, dtype: int, weight: int, rows: int, cols: int, indices: int, n: int, out: int, rung: int
) -> None: ...
def embedding_backward(
    stream: int,
    dtype: int,
    grad: int,
    indices: int,
    n: int,
    rows: int,
    cols: int,
    padding_idx: int,
    out: int,
    scratch: int,
    rung: int,
) -> None: ...
def embedding_backward_scratch(dtype: int, n: int, rows: int, cols: int) -> int: ...
def layer_norm(
    stream: int,
    dtype: int,
    x: int,
    weight: int,
    bias: int,
    out: int,
    mean: int,
    rstd: int,
    rows: int,
    cols: int,
    eps: float,
    rung: int,
) -> None: ...
def layer_norm_backward(
    stream: int,
    dtype: int,
    grad: int,
    x: int,
    weight: int,
    mean: int,
    rstd: int,
    dx: int,
    dweight: int,
    dbias: int,
    scratch: int,
    rows: int,
    cols: int,
    rung: int,
) -> None: ...
def layer_norm_backward_scratch(dtype: int, rows: int, cols: int) -> int: ...
def batch_norm(
    stream: int,
    dtype: int,
    x: int,
    weight: int,
    bias: int,
    out: int,
    mean: int,
    rstd: int,
    n: int,
    channels: int,
    inner: int,
    eps: float,
    scratch: int,
    rung: int,
) -> None: ...
def batch_norm_apply(
    stream: int,
    dtype: int,
    x: int,
    weight: int,
    bias: int,
    mean: int,
    var: int,
    out: int,
    n: int,
    channels: int,
    inner: int,
    eps: float,
) -> None: ...
def batch_norm_backward(
    stream: int,
    dtype: int,
    grad: int,
    x: int,
    weight: int,
    mean: int,
    rstd: int,
    dx: int,
    dweight: int,
    dbias: int,
    n: int,
    channels: int,
    inner: int,
    scratch: int,
    rung: int,
) -> None: ...
def batch_norm_scratch(dtype: int, n: int, channels: int, inner: int) -> int: ...

# Word vectors. `outputs` and `labels` are (words, most_outputs), or one such row for each input with own_outputs;
# `loss`, a float64, is added to. variant "": matrix where it takes the shape, else naive.
def update_words(
    operation: str,
    stream: int,
    dtype: int,
    variant: str,
    dim: int,
    rows_in: int,
    rows_out: int,
    w_in: int,
    w_out: int,
    words: int,
    most_inputs: int,
    most_outputs: int,
    inputs: int,
    outputs: int,
    labels: int,
    own_outputs: bool,
    cbow: bool,
    mean: bool,
    divide: bool,
    lr: float,
    loss: int,
) -> None: ...
def word2vec_variants() -> list[tuple[str, str, str]]: ...

# Returns when an epoch is done, which waits for the device; rows of the matrices are padded to 16 elements.
class Word2VecEngine:
    def __init__(
        self,
        counts: Sequence[int],
        skip_gram: bool,
        mean: bool,
        divide: bool,
        negatives: int,
        hierarchical: bool,
        window: int,
        shrink: bool,
        vector_size: int,
        seed: int,
        sample: float,
        exponent: float,
        device: int,
    ) -> None: ...
    def train(
        self,
        tokens: NDArray[np.int32],
        w_in: int,
        w_out: int,
        w_nodes: int,
        epoch: int,
        first_rate: float,
        last_rate: float,
        words: int,
        before: int,
        total: int,
        in_flight: int,
        first: int,
        workers: int,
        stream: int,
    ) -> int: ...
    def pieces(self, tokens: int) -> int: ...
    def default_in_flight(self) -> int: ...
    def stop(self) -> None: ...
    def go_on(self) -> None: ...
    def set_progress(self, words: int, kept: int, loss: float, pairs: int) -> None: ...
    def progress(self) -> tuple[int, int, float, int]: ...

# Only here: csrc/simt
def counters() -> list[dict[str, Any]]: ...
def reset_counters() -> None: ...
def set_mode(mode: str) -> None: ...
def get_mode() -> str: ...
