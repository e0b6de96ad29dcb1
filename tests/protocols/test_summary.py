"""Numbers as the paper prints them."""
import numpy as np
import pytest

from claver_mm.protocols import harmonic_mean, mean_and_deviation, percent


@pytest.mark.parametrize("deviation, ddof", [("sample", 1), ("population", 0)])
def test_mean_and_deviation_are_those_of_numpy(deviation, ddof):
    values = np.random.default_rng(0).random(3)
    assert mean_and_deviation(values.tolist(), deviation) == pytest.approx((values.mean(), values.std(ddof=ddof)))


def test_percentages_are_printed_as_the_paper_prints_them():
    assert percent([0.77, 0.785, 0.803]) == "78.6 ± 1.7"
    assert percent([0.77, 0.785, 0.803], "population") == "78.6 ± 1.3"
    assert percent([1.0, 1.0, 1.0]) == "100.0 ± 0.0"
    assert percent([0.8614]) == "86.1"


def test_harmonic_mean_is_that_of_base_and_novel():
    assert harmonic_mean(0.8, 0.4) == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert harmonic_mean(0.8, 0.0) == 0


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="unknown deviation 'standard'; one of sample, population"):
        percent([1.0], "standard")
    with pytest.raises(ValueError, match="no values"):
        percent([])
