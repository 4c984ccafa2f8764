"""The command `saliency-jax`: the sanity checks on a user's own model."""

from saliency_jax.command_line.program import main

__all__ = ["main"]
