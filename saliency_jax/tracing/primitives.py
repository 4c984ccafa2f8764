"""What is known of JAX's primitives, by name: which work element by element, and which only move values."""

from __future__ import annotations


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


ELEMENTWISE_UNARY = names(
    "abs acos acosh asin asinh atan atanh cbrt ceil cos cosh digamma erf erf_inv erfc exp exp2 expm1 floor integer_pow "
    "is_finite lgamma log log1p logistic neg not round rsqrt sign sin sinh sqrt square tan tanh"
)
ELEMENTWISE_BINARY = names("add add_any and atan2 div eq ge gt le lt max min mul ne or pow rem sub xor")
CASTS = names("convert_element_type copy copy_p reduce_precision stop_gradient")
ELEMENTWISE = ELEMENTWISE_UNARY | ELEMENTWISE_BINARY | CASTS | {"select_n", "clamp"}

MOVEMENT = names(
    "argsort broadcast_in_dim concatenate convert_element_type copy copy_p dynamic_slice dynamic_update_slice "
    "expand_dims gather mesh_cast name optimization_barrier pad reduce_precision reshape reshard rev select_n "
    "sharding_constraint slice sort split squeeze tile top_k transpose unstack"
)
"""Every result is one of the operands' values: a gradient, or relevance, goes back to where the value came from."""

KEEPS_SIGN = names(
    "broadcast_in_dim convert_element_type copy copy_p dynamic_slice expand_dims name reduce_precision reshape rev "
    "slice split squeeze transpose"
)
"""Movements whose results are values of their one operand that depends on the image, with nothing put between."""

REARRANGEMENTS = names("expand_dims reshape squeeze transpose")
"""Movements that change the shape alone; some frameworks put them between a product and its bias."""

MAXIMA = names("max min reduce_max reduce_min reduce_window_max reduce_window_min clamp cummax cummin")
"""The winner takes all."""

PRODUCTS = names("dot_general conv_general_dilated")
SUMS = names("reduce_sum reduce_window_sum")
SCALINGS = names("add add_any sub mul div neg")
STATISTICS = ELEMENTWISE | SUMS | names("broadcast_in_dim reshape squeeze expand_dims reduce_max")
"""What a normalization by mean and variance, or a softmax, is written with."""

CUSTOM = names("custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr")
REMATERIALIZED = names("checkpoint remat remat2")
CONTAINERS = CUSTOM | REMATERIALIZED | names("scan cond while")
