# What csrc/bindings adds to the module dlkit._cpu, a section for each of its files.
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

# Core: csrc/bindings/core.cpp
def config() -> dict[str, Any]: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def kept_memory() -> int: ...
def most_kept_memory() -> int: ...
def release_kept_memory() -> None: ...
def empty(shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]: ...
def counters() -> dict[str, int]: ...
def reset_counters() -> None: ...
def measure_peak(threads: int = 0, float64: bool = False) -> float: ...
def measure_bandwidth(threads: int = 0) -> float: ...

# Matmul: csrc/bindings/matmul.cpp
def matmul(
    a: Array,
    b: Array,
    out: Array | None,
    trans_a: bool,
    trans_b: bool,
    bias: Array | None,
    activation: str | None,
    accumulate: bool,
    variant: str | None,
    /,
) -> Array: ...
def matmul_variants() -> list[tuple[str, str, str]]: ...

# Layers: csrc/bindings/layers.cpp. `variant` is a Rung of csrc/layers/layers.h, 3 for the default.
activation_kinds: tuple[str, ...]

def activation(x: Array, kind: int, out: Array | None, alpha: float, variant: int, /) -> Array: ...
def activation_backward(
    grad: Array,
    kind: int,
    saved: Array,
    saved_name: str,
    out: Array | None,
    alpha: float,
    variant: int,
    /,
) -> Array: ...
def softmax(x: Array, out: Array | None, logarithm: bool, variant: int, /) -> Array: ...
def softmax_backward(grad: Array, y: Array, out: Array | None, logarithm: bool, variant: int, /) -> Array: ...
def cross_entropy(
    logits: Array,
    labels: Array,
    need_grad: bool,
    grad_scale: float,
    label_smoothing: float,
    ignore_index: int,
    out: Array | None,
    variant: int,
    reduction: int,
    /,
) -> tuple[Array, Array | None]: ...
def dropout(x: Array, p: float, seed: int, offset: int, out: Array | None, variant: int, /) -> Array: ...
def column_sum(x: Array, out: Array | None, accumulate: bool, variant: int, /) -> Array: ...
def sgd_step(
    params: Sequence[Array],
    grads: Sequence[Array],
    velocities: Sequence[Array] | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
    variant: int,
    /,
) -> None: ...
def adam_step(
    params: Sequence[Array],
    grads: Sequence[Array],
    exp_avgs: Sequence[Array],
    exp_avg_sqs: Sequence[Array],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    variant: int,
    /,
) -> None: ...
def adadelta_step(
    params: Sequence[Array],
    grads: Sequence[Array],
    square_avgs: Sequence[Array],
    acc_deltas: Sequence[Array],
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
    variant: int,
    /,
) -> None: ...
def sum_squares(arrays: Sequence[Array], /) -> float: ...
def scale_inplace(arrays: Sequence[Array], factor: float, /) -> None: ...
def clamp_inplace(arrays: Sequence[Array], limit: float, /) -> None: ...
def layer_variants() -> list[tuple[str, str, str, str]]: ...
def philox4x32(c0: int, c1: int, c2: int, c3: int, key0: int, key1: int) -> tuple[int, int, int, int]: ...

# Distortion of images: csrc/bindings/augment.cpp.
def distort(
    x: Array,
    matrices: Array,
    numbers: NDArray[Any],
    seed: int,
    alpha: float,
    sigma: float,
    out: Array | None,
    naive: bool,
    /,
) -> Array: ...

# Embeddings: csrc/bindings/embedding.cpp. `variant` as above.
def embedding(weight: Array, indices: Array, out: Array | None, variant: int, /) -> Array: ...
def embedding_backward(
    grad: Array,
    indices: Array,
    num_embeddings: int,
    padding_idx: int | None,
    out: Array | None,
    accumulate: bool,
    variant: int,
    /,
) -> Array: ...

# Conditional random fields: csrc/bindings/crf.cpp. `variant` as above.
def crf_loss(
    emissions: Array,
    batch_sizes: Sequence[int],
    transitions: Array,
    start: Array | None,
    end: Array | None,
    tags: Array | None,
    weights: Array | None,
    variant: int,
    /,
) -> tuple[Array, Array | None, Array | None, Array | None, Array | None]: ...
def crf_decode(
    emissions: Array,
    batch_sizes: Sequence[int],
    transitions: Array,
    start: Array | None,
    end: Array | None,
    variant: int,
    /,
) -> tuple[NDArray[np.int64], Array]: ...

