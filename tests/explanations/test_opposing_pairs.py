"""Frequencies of known waves, and planted pairs found among noise, whatever the order and the sign of the units."""

import numpy as np
import pytest
from numpy.typing import NDArray

from allmlp.explanations import MAX_PAIR_COSINE, OpposingPairs
from allmlp.explanations.opposing_pairs import pair_opposites, picture_frequencies

GRID = (14, 14)  # of B/16
Pictures = NDArray[np.float32]


def wave(ky: int, kx: int, phase: float = 0.0, grid: tuple[int, int] = GRID) -> NDArray[np.float64]:
    """A plane wave of ky and kx cycles along the height and the width."""
    y, x = np.indices(grid)
    return np.cos(2 * np.pi * (ky * y / grid[0] + kx * x / grid[1]) + phase)


def noise(number: int, seed: int = 0, grid: tuple[int, int] = GRID) -> Pictures:
    return np.random.default_rng(seed).standard_normal((number, *grid), dtype=np.float32)


def planted(
    num_pairs: int, num_others: int, seed: int = 0, grid: tuple[int, int] = GRID
) -> tuple[Pictures, set[frozenset[int]]]:
    """The waves of the lowest frequencies and their negatives, of any amplitude and mean, noisy, shuffled among noise."""
    generator = np.random.default_rng(seed)
    waves = [(ky, kx) for ky in range(grid[0] // 2) for kx in range(grid[1] // 2) if (ky, kx) != (0, 0)]
    waves.sort(key=lambda each: np.hypot(each[0] / grid[0], each[1] / grid[1]))
    assert num_pairs <= len(waves)
    pictures = []
    for ky, kx in waves[:num_pairs]:
        picture = wave(ky, kx, generator.uniform(0, 2 * np.pi), grid)
        for sign in (1, -1):
            dirty = sign * picture + 0.2 * generator.standard_normal(grid)
            pictures.append(generator.uniform(0.01, 10) * dirty + generator.normal())
    order = generator.permutation(2 * num_pairs + num_others)
    made = np.array(pictures, np.float32).reshape(-1, *grid)
    everything = np.concatenate([made, noise(num_others, seed + 1, grid)])[order]
    position = np.argsort(order)
    return everything, {frozenset(position[[2 * pair, 2 * pair + 1]].tolist()) for pair in range(num_pairs)}


def sets(found: OpposingPairs) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in found.pairs.tolist()}


@pytest.mark.parametrize(("ky", "kx"), [(0, 1), (1, 0), (3, 2), (5, 6), (7, 7)])
def test_the_frequency_of_a_wave_is_its_cycles_per_cell(ky: int, kx: int) -> None:
    assert picture_frequencies(wave(ky, kx)[None]) == pytest.approx(np.hypot(ky, kx) / 14)


def test_cells_are_square_in_a_grid_that_is_not() -> None:
    grid = (8, 12)
    frequencies = picture_frequencies(np.stack([wave(2, 0, grid=grid), wave(0, 3, grid=grid), wave(1, 3, grid=grid)]))
    assert frequencies == pytest.approx([0.25, 0.25, np.hypot(1 / 8, 3 / 12)])


def test_the_frequency_of_two_waves_is_their_mean_weighted_by_power() -> None:
    both = wave(0, 1) + 2 * wave(0, 5)
    assert picture_frequencies(both[None]) == pytest.approx((1 * 1 + 4 * 5) / 5 / 14)


def test_colours_are_summed_and_a_flat_colour_has_frequency_0() -> None:
    flat = np.broadcast_to(np.array([1.0, -2.0, 0.5])[:, None, None], (3, *GRID))
    striped = np.stack([wave(0, 2), -wave(0, 2), np.zeros(GRID)])
    frequencies = picture_frequencies(np.stack([flat, striped, np.zeros((3, *GRID))]))
    assert frequencies == pytest.approx([0, 2 / 14, 0], abs=1e-12)


def test_many_pictures_have_the_frequencies_that_each_has_alone() -> None:
    pictures = noise(600)
    alone = [float(picture_frequencies(picture[None])[0]) for picture in pictures]
    assert picture_frequencies(pictures) == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize(("grid", "num_pairs"), [((14, 14), 12), ((10, 16), 12), ((8, 8), 6)])
def test_planted_pairs_are_recovered_among_noise(grid: tuple[int, int], num_pairs: int) -> None:
    pictures, expected = planted(num_pairs, 40, grid=grid)
    found = pair_opposites(pictures)
    strong = {
        frozenset(pair) for pair, cosine in zip(found.pairs.tolist(), found.cosines, strict=True) if cosine < -0.8
    }
    assert strong == expected
    if grid == (14, 14):  # noise of 196 cells has a cosine of -0.3 by chance in 1 of 70,000 cases
        assert sets(found) == expected
        assert len(found.unpaired) == 40


def by_the_words_of_the_rule(pictures: Pictures) -> tuple[list[tuple[int, int]], list[int]]:
    """Pair as the rule says, with norms of sums instead of cosines, one unit after the other."""
    scaled = []
    for picture in pictures.astype(np.float64):
        centred = picture - picture.mean()
        scaled.append(centred / np.linalg.norm(centred))

    def frequency(picture: NDArray[np.float64]) -> float:
        power, total = 0.0, 0.0
        spectrum = np.fft.fftshift(np.fft.fft2(picture))
        for (y, x), value in np.ndenumerate(spectrum):
            radius = np.hypot(
                (y - picture.shape[0] // 2) / picture.shape[0], (x - picture.shape[1] // 2) / picture.shape[1]
            )
            power, total = power + abs(value) ** 2 * radius, total + abs(value) ** 2
        return float(power / total)

    free = sorted(range(len(scaled)), key=lambda unit: frequency(scaled[unit]))
    pairs, unpaired = [], []
    while free:
        unit = free.pop(0)
        norms = {other: float(np.linalg.norm(scaled[unit] + scaled[other])) for other in free}
        partner = min(norms, key=norms.__getitem__, default=None)
        if partner is None or float((scaled[unit] * scaled[partner]).sum()) > -0.3:
            unpaired.append(unit)
        else:
            free.remove(partner)
            pairs.append((unit, partner))
    return pairs, unpaired


@pytest.mark.parametrize("grid", [(4, 4), (3, 6), (8, 8)])
def test_the_pairs_are_those_of_the_rule(grid: tuple[int, int]) -> None:
    pictures, _ = planted(2, 31, seed=3, grid=grid)
    found = pair_opposites(pictures)
    pairs, unpaired = by_the_words_of_the_rule(pictures)
    assert [tuple(pair) for pair in found.pairs.tolist()] == pairs
    assert found.unpaired.tolist() == unpaired
    assert len(pairs) >= 2 and unpaired


def test_pairs_are_sorted_by_frequency_and_units_without_a_partner_too() -> None:
    found = pair_opposites(planted(12, 41)[0])
    first, second = found.frequencies[found.pairs.T]
    assert (np.diff(first) >= 0).all() and (first <= second).all()
    assert (np.diff(found.frequencies[found.unpaired]) >= 0).all()
    assert sorted([*found.pairs.ravel(), *found.unpaired]) == list(range(65))


@pytest.mark.parametrize("grid", [(14, 14), (6, 9)])
def test_the_order_of_the_units_does_not_matter(grid: tuple[int, int]) -> None:
    pictures, _ = planted(6, 61, seed=1, grid=grid)
    pictures = np.concatenate([pictures, -pictures[:7], pictures[:2]])  # exact negatives and copies: ties
    found = pair_opposites(pictures)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(pictures))
        shuffled = pair_opposites(pictures[order])
        np.testing.assert_array_equal(shuffled.frequencies, found.frequencies[order])
        np.testing.assert_array_equal(shuffled.opposites, found.opposites[order])
        np.testing.assert_array_equal(shuffled.cosines, found.cosines)
        # Copies are told apart by nothing but their index, so the pictures are compared.
        np.testing.assert_array_equal(pictures[order][shuffled.pairs], pictures[found.pairs])
        np.testing.assert_array_equal(pictures[order][shuffled.unpaired], pictures[found.unpaired])


def test_the_sign_of_the_weights_does_not_matter() -> None:
    pictures, _ = planted(6, 61, seed=2)
    found, negated = pair_opposites(pictures), pair_opposites(-pictures)
    np.testing.assert_array_equal(negated.pairs, found.pairs)
    np.testing.assert_array_equal(negated.unpaired, found.unpaired)
    np.testing.assert_allclose(negated.cosines, found.cosines, rtol=1e-12)


def test_the_sign_of_a_single_unit_changes_no_frequency_but_its_partner() -> None:
    pictures, expected = planted(6, 10, seed=2)
    flipped = pictures.copy()
    unit, partner = min(expected, key=min)
    flipped[unit] *= -1
    found = pair_opposites(flipped)
    np.testing.assert_allclose(found.frequencies, pair_opposites(pictures).frequencies, rtol=1e-12)
    assert sets(found) == expected - {frozenset((unit, partner))}  # now in phase


@pytest.mark.parametrize(("cosine", "num_pairs"), [(-0.31, 1), (-0.29, 0), (-1.0, 1), (1.0, 0)])
def test_partners_have_a_cosine_of_at_most_the_limit(cosine: float, num_pairs: int) -> None:
    assert MAX_PAIR_COSINE == -0.3
    a, b = wave(0, 1), wave(2, 1)
    found = pair_opposites(np.stack([a, cosine * a + np.sqrt(1 - cosine**2) * b]))
    assert len(found.pairs) == num_pairs
    assert found.opposites == pytest.approx([cosine, cosine])


def test_constant_units_have_no_partner() -> None:
    pictures = np.stack([wave(0, 1), np.full(GRID, 0.1), np.zeros(GRID), -wave(0, 1), np.full(GRID, 1e30)]).astype(
        np.float32
    )
    found = pair_opposites(pictures)
    assert sets(found) == {frozenset((0, 3))}
    assert found.frequencies[[1, 2, 4]].tolist() == [0, 0, 0]
    assert found.opposites[[1, 2, 4]].tolist() == [0, 0, 0]
    assert sorted(found.unpaired) == [1, 2, 4]


@pytest.mark.parametrize("scale", [1e-38, 1e38])
def test_very_small_and_very_large_weights_are_sorted_and_paired_too(scale: float) -> None:
    pictures, expected = planted(4, 0)
    found = pair_opposites(pictures / np.abs(pictures).max() * np.float32(scale))
    assert sets(found) == expected


def test_a_single_unit_has_no_partner() -> None:
    found = pair_opposites(noise(1))
    assert (found.unpaired.tolist(), found.pairs.shape, found.opposites.tolist()) == ([0], (0, 2), [0])


def test_noise_has_few_pairs_on_a_grid_of_b16() -> None:
    found = pair_opposites(noise(384))
    assert len(found.pairs) < 0.02 * 384
