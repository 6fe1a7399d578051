"""Random numbers: their distributions, and their exact bits, which must never change."""

from __future__ import annotations

import hashlib
from statistics import NormalDist

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _random


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


# Digests of the initial weights of MLP(20, [16], 5) with seed 7, by initializer.
PINNED_WEIGHTS = {
    "glorot_uniform": "9905b57758134fb6bfc4e245a583f3577e5a211402e00fd9c0a8d557cf13ca69",
    "normal": "48aa3a3e7bbeec8656ac94038069fefad4b299ad3f68691dc78a11c71c679692",
    "he_normal": "ddff5a797497e947b7608be08d4b69a945c3bad3e3560802d54aecefcbb8e6bc",
}


@pytest.mark.parametrize("init", sorted(PINNED_WEIGHTS))
def test_initial_weights_are_pinned(init):
    model = fm.MLP(20, [16], 5, init=init, seed=7)
    values = np.concatenate([value.ravel() for value in model.parameters.values()])
    assert digest(values) == PINNED_WEIGHTS[init]


def test_batch_order_is_pinned():
    orders = np.concatenate([_random.permutation(7, epoch, 1000) for epoch in range(3)])
    assert digest(orders) == "dd7bd99eafe592955ef4681f7db1f288e045f1ebd4c941e4035989bc7aecec51"


def test_uniform_has_its_law():
    u = _random.uniform(1, _random.WEIGHTS, 0, 100_000)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 * (1 / 12 / 100_000) ** 0.5
    counts, _ = np.histogram(u, bins=20, range=(0, 1))
    assert abs(counts - 5000).max() < 5 * 70


def test_normal_has_its_law():
    z = _random.normal(1, _random.WEIGHTS, 0, 100_000)
    assert abs(z.mean()) < 5 / 100_000**0.5
    assert abs(z.std() - 1) < 5 / 200_000**0.5
    law = NormalDist()
    for q in (0.01, 0.2, 0.5, 0.9, 0.999):
        share = float((z < law.inv_cdf(q)).mean())
        assert abs(share - q) < 5 * (q * (1 - q) / 100_000) ** 0.5


def test_normal_inverts_the_distribution_function():
    words = _random.random_words(3, _random.WEIGHTS, 9, 2000)
    p = ((words >> np.uint64(12)) + 0.5) * 2.0**-52
    expected = [NormalDist().inv_cdf(v) for v in p]
    np.testing.assert_allclose(
        _random.normal(3, _random.WEIGHTS, 9, 2000), expected, rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_permutation_is_one_and_depends_on_seed_and_index(n):
    order = _random.permutation(0, 0, n)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n == 1000:
        assert not np.array_equal(order, _random.permutation(0, 1, n))
        assert not np.array_equal(order, _random.permutation(1, 0, n))


def test_streams_are_independent_of_each_other():
    streams = {
        _random.random_words(seed, purpose, index, 1).item()
        for seed in range(20)
        for purpose in (_random.WEIGHTS, _random.BATCH_ORDER)
        for index in range(20)
    }
    assert len(streams) == 20 * 2 * 20


@pytest.mark.parametrize("seed", [0, 2**32, 2**63, 2**64 - 1])
def test_any_64_bit_seed_will_do(seed):
    assert np.isfinite(fm.MLP(2, [2], 2, seed=seed).predict([[1.0, 2.0]])).all()


def test_words_are_fair_coins_whatever_their_counters_are():
    # Of 2**20 words each: a mean or a correlation of N values is within 5 / sqrt(N).
    limit = 5 / np.sqrt(2**20)
    blocks = [
        _random.counter_words(_random.stream_key(seed, layer), step, 1024, 1024)
        for seed, layer, step in [(0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 1), (2**63, 7, 10**12)]
    ]
    coins = [2.0 * (block >> 31) - 1 for block in blocks]
    for block in blocks:
        for bit in range(32):
            assert abs(2 * np.mean(block >> np.uint32(bit) & 1) - 1) < limit, bit
        assert abs(np.mean(block / 2**32) - 0.5) < limit / np.sqrt(12)
    for index, coin in enumerate(coins):
        for other in coins[:index]:
            assert abs(np.mean(coin * other)) < limit
        for shift in (1, 2, 3, 8, 16, 64, 512):
            assert abs(np.mean(coin[:, shift:] * coin[:, :-shift])) < 1.5 * limit, shift
            assert abs(np.mean(coin[shift:] * coin[:-shift])) < 1.5 * limit, shift
        assert abs(np.mean(coin.T * coin)) < 2 * limit


def test_counts_of_a_small_batch_are_binomial():
    # Of a row of 32 coins in 20 000 steps: the chi-square of how many are heads.
    counts = np.zeros(33)
    for step in range(20_000):
        words = _random.counter_words(_random.stream_key(3, 1), step, 1, 32)
        counts[int((words >> 31).sum())] += 1
    from math import comb

    expected = np.array([comb(32, k) / 2**32 for k in range(33)]) * 20_000
    usual = expected > 5
    square = ((counts - expected)[usual] ** 2 / expected[usual]).sum()
    assert square < usual.sum() + 5 * np.sqrt(2 * usual.sum())


def test_words_of_a_stream_do_not_repeat():
    words = np.concatenate(
        [
            _random.counter_words(_random.stream_key(0, layer), step, 16, 16).ravel()
            for layer in range(8)
            for step in range(64)
        ]
    )
    # Of n random words of 32 bits about n * n / 2**33 pairs are equal.
    equal = len(words) - len(np.unique(words))
    assert equal < 3 * len(words) ** 2 / 2**33 + 10
