"""Random networks on plain jax.numpy, for properties that any network has to keep under an interpreter of jaxprs.

`random_network(seed)` draws a list of blocks. A maker takes (rng, shape, linear), where shape is [height, width,
channel] or [feature] and linear forbids all that is not piecewise linear, and returns a Block.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Network(NamedTuple):
    """A drawn network.

    Attributes:
        apply: (params, images [batch, height, width, channel]) -> logits [batch, class].
        params: nested dicts of arrays of the default float type.
        image: one image [height, width, channel] with a stretch of exact zeros.
        target: a class.
        piecewise_linear: all nonlinearities are ReLUs and pools, all norms affine, all numbers of the default type.
        relus: ReLUs in the program as written: one for a scan's body, however often it runs, and those of both
            branches of a cond. The relu6 inside hard_swish does not count; that of a hard_sigmoid, which is a ReLU6
            of a shifted value, does.
        description: what was drawn, a line for each part, the lines of its inside indented.
    """

    apply: Callable
    params: dict
    image: jax.Array
    target: int
    piecewise_linear: bool
    relus: int
    description: tuple[str, ...]


class Block(NamedTuple):
    """A part of a network: apply(params, x) -> y; the rest as in Network."""

    apply: Callable
    params: dict
    description: tuple[str, ...]
    relus: int = 0
    piecewise_linear: bool = True


def random_network(seed):
    """The network of a seed, the same one at every call; in float64 where x64 is enabled."""
    rng, default = np.random.default_rng(seed), jnp.result_type(float)
    linear, image, classes = rng.random() < 0.5, random_image(rng), int(rng.integers(3, 7))
    dtype = default if linear else pick(rng, [default] * 6 + [jnp.bfloat16, jnp.float16])
    blocks = BLOCKS if linear else BLOCKS + SMOOTH_BLOCKS
    makers = [pick(rng, OPENINGS), *(pick(rng, blocks) for _ in range(rng.integers(1, 5)))]
    whole, _ = grow(rng, image.shape, [*makers, *head(rng, classes, linear)], linear)

    def apply(params, images):
        return whole.apply(params, images.astype(dtype)).astype(images.dtype)

    title = f"seed {seed}: {image.shape} -> {classes} in {jnp.dtype(dtype).name}"
    piecewise_linear = whole.piecewise_linear and dtype == default
    target = int(rng.integers(classes))
    return Network(apply, whole.params, image, target, piecewise_linear, whole.relus, (title, *whole.description))


def random_image(rng):
    """An image with a blank border, or blank in its upper half."""
    image, blank = rng.normal(size=(*rng.integers(6, 13, size=2), rng.integers(1, 5))), rng.integers(1, 3)
    if rng.random() < 0.3:
        image[: len(image) // 2] = 0.0
    else:
        image[:blank] = image[-blank:] = image[:, :blank] = image[:, -blank:] = 0.0
    return array(image)


# Drawing and composing


def pick(rng, options):
    return options[rng.integers(len(options))]


def array(values):
    return jnp.asarray(values, jnp.result_type(float))


def weight(rng, size, fan_in):
    """He's initialization, at times with exact zeros in it."""
    kept = rng.random(size) > 0.2 if rng.random() < 0.3 else 1.0
    return array(kept * rng.normal(size=size) * math.sqrt(2 / fan_in))


def kernel_and_bias(rng, size, fan_in, outputs):
    bias = {"bias": array(0.1 * rng.normal(size=outputs))} if rng.random() < 0.7 else {}
    return {"kernel": weight(rng, size, fan_in)} | bias


def along_channels(vector, x):
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def leaf(label, apply, params, **facts):
    """A block that casts its parameters where it uses them."""
    return Block(lambda p, x: apply({name: v.astype(x.dtype) for name, v in p.items()}, x), params, (label,), **facts)


def around(label, apply, params, *inner, piecewise_linear=True):
    """A block with other blocks inside."""
    lines = (label, *(f"  {line}" for block in inner for line in block.description))
    linear = piecewise_linear and all(block.piecewise_linear for block in inner)
    return Block(apply, params, lines, sum(block.relus for block in inner), linear)


