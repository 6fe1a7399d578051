"""The operations of :mod:`fastmlp.reference`, compiled: same names, arguments and meaning.

Arrays are float32 or float64, and results have their dtype. Arrays may have any layout: an array
that is not C-contiguous, aligned and in native byte order is copied once. ``out`` must be a
C-contiguous array with the shape and dtype of the result; elementwise functions may write over
their input. float16 input is converted to float32, integers to float64. Wrong shapes and values
raise ValueError, wrong types and dtypes raise TypeError, both before any work is done.

exp, log, tanh and sigmoid differ from the exact value by at most 2 units in the last place, for
every input. NaN and infinity propagate. :func:`fastmlp.show_config` prints the instruction set in
use.
"""

from __future__ import annotations

from fastmlp.kernels.activations import (
    elu,
    elu_backward,
    exp,
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    log,
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softplus,
    softplus_backward,
    tanh,
    tanh_backward,
)
from fastmlp.kernels.convolution import (
    conv2d,
    conv2d_backward_input,
    conv2d_backward_weights,
)
from fastmlp.kernels.dense import (
    add_bias,
    dense,
    matmul,
    sum_batch,
)
from fastmlp.kernels.dropout import (
    dropout,
    dropout_backward,
    gaussian_noise,
)
from fastmlp.kernels.embedding import (
    embedding,
    embedding_backward,
)
from fastmlp.kernels.losses import (
    binary_cross_entropy,
    count_correct,
    hinge,
    huber,
    mae,
    mse,
    softmax_cross_entropy,
)
from fastmlp.kernels.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    layer_norm,
    layer_norm_backward,
)
from fastmlp.kernels.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from fastmlp.kernels.updates import (
    adagrad_update,
    adam_update,
    clip_by_norm,
    clip_by_value,
    rmsprop_update,
    sgd_update,
    weight_penalty,
    weight_penalty_backward,
)

# A compiled function takes its arrays as they come. If one is not ready for it, or does not fit, it
# does nothing and returns None. Only then do the functions of this package look at the arguments,
# convert them or raise. (Weight penalties and clipping handle whole weights, and check first.)

__all__ = [
    "adagrad_update",
    "adam_update",
    "add_bias",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "binary_cross_entropy",
    "clip_by_norm",
    "clip_by_value",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weights",
    "count_correct",
    "dense",
    "dropout",
    "dropout_backward",
    "elu",
    "elu_backward",
    "embedding",
    "embedding_backward",
    "exp",
    "gaussian_noise",
    "gelu",
    "gelu_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "hinge",
    "huber",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log",
    "log_softmax",
    "log_softmax_backward",
    "mae",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "mse",
    "relu",
    "relu_backward",
    "rmsprop_update",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softplus",
    "softplus_backward",
    "sum_batch",
    "tanh",
    "tanh_backward",
    "weight_penalty",
    "weight_penalty_backward",
]