# Pooling: csrc/bindings/pool.cpp. `geometry` is a dlkit.kernels.pool.PoolGeometry.
def max_pool(
    dims: int,
    x: Array,
    geometry: tuple[int, ...],
    keep: int,
    relu: bool,
    out: Array | None,
    variant: str | None,
    /,
) -> Any: ...
def max_pool_backward(
    dims: int,
    grad: Array,
    indices: Array,
    height: int,
    width: int,
    geometry: tuple[int, ...] | None,
    out: Array | None,
    variant: str | None,
    /,
) -> Array: ...
def avg_pool(
    dims: int,
    x: Array,
    geometry: tuple[int, ...],
    include_pad: bool,
    divisor: int | None,
    out: Array | None,
    variant: str | None,
    /,
) -> Array: ...
def avg_pool_backward(
    dims: int,
    grad: Array,
    height: int,
    width: int,
    geometry: tuple[int, ...],
    include_pad: bool,
    divisor: int | None,
    out: Array | None,
    variant: str | None,
    /,
) -> Array: ...
def adaptive_avg_pool(
    dims: int, x: Array, out_h: int, out_w: int, out: Array | None, variant: str | None, /
) -> Array: ...
def adaptive_avg_pool_backward(
    dims: int, grad: Array, height: int, width: int, out: Array | None, variant: str | None, /
) -> Array: ...
def adaptive_max_pool(
    dims: int, x: Array, out_h: int, out_w: int, variant: str | None, /
) -> tuple[Array, Array]: ...
def k_max_pool1d(x: Array, k: int, variant: str | None, /) -> tuple[Array, Array]: ...
def max_over_time(x: Array, lengths: Array | None, variant: str | None, /) -> tuple[Array, Array]: ...
def stochastic_pool(
    x: Array, geometry: tuple[int, ...], seed: int, offset: int, variant: str | None, /
) -> tuple[Array, Array]: ...
def stochastic_average(x: Array, geometry: tuple[int, ...], variant: str | None, /) -> Array: ...
def stochastic_average_backward(
    grad: Array, x: Array, geometry: tuple[int, ...], variant: str | None, /
) -> Array: ...
def pool_variants() -> dict[str, list[tuple[str, str, str]]]: ...

# Convolution: csrc/bindings/conv.cpp. `geometry` is a dlkit.kernels.conv.ConvGeometry.
def conv(
    dims: int,
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: tuple[int, ...],
    relu: bool,
    out: Array | None,
    variant: str | None,
    /,
) -> Array: ...
def conv_max_pool(
    dims: int,
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: tuple[int, ...],
    window: tuple[Any, ...],
    keep: bool,
    relu: bool,
    out: Array | None,
    variant: str | None,
    /,
) -> Any: ...
def conv_max_pool_backward_input(
    dims: int,
    grad: Array,
    places: Array,
    weight: Array,
    height: int,
    width: int,
    geometry: tuple[int, ...],
    window: tuple[Any, ...],
    out: Array | None,
    /,
) -> Array: ...
def conv_max_pool_backward_weight(
    dims: int,
    grad: Array,
    places: Array,
    x: Array,
    kernel_h: int,
    kernel_w: int,
    with_bias: bool,
    geometry: tuple[int, ...],
    window: tuple[Any, ...],
    out: Array | None,
    out_bias: Array | None,
    accumulate: bool,
    /,
) -> tuple[Array, Array | None]: ...
def conv_max_pool_choice(
    dims: int,
    x: Sequence[int],
    weight: Sequence[int],
    geometry: tuple[int, ...],
    window: tuple[Any, ...],
    single: bool,
) -> tuple[bool, bool]: ...
def conv_backward_input(
    dims: int,
    grad: Array,
    weight: Array,
    height: int,
    width: int,
    geometry: tuple[int, ...],
    out: Array | None,
    variant: str | None,
    /,
) -> Array: ...
def conv_backward_weight(
    dims: int,
    grad: Array,
    x: Array,
    kernel_h: int,
    kernel_w: int,
    with_bias: bool,
    geometry: tuple[int, ...],
    out: Array | None,
    out_bias: Array | None,
    accumulate: bool,
    variant: str | None,
    /,
) -> tuple[Array, Array | None]: ...
def conv_variants() -> dict[str, list[tuple[str, str, str]]]: ...
def conv_choice(
    operation: str,
    dims: int,
    n: int,
    channels: int,
    height: int,
    width: int,
    filters: int,
    kernel_h: int,
    kernel_w: int,
    geometry: tuple[int, ...],
) -> tuple[str, int]: ...