def chain(*blocks):
    """Blocks one after the other."""

    def apply(params, x):
        for i, block in enumerate(blocks):
            x = block.apply(params[f"block{i}"], x)
        return x

    whole = around("", apply, {f"block{i}": block.params for i, block in enumerate(blocks)}, *blocks)
    return whole._replace(description=sum((block.description for block in blocks), ()))


def grow(rng, shape, makers, linear):
    """The chain of what the makers make, and the shape after it. What leaves nothing of the image is drawn again."""
    blocks = []
    for make in makers:
        after = (0,)
        while 0 in after:
            block = make(rng, shape, linear)
            x = jax.ShapeDtypeStruct((1, *shape), jnp.result_type(float))
            after = jax.eval_shape(block.apply, block.params, x).shape[1:]
        blocks.append(block)
        shape = after
    return chain(*blocks), shape


# Activations


@jax.custom_jvp
def softsign(x):
    return x / (1 + jnp.abs(x))


@softsign.defjvp
def softsign_jvp(primals, tangents):
    return softsign(*primals), tangents[0] / (1 + jnp.abs(primals[0])) ** 2


RELUS = {
    "jax.nn.relu": jax.nn.relu,
    "jnp.maximum(x, 0)": lambda x: jnp.maximum(x, 0),
    "jnp.maximum(0., x)": lambda x: jnp.maximum(0.0, x),
    "jax.nn.relu6": jax.nn.relu6,
    "jnp.where(x > 0, x, 0)": lambda x: jnp.where(x > 0, x, 0),
    "jnp.clip(x, 0, None)": lambda x: jnp.clip(x, 0, None),
    "x * (x > 0)": lambda x: x * (x > 0),
    "lax.max(x, lax.full_like(x, 0))": lambda x: lax.max(x, lax.full_like(x, 0)),
}
CURVES = {
    "gelu tanh": functools.partial(jax.nn.gelu, approximate=True),
    "gelu erf": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "hard_swish": jax.nn.hard_swish,
    "custom_jvp softsign": softsign,
}


def activation(rng, shape, linear):
    if linear or rng.random() < 0.5:
        name = pick(rng, list(RELUS))
        return leaf(f"relu {name}", lambda p, x: RELUS[name](x), {}, relus=1)
    name = pick(rng, list(CURVES))
    return leaf(f"curve {name}", lambda p, x: CURVES[name](x), {}, piecewise_linear=False)


# Convolutions, dense layers, pools and norms


