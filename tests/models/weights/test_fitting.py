"""Arrays become a network's variables whole, or the first of what is wrong is named."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.models.weights import fit


class Small(nn.Module):
    @nn.compact
    def __call__(self, images):
        hidden = nn.BatchNorm(use_running_average=True, name="bn")(nn.Conv(4, (3, 3), name="conv")(images))
        return nn.Dense(5, name="logits")(hidden.mean(axis=(1, 2)))


SHAPE = (8, 8, 3)


def arrays():
    variables = Small().init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def test_every_leaf_gets_its_array_in_the_dtype_of_the_model():
    given = arrays()
    given["params/logits/kernel"] = np.arange(20).reshape(4, 5)
    fitted = fit(given, Small(), SHAPE, source="file")
    kernel = fitted["params"]["logits"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, np.arange(20).reshape(4, 5))
    np.testing.assert_array_equal(fitted["batch_stats"]["bn"]["var"], given["batch_stats/bn/var"])
    assert Small().apply(fitted, np.ones((2, *SHAPE), np.float32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("params/conv/bias"), r"1 of 8 are missing, first 'params/conv/bias'"),
        (lambda a: a.update({"params/conv2/bias": a["params/conv/bias"]}), r"another architecture .*1 tensors more"),
        (
            lambda a: a.update({"params/conv/bias": np.zeros(5)}),
            r"'params/conv/bias' must have shape \(4,\), found \(5,\)",
        ),
        (lambda a: a.update({"params/conv/bias": np.full(4, np.nan)}), "must be finite, found 4 NaN or infinite of 4"),
        (lambda a: a.update({"params/conv/bias": np.array(list("abcd"))}), "must hold numbers, found dtype"),
        (lambda a: a.update({"params/conv/bias": np.zeros(4, object)}), "must hold numbers, found dtype object"),
    ],
)
def test_what_does_not_fit_is_named_with_the_file(change, message):
    given = arrays()
    change(given)
    with pytest.raises(ValueError, match=message) as caught:
        fit(given, Small(), SHAPE, source="some.file")
    assert "some.file" in str(caught.value)
