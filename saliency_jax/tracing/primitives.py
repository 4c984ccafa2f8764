"""What is known of JAX's primitives, by name: which work element by element, which only move values, which are linear."""

from __future__ import annotations

ELEMENTWISE_UNARY = frozenset(
    "abs acos acosh asin asinh atan atanh cbrt ceil cos cosh digamma erf erf_inv erfc exp exp2 expm1 floor "
    "integer_pow is_finite lgamma log log1p logistic neg not round rsqrt sign sin sinh sqrt square tan tanh".split()
)
COMPARISONS = frozenset("eq ge gt le lt ne".split())
ELEMENTWISE_BINARY = COMPARISONS | frozenset("add add_any and atan2 div max min mul or pow rem sub xor".split())
CASTS = frozenset("convert_element_type copy copy_p reduce_precision stop_gradient".split())
ELEMENTWISE = ELEMENTWISE_UNARY | ELEMENTWISE_BINARY | CASTS | {"select_n", "clamp"}

MOVEMENT = frozenset(
    "argsort broadcast_in_dim concatenate convert_element_type copy copy_p dynamic_slice dynamic_update_slice "
    "expand_dims gather mesh_cast name optimization_barrier pad reduce_precision reshape reshard rev select_n "
    "sharding_constraint slice sort split squeeze tile top_k transpose unstack".split()
)
"""Every result is one of the operands' values: a gradient, or relevance, goes back to where the value came from."""

MAXIMA = frozenset("max min reduce_max reduce_min reduce_window_max reduce_window_min clamp cummax cummin".split())
"""The winner takes all."""

PRODUCTS = frozenset(("dot_general", "conv_general_dilated"))
SUMS = frozenset(("reduce_sum", "reduce_window_sum"))
STATISTICS = ELEMENTWISE | SUMS | {"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "reduce_max"}
"""What a normalization by mean and variance, or a softmax, is written with."""

CUSTOM = frozenset(("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"))
REMATERIALIZED = frozenset(("checkpoint", "remat", "remat2"))
CONTAINERS = CUSTOM | REMATERIALIZED | {"scan", "cond", "while"}
