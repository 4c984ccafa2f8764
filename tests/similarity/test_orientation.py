import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import skimage.feature
from map_kinds import map_kinds

from saliency_jax.similarity import cosine, hog, hog_correlation, hog_paper, hog_released_code
from saliency_jax.similarity.orientation import _bins, _hypotenuse

OPTIONS = {
    "defaults": dict(),
    "cell_8": dict(cell=8),
    "odd_cell": dict(cell=7, block=2),
    "8_orientations": dict(cell=5, block=1, orientations=8),
    "12_orientations": dict(cell=4, block=4, orientations=12),
    "1_orientation": dict(cell=16, block=2, orientations=1),
}
every_option = pytest.mark.parametrize("options", OPTIONS)


@functools.cache
def compiled(options):
    return jax.jit(functools.partial(hog, **OPTIONS[options]))


raw, paper, released_code = jax.jit(hog_correlation), jax.jit(hog_paper), jax.jit(hog_released_code)
every_correlation = pytest.mark.parametrize(
    "metric", [raw, paper, released_code], ids=["raw", "paper", "released_code"]
)


def reference(image, *, cell=16, block=3, orientations=9):
    image = np.asarray(image)
    return skimage.feature.hog(
        image,
        orientations=orientations,
        pixels_per_cell=(cell, cell),
        cells_per_block=(block, block),
        block_norm="L2-Hys",
        feature_vector=True,
        channel_axis=-1 if image.ndim == 3 else None,
    )


