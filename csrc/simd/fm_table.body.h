/* Included once per dtype: the exported table of this level. */
#ifndef FM_SPARSE_ENTRY
#define FM_SPARSE_ENTRY(segments, vectors) \
    [segments][vectors] = FM(sparse_rows_##segments##x##vectors),
#endif

FM_HIDDEN const FM(fm_table) FM_PASTE(FM(fm_table), FM_PASTE(_, FM_LEVEL)) = {
    .lanes = FM_LANES,
    .tile_rows = {0, FM_TILE_ROWS_1, FM_TILE_ROWS_2, FM_TILE_ROWS_3},
    .strip = FM_STRIPS,
    .packing_strip = FM_PACKING_STRIPS,
    .column = FM_COLUMNS,
    .update_column = FM_UPDATE_COLUMNS,
    .row_product = FM(row_product),
    .store_sums = FM(store_sums),
    .multiply_adds = FM(multiply_adds),
    .pack_transposed = FM(pack_transposed),
    .pack_rows = FM(pack_rows),
    .pack_columns = FM(pack_columns),
    .unary =
        {
            [FM_EXP] = FM(exp_n),
            [FM_LOG] = FM(log_n),
            [FM_RELU] = FM(relu_n),
            [FM_LEAKY_RELU] = FM(leaky_relu_n),
            [FM_ELU] = FM(elu_n),
            [FM_GELU] = FM(gelu_n),
            [FM_SILU] = FM(silu_n),
            [FM_SOFTPLUS] = FM(softplus_n),
            [FM_TANH] = FM(tanh_n),
            [FM_SIGMOID] = FM(sigmoid_n),
        },
    .backward =
        {
            [FM_RELU_BACKWARD] = FM(relu_backward_n),
            [FM_LEAKY_RELU_BACKWARD] = FM(leaky_relu_backward_n),
            [FM_ELU_BACKWARD] = FM(elu_backward_n),
            [FM_GELU_BACKWARD] = FM(gelu_backward_n),
            [FM_SILU_BACKWARD] = FM(silu_backward_n),
            [FM_SOFTPLUS_BACKWARD] = FM(softplus_backward_n),
            [FM_TANH_BACKWARD] = FM(tanh_backward_n),
            [FM_SIGMOID_BACKWARD] = FM(sigmoid_backward_n),
        },
    .update =
        {
            [FM_SGD] = FM(sgd_update),
            [FM_MOMENTUM] = FM(momentum_update),
            [FM_NESTEROV] = FM(nesterov_update),
            [FM_ADAGRAD] = FM(adagrad_update),
            [FM_RMSPROP] = FM(rmsprop_update),
            [FM_ADAM] = FM(adam_update),
            [FM_ADAMW] = FM(adamw_update),
        },
    .sparse_rows = {FM_SPARSE_SHAPES(FM_SPARSE_ENTRY)},
    .nonzero = FM(nonzero),
    .max_pool = FM(max_pool),
    .penalize = FM(penalize),
    .clamp = FM(clamp),
    .sum_squares = FM(sum_squares),
    .sum_magnitudes = FM(sum_magnitudes),
    .axpy = FM(axpy),
    .add = FM(add),
    .loss =
        {
            [FM_SQUARED] = FM(squared),
            [FM_ABSOLUTE] = FM(absolute),
            [FM_HUBER] = FM(huber),
            [FM_BINARY_CROSS_ENTROPY] = FM(binary_cross_entropy),
        },
    .hinge = FM(hinge),
    .softmax_lanes = FM(softmax_lanes),
    .row_max = FM(row_max),
    .row_exp_sum = FM(row_exp_sum),
    .row_affine = FM(row_affine),
    .row_dot = FM(row_dot),
    .row_sum = FM(row_sum),
    .row_softmax_backward = FM(row_softmax_backward),
    .row_log_softmax_backward = FM(row_log_softmax_backward),
};
