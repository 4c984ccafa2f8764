"""Histograms of oriented gradients (HOG), and the two ways in which they were used to compare saliency maps."""

from __future__ import annotations

import math
from fractions import Fraction

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from saliency_jax.checks import check_integer
from saliency_jax.similarity.correlation import pearson, spearman
from saliency_jax.similarity.pairs import as_pair, floating, planes
from saliency_jax.similarity.scaling import by_largest_magnitude, to_unit_interval
from saliency_jax.typing import Metric

_EPSILON = 1e-5
_CLIP = 0.2


def hog(
    image: Float[Array, ...], *, cell: int = 16, block: int = 3, orientations: int = 9
) -> Float[Array, " features"]:
    """Histograms of oriented gradients of an image, with L2-Hys normalized blocks.

    Central differences (zero at the border), from the channel of largest magnitude, the first of equals; in each cell
    the magnitudes summed by direction modulo 180 degrees, bin k from `180 k / orientations` on; in each block of
    cells `v / sqrt(|v|^2 + eps^2)`, clipped at 0.2, and divided once more; `eps = 1e-5`.

    Directions are compared with the borders of the bins to about 1e-10 rad in float32 too, exactly on axes and
    diagonals, and magnitudes are rounded once: a digit lost there would move whole votes to other bins.

    Args:
        image: `[height, width]` or `[height, width, channel]`. Rows and columns beyond the last whole cell only
            enter through the differences beside them.
        cell: side of a cell in pixels.
        block: side of a block in cells. Blocks overlap: they start at every cell.
        orientations: number of bins in 180 degrees.

    Returns:
        The features, ordered as [block row, block column, cell row, cell column, orientation] and flattened. NaN
        in every block that a NaN or an infinity reaches.

    Raises:
        TypeError: if the image is not an array of floats.
        ValueError: if the image has another number of axes or is smaller than one block, or if an option is below 1.

    Source:
        Dalal and Triggs, "Histograms of oriented gradients for human detection" (2005). Conventions and defaults of
        `skimage.feature.hog(feature_vector=True, channel_axis=-1)`, except that cells are 16 pixels wide, as in the
        sanity checks. Two differences: scikit-image loses a gradient less than 1e-16 rad short of 180 degrees; and in
        float64 its magnitudes are those of the C library, so that of channels equal to the last digit it may take
        another one.
    """
    image = planes(floating(image, "image"))
    _check_options(image.shape[1:], cell, block, orientations)
    rows, columns, magnitude = _strongest_gradient(image)
    votes = _cell_histograms(_bins(rows, columns, orientations), magnitude, cell, orientations)
    return _normalized_blocks(votes, block).ravel()


def hog_correlation(
    a: Float[Array, ...],
    b: Float[Array, ...],
    *,
    correlation: Metric = pearson,
    cell: int = 16,
    block: int = 3,
    orientations: int = 9,
) -> Float[Array, ""]:
    """Correlation of the histograms of oriented gradients of two maps as they are.

    `correlation(hog(a), hog(b))`

    Args:
        a: a map, `[height, width]` or `[height, width, channel]`.
        b: the other map, in the same shape.
        correlation: compares the two vectors of features: `pearson`, `spearman`, `cosine` or another metric.
        cell: side of a cell in pixels.
        block: side of a block in cells.
        orientations: number of bins in 180 degrees.

    Returns:
        What `correlation` returns. With `pearson` or `spearman` NaN for a map without gradients, whose
        features are constant.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: if the shapes differ or are not those of a map, or as `hog` raises.

    Source:
        Adebayo et al., "Sanity Checks for Saliency Maps" (2018), section 4.
    """
    a, b = as_pair(a, b)
    return correlation(
        hog(a, cell=cell, block=block, orientations=orientations),
        hog(b, cell=cell, block=block, orientations=orientations),
    )