def slow_hog(image, *, cell=16, block=3, orientations=9):
    """HOG pixel by pixel in float64, the magnitudes compared in extended precision."""
    height, width, _ = image.shape
    rows, columns = np.zeros_like(image), np.zeros_like(image)
    rows[1:-1], columns[:, 1:-1] = image[2:] - image[:-2], image[:, 2:] - image[:, :-2]
    votes = np.zeros((height // cell, width // cell, orientations))
    for y in range(height // cell * cell):
        for x in range(width // cell * cell):
            r, c = rows[y, x].astype(np.longdouble), columns[y, x].astype(np.longdouble)
            channel = int(np.argmax(np.sqrt(r * r + c * c).astype(np.float64)))
            angle = math.degrees(math.atan2(rows[y, x, channel], columns[y, x, channel])) % 180
            k = int(np.searchsorted(180 * np.arange(1, orientations) / orientations, angle, side="right"))
            votes[y // cell, x // cell, k] += np.hypot(rows[y, x, channel], columns[y, x, channel]) / cell**2
    blocks = []
    for y in range(votes.shape[0] - block + 1):
        for x in range(votes.shape[1] - block + 1):
            v = votes[y : y + block, x : x + block]
            v = np.minimum(v / np.sqrt((v**2).sum() + 1e-10), 0.2)
            blocks.append(v / np.sqrt((v**2).sum() + 1e-10))
    return np.ravel(blocks)


@every_option
@pytest.mark.parametrize("kind", map_kinds((1,), 0))
@pytest.mark.parametrize("shape", [(53, 61), (50, 49, 3)])
def test_float32_equals_scikit_image(options, kind, shape):
    image = map_kinds(shape, 1)[kind].astype(np.float32)
    got = compiled(options)(jnp.asarray(image))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, reference(image, **OPTIONS[options]), atol=2e-6, rtol=0)


@every_option
@pytest.mark.parametrize("kind", map_kinds((1,), 0))
def test_float64_equals_scikit_image_as_far_as_its_float32_sums_go(options, kind):
    with jax.enable_x64(True):
        image = map_kinds((53, 49, 3), 2)[kind]
        got = compiled(options)(jnp.asarray(image))
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, reference(image, **OPTIONS[options]), atol=5e-7, rtol=0)


@pytest.mark.parametrize("options", [dict(cell=6), dict(cell=5, block=2, orientations=7)], ids=str)
@pytest.mark.parametrize("kind", ["normal", "sparse", "tied"])
def test_float64_equals_a_slow_derivation(options, kind):
    with jax.enable_x64(True):
        image = map_kinds((23, 31, 3), 3)[kind]
        got = jax.jit(functools.partial(hog, **options))(jnp.asarray(image))
        np.testing.assert_allclose(got, slow_hog(image, **options), atol=1e-12, rtol=0)


@pytest.mark.parametrize("options", ["defaults", "cell_8", "8_orientations"])
def test_colour_photographs_equal_scikit_image_in_float32(options, photographs):
    # 8-bit pixels give many channels of equal or nearly equal magnitude: the last digit picks the one that votes.
    for photograph in photographs:
        image = photograph.astype(np.float32)
        want = reference(image, **OPTIONS[options])
        np.testing.assert_allclose(compiled(options)(jnp.asarray(image)), want, atol=2e-6, rtol=0)


def test_a_colour_photograph_equals_the_slow_derivation_in_float64(photographs):
    # Not scikit-image: its hypot is the C library's, which in float64 does not always round correctly.
    with jax.enable_x64(True):
        image = photographs[0][:70, :66]
        np.testing.assert_allclose(compiled("defaults")(jnp.asarray(image)), slow_hog(image), atol=1e-12, rtol=0)


def test_digits_equal_scikit_image(mnist):
    digits = mnist[:16].astype(np.float32)
    got = jax.vmap(compiled("cell_8"))(jnp.asarray(digits))
    np.testing.assert_allclose(got, [reference(digit, cell=8) for digit in digits], atol=2e-6, rtol=0)


@pytest.mark.parametrize("orientations", [4, 5, 8, 9, 12])
def test_directions_a_few_float32_steps_from_a_border_fall_where_float64_puts_them(orientations):
    draw = np.random.default_rng(4)
    angle = np.pi * draw.integers(1, orientations, 20000) / orientations
    length = np.exp(2 * draw.normal(size=angle.size))
    columns = (length * np.cos(angle)).astype(np.float32)
    rows = (length * np.sin(angle)).astype(np.float32)
    rows += np.spacing(rows) * draw.integers(-3, 4, angle.size).astype(np.float32)
    degrees = np.rad2deg(np.arctan2(rows.astype(np.float64), columns.astype(np.float64))) % 180
    borders = 180 * np.arange(1, orientations) / orientations
    # Closer than this float64 itself is undecided, and so are we.
    decided = np.abs(degrees[:, None] - borders).min(1) > 1e-8
    bins = jax.jit(_bins, static_argnums=2)
    got = np.asarray(bins(jnp.asarray(rows)[None], jnp.asarray(columns)[None], orientations))[0]
    want = np.searchsorted(borders, degrees, side="right")
    assert decided.sum() > 3000
    np.testing.assert_array_equal(got[decided], want[decided])


@pytest.mark.parametrize("orientations", [1, 2, 4, 8, 9, 12])
@pytest.mark.parametrize("scale", [1e-30, 0.1, 1.0, 1e30])
def test_axes_and_diagonals_lie_exactly_on_their_borders(orientations, scale):
    rows = np.asarray([0, 0, -0.0, -0.0, 1, -1, 1, -1, 1, -1], np.float32)
    columns = np.asarray([1, -1, 1, -1, 0, 0, 1, -1, -1, 1], np.float32)
    degrees = np.asarray([0, 0, 0, 0, 90, 90, 45, 45, 135, 135])
    bins = jax.jit(_bins, static_argnums=2)
    got = bins(jnp.asarray(rows[None] * scale), jnp.asarray(columns[None] * scale), orientations)
    np.testing.assert_array_equal(got[0], degrees * orientations // 180)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_magnitude_is_rounded_once_and_symmetric(scale):
    draw = np.random.default_rng(5)
    x, y = (draw.normal(size=(2, 20000)) * np.exp(draw.normal(size=(2, 20000))) * scale).astype(np.float32)
    want = np.hypot(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    magnitude = jax.jit(_hypotenuse)
    got = magnitude(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_array_equal(got, magnitude(jnp.asarray(y), -jnp.asarray(x)))
    # One in some ten thousand lies too near the middle of two floats to be told.
    assert np.mean(np.asarray(got) != want) < 3e-4
    np.testing.assert_allclose(got, want, rtol=1.2e-7)
    assert magnitude(jnp.zeros(20000), jnp.zeros(20000)).max() == 0


def test_of_channels_with_equal_gradients_the_first_votes():
    ramp = np.arange(48, dtype=np.float32)
    down, right = np.broadcast_to(ramp[:, None], (48, 48)), np.broadcast_to(ramp, (48, 48))
    for first, second in ((down, right), (right, down)):
        both = np.stack([first, second], -1)
        features = np.asarray(compiled("defaults")(jnp.asarray(both)))
        np.testing.assert_allclose(features, reference(both), atol=1e-6)
        # Away from the border only the first channel's direction is there: down is bin 4, right is bin 0.
        assert np.flatnonzero(features.reshape(3, 3, 9)[1, 1]).tolist() == ([4] if first is down else [0])


def test_a_gradient_just_short_of_180_degrees_votes_in_the_last_bin_and_in_none_of_scikit_images():
    image = np.zeros((48, 48))
    image[:, 11:] = 1
    image[:, 10] = -1e-20 * np.arange(48)
    with jax.enable_x64(True):
        ours = np.asarray(compiled("defaults")(jnp.asarray(image))).reshape(3, 3, 9)
    theirs = reference(image).reshape(3, 3, 9)
    assert (ours[:, 0, 8] > 0.1).all()
    assert (theirs[:, 0, 8] < 1e-15).all()


@every_correlation
@pytest.mark.parametrize("kind", ["normal", "heavy_tails", "sparse", "tied", "two_values"])
def test_a_map_agrees_fully_with_itself(metric, kind):
    a = jnp.asarray(map_kinds((50, 49, 3), 6)[kind], jnp.float32)
    np.testing.assert_allclose(metric(a, a), 1.0, atol=3e-7, rtol=0)


def pair(shape, seed=7):
    a = map_kinds(shape, seed)["heavy_tails"].astype(np.float32)
    return a, (a + map_kinds(shape, seed + 1)["normal"]).astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 70), (50, 65, 3)])
def test_the_papers_convention_is_pearson_of_scikit_image_features_after_division_by_the_maximum(shape):
    a, b = pair(shape)
    features = [reference(x / abs(x).max()) for x in (a, b)]
    want = scipy.stats.pearsonr(*(f.astype(np.float64) for f in features)).statistic
    np.testing.assert_allclose(paper(jnp.asarray(a), jnp.asarray(b)), want, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 70), (50, 65, 3)])
def test_the_released_codes_convention_is_spearman_of_scikit_image_features_after_min_max(shape):
    a, b = pair(shape)
    features = [reference((x - x.min()) / np.ptp(x)) for x in (a, b)]
    want = scipy.stats.spearmanr(*features).statistic
    np.testing.assert_allclose(released_code(jnp.asarray(a), jnp.asarray(b)), want, atol=1e-4)


def test_any_metric_of_vectors_may_compare_the_features():
    a, b = (jnp.asarray(x) for x in pair((40, 40)))
    metric = functools.partial(hog_correlation, correlation=cosine, cell=8, block=2, orientations=6)
    got = jax.jit(metric)(a, b)
    features = [reference(x, cell=8, block=2, orientations=6).astype(np.float64) for x in (a, b)]
    want = np.dot(*features) / np.linalg.norm(features[0]) / np.linalg.norm(features[1])
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_the_sign_of_a_map_does_not_turn_its_directions():
    a, b = (jnp.asarray(x) for x in pair((50, 50)))
    assert paper(a, -b) == paper(a, b)


def test_maps_without_gradients_have_no_hog_correlation():
    flat = jnp.full((48, 48), 0.5)
    b = jnp.asarray(pair((48, 48))[1])
    np.testing.assert_array_equal(compiled("defaults")(flat), np.zeros(81))
    for metric in (raw, paper, released_code):
        assert jnp.isnan(metric(flat, b))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_reach_the_blocks_that_see_them_and_the_correlation(value):
    a, b = (jnp.asarray(x) for x in pair((64, 48)))
    broken = a.at[5, 5].set(value)
    features = np.asarray(compiled("defaults")(broken)).reshape(2, -1)
    assert np.isnan(features[0]).all() and np.isfinite(features[1]).all()
    for metric in (raw, paper, released_code):
        assert jnp.isnan(metric(broken, b))


def test_a_map_smaller_than_a_block_is_refused_with_the_cell_that_fits():
    with pytest.raises(ValueError, match="48 by 48; found 28 by 28: cell=9 or less would fit"):
        paper(jnp.ones((28, 28)), jnp.ones((28, 28)))
    assert jax.eval_shape(functools.partial(hog, cell=9), jnp.ones((28, 28))).shape == (81,)
    with pytest.raises(ValueError, match="no cell fits: block=3 is too large"):
        hog(jnp.ones((2, 9)))


@pytest.mark.parametrize("option", ["cell", "block", "orientations"])
def test_options_below_one_are_refused(option):
    with pytest.raises(ValueError, match="must be at least 1, found"):
        hog(jnp.ones((48, 48)), **{option: 0})


@every_correlation
def test_different_shapes_and_batches_are_refused_and_named(metric):
    with pytest.raises(ValueError, match=r"same shape, found \(48, 48, 3\) and \(48, 49, 3\)"):
        metric(jnp.ones((48, 48, 3)), jnp.ones((48, 49, 3)))
    with pytest.raises(ValueError, match=r"found \(2, 48, 48, 3\); batches go through jax.vmap"):
        metric(jnp.ones((2, 48, 48, 3)), jnp.ones((2, 48, 48, 3)))
