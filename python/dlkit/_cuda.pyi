# What csrc/bindings/device adds to the module dlkit._cuda: the interface of dlkit._simt, on GPUs.
from dlkit._simt import DeviceError as DeviceError
from dlkit._simt import Word2VecEngine as Word2VecEngine
from dlkit._simt import activation as activation
from dlkit._simt import activation_backward as activation_backward
from dlkit._simt import adam_factors as adam_factors
from dlkit._simt import adam_step as adam_step
from dlkit._simt import adaptive_avg_pool as adaptive_avg_pool
from dlkit._simt import adaptive_max_pool as adaptive_max_pool
from dlkit._simt import avg_pool as avg_pool
from dlkit._simt import batch_norm as batch_norm
from dlkit._simt import batch_norm_apply as batch_norm_apply
from dlkit._simt import batch_norm_backward as batch_norm_backward
from dlkit._simt import batch_norm_scratch as batch_norm_scratch
from dlkit._simt import clamp_inplace as clamp_inplace
from dlkit._simt import clip_factor as clip_factor
from dlkit._simt import column_sum as column_sum
from dlkit._simt import column_sum_scratch as column_sum_scratch
from dlkit._simt import conv as conv
from dlkit._simt import conv_plan as conv_plan
from dlkit._simt import conv_variants as conv_variants
from dlkit._simt import cross_entropy as cross_entropy
from dlkit._simt import cross_entropy_scratch as cross_entropy_scratch
from dlkit._simt import dropout as dropout
from dlkit._simt import embedding as embedding
from dlkit._simt import embedding_backward as embedding_backward
from dlkit._simt import embedding_backward_scratch as embedding_backward_scratch
from dlkit._simt import k_max_pool as k_max_pool
from dlkit._simt import layer_norm as layer_norm
from dlkit._simt import layer_norm_backward as layer_norm_backward
from dlkit._simt import layer_norm_backward_scratch as layer_norm_backward_scratch
from dlkit._simt import layer_variants as layer_variants
from dlkit._simt import matmul as matmul
from dlkit._simt import matmul_choice as matmul_choice
from dlkit._simt import matmul_variants as matmul_variants
from dlkit._simt import matmul_workspace as matmul_workspace
from dlkit._simt import max_over_time as max_over_time
from dlkit._simt import max_pool as max_pool
from dlkit._simt import max_pool_backward as max_pool_backward
from dlkit._simt import maxout as maxout
from dlkit._simt import maxout_backward as maxout_backward
from dlkit._simt import pool_variants as pool_variants
from dlkit._simt import scale_inplace as scale_inplace
from dlkit._simt import sgd_factors as sgd_factors
from dlkit._simt import sgd_step as sgd_step
from dlkit._simt import softmax as softmax
from dlkit._simt import softmax_backward as softmax_backward
from dlkit._simt import stochastic_average as stochastic_average
from dlkit._simt import stochastic_average_backward as stochastic_average_backward
from dlkit._simt import stochastic_pool as stochastic_pool
from dlkit._simt import sum_squares as sum_squares
from dlkit._simt import sum_squares_scratch as sum_squares_scratch
from dlkit._simt import takes_packs as takes_packs
from dlkit._simt import update_words as update_words
from dlkit._simt import word2vec_variants as word2vec_variants

def device_count() -> int: ...
def driver_version() -> int: ...
def runtime_version() -> int: ...
def architectures() -> list[str]: ...
def compute_capability(device: int) -> tuple[int, int]: ...
def require_device(device: int) -> None: ...
