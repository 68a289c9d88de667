"""Tables and columns by their address, for compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic

from mmkit.sim.kernel.layout import COMMAND, ENTRY, ORDER, REPORT, STATE

jit = njit(nogil=True)
"""For everything that `advance` calls: compiled with it, and kept with it."""


@intrinsic
def _pointer(context: Any, address: Any) -> Any:
    """Take an integer for the address it is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


# numba hands `context` over itself, which mypy cannot know.


@jit
def state_at(address: int) -> Any:
    return carray(_pointer(address), (1,), STATE)[0]  # type: ignore[call-arg]


@jit
def orders_at(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), ORDER)  # type: ignore[call-arg]


@jit
def commands_at(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), COMMAND)  # type: ignore[call-arg]


@jit
def reports_at(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), REPORT)  # type: ignore[call-arg]


@jit
def entries_at(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), ENTRY)  # type: ignore[call-arg]


@jit
def int64s(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), np.int64)  # type: ignore[call-arg]


@jit
def int32s(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), np.int32)  # type: ignore[call-arg]


@jit
def uint32s(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), np.uint32)  # type: ignore[call-arg]


@jit
def uint8s(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), np.uint8)  # type: ignore[call-arg]


@jit
def slots_at(address: int, side: int, count: int) -> Any:
    """Return one row of a table of two."""
    return carray(_pointer(address + 8 * side * count), (count,), np.int64)  # type: ignore[call-arg]


_int64_pointer: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
_float64_pointer: Any = types.CPointer(types.float64)  # type: ignore[no-untyped-call]
DECISION = types.void(_int64_pointer, _float64_pointer, _int64_pointer)
"""Signature of a compiled decision (`mmkit.decision`): view, parameters, wanted."""


@intrinsic
def call_decision(context: Any, decision: Any, view: Any, parameters: Any, wanted: Any) -> Any:
    """Call the compiled decision at an address with the addresses of what it works on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        int64s, float64s = ir.IntType(64).as_pointer(), ir.DoubleType().as_pointer()
        function = ir.FunctionType(ir.VoidType(), [int64s, float64s, int64s])
        at = builder.inttoptr(arguments[0], function.as_pointer())
        given = [
            builder.inttoptr(argument, kind)
            for argument, kind in zip(arguments[1:], function.args, strict=True)
        ]
        builder.call(at, given)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate
