from __future__ import annotations

import numpy as np

from raylab.scoring.reduce import Moments, principal_components


def test_projection_keeps_distances_when_no_axis_is_dropped() -> None:
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    z = principal_components(x, 6)
    d = [np.linalg.norm(m[:, None] - m[None], axis=-1) for m in (x, z)]
    np.testing.assert_allclose(d[0], d[1], atol=1e-4)


def test_axes_are_those_of_the_svd_in_falling_order() -> None:
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(500, 10)) * np.linspace(5, 0.5, 10)).astype(np.float32)
    z = principal_components(x, 3)
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(z), np.abs(u[:, :3] * s[:3]), atol=2e-3)
    assert (np.diff(z.var(0)) < 0).all()


def test_never_more_axes_than_there_are() -> None:
    assert principal_components(np.ones((5, 4), np.float32), 128).shape == (5, 4)


def test_moments_do_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(70_000, 8)) * 10.0 ** rng.integers(-3, 4, 8)).astype(np.float32)
    one, other = Moments.of(x), Moments.of(x[rng.permutation(len(x))])
    np.testing.assert_array_equal(one.sums, other.sums)
    np.testing.assert_array_equal(one.products, other.products)
    np.testing.assert_allclose(one.products, x.astype(np.float64).T @ x, rtol=1e-2, atol=1e-3 * one.products.max())


def test_rows_of_zeros_have_no_moments() -> None:
    assert not Moments.of(np.zeros((3, 2), np.float32)).products.any()