# Convolution and maximum over time: csrc/bindings/over_time.cpp.
def conv1d_max(
    x: Array, weight: Array, bias: Array | None, variant: str | None, /
) -> tuple[Array, NDArray[np.int64]]: ...
def conv1d_max_backward(
    grad: Array,
    place: Any,
    x: Array,
    weight: Array,
    by_x: bool,
    with_bias: bool,
    out: Array | Literal[False] | None,
    out_bias: Array | None,
    accumulate: bool,
    variant: str | None,
    /,
) -> tuple[Array | None, Array | None, Array | None]: ...

# Normalisation: csrc/bindings/normalisation.cpp. `variant` as above.
def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float, out: Array | None, variant: int, /
) -> tuple[Array, Array, Array]: ...
def layer_norm_backward(
    grad: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    need_weight: bool,
    need_bias: bool,
    variant: int,
    /,
) -> tuple[Array, Array | None, Array | None]: ...
def batch_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float, out: Array | None, variant: int, /
) -> tuple[Array, Array, Array]: ...
def batch_norm_apply(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    out: Array | None,
    variant: int,
    /,
) -> Array: ...
def batch_norm_backward(
    grad: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    need_weight: bool,
    need_bias: bool,
    variant: int,
    /,
) -> tuple[Array, Array | None, Array | None]: ...

# Recurrent layers: csrc/bindings/recurrent.cpp.
def recurrent_cells() -> list[tuple[str, int, int, bool]]: ...
def recurrent_variants() -> list[tuple[str, str, str]]: ...
def recurrent(
    cell: str,
    new_z: bool,
    reverse: bool,
    batch_sizes: Sequence[int],
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    peepholes: Array | None,
    norm_ih: Array | None,
    norm_hh: Array | None,
    norm_c: Array | None,
    norm_c_bias: Array | None,
    mask: Array | None,
    h0: Array | None,
    c0: Array | None,
    y: Array,
    keep: bool,
    variant: str | None,
    /,
) -> tuple[Array, Array | None, Array | None]: ...
def recurrent_backward(
    cell: str,
    new_z: bool,
    reverse: bool,
    batch_sizes: Sequence[int],
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    peepholes: Array | None,
    norm_ih: Array | None,
    norm_hh: Array | None,
    norm_c: Array | None,
    norm_c_bias: Array | None,
    mask: Array | None,
    y: Array,
    reserve: Array,
    dy: Array | None,
    dhn: Array | None,
    dcn: Array | None,
    dx: Array | None,
    add_to_dx: bool,
    with_state: bool,
    dweight_ih: Array | None,
    dweight_hh: Array | None,
    dbias_ih: Array | None,
    dbias_hh: Array | None,
    dpeepholes: Array | None,
    dnorm_ih: Array | None,
    dnorm_hh: Array | None,
    dnorm_c: Array | None,
    dnorm_c_bias: Array | None,
    accumulate: bool,
    variant: str | None,
    /,
) -> tuple[Array | None, Array | None]: ...

# The arguments of `recurrent` and of `recurrent_backward`, twice.
def recurrent_pair(*arguments: Any) -> tuple[tuple[Array, Array | None, Array | None], ...]: ...
def recurrent_pair_backward(*arguments: Any) -> tuple[tuple[Array | None, Array | None], ...]: ...

# n-grams: csrc/bindings/ngram.cpp. `smoothing` is a number of csrc/ngram/ngram.h.
class NGramCounter:
    def __init__(self, keep_empty: bool) -> None: ...
    def add(self, piece: bytes) -> None: ...
    def count(self, order: int, min_count: int) -> NGramCounts: ...

class NGramCounts:
    order: int
    tokens: int
    sentences: int
    nbytes: int
    sizes: list[int]
    def words(self) -> bytes: ...
    def count(self, words: list[str]) -> int: ...
    def estimate(
        self, order: int, smoothing: int, k: float, cutoff: int
    ) -> tuple[NGramTable, list[list[float]], list[bool]]: ...

class NGramTable:
    order: int
    flat: bool
    sizes: list[int]
    nbytes: int
    def __init__(
        self, order: int, flat: bool, words: bytes, counts: list[int], levels: list[bytes]
    ) -> None: ...
    def words(self) -> bytes: ...
    def find(self, word: str) -> int: ...
    def score(
        self, text: bytes, keep_empty: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.uint32], NDArray[np.bool_]]: ...
    def after(self, context: bytes, begin: bool) -> NDArray[np.float64]: ...
    def arpa(self, n: int, first: int, count: int) -> bytes: ...
    def level(self, n: int) -> memoryview: ...

