"""The small networks with their weights drawn, each once for all the tests of a process."""

from functools import cache

import jax

from tests import small_networks


@cache
def made(name):
    """The (apply, params) of a small network; one program draws its weights, where an eager call compiles dozens."""
    functions = []

    def drawn(key):
        apply, params = getattr(small_networks, name)(key)
        functions.append(apply)
        return params

    params = jax.jit(drawn)(jax.random.key(0))
    return functions[0], params
