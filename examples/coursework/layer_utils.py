"""Common combinations of layers, with the interface of CS231n."""

from .layers import (
    affine_backward,
    affine_forward,
    batchnorm_backward,
    batchnorm_forward,
    conv_backward_fast,
    conv_forward_fast,
    layernorm_backward,
    layernorm_forward,
    max_pool_backward_fast,
    max_pool_forward_fast,
    relu_backward,
    relu_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)


def affine_relu_forward(x, w, b):
    """Return relu(affine(x)) and a cache."""
    out, affine = affine_forward(x, w, b)
    out, relu = relu_forward(out)
    return out, (affine, relu)


def affine_relu_backward(dout, cache):
    """Return the gradients with respect to x, w and b."""
    affine, relu = cache
    return affine_backward(relu_backward(dout, relu), affine)


def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    """Return relu(batchnorm(affine(x))) and a cache."""
    out, affine = affine_forward(x, w, b)
    out, norm = batchnorm_forward(out, gamma, beta, bn_param)
    out, relu = relu_forward(out)
    return out, (affine, norm, relu)


def affine_bn_relu_backward(dout, cache):
    """Return the gradients with respect to x, w, b, gamma and beta."""
    affine, norm, relu = cache
    dout, dgamma, dbeta = batchnorm_backward(relu_backward(dout, relu), norm)
    return *affine_backward(dout, affine), dgamma, dbeta


def affine_ln_relu_forward(x, w, b, gamma, beta, ln_param):
    """Return relu(layernorm(affine(x))) and a cache."""
    out, affine = affine_forward(x, w, b)
    out, norm = layernorm_forward(out, gamma, beta, ln_param)
    out, relu = relu_forward(out)
    return out, (affine, norm, relu)


def affine_ln_relu_backward(dout, cache):
    """Return the gradients with respect to x, w, b, gamma and beta."""
    affine, norm, relu = cache
    dout, dgamma, dbeta = layernorm_backward(relu_backward(dout, relu), norm)
    return *affine_backward(dout, affine), dgamma, dbeta


def conv_relu_forward(x, w, b, conv_param):
    """Return relu(conv(x)) and a cache."""
    out, conv = conv_forward_fast(x, w, b, conv_param)
    out, relu = relu_forward(out)
    return out, (conv, relu)


def conv_relu_backward(dout, cache):
    """Return the gradients with respect to x, w and b."""
    conv, relu = cache
    return conv_backward_fast(relu_backward(dout, relu), conv)


def conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param):
    """Return relu(batchnorm(conv(x))) and a cache."""
    out, conv = conv_forward_fast(x, w, b, conv_param)
    out, norm = spatial_batchnorm_forward(out, gamma, beta, bn_param)
    out, relu = relu_forward(out)
    return out, (conv, norm, relu)


def conv_bn_relu_backward(dout, cache):
    """Return the gradients with respect to x, w, b, gamma and beta."""
    conv, norm, relu = cache
    dout, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout, relu), norm)
    return *conv_backward_fast(dout, conv), dgamma, dbeta


def conv_relu_pool_forward(x, w, b, conv_param, pool_param):
    """Return max_pool(relu(conv(x))) and a cache."""
    out, conv = conv_forward_fast(x, w, b, conv_param)
    out, relu = relu_forward(out)
    out, pool = max_pool_forward_fast(out, pool_param)
    return out, (conv, relu, pool)


def conv_relu_pool_backward(dout, cache):
    """Return the gradients with respect to x, w and b."""
    conv, relu, pool = cache
    return conv_backward_fast(relu_backward(max_pool_backward_fast(dout, pool), relu), conv)
