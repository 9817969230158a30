"""Instructions and system calls that shared memory needs, for kernels and for Python alike.

Words are int64 at a multiple of 8 bytes. A *release* store is visible only after all that the thread wrote before it;
an *acquire* load comes before all that the thread reads after it. Compiled, they are LLVM's atomic instructions, right
on x86-64 and on ARM. Interpreted, they are a NumPy element: a load or store of 8 aligned bytes, which both processors
do in one piece. x86-64 keeps the order of loads and of stores by itself; on other processors a call through ctypes
stands beside each, which releases and takes the interpreter's lock, and no load or store moves across both."""

import ctypes
import platform
from typing import Any, Final

import numpy as np  # after engine.jit, which sets the folder of compiled kernels before Numba is loaded
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from engine.jit import INTERPRETED, inlined

_NUMBERS: Final = {"x86_64": (202, 324), "aarch64": (98, 283)}
if platform.machine() not in _NUMBERS:
    raise RuntimeError(f"lockstep has no system call numbers for {platform.machine()}; it runs on x86-64 and ARM64")
_FUTEX, _MEMBARRIER = _NUMBERS[platform.machine()]
_FUTEX_WAIT: Final = 0
_FUTEX_WAKE: Final = 1
_EVERYBODY: Final = 2**31 - 1
_BARRIER: Final = 1 << 1  # MEMBARRIER_CMD_GLOBAL_EXPEDITED
_REGISTER: Final = 1 << 2  # MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED

_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall: Final = _libc.syscall
_syscall.restype = ctypes.c_long
_KEEPS_ORDER: Final = platform.machine() == "x86_64"


def register_for_barriers() -> bool:
    """Take part in the barriers of other processes (membarrier(2)); False where the system has none.

    From then on ``barrier_everywhere`` in any process also orders what the threads of this one did before it.
    """
    return _syscall(_MEMBARRIER, _REGISTER, 0, 0) == 0


def barrier_everywhere() -> bool:
    """Full barrier in this thread and in every running thread of a registered process; False where there is none."""
    return _syscall(_MEMBARRIER, _BARRIER, 0, 0) == 0


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def wait_on(words: "np.ndarray[Any, Any]", index: int, value: int, wait_ns: int) -> None:
    """Sleep until the low half of a word is other than that of ``value`` or is woken, at most ``wait_ns``.

    It may end for no reason (futex(2)). The interpreter's lock is free meanwhile.
    """
    limit = _Timespec(*divmod(wait_ns, 1_000_000_000))
    address = ctypes.c_void_p(words.ctypes.data + 8 * index)
    _syscall(_FUTEX, address, _FUTEX_WAIT, ctypes.c_uint32(value & 0xFFFFFFFF), ctypes.byref(limit), None, 0)


if INTERPRETED:

    def _order() -> None:
        if not _KEEPS_ORDER:
            _libc.getpid()

    def load_acquire(words: Any, index: Any) -> int:
        """The word; what is read after it is not older."""
        value = int(words[index])
        _order()
        return value

    def store_release(words: Any, index: Any, value: Any) -> None:
        """Store the word, after all that was written before it."""
        _order()
        words[index] = value

    def load_word(words: Any, index: Any) -> int:
        """The word in one piece, in no order with others."""
        return int(words[index])

    def store_word(words: Any, index: Any, value: Any) -> None:
        """Store the word in one piece, in no order with others."""
        words[index] = value

    def load_behind(words: Any, index: Any) -> int:
        """The word, loaded by an instruction that stands behind the stores before it; the processor may still swap
        them."""
        return int(words[index])

    def add_word(words: Any, index: Any, more: Any) -> int:
        """Add to the word in one piece; gives what it was. Interpreted, it is in one piece for one process only."""
        value = int(words[index])
        words[index] = value + more
        return value

    def swap_if(words: Any, index: Any, expected: Any, value: Any) -> int:
        """Store the word if it is ``expected``; gives what it was. Interpreted, in one piece for one process only."""
        found = int(words[index])
        if found == expected:
            words[index] = value
        return found

    def fence_acquire() -> None:
        """Let no later load or store come before an earlier load."""
        _order()

    def fence_release() -> None:
        """Let no later store come before an earlier load or store."""
        _order()

    def fence_full() -> None:
        """Let no later load or store come before an earlier one."""
        barrier_everywhere()

    def copy_words(target: Any, at: Any, source: Any, begin: Any, count: Any) -> None:
        """Copy ``count`` words; the caller has checked both places."""
        target[at : at + count] = source[begin : begin + count]

    def wake(words: Any, index: Any) -> None:
        """Wake everybody who sleeps on the word."""
        address = ctypes.c_void_p(words.ctypes.data + 8 * int(index))
        _syscall(_FUTEX, address, _FUTEX_WAKE, _EVERYBODY, None, None, 0)