def hog_paper(a: Float[Array, ...], b: Float[Array, ...], *, cell: int = 16, block: int = 3) -> Float[Array, ""]:
    """HOG similarity as the paper describes it: maps scaled to [-1, 1], Pearson correlation of the features.

    Each map is divided by its largest magnitude; a map that is zero everywhere scores NaN.

    Args:
        a: a map, `[height, width]` or `[height, width, channel]`.
        b: the other map, in the same shape.
        cell: side of a cell in pixels.
        block: side of a block in cells.

    Returns:
        The correlation in [-1, 1], up to rounding.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: as `hog_correlation` raises.

    Source:
        Adebayo et al., "Sanity Checks for Saliency Maps" (2018), section 4 and appendix.
    """
    a, b = as_pair(a, b)
    return hog_correlation(
        by_largest_magnitude(a), by_largest_magnitude(b), correlation=pearson, cell=cell, block=block
    )


def hog_released_code(
    a: Float[Array, ...], b: Float[Array, ...], *, cell: int = 16, block: int = 3
) -> Float[Array, ""]:
    """HOG similarity as the released code computes it: maps scaled to [0, 1], Spearman correlation of the features.

    Signs are kept. A constant map scores NaN.

    Args:
        a: a map, `[height, width]` or `[height, width, channel]`.
        b: the other map, in the same shape.
        cell: side of a cell in pixels.
        block: side of a block in cells.

    Returns:
        The correlation in [-1, 1], up to rounding.

    Raises:
        TypeError: if a map is not an array of floats.
        ValueError: as `hog_correlation` raises.

    Source:
        Notebooks published with Adebayo et al., "Sanity Checks for Saliency Maps" (2018):
        `spearmanr` of `feature.hog(pixels_per_cell=(16, 16))`.
    """
    a, b = as_pair(a, b)
    return hog_correlation(to_unit_interval(a), to_unit_interval(b), correlation=spearman, cell=cell, block=block)


def _check_options(shape: tuple[int, ...], cell: int, block: int, orientations: int) -> None:
    for argument, value in (("cell", cell), ("block", block), ("orientations", orientations)):
        check_integer(value, argument)
    if min(cell, block, orientations) < 1:
        raise ValueError(f"cell, block and orientations must be at least 1, found {cell}, {block} and {orientations}")
    side, largest = cell * block, min(shape) // block
    if min(shape) < side:
        fits = f"cell={largest} or less would fit" if largest else f"no cell fits: block={block} is too large"
        raise ValueError(
            f"an image must hold one block of {block} by {block} cells of {cell} pixels, {side} by {side}; "
            f"found {shape[0]} by {shape[1]}: {fits}"
        )


def _strongest_gradient(
    image: Float[Array, "channel height width"],
) -> tuple[Float[Array, "height width"], Float[Array, "height width"], Float[Array, "height width"]]:
    """Differences along rows and columns and their magnitude, from the channel where it is largest."""
    rows = jnp.pad(image[:, 2:] - image[:, :-2], ((0, 0), (1, 1), (0, 0)))
    columns = jnp.pad(image[:, :, 2:] - image[:, :, :-2], ((0, 0), (0, 0), (1, 1)))
    magnitude = _hypotenuse(rows, columns)
    strongest = jnp.argmax(magnitude, axis=0, keepdims=True)
    picked = [jnp.take_along_axis(field, strongest, axis=0)[0] for field in (rows, columns, magnitude)]
    return picked[0], picked[1], picked[2]