class NGramArpa:
    def __init__(self) -> None: ...
    def add(self, piece: bytes) -> None: ...
    def finish(self) -> NGramTable: ...

# The nearest of many vectors: csrc/bindings/nearest.cpp.
def nearest(
    queries: Any, vectors: Any, scale: Any, k: int, variant: str | None, /
) -> tuple[NDArray[np.int64], NDArray[Any]]: ...
def nearest_variants() -> dict[str, list[tuple[str, str, str]]]: ...

# Word vectors: csrc/bindings/word2vec.cpp.
def update_words(
    operation: str,
    inputs: NDArray[Any],
    outputs: NDArray[Any],
    labels: NDArray[Any],
    w_in: Any,
    w_out: Any,
    lr: float,
    cbow: bool,
    mean: bool,
    divide: bool,
    with_loss: bool,
    variant: str | None,
    /,
) -> float: ...
def word2vec_variants() -> dict[str, list[tuple[str, str, str]]]: ...

# Texts as numbers of words: csrc/bindings/word2vec_corpus.cpp. `file` and `to` are descriptors.
class WordCorpusVocabulary:
    def __init__(self, words: Sequence[bytes], counts: Sequence[int]) -> None: ...
    def __len__(self) -> int: ...
    def words(self) -> list[str]: ...
    def counts(self) -> NDArray[np.int64]: ...
    def previous(self) -> NDArray[np.int64]: ...

class WordCorpusCounter:
    bytes_done: int
    words: int
    distinct: int
    largest: int
    def __init__(
        self, file: int, size: int, piece: int, own: bool, errors: str, max_vocab_size: int, workers: int
    ) -> None: ...
    def step(self) -> bool: ...
    def vocabulary(
        self, min_count: int, max_final_vocab: int, old: WordCorpusVocabulary | None
    ) -> WordCorpusVocabulary: ...

class WordCorpusEncoder:
    bytes_done: int
    words: int
    kept: int
    sentences: int
    def __init__(
        self,
        vocabulary: WordCorpusVocabulary,
        file: int,
        size: int,
        piece: int,
        own: bool,
        errors: str,
        max_sentence: int,
        breaks: bool,
        to: int,
        workers: int,
    ) -> None: ...
    def step(self) -> bool: ...

class WordPairCounter:
    distinct: int
    def __init__(self, max_pairs: int, words: int, connectors: Sequence[int]) -> None: ...
    def add(self, tokens: NDArray[np.int32]) -> None: ...
    def phrases(
        self,
        vocabulary: WordCorpusVocabulary,
        words: int,
        different: int,
        min_count: int,
        threshold: float,
        npmi: bool,
    ) -> list[tuple[tuple[str, ...], int, float]]: ...

class WordPairJoiner:
    bytes_done: int
    joined: int
    def __init__(
        self,
        vocabulary: WordCorpusVocabulary,
        phrases: Sequence[Sequence[int]],
        connectors: Sequence[int],
        delimiter: str,
        file: int,
        size: int,
        piece: int,
        own: bool,
        errors: str,
        to: int,
        workers: int,
    ) -> None: ...
    def step(self) -> bool: ...

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
        dim: int,
        seed: int,
        sample: float,
        exponent: float,
        variant: str | None,
        prefetch: bool = True,
        reuse_window: bool = False,
        shared_negatives: int = 1,
        hot_rows: int = 0,
    ) -> None: ...
    @staticmethod
    def count_words(tokens: NDArray[np.int32], words: int) -> int: ...
    @staticmethod
    def pieces(tokens: int) -> int: ...
    def train(
        self,
        tokens: NDArray[np.int32],
        w_in: NDArray[np.float32],
        w_out: NDArray[np.float32] | None,
        w_nodes: NDArray[np.float32] | None,
        epoch: int,
        first_rate: float,
        last_rate: float,
        words: int,
        before: int,
        total: int,
        workers: int,
        first: int = 0,
    ) -> int: ...
    def draw(self, bits: Sequence[int]) -> list[int]: ...
    def path(self, word: int) -> tuple[list[int], list[int]]: ...
    def stop(self) -> None: ...
    def go_on(self) -> None: ...
    def progress(self) -> tuple[int, int, float, int]: ...
    def set_progress(self, words: int, kept: int, loss: float, pairs: int) -> None: ...
