"""The LSTM, compiled: one window at a time, in single precision, as torch computes it.

Equations and order of the gates (input, forget, cell, output): ``torch.nn.LSTM``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Floats32 = npt.NDArray[np.float32]

ROWS = 8
"""Rows of a matrix that are multiplied at a time; matrices are filled up with rows of zeros."""

_F = np.float32
_LOG2E, _ROUND, _ONE, _TWO = _F(1.4426950408889634), _F(12582912.0), _F(1.0), _F(2.0)
"""Adding `_ROUND`, 1.5 x 2**23, leaves the nearest whole number in the last bits of the mantissa."""
_LOW, _HIGH = _F(-126.0), _F(126.0)
# ln(2)**k / k!: the Taylor series of 2**r, whose error for |r| <= 1/2 is below that of single precision.
_C1, _C2, _C3 = _F(0.6931471805599453), _F(0.2402265069591007), _F(0.05550410866482158)
_C4, _C5 = _F(0.009618129107628477), _F(0.0013333558146428443)
_C6, _C7 = _F(0.0001540353039338161), _F(0.00001525273380405984)


class Weights(NamedTuple):
    """A network laid out for `predict`.

    Attributes:
        offset: Taken from each feature, float64.
        factor: Multiplied with what is left, float64.
        flat: All matrices and biases, float32, matrices row by row: of an LSTM layer that of the input, the
            bias, that of the state; of a dense layer the matrix, then the bias.
        lstm: Sizes of the LSTM layers, int64.
        dense: Sizes of the dense layers, int64; the last is 3.
    """

    offset: npt.NDArray[np.float64]
    factor: npt.NDArray[np.float64]
    flat: Floats32
    lstm: npt.NDArray[np.int64]
    dense: npt.NDArray[np.int64]


def lay(
    offset: npt.NDArray[np.float64],
    factor: npt.NDArray[np.float64],
    lstm: Sequence[tuple[Floats32, Floats32, Floats32, Floats32]],
    dense: Sequence[tuple[Floats32, Floats32]],
) -> Weights:
    """Lay out torch's matrices.

    Args:
        offset: Of each feature.
        factor: Of each feature.
        lstm: Of each layer ``weight_ih``, ``weight_hh``, ``bias_ih``, ``bias_hh``.
        dense: Of each layer ``weight`` and ``bias``.
    """
    parts: list[Floats32] = []
    for of_input, of_state, bias_input, bias_state in lstm:
        size = of_state.shape[1]
        # tanh(x) = 2 sigmoid(2x) - 1, so that one loop does all four gates; doubling is exact.
        twice = np.ones(4 * size, np.float32)
        twice[2 * size : 3 * size] = 2
        bias = (bias_input + bias_state) * twice
        parts += [_filled(of_input.T * twice), bias, _filled(of_state.T * twice)]
    for weight, bias in dense:
        parts += [_filled(weight.T), bias]
    flat = np.concatenate([part.ravel() for part in parts]).astype(np.float32)
    return Weights(
        offset,
        factor,
        flat,
        np.array([layer[1].shape[1] for layer in lstm], np.int64),
        np.array([len(bias) for _, bias in dense], np.int64),
    )


def _filled(matrix: Floats32) -> Floats32:
    return np.pad(matrix, ((0, -len(matrix) % ROWS), (0, 0)))


# The error model of numpy: a division that could raise would be a branch.
@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without a branch, so that the compiler does eight at a time."""
    z = -x * _LOG2E
    z = min(max(z, _LOW), _HIGH)
    rounded = z + _ROUND
    r = z - (rounded - _ROUND)
    power = _C7
    power = power * r + _C6
    power = power * r + _C5
    power = power * r + _C4
    power = power * r + _C3
    power = power * r + _C2
    power = power * r + _C1
    power = power * r + _ONE
    # Bits of `_ROUND` are 0x4B400000; 127 is the bias of the exponent, which begins at bit 23.
    exponent = (np.float32(rounded).view(np.int32) - np.int32(0x4B400000 - 127)) << np.int32(23)
    return _ONE / (_ONE + power * np.int32(exponent).view(np.float32))


@njit(cache=True, nogil=True, fastmath={"contract"})
def _sigmoids(values: Any) -> None:
    for number in range(values.size):
        values[number] = _sigmoid(values[number])


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_product(vector: Any, flat: Any, begin: Any, out: Any) -> None:
    """Add vector x matrix to `out`; the matrix begins at `begin` of `flat` and is as wide as `out`."""
    width = out.size
    for row in range(0, vector.size, 8):
        v0, v1, v2, v3 = vector[row], vector[row + 1], vector[row + 2], vector[row + 3]
        v4, v5, v6, v7 = vector[row + 4], vector[row + 5], vector[row + 6], vector[row + 7]
        first = begin + row * width
        r0 = flat[first : first + width]
        r1 = flat[first + width : first + 2 * width]
        r2 = flat[first + 2 * width : first + 3 * width]
        r3 = flat[first + 3 * width : first + 4 * width]
        r4 = flat[first + 4 * width : first + 5 * width]
        r5 = flat[first + 5 * width : first + 6 * width]
        r6 = flat[first + 6 * width : first + 7 * width]
        r7 = flat[first + 7 * width : first + 8 * width]
        for column in range(width):
            low = v0 * r0[column] + v1 * r1[column] + v2 * r2[column] + v3 * r3[column]
            high = v4 * r4[column] + v5 * r5[column] + v6 * r6[column] + v7 * r7[column]
            out[column] += low + high


