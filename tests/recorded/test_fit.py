import numpy as np
import pytest

from simulator.recorded.fit import LEAST_FACTOR, Parts, Steps, fit, predicted_s


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
    assert np.median(np.abs(predicted_s(found, steps, calibration, 512) / truth - 1)) < 0.01


def test_nothing_fitted_is_negative_or_beats_the_roofline():
    steps, found = decode_steps(40)
    faster = fit(found, steps, 0.9 * (found.linear + found.decode), 512)
    assert min(faster.step_s, faster.sequence_s, faster.launches_s, faster.prefill) >= 0
    assert predicted_s(found, steps, faster, 512) == pytest.approx(0.9 * (found.linear + found.decode), rel=0.03)
    impossible = fit(found, steps, 0.5 * (found.linear + found.decode), 512)
    assert min(*impossible.linear, *impossible.decode) >= LEAST_FACTOR


def test_launches_that_the_device_waits_for_are_found_again():
    """Without a graph the CPU needs 20 ms for a step's launches, the device 30 us a token."""
    rng = np.random.default_rng(5)
    tokens = rng.integers(20, 4096, 200).astype(float)
    steps = Steps(np.full(200, 8), np.full(200, 8e3), np.ones(200, np.int64), tokens - 8, np.zeros(200))
    none = np.zeros(200)
    found = Parts(tokens * 3e-5, none, none, none)
    truth = 1e-3 + np.where(tokens > 512, np.maximum(found.linear, 20e-3), found.linear)
    calibration = fit(found, steps, truth, 512)
    assert calibration.launches_s == pytest.approx(20e-3, rel=0.05)
    assert np.abs(predicted_s(found, steps, calibration, 512) / truth - 1).mean() < 0.02


def test_prefill_alone_runs_at_a_sustained_rate_of_its_own():
    """Chunks beside decodes at boost clock, long ones and those without decodes at the power limit."""
    tokens = np.array([1024, 1024, 8192, 8192] * 8, dtype=float)
    decodes = np.array([8, 0, 8, 0] * 8)
    steps = Steps(decodes, decodes * 1000.0, np.ones(32, np.int64), tokens, np.zeros(32))
    found = Parts(tokens * 4e-5, np.zeros(32), np.zeros(32), np.zeros(32))
    slow = np.where((decodes == 0) | (tokens > 2000), 1.2, 0.9)
    calibration = fit(found, steps, slow * found.linear, 512)
    assert predicted_s(found, steps, calibration, 512) == pytest.approx(slow * found.linear, rel=0.03)