def conv(rng, channels, features, size, groups=1, **options):
    """A convolution, a transposed one where no window_strides are given."""
    params = kernel_and_bias(rng, (*size, channels // groups, features), math.prod(size) * channels // groups, features)
    convolve = lax.conv_transpose
    if "window_strides" in options:
        convolve = functools.partial(lax.conv_general_dilated, feature_group_count=groups)

    def apply(p, x):
        y = convolve(x, p["kernel"], dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)
        return y + p["bias"][None, None, None, :] if "bias" in p else y

    said = f"{size} {channels}->{features} groups={groups} {options} bias={'bias' in params}"
    return leaf(f"{'conv' if 'window_strides' in options else 'transposed conv'} {said}", apply, params)


def any_conv(rng, shape, linear):
    channels, size = shape[-1], pick(rng, [(3, 3), (3, 3), (2, 2), (1, 1), (3, 1)])
    if max(shape) <= 8 and rng.random() < 0.3:
        return conv(rng, channels, channels + 2, size, strides=(2, 2), padding=pick(rng, ["SAME", "VALID"]))
    groups = pick(rng, [1, channels, math.gcd(channels, 2), math.gcd(channels, 3)])
    features = groups * int(rng.integers(1, 3)) if groups > 1 else int(rng.integers(4, 7))
    strides, dilation = pick(rng, [(1, 1), (1, 1), (2, 2), (2, 1)]), pick(rng, [(1, 1), (1, 1), (2, 2), (1, 2)])
    options = {"window_strides": strides, "padding": pick(rng, ["SAME", "VALID", ((1, 1), (0, 2))])}
    return conv(rng, channels, features, size, groups, rhs_dilation=dilation, **options)


def same_conv(rng, shape, linear, features=None, strides=(1, 1), size=(3, 3)):
    """A convolution that keeps the shape but for what is asked for."""
    return conv(rng, shape[-1], features or shape[-1], size, window_strides=strides, padding="SAME")


def contract(a, i, b, j):
    return lax.dot_general(a, b, (((i,), (j,)), ((), ())))


# The axes of a weight, the one of them that is summed over, and its product with x[b, h, w, c] or x[b, c].
CHANNEL_PRODUCTS = {
    "x @ w": ("co", "c", lambda x, w: x @ w),
    "weight on the left": ("oc", "c", lambda x, w: jnp.moveaxis(contract(w, 1, x, x.ndim - 1), 0, -1)),
    "einsum": ("co", "c", lambda x, w: jnp.einsum("...c,co->...o", x, w)),
    "einsum, weight on the left": ("oc", "c", lambda x, w: jnp.einsum("oc,...c->...o", w, x)),
}
SPATIAL_PRODUCTS = {
    "einsum over rows": ("ho", "h", lambda x, w: jnp.einsum("bhwc,ho->bowc", x, w)),
    "dot_general over columns": ("wo", "w", lambda x, w: jnp.swapaxes(contract(x, 2, w, 0), 2, 3)),
    "einsum over rows by channel": ("cho", "h", lambda x, w: jnp.einsum("bhwc,cho->bowc", x, w)),
}


def dense(rng, shape, linear, features=None, products=None):
    families = [CHANNEL_PRODUCTS, SPATIAL_PRODUCTS, SPATIAL_PRODUCTS] if len(shape) == 3 else [CHANNEL_PRODUCTS]
    products = products or pick(rng, families)
    name = pick(rng, list(products))
    axes, summed, product = products[name]
    sizes = dict(zip("hwc"[-len(shape) :], shape, strict=True)) | {"o": features or int(rng.integers(3, 7))}
    outputs = sizes["o" if summed == "c" else "c"]
    params = kernel_and_bias(rng, [sizes[axis] for axis in axes], sizes[summed], outputs)

    def apply(p, x):
        y = product(x, p["kernel"])
        return y + along_channels(p["bias"], y) if "bias" in p else y

    return leaf(f"dense {name} {shape} -> {sizes['o']} bias={'bias' in params}", apply, params)


WINDOWS = [((2, 2), (2, 2), "VALID"), ((3, 3), (2, 2), "SAME"), ((3, 3), (1, 1), "SAME"), ((2, 2), (1, 1), "VALID")]


def pooled(x, start, operation, window, strides, padding):
    return lax.reduce_window(x, start, operation, (1, *window, 1), (1, *strides, 1), padding)


def max_pool(rng, shape, linear):
    where = pick(rng, WINDOWS)
    return leaf(f"max_pool {where}", lambda p, x: pooled(x, -jnp.inf, lax.max, *where), {})


def average_pool(rng, shape, linear):
    where, padding_counts = pick(rng, WINDOWS), rng.random() < 0.5

    def apply(p, x):
        count = math.prod(where[0]) if padding_counts else pooled(jnp.ones_like(x), 0.0, lax.add, *where)
        return pooled(x, 0.0, lax.add, *where) / count

    return leaf(f"average_pool {where} padding counts: {padding_counts}", apply, {})


BATCH_NORMS = {
    "rsqrt": lambda x, mean, variance, scale, shift: (x - mean) * lax.rsqrt(variance + 1e-5) * scale + shift,
    "sqrt": lambda x, mean, variance, scale, shift: (x - mean) / jnp.sqrt(variance + 1e-5) * scale + shift,
    "product first": lambda x, mean, variance, scale, shift: (x - mean) * (lax.rsqrt(variance + 1e-5) * scale) + shift,
    "scale and shift": lambda x, scale, shift: x * scale + shift,
}


def batch_norm(rng, shape, linear):
    way, channels = pick(rng, list(BATCH_NORMS)), shape[-1]
    signs = rng.choice([-1, 1], channels) if rng.random() < 0.5 else 1
    values = {"scale": signs * rng.uniform(0.7, 1.3, channels), "shift": 0.1 * rng.normal(size=channels)}
    if way != "scale and shift":
        values |= {"mean": 0.1 * rng.normal(size=channels), "variance": rng.uniform(0.5, 1.5, channels)}

    def apply(p, x):
        return BATCH_NORMS[way](x, **{name: along_channels(v, x) for name, v in p.items()})

    return leaf(f"batch_norm {way}", apply, {name: array(v) for name, v in values.items()})


def sample_norm(rng, shape, linear):
    """LayerNorm or RMSNorm over the channels, or over the whole image where one of two channels would be a sign."""
    name, channels = pick(rng, ["layer_norm", "rms_norm"]), shape[-1]
    axes = (-1,) if channels > 2 else tuple(range(1, 1 + len(shape)))
    params = {"scale": array(rng.uniform(0.7, 1.3, channels)), "shift": array(0.1 * rng.normal(size=channels))}

    def apply(p, x):
        y = x - jnp.mean(x, axes, keepdims=True) if name == "layer_norm" else x
        y = y * lax.rsqrt(jnp.mean(y * y, axes, keepdims=True) + 1e-3)
        return y * along_channels(p["scale"], x) + along_channels(p["shift"], x)

    return leaf(f"{name} over {axes}", apply, params, piecewise_linear=False)


# Blocks of several layers


def unit(rng, shape, linear, product=any_conv):
    """A convolution or another product and an activation, with or without batch norm after or before the product."""
    orders = [(product, activation), (product, batch_norm, activation)]
    orders += [(batch_norm, product, activation), (batch_norm, activation, product)]
    return grow(rng, shape, pick(rng, orders), linear)[0]


same_unit, dense_unit = functools.partial(unit, product=same_conv), functools.partial(unit, product=dense)


def residual(rng, shape, linear):
    """f(x) + x, or f(x) and a 1x1 convolution of x."""
    asked = pick(rng, [{}, {}, {"features": shape[-1] + 1}, {"features": shape[-1] + 1, "strides": (2, 2)}])
    f, _ = grow(rng, shape, [functools.partial(same_conv, **asked), batch_norm, activation, same_conv], linear)
    skip = same_conv(rng, shape, linear, size=(1, 1), **asked) if asked else leaf("identity", lambda p, x: x, {})
    then = activation(rng, shape, linear)

    def apply(p, x):
        return then.apply({}, f.apply(p["f"], x) + skip.apply(p["skip"], x))

    return around(f"residual {asked}", apply, {"f": f.params, "skip": skip.params}, f, skip, then)


def concatenation(rng, shape, linear):
    f = same_unit(rng, shape, linear)
    return around("concatenation", lambda p, x: jnp.concatenate([x, f.apply(p, x)], -1), f.params, f)


def gated(rng, shape, linear):
    """Squeeze and excite: channels times a function of their means."""
    f, _ = grow(rng, shape[-1:], [dense, activation, functools.partial(dense, features=shape[-1])], linear)
    gate = pick(rng, [jax.nn.sigmoid, jax.nn.hard_sigmoid])

    def apply(p, x):
        return x * gate(f.apply(p, x.mean((1, 2))))[:, None, None, :]

    block = around(f"squeeze and excite {gate.__name__}", apply, f.params, f, piecewise_linear=False)
    return block._replace(relus=block.relus + (gate is jax.nn.hard_sigmoid))


def glu(rng, shape, linear):
    f = dense(rng, shape, linear, 2 * shape[-1], CHANNEL_PRODUCTS)
    name, gate = pick(rng, [("sigmoid", jax.nn.sigmoid), ("gelu", jax.nn.gelu), ("identity", lambda x: x)])

    def apply(p, x):
        a, b = jnp.split(f.apply(p, x), 2, axis=-1)
        return a * gate(b)

    return around(f"glu {name}", apply, f.params, f, piecewise_linear=False)


def attention(rng, shape, linear):
    """x and two-headed self-attention, the pixels its tokens."""
    channels = shape[-1]
    params = {name: weight(rng, (channels, 2, 3), 2 * channels) for name in ("query", "key", "value")}
    params["out"] = weight(rng, (2, 3, channels), 6)

    def apply(p, x):
        tokens = x.reshape(len(x), -1, channels)
        query, key, value = (jnp.einsum("btc,cnd->btnd", tokens, p[name]) for name in ("query", "key", "value"))
        weights = jax.nn.softmax(jnp.einsum("bqnd,bknd->bnqk", query, key) / math.sqrt(3))
        mixed = jnp.einsum("bnqk,bknd->bqnd", weights, value)
        return x + jnp.einsum("bqnd,ndc->bqc", mixed, p["out"]).reshape(x.shape)

    return leaf("attention", apply, params, piecewise_linear=False)


# Blocks inside of something that a jaxpr shows as one equation


def wrapped(rng, shape, linear):
    block = pick(rng, [unit, dense_unit, residual, scanned, conditional, wrapped])(rng, shape, linear)
    name, wrapper = pick(rng, [("jit", jax.jit), ("checkpoint", jax.checkpoint), ("scope", jax.named_scope("scope"))])
    return around(name, wrapper(block.apply), block.params, block)


def scanned(rng, shape, linear):
    """Blocks that share one structure, each with the numbers of the first in another order."""
    block, times, backward = same_unit(rng, shape, linear), int(rng.integers(2, 4)), rng.random() < 0.3
    params = jax.tree.map(lambda x: array([rng.permuted(x) for _ in range(times)]), block.params)

    def apply(params, x):
        return lax.scan(lambda y, p: (block.apply(p, y), None), x, params, reverse=backward)[0]

    return around(f"scan of {times}", apply, params, block)


def conditional(rng, shape, linear):
    """One of two blocks, by a constant or by the sign of a parameter."""
    yes, no, fixed = same_unit(rng, shape, linear), same_unit(rng, shape, linear), pick(rng, [True, False, None])
    params = {"yes": yes.params, "no": no.params} | ({"switch": array(rng.normal())} if fixed is None else {})

    def apply(p, x):
        predicate = p["switch"] > 0 if fixed is None else fixed
        return lax.cond(predicate, lambda x: yes.apply(p["yes"], x), lambda x: no.apply(p["no"], x), x)

    return around(f"cond on {'a parameter' if fixed is None else fixed}", apply, params, yes, no)


# The whole

FLATTENED = {
    "global_average": lambda p, x: x.mean((1, 2)),
    "global_max": lambda p, x: x.max((1, 2)),
    "flatten": lambda p, x: x.reshape(len(x), -1),
}
# Units come first and hidden layers are wide, for through narrow networks hardly any gradient comes.
OPENINGS = [unit, unit, any_conv]
BLOCKS = [unit, *[dense_unit] * 2, residual, concatenation, *[wrapped] * 3, *[scanned] * 2, conditional]
BLOCKS += [*[max_pool] * 3, *[average_pool] * 3, batch_norm]
SMOOTH_BLOCKS = [sample_norm, sample_norm, gated, glu, glu, attention]


def head(rng, classes, linear):
    """Makers from an image to logits."""
    name = pick(rng, list(FLATTENED))
    wide = functools.partial(dense, features=12)
    hidden = pick(rng, [(), (wide, activation), (wide, activation) if linear else (wide, sample_norm, activation)])
    return [lambda *_: leaf(name, FLATTENED[name], {}), *hidden, functools.partial(dense, features=classes)]