@njit(cache=True, nogil=True, fastmath={"contract"})
def _project(sequence: Any, flat: Any, begin: Any, bias: Any, out: Any) -> None:
    """Write sequence x matrix + bias, four samples at a time: the matrix comes from far, and serves all four."""
    width = out.shape[1]
    for sample in range(0, out.shape[0], 4):
        o0, o1, o2, o3 = out[sample], out[sample + 1], out[sample + 2], out[sample + 3]
        for column in range(width):
            start = flat[bias + column]
            o0[column] = start
            o1[column] = start
            o2[column] = start
            o3[column] = start
        for row in range(0, sequence.shape[1], 4):
            a0, a1, a2, a3 = (
                sequence[sample, row],
                sequence[sample, row + 1],
                sequence[sample, row + 2],
                sequence[sample, row + 3],
            )
            b0, b1, b2, b3 = (
                sequence[sample + 1, row],
                sequence[sample + 1, row + 1],
                sequence[sample + 1, row + 2],
                sequence[sample + 1, row + 3],
            )
            c0, c1, c2, c3 = (
                sequence[sample + 2, row],
                sequence[sample + 2, row + 1],
                sequence[sample + 2, row + 2],
                sequence[sample + 2, row + 3],
            )
            d0, d1, d2, d3 = (
                sequence[sample + 3, row],
                sequence[sample + 3, row + 1],
                sequence[sample + 3, row + 2],
                sequence[sample + 3, row + 3],
            )
            first = begin + row * width
            r0 = flat[first : first + width]
            r1 = flat[first + width : first + 2 * width]
            r2 = flat[first + 2 * width : first + 3 * width]
            r3 = flat[first + 3 * width : first + 4 * width]
            for column in range(width):
                w0, w1, w2, w3 = r0[column], r1[column], r2[column], r3[column]
                o0[column] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
                o1[column] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
                o2[column] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
                o3[column] += d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _layer(sequence: Any, samples: Any, size: Any, flat: Any, begin: Any) -> Any:
    """Return the states of an LSTM layer over a sequence, filled up with zeros like it."""
    filled = (size + 7) // 8 * 8
    gates = np.empty((sequence.shape[0], 4 * size), np.float32)
    bias = begin + sequence.shape[1] * 4 * size
    _project(sequence, flat, begin, bias, gates)
    of_state = bias + 4 * size
    cell = np.zeros(size, np.float32)
    out = np.zeros((sequence.shape[0], filled), np.float32)
    for sample in range(samples):
        now, state = gates[sample], out[sample]
        if sample:
            _add_product(out[sample - 1], flat, of_state, now)
        for number in range(4 * size):
            now[number] = _sigmoid(now[number])
        for unit in range(size):
            proposed = _TWO * now[2 * size + unit] - _ONE
            cell[unit] = now[size + unit] * cell[unit] + now[unit] * proposed
        for unit in range(size):
            state[unit] = now[3 * size + unit] * (_TWO * _sigmoid(_TWO * cell[unit]) - _ONE)
    return out


@njit(cache=True, nogil=True)
def predict(
    window: Any, offset: Any, factor: Any, flat: Any, lstm: Any, dense: Any, out: Any
) -> bool:
    """Write the probabilities of one window, shape ``(samples, features)``; False if a value is not finite, or is not
    in single precision.
    """
    samples, inputs = window.shape
    sequence = np.zeros(((samples + 3) // 4 * 4, (inputs + 7) // 8 * 8), np.float32)
    for sample in range(samples):
        for column in range(inputs):
            scaled = np.float32((window[sample, column] - offset[column]) * factor[column])
            if not np.isfinite(scaled):
                return False
            sequence[sample, column] = scaled
    begin = 0
    for number in range(lstm.size):
        size = lstm[number]
        states = _layer(sequence, samples, size, flat, begin)
        begin += (sequence.shape[1] + 1 + states.shape[1]) * 4 * size
        sequence = states
    vector = sequence[samples - 1]
    for number in range(dense.size):
        size = dense[number]
        values = flat[begin + vector.size * size : begin + (vector.size + 1) * size].copy()
        _add_product(vector, flat, begin, values)
        begin += (vector.size + 1) * size
        if number < dense.size - 1:
            vector = np.zeros((size + 7) // 8 * 8, np.float32)
            for unit in range(size):
                vector[unit] = max(values[unit], np.float32(0.0))
    most = max(values[0], values[1], values[2])
    for number in range(3):
        out[number] = np.exp(np.float64(values[number] - most))
    total = out[0] + out[1] + out[2]
    for number in range(3):
        out[number] /= total
    return True


@njit(cache=True, nogil=True)
def predict_batch(
    windows: Any, offset: Any, factor: Any, flat: Any, lstm: Any, dense: Any, out: Any
) -> int:
    """Do `predict` for many windows; return the number of the first that cannot be, else -1."""
    for number in range(windows.shape[0]):
        if not predict(windows[number], offset, factor, flat, lstm, dense, out[number]):
            return number
    return -1
