import numpy as np
import pytest

from simulator.costs.calibrate import Parts, Steps, fit, predict


def decode_steps(count):
    rng = np.random.default_rng(3)
    decodes = rng.integers(1, 64, count)
    none = np.zeros(count)
    steps = Steps(decodes, decodes * rng.uniform(100, 4000, count), none.astype(np.int64), none, none)
    found = Parts(np.full(count, 8e-3), steps.decode_context * 4e-8, none, none)
    return steps, found


def test_known_host_and_efficiency_are_found_again_in_spite_of_outliers():
    steps, found = decode_steps(120)
    truth = 1.5e-3 + 20e-6 * steps.decodes + found.linear + 1.3 * found.decode
    measured = truth.copy()
    measured[::15] *= 2  # a garbage collection, a clock step
    calibration = fit(found, steps, measured, 512)
    assert np.median(np.abs(predict(found, steps, calibration, 512) / truth - 1)) < 0.01


def test_nothing_negative_is_ever_fitted():
    steps, found = decode_steps(40)
    calibration = fit(found, steps, 0.5 * (found.linear + found.decode), 512)
    assert min(calibration.step_s, calibration.sequence_s, calibration.graphless_s, calibration.prefill, *calibration.linear) >= 0
    assert predict(found, steps, calibration, 512) == pytest.approx(0.5 * (found.linear + found.decode), rel=0.1)
