"""The few instructions that Python lacks, as Numba compiles them into kernels; ``engine.jit`` has them as plain Python.

Each function gives the type of a call, and what writes it in LLVM's form.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils


def ctz(_context: Any, _word: Any) -> Any:
    """Number of the lowest set bit of a 64-bit word that is not zero."""

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], cgutils.true_bit)

    return types.int64(types.int64), generate


def top_bit(_context: Any, _word: Any) -> Any:
    """Number of the highest set bit of a 64-bit word that is not zero."""

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.sub(args[0].type(63), builder.ctlz(args[0], cgutils.true_bit))

    return types.int64(types.int64), generate


def lshr(_context: Any, _word: Any, _bits: Any) -> Any:
    """The 64-bit word moved down by ``bits`` (0 to 63), zeros coming in at the top."""

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.lshr(args[0], args[1])

    return types.int64(types.int64, types.int64), generate


def shl(_context: Any, _word: Any, _bits: Any) -> Any:
    """The 64-bit word moved up by ``bits`` (0 to 63), what leaves it at the top is lost."""

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.shl(args[0], args[1])

    return types.int64(types.int64, types.int64), generate


def wrapping_add(_context: Any, _a: Any, _b: Any) -> Any:
    """The low 64 bits of a sum, as int64. The compiler may take it that a sum with ``+`` never overflows."""

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.add(args[0], args[1])

    return types.int64(types.int64, types.int64), generate


def wrapping_multiply(_context: Any, _a: Any, _b: Any) -> Any:
    """The low 64 bits of a product, as int64."""

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.mul(args[0], args[1])

    return types.int64(types.int64, types.int64), generate


def quotient(_context: Any, _a: Any, _b: Any) -> Any:
    """The whole part of a number that is not negative, divided by one above 0: no question of signs and zeros."""

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.udiv(args[0], args[1])

    return types.int64(types.int64, types.int64), generate


def word_of(_context: Any, row: Any, _n: Any) -> Any:
    """Word ``n`` of a row: 8 bytes from byte 8 * n on, as int64."""

    def generate(ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        words = builder.bitcast(args[0], ctx.get_value_type(types.int64).as_pointer())
        return builder.load(builder.gep(words, [args[1]]), align=1)

    return types.int64(row, types.int64), generate


def prefetch(_context: Any, array: Any, _index: Any) -> Any:
    """Prefetch a row of an array; changes nothing."""

    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        view = ctx.make_array(sig.args[0])(ctx, builder, args[0])
        pointer = cgutils.get_item_pointer(ctx, builder, sig.args[0], view, [args[1]], wraparound=False)
        byte = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [byte.type, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte.type], shape)
        builder.call(function, [byte, i32(0), i32(3), i32(1)])
        return ctx.get_dummy_value()

    return types.void(array, types.int64), generate
