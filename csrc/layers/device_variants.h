// The ladder on a GPU, by name. Rung::estimate runs what stands between the definition and the default.
#pragma once

#include "layers/layers.h"

namespace dlkit::device {

constexpr LayerVariant kLayerVariants[] = {
    {"activation", "naive", "a thread for each element", ""},
    {"activation", "fused", "16 bytes an access, several loads in flight, a grid of the machine's size", ""},
    {"softmax", "naive", "a thread for each row, which it reads three times", ""},
    {"softmax", "fused", "a row in the registers of a few lanes, a warp or a block; read once", ""},
    {"cross_entropy", "naive", "a thread for each row", ""},
    {"cross_entropy", "fused", "losses and gradient of a row while it is in registers", ""},
    {"crf", "fused", "a block for each sequence, lanes share the sums of a step; in logarithms", ""},
    {"dropout", "naive", "a Philox block for each element", ""},
    {"dropout", "fused", "four elements from each Philox block", ""},
    {"column_sum", "naive", "a thread for each column", ""},
    {"column_sum", "fused", "warps across columns, groups of rows in blocks, their sums added up in order", ""},
    {"sgd_step", "naive", "a launch for each parameter, a thread for each element", ""},
    {"sgd_step", "fused", "one launch for all parameters, one pass over each", ""},
    {"adam_step", "naive", "a launch for each parameter, a thread for each element", ""},
    {"adam_step", "fused", "one launch for all parameters, one pass over each", ""},
    {"embedding", "naive", "a thread for each element", ""},
    {"embedding", "fused", "as many lanes as a row has packs, four rows in flight", ""},
    {"embedding_backward", "naive", "a thread for each element of the table, which goes through all indices", ""},
    {"embedding_backward", "atomic", "atomic additions, whose order is left to chance", ""},
    {"embedding_backward", "fused", "indices sorted, each row of the table summed in order", ""},
    {"layer_norm", "naive", "a thread for each row, which it reads three times", ""},
    {"layer_norm", "fused", "a row in the registers of a few lanes, a warp or a block; read once", ""},
    {"batch_norm", "naive", "a thread for each channel", ""},
    {"batch_norm", "fused", "sums of groups of each channel in float64, then one pass to apply them", ""},
};

}  // namespace dlkit::device
