"""Two small architectures, one CNN written in five ways, and one stack with and without a scan.

Every function takes (key, *, ...) and returns (apply, params), apply: (params, images) -> logits.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


def product_layer(key, *shape):
    """A kernel by He's initialization, its outputs last, and small random biases."""
    kernel, bias = jax.random.split(key)
    scale = math.sqrt(2 / math.prod(shape[:-1]))
    return {"kernel": scale * jax.random.normal(kernel, shape), "bias": 0.1 * jax.random.normal(bias, shape[-1:])}


def conv(p, x, strides=(1, 1), padding="SAME"):
    y = lax.conv_general_dilated(x, p["kernel"], strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + p["bias"][None, None, None, :]


def dense(p, x):
    return x @ p["kernel"] + p["bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def halved(x, start, operation):
    return lax.reduce_window(x, start, operation, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def max_pool(x):
    return halved(x, -jnp.inf, lax.max)


def average_pool(x):
    return halved(x, 0.0, lax.add) / 4


# A vision transformer


def norm_layer(key, width):
    scale, bias = jax.random.normal(key, (2, width))
    return {"scale": 1 + 0.1 * scale, "bias": 0.1 * bias}


def layer_norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    normal = centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return normal * p["scale"][None, None, :] + p["bias"][None, None, :]


def self_attention(p, tokens, heads):
    batch, count, width = tokens.shape

    def split(name):
        return dense(p[name], tokens).reshape(batch, count, heads, width // heads)

    logits = jnp.einsum("bqnd,bknd->bnqk", split("query"), split("key")) / math.sqrt(width // heads)
    mixed = jnp.einsum("bnqk,bknd->bqnd", jax.nn.softmax(logits), split("value"))
    return dense(p["out"], mixed.reshape(batch, count, width))


def transformer_block(p, tokens, heads):
    tokens = tokens + self_attention(p["attention"], layer_norm(p["norm1"], tokens), heads)
    hidden = jax.nn.gelu(dense(p["mlp1"], layer_norm(p["norm2"], tokens)))
    return tokens + dense(p["mlp2"], hidden)


def transformer_block_params(key, width):
    keys = jax.random.split(key, 8)
    names = ("query", "key", "value", "out")
    return {
        "attention": {name: product_layer(k, width, width) for name, k in zip(names, keys[:4], strict=True)},
        "norm1": norm_layer(keys[4], width),
        "norm2": norm_layer(keys[5], width),
        "mlp1": product_layer(keys[6], width, 2 * width),
        "mlp2": product_layer(keys[7], 2 * width, width),
    }


def vision_transformer(key, *, image_shape=(8, 8, 3), classes=5, patch=4, width=8, heads=2, depth=2):
    """Patches and a class token through blocks of attention and GELU, each after its LayerNorm."""
    keys = jax.random.split(key, 5 + depth)
    tokens = 1 + (image_shape[0] // patch) * (image_shape[1] // patch)
    params = {
        "patches": product_layer(keys[0], patch, patch, image_shape[2], width),
        "class_token": jax.random.normal(keys[1], (1, 1, width)),
        "positions": 0.3 * jax.random.normal(keys[2], (1, tokens, width)),
        "norm": norm_layer(keys[3], width),
        "head": product_layer(keys[4], width, classes),
    } | {f"block{i}": transformer_block_params(keys[5 + i], width) for i in range(depth)}

    def apply(params, images):
        patches = conv(params["patches"], images, (patch, patch), "VALID").reshape(len(images), -1, width)
        first = jnp.broadcast_to(params["class_token"], (len(images), 1, width))
        x = jnp.concatenate([first, patches], 1) + params["positions"]
        for i in range(depth):
            x = transformer_block(params[f"block{i}"], x, heads)
        return dense(params["head"], layer_norm(params["norm"], x)[:, 0])

    return apply, params


# A residual network


def conv_norm_params(key, *shape):
    """A convolution without a bias, and a batch norm with the statistics that a training might have left."""
    keys = jax.random.split(key, 5)
    channels = shape[-1:]
    return {
        "kernel": product_layer(keys[0], *shape)["kernel"],
        "scale": 1 + 0.2 * jax.random.normal(keys[1], channels),
        "bias": 0.1 * jax.random.normal(keys[2], channels),
        "mean": 0.2 * jax.random.normal(keys[3], channels),
        "variance": jax.random.uniform(keys[4], channels, minval=0.5, maxval=2.0),
    }


def conv_norm(p, x, strides=(1, 1)):
    p = {name: v if name == "kernel" else v[None, None, None, :] for name, v in p.items()}
    y = lax.conv_general_dilated(x, p["kernel"], strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return (y - p["mean"]) * lax.rsqrt(p["variance"] + 1e-5) * p["scale"] + p["bias"]


def residual_block(p, x, strides):
    y = conv_norm(p["second"], jax.nn.relu(conv_norm(p["first"], x, strides)))
    return jax.nn.relu(y + (conv_norm(p["projection"], x, strides) if "projection" in p else x))


def residual_block_params(key, channels, features):
    keys = jax.random.split(key, 3)
    first, second = conv_norm_params(keys[0], 3, 3, channels, features), (3, 3, features, features)
    params = {"first": first, "second": conv_norm_params(keys[1], *second)}
    return (
        params if features == channels else params | {"projection": conv_norm_params(keys[2], 1, 1, channels, features)}
    )


def residual_network(key, *, image_shape=(8, 8, 3), classes=5, width=6, blocks=3):
    """A stem and residual blocks, the second of them strided and twice as wide; global average; one dense layer."""
    keys = jax.random.split(key, 2 + blocks)
    widths = [width] * 2 + [2 * width] * (blocks - 1)
    strides = [(1, 1), (2, 2), *[(1, 1)] * (blocks - 2)][:blocks]
    params = {f"block{i}": residual_block_params(keys[i], *widths[i : i + 2]) for i in range(blocks)}
    params["stem"] = conv_norm_params(keys[-1], 3, 3, image_shape[2], width)
    params["head"] = product_layer(keys[-2], widths[-1], classes)

    def apply(params, images):
        x = jax.nn.relu(conv_norm(params["stem"], images))
        for i in range(blocks):
            x = residual_block(params[f"block{i}"], x, strides[i])
        return dense(params["head"], x.mean((1, 2)))

    return apply, params


# One CNN with the same weights for the same key, written in five ways


def cnn_weights(key, image_shape, classes):
    keys, (height, width, channels) = jax.random.split(key, 4), image_shape
    return {
        "conv1": product_layer(keys[0], 3, 3, channels, 8),
        "conv2": product_layer(keys[1], 3, 3, 8, 8),
        "dense1": product_layer(keys[2], (height // 4) * (width // 4) * 8, 16),
        "dense2": product_layer(keys[3], 16, classes),
    }


def plain_forward(params, images, relu):
    x = max_pool(relu(conv(params["conv1"], images)))
    x = average_pool(relu(conv(params["conv2"], x)))
    x = relu(dense(params["dense1"], x.reshape(len(x), -1)))
    return dense(params["dense2"], x)


def plain_cnn(key, *, image_shape=(8, 8, 3), classes=5):
    return functools.partial(plain_forward, relu=jax.nn.relu), cnn_weights(key, image_shape, classes)


@jax.custom_vjp
def guided_relu(x):
    return jnp.maximum(x, 0)


guided_relu.defvjp(lambda x: (guided_relu(x), x), lambda x, g: (g * (g > 0) * (x > 0),))


def hand_rewritten_guided_cnn(key, *, image_shape=(8, 8, 3), classes=5):
    """The plain CNN whose gradient is guided backpropagation, by ReLUs with a backward pass of their own."""
    return functools.partial(plain_forward, relu=guided_relu), cnn_weights(key, image_shape, classes)


class LinenCNN(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, images):
        x = nn.max_pool(nn.relu(nn.Conv(8, (3, 3), name="conv1")(images)), (2, 2), (2, 2))
        x = nn.avg_pool(nn.relu(nn.Conv(8, (3, 3), name="conv2")(x)), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(16, name="dense1")(x.reshape(len(x), -1)))
        return nn.Dense(self.classes, name="dense2")(x)


def linen_cnn(key, *, image_shape=(8, 8, 3), classes=5):
    return LinenCNN(classes).apply, {"params": cnn_weights(key, image_shape, classes)}


class NnxCNN(nnx.Module):
    def __init__(self, weights, rngs):
        for name, layer in weights.items():
            *size, inputs, outputs = layer["kernel"].shape
            made = nnx.Conv(inputs, outputs, size, rngs=rngs) if size else nnx.Linear(inputs, outputs, rngs=rngs)
            made.kernel, made.bias = nnx.Param(layer["kernel"]), nnx.Param(layer["bias"])
            setattr(self, name, made)

    def __call__(self, images):
        x = nnx.max_pool(nnx.relu(self.conv1(images)), (2, 2), (2, 2))
        x = nnx.avg_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2))
        x = nnx.relu(self.dense1(x.reshape(len(x), -1)))
        return self.dense2(x)


def nnx_cnn(key, *, image_shape=(8, 8, 3), classes=5):
    """Its params are the State of the split module."""
    graph, state = nnx.split(NnxCNN(cnn_weights(key, image_shape, classes), nnx.Rngs(0)))
    return lambda state, images: nnx.merge(graph, state)(images), state


def equinox_cnn(key, *, image_shape=(8, 8, 3), classes=5):
    """Its params are the arrays of an Equinox module, channels first; an ImportError where Equinox is missing."""
    import equinox as eqx

    def made(layer):
        *size, inputs, outputs = layer["kernel"].shape
        if not size:
            linear = eqx.nn.Linear(inputs, outputs, key=key)
            return eqx.tree_at(lambda m: (m.weight, m.bias), linear, (layer["kernel"].T, layer["bias"]))
        convolution = eqx.nn.Conv2d(inputs, outputs, size, padding="SAME", key=key)
        values = (layer["kernel"].transpose(3, 2, 0, 1), layer["bias"][:, None, None])
        return eqx.tree_at(lambda m: (m.weight, m.bias), convolution, values)

    def forward(model, image):
        x = eqx.nn.MaxPool2d(2, 2)(jax.nn.relu(model["conv1"](jnp.moveaxis(image, -1, 0))))
        x = eqx.nn.AvgPool2d(2, 2)(jax.nn.relu(model["conv2"](x)))
        x = jax.nn.relu(model["dense1"](jnp.moveaxis(x, 0, -1).ravel()))
        return model["dense2"](x)

    model = {name: made(layer) for name, layer in cnn_weights(key, image_shape, classes).items()}
    params, static = eqx.partition(model, eqx.is_array)
    return lambda params, images: jax.vmap(functools.partial(forward, eqx.combine(params, static)))(images), params


# Three equal blocks with the same weights for the same key, with and without a scan


def stack_params(key, image_shape, classes, width):
    keys = jax.random.split(key, 5)
    ends = {"stem": product_layer(keys[0], 3, 3, image_shape[2], width), "head": product_layer(keys[1], width, classes)}
    return ends, [product_layer(k, 3, 3, width, width) for k in keys[2:]]


def stack_apply(middle):
    """A network with middle(params, x) between its stem and its pools."""

    def apply(params, images):
        x = middle(params, jax.nn.relu(conv(params["stem"], images)))
        return dense(params["head"], max_pool(x).mean((1, 2)))

    return apply


def scanned_stack(key, *, image_shape=(8, 8, 3), classes=5, width=4):
    ends, blocks = stack_params(key, image_shape, classes, width)

    def middle(params, x):
        return lax.scan(lambda x, p: (jax.nn.relu(conv(p, x)), None), x, params["blocks"])[0]

    return stack_apply(middle), ends | {"blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)}


def unrolled_stack(key, *, image_shape=(8, 8, 3), classes=5, width=4):
    ends, blocks = stack_params(key, image_shape, classes, width)

    def middle(params, x):
        for i in range(len(blocks)):
            x = jax.nn.relu(conv(params[f"block{i}"], x))
        return x

    return stack_apply(middle), ends | {f"block{i}": block for i, block in enumerate(blocks)}
