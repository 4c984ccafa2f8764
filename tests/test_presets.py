import pytest

from saliency_jax.presets import PRESETS, Training


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"schedule": "linear"}, "schedule must be"),
        ({"l2": -0.1, "decayed": ("kernel",)}, "l2 must not be negative"),
        ({"l2": 0.1}, "l2 and decayed go together"),
        ({"decayed": ("kernel",)}, "l2 and decayed go together"),
    ],
)
def test_a_configuration_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Training(**({"steps": 1} | fields))


def test_the_paper_presets_are_those_of_its_appendix():
    for name in ("paper_cnn", "paper_mlp"):
        preset = PRESETS[name]
        assert (preset.steps, preset.batch_size, preset.learning_rate) == (20_000, 50, 1e-4)
        assert preset.schedule == "constant"
    assert PRESETS["paper_cnn"].l2 == 0.001
    assert PRESETS["paper_cnn"].decayed == ("conv1/kernel", "conv2/kernel", "dense/kernel")
    assert PRESETS["paper_mlp"].l2 == 0
