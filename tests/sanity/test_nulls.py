import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from saliency_jax import pearson, spearman
from saliency_jax.sanity.nulls import UNRELATED, null_partners


def maps(count=6):
    return jnp.asarray(np.random.default_rng(1).standard_t(3, size=(count, 8, 8, 3)), jnp.float32)


def test_there_is_one_partner_of_each_kind_and_in_the_shape_of_the_maps(key):
    given = maps()
    partners = null_partners(given, key)
    assert tuple(partners) == UNRELATED
    for partner in partners.values():
        assert partner.shape == given.shape and partner.dtype == given.dtype


@pytest.mark.parametrize("count", [2, 6])
def test_the_partner_from_another_image_is_never_the_images_own(count):
    given = np.asarray(maps(count))
    partner_of = set()
    for seed in range(30):
        partners = np.asarray(null_partners(jnp.asarray(given), jax.random.key(seed))["other_image"])
        found = [[i for i in range(count) if np.array_equal(partner, given[i])] for partner in partners]
        assert all(len(own) == 1 for own in found)
        own = tuple(i for [i] in found)
        assert all(i != place for place, i in enumerate(own))
        assert sorted(own) == list(range(count))
        partner_of.add(own[0])
    # 30 draws pass over one of five others once in 160 times; with these keys they do not.
    assert partner_of == set(range(1, count))


def test_one_image_has_no_other_and_its_partner_is_nan(key):
    partners = null_partners(maps(1), key)
    assert np.isnan(partners["other_image"]).all()
    assert np.isfinite(partners["noise"]).all() and np.isfinite(partners["permuted_pixels"]).all()


def test_shuffled_pixels_keep_each_images_pixel_vectors_and_no_two_images_their_order(key):
    given = np.asarray(maps())
    shuffled = np.asarray(null_partners(jnp.asarray(given), key)["permuted_pixels"])
    orders = []
    for before, after in zip(given.reshape(6, 64, 3), shuffled.reshape(6, 64, 3), strict=True):
        np.testing.assert_array_equal(before[np.lexsort(before.T)], after[np.lexsort(after.T)])
        orders.append([int(np.flatnonzero((before == pixel).all(1))[0]) for pixel in after])
    assert len({tuple(order) for order in orders}) == 6
    assert all(np.mean(np.array(order) == np.arange(64)) < 0.2 for order in orders)


def test_noise_is_standard_normal_and_independent_from_image_to_image(key):
    drawn = np.asarray(null_partners(maps(), key)["noise"], np.float64)
    assert scipy.stats.kstest(drawn.ravel(), "norm").statistic < 2.5 / np.sqrt(drawn.size)
    between = np.corrcoef(drawn.reshape(6, -1))[np.triu_indices(6, 1)]
    assert np.abs(between).max() < 5 / np.sqrt(192)


def test_maps_of_independent_pixels_score_zero_on_average_against_every_partner(key):
    count, pixels = 40, 64
    given = jnp.asarray(np.random.default_rng(2).normal(size=(count, 8, 8, 1)), jnp.float32)
    compiled = [jax.jit(jax.vmap(metric)) for metric in (pearson, spearman)]
    for kind, partners in null_partners(given, key).items():
        for compare in compiled:
            scores = np.asarray(compare(given, partners))
            # Both correlations of independent pixels have the variance 1 / (pixels - 1).
            assert abs(scores.mean()) < 4 / np.sqrt((pixels - 1) * count), kind
            assert scores.std() == pytest.approx(1 / np.sqrt(pixels - 1), rel=4 / np.sqrt(2 * count)), kind


def test_the_same_key_gives_the_same_partners_and_the_kinds_do_not_share_draws(key):
    given = maps()
    one, again = null_partners(given, key), null_partners(given, key)
    jax.tree.map(np.testing.assert_array_equal, one, again)
    other = null_partners(given, jax.random.key(99))
    assert np.any(one["noise"] != other["noise"]) and np.any(one["permuted_pixels"] != other["permuted_pixels"])
