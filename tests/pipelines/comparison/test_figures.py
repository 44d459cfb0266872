from __future__ import annotations

import math

import numpy as np
import pytest

from yggdrasil.pipelines.comparison.figures import Difference, Likeness, psnr, ssim


@pytest.fixture
def picture():
    """Gives a picture with structure: waves of another length in each channel."""
    y, x = np.mgrid[0:24, 0:32]
    waves = [np.sin(x / 3 + channel) * np.cos(y / (2 + channel)) for channel in range(3)]
    return (0.5 + 0.4 * np.stack(waves, -1)).astype(np.float32)


def test_a_difference_has_a_largest_and_a_mean():
    one, other = np.zeros((2, 2), np.float32), np.array([[0, 0], [0, -0.5]], np.float32)
    assert Difference.of(one, other) == Difference(largest=0.5, mean=0.125)


def test_a_difference_that_is_no_number_is_never_within_a_tolerance():
    broken = Difference.of(np.zeros(2), np.array([0, math.nan]))
    assert not broken.within(math.inf)
    assert Difference(largest=0.0, mean=0.0).within(0.0)
    assert not Difference(largest=1e-9, mean=0.0).within(0.0)


def test_psnr_is_that_of_the_mean_square_error(picture):
    assert psnr(picture, picture) == math.inf
    assert psnr(picture, picture + np.float32(0.1)) == pytest.approx(20.0, abs=1e-4)


def test_ssim_of_a_picture_with_itself_is_one(picture):
    assert ssim(picture, picture) == pytest.approx(1.0, abs=1e-12)


def test_a_picture_without_a_whole_window_has_no_ssim(picture):
    assert ssim(picture[:10], picture[:10]) is None


def test_ssim_falls_with_noise_and_more_with_lost_structure(picture):
    noisy = picture + np.random.default_rng(0).normal(0, 0.02, picture.shape)
    flat = np.full_like(picture, picture.mean())
    assert ssim(picture, flat) < 0.3 < ssim(picture, noisy) < 1.0


def test_ssim_is_what_the_paper_says_pixel_by_pixel(picture):
    """Equation 13 written out: a window of 11 by 11 weights around each pixel."""
    other = np.clip(picture + np.random.default_rng(1).normal(0, 0.1, picture.shape), 0, 1)
    along = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(along, along)[..., None] / along.sum() ** 2
    found = []
    for top in range(picture.shape[0] - 10):
        for left in range(picture.shape[1] - 10):
            here = np.s_[top : top + 11, left : left + 11]
            x, y = picture[here].astype(float), other[here].astype(float)
            mean_x, mean_y = (window * x).sum((0, 1)), (window * y).sum((0, 1))
            variance_x = (window * (x - mean_x) ** 2).sum((0, 1))
            variance_y = (window * (y - mean_y) ** 2).sum((0, 1))
            covariance = (window * (x - mean_x) * (y - mean_y)).sum((0, 1))
            c1, c2 = 0.01**2, 0.03**2
            found.append(
                (2 * mean_x * mean_y + c1)
                * (2 * covariance + c2)
                / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
            )
    assert ssim(picture, other) == pytest.approx(np.mean(found), abs=1e-9)


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1.000000"), (1 - 2e-8, "1 − 2e-08"), (0.93, "0.930000")]
)
def test_what_is_nearly_one_is_not_said_to_be_one(value, text):
    none = Difference(largest=0.0, mean=0.0)
    likeness = Likeness(parts={"pictures": none}, psnr=math.inf, ssim=value)
    assert likeness.as_text()["SSIM"] == text
    assert likeness.as_text()["PSNR"] == "infinite"