else:

    def _pointer(ctx: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
        view = ctx.make_array(array_type)(ctx, builder, array)
        return cgutils.get_item_pointer(ctx, builder, array_type, view, [index], wraparound=False)

    def _loading(ordering: str, *, behind: bool = False) -> Any:
        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            if behind:
                _keep_order_of_instructions(builder)
            return builder.load_atomic(_pointer(ctx, builder, sig.args[0], *args), ordering, 8)

        return generate

    def _storing(ordering: str) -> Any:
        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            array, index, value = args
            builder.store_atomic(value, _pointer(ctx, builder, sig.args[0], array, index), ordering, 8)
            return ctx.get_dummy_value()

        return generate

    def _fencing(ordering: str) -> Any:
        def generate(ctx: Any, builder: Any, _sig: Any, _args: Any) -> Any:
            builder.fence(ordering)
            return ctx.get_dummy_value()

        return generate

    def _keep_order_of_instructions(builder: Any) -> None:
        """Let the compiler move no load or store across this place; it is no instruction."""
        from llvmlite import ir

        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)

    @intrinsic  # type: ignore[untyped-decorator]
    def load_acquire(_context: Any, words: Any, _index: Any) -> Any:
        """The word; what is read after it is not older."""
        return types.int64(words, types.int64), _loading("acquire")

    @intrinsic  # type: ignore[untyped-decorator]
    def store_release(_context: Any, words: Any, _index: Any, _value: Any) -> Any:
        """Store the word, after all that was written before it."""
        return types.void(words, types.int64, types.int64), _storing("release")

    @intrinsic  # type: ignore[untyped-decorator]
    def load_word(_context: Any, words: Any, _index: Any) -> Any:
        """The word in one piece, in no order with others."""
        return types.int64(words, types.int64), _loading("monotonic")

    @intrinsic  # type: ignore[untyped-decorator]
    def store_word(_context: Any, words: Any, _index: Any, _value: Any) -> Any:
        """Store the word in one piece, in no order with others."""
        return types.void(words, types.int64, types.int64), _storing("monotonic")

    @intrinsic  # type: ignore[untyped-decorator]
    def load_behind(_context: Any, words: Any, _index: Any) -> Any:
        """The word, loaded by an instruction that stands behind the stores before it; the processor may still swap
        them."""
        return types.int64(words, types.int64), _loading("monotonic", behind=True)

    @intrinsic  # type: ignore[untyped-decorator]
    def add_word(_context: Any, words: Any, _index: Any, _more: Any) -> Any:
        """Add to the word in one piece, with acquire and release; gives what it was."""

        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            array, index, more = args
            return builder.atomic_rmw("add", _pointer(ctx, builder, sig.args[0], array, index), more, "acq_rel")

        return types.int64(words, types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def swap_if(_context: Any, words: Any, _index: Any, _expected: Any, _value: Any) -> Any:
        """Store the word if it is ``expected``, with acquire and release; gives what it was."""

        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            array, index, expected, value = args
            pointer = _pointer(ctx, builder, sig.args[0], array, index)
            return builder.extract_value(builder.cmpxchg(pointer, expected, value, "acq_rel", "acquire"), 0)

        return types.int64(words, types.int64, types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def fence_acquire(_context: Any) -> Any:
        """Let no later load or store come before an earlier load."""
        return types.void(), _fencing("acquire")

    @intrinsic  # type: ignore[untyped-decorator]
    def fence_release(_context: Any) -> Any:
        """Let no later store come before an earlier load or store."""
        return types.void(), _fencing("release")

    @intrinsic  # type: ignore[untyped-decorator]
    def fence_full(_context: Any) -> Any:
        """Let no later load or store come before an earlier one."""
        return types.void(), _fencing("seq_cst")

    @intrinsic  # type: ignore[untyped-decorator]
    def copy_words(_context: Any, target: Any, _at: Any, source: Any, _begin: Any, _count: Any) -> Any:
        """Copy ``count`` words; the caller has checked both places."""

        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            target, at, source, begin, count = args
            to = _pointer(ctx, builder, sig.args[0], target, at)
            of = _pointer(ctx, builder, sig.args[2], source, begin)
            cgutils.raw_memcpy(builder, to, of, count, 8, 8)
            return ctx.get_dummy_value()

        return types.void(target, types.int64, source, types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def _address(_context: Any, words: Any, _index: Any) -> Any:
        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.ptrtoint(_pointer(ctx, builder, sig.args[0], *args), ctx.get_value_type(types.int64))

        return types.int64(words, types.int64), generate

    _six = (types.int64,) * 7
    _system_call = types.ExternalFunction("syscall", types.int64(*_six))

    @inlined
    def wake(words, index):  # type: ignore[no-untyped-def]
        """Wake everybody who sleeps on the word."""
        _system_call(_FUTEX, _address(words, index), _FUTEX_WAKE, _EVERYBODY, 0, 0, 0)
