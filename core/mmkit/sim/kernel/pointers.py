"""Tables and columns by their address, for compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic

from mmkit.sim.kernel.layout import COMMAND, ENTRY, ORDER, REPORT, STATE

F = TypeVar("F", bound=Callable[..., Any])

# Nobody but compiled code calls them, so they need no way in from Python, which takes long to compile.
_WITHIN: Any = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def jit(function: F) -> F:
    """Mark what `advance` calls: compiled with it, and kept with it."""
    return cast(F, njit(**_WITHIN)(function))


def inline(function: F) -> F:
    """Mark what is small, or called in one place: calls between compiled functions cost nanoseconds."""
    return cast(F, njit(forceinline=True, **_WITHIN)(function))


int64: Any = np.int64
"""Widens what comes out of a narrow column."""


@intrinsic
def _pointer_at(context: Any, address: Any) -> Any:
    """Take an integer for the address it is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


# numba hands `context` over itself, which types cannot tell.
_pointer: Any = _pointer_at


@inline
def state_at(address: int) -> Any:
    """Return the record of state."""
    return carray(_pointer(address), (1,), STATE)[0]


@inline
def orders_at(address: int, count: int) -> Any:
    """Return a table of `ORDER`s."""
    return carray(_pointer(address), (count,), ORDER)


@inline
def commands_at(address: int, count: int) -> Any:
    """Return a table of `COMMAND`s."""
    return carray(_pointer(address), (count,), COMMAND)


@inline
def reports_at(address: int, count: int) -> Any:
    """Return a table of `REPORT`s."""
    return carray(_pointer(address), (count,), REPORT)


@inline
def entries_at(address: int, count: int) -> Any:
    """Return a table of `ENTRY`s."""
    return carray(_pointer(address), (count,), ENTRY)


@inline
def int64s(address: int, count: int) -> Any:
    """Return a column."""
    return carray(_pointer(address), (count,), np.int64)


@inline
def int32s(address: int, count: int) -> Any:
    """Return a column."""
    return carray(_pointer(address), (count,), np.int32)


@inline
def uint32s(address: int, count: int) -> Any:
    """Return a column."""
    return carray(_pointer(address), (count,), np.uint32)


@inline
def uint8s(address: int, count: int) -> Any:
    """Return a column."""
    return carray(_pointer(address), (count,), np.uint8)


@inline
def float64s(address: int, count: int) -> Any:
    """Return a column."""
    return carray(_pointer(address), (count,), np.float64)


@inline
def slots_at(address: int, side: int, count: int) -> Any:
    """Return one row of a table of two."""
    return carray(_pointer(address + 8 * side * count), (count,), np.int64)


_int64_pointer: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
_float64_pointer: Any = types.CPointer(types.float64)  # type: ignore[no-untyped-call]
DECISION = types.void(_int64_pointer, _float64_pointer, _int64_pointer)
"""Signature of a compiled decision (`mmkit.decision`): view, parameters, wanted."""


@intrinsic
def _call_decision(context: Any, decision: Any, view: Any, parameters: Any, wanted: Any) -> Any:
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


call_decision: Any = _call_decision