def _halves(x: Float[Array, ...]) -> tuple[Float[Array, ...], Float[Array, ...]]:
    """A float as the exact sum of two with half of the digits, whose products are exact."""
    info = jnp.finfo(x.dtype)
    high = lax.reduce_precision(x, exponent_bits=info.nexp, mantissa_bits=(info.nmant + 1) // 2 - 1)
    return high, x - high


def _hypotenuse(x: Float[Array, ...], y: Float[Array, ...]) -> Float[Array, ...]:
    """`sqrt(x^2 + y^2)` rounded once.

    A plain sum of squares is not even symmetric in x and y where a compiler fuses multiply and add, and its last
    digit would then decide which of two equally strong channels votes.
    """
    x, y = jnp.abs(x), jnp.abs(y)
    x, y = jnp.maximum(x, y), jnp.minimum(x, y)
    # A power of two, so that the division is exact and the squares neither overflow nor vanish.
    _, exponent = jnp.frexp(x)
    x, y = jnp.ldexp(x, -exponent), jnp.ldexp(y, -exponent)
    (x_high, x_low), (y_high, y_low) = _halves(x), _halves(y)
    root = jnp.sqrt(x * x + y * y)
    root_high, root_low = _halves(root)
    residue = (
        ((x_high * x_high - root_high * root_high) + y_high * y_high)
        + 2 * ((x_high * x_low - root_high * root_low) + y_high * y_low)
        + ((x_low * x_low - root_low * root_low) + y_low * y_low)
    )
    return jnp.ldexp(root + jnp.where(root > 0, residue / (2 * root), 0), exponent)


def _bins(
    rows: Float[Array, "height width"], columns: Float[Array, "height width"], orientations: int
) -> Int[Array, "height width"]:
    """The bin of each direction modulo 180 degrees: how many inner borders it has reached."""
    backwards = (rows < 0) | ((rows == 0) & (columns < 0))
    rows, columns = jnp.where(backwards, -rows, rows), jnp.where(backwards, -columns, columns)
    (row_high, row_low), (column_high, column_low) = _halves(rows), _halves(columns)
    bins = jnp.zeros(rows.shape, jnp.int32)
    for border in range(1, orientations):
        (across, across_rest), (along, along_rest) = _direction(border, orientations)
        # The direction has reached the border if its cross product with it is not negative. In the first two terms all
        # products are exact, and near the border all their differences are: what is rounded is small.
        cross = (row_high * across - column_high * along) + (
            (row_low * across - column_low * along) + (rows * across_rest - columns * along_rest)
        )
        bins += (cross >= 0).astype(jnp.int32)
    return bins


def _direction(border: int, orientations: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """A vector at `180 border / orientations` degrees, each coordinate as 11 binary places and the rest."""
    # Gradients lie on the diagonals and the axes exactly, and there the vector must be exact as well.
    exact = {(1, 4): (1.0, 1.0), (1, 2): (0.0, 1.0), (3, 4): (-1.0, 1.0)}
    share = Fraction(border, orientations)
    angle = math.pi * border / orientations
    across, along = exact.get((share.numerator, share.denominator), (math.cos(angle), math.sin(angle)))
    return _split(across), _split(along)


def _split(x: float) -> tuple[float, float]:
    high = round(x * 2**11) / 2**11
    return high, x - high


def _cell_histograms(
    bins: Int[Array, "height width"], magnitude: Float[Array, "height width"], cell: int, orientations: int
) -> Float[Array, "rows columns orientation"]:
    """Mean vote of a cell's pixels for each orientation."""
    rows, columns = bins.shape[0] // cell, bins.shape[1] // cell
    whole = (slice(rows * cell), slice(columns * cell), None)
    votes = jnp.where(bins[whole] == jnp.arange(orientations)[None, None], magnitude[whole], 0)
    return votes.reshape(rows, cell, columns, cell, orientations).mean((1, 3))


def _normalized_blocks(
    votes: Float[Array, "rows columns orientation"], block: int
) -> Float[Array, "block_rows block_columns row column orientation"]:
    """Every block of neighbouring cells, normalized by L2-Hys."""
    rows, columns = votes.shape[0] - block + 1, votes.shape[1] - block + 1
    blocks = jnp.stack(
        [jnp.stack([votes[i : i + rows, j : j + columns] for j in range(block)], 2) for i in range(block)], 2
    )
    clipped = jnp.minimum(_unit_length(blocks), _CLIP)
    return _unit_length(clipped)


def _unit_length(
    blocks: Float[Array, "block_rows block_columns row column orientation"],
) -> Float[Array, "block_rows block_columns row column orientation"]:
    return blocks / jnp.sqrt(jnp.sum(blocks * blocks, (2, 3, 4), keepdims=True) + _EPSILON**2)
