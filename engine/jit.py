"""The door to Numba: how kernels are compiled and loaded, and the few instructions Python lacks.

Numba is loaded when a kernel is first called or compiled (``engine.compiler``), and not at all by a program that runs
what is compiled already (``call_stored_code``). The cache of compiled kernels (``engine.kernel_cache``) is set before.
With NUMBA_DISABLE_JIT=1 each kernel runs as plain Python, and with NUMBA_BOUNDSCHECK=1 a compiled one checks every
index; all three must give the same bytes.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import numpy as np

from engine import machine_code
from engine.kernel_cache import cache_directory

if sys.flags.optimize:
    raise RuntimeError("python -O strips checks that lockstep relies on; start it without -O")

os.environ["NUMBA_CACHE_DIR"] = str(cache_directory())

#: True when kernels run as plain Python (NUMBA_DISABLE_JIT=1).
INTERPRETED: Final = bool(int(os.environ.get("NUMBA_DISABLE_JIT") or 0))

Kernel = Callable[..., Any]

#: Not empty: kernels that are stored are called without Numba.
_CALLS_STORED_CODE: Final[list[bool]] = []


def call_stored_code() -> None:
    """Call kernels without Numba from now on, where their machine code is stored (``engine.machine_code``).

    For a program that calls few kernels, and seldom: it starts a third of a second sooner, and a call takes 5 to 100
    microseconds more. A kernel that Python has called before stays as it is.
    """
    if not INTERPRETED and machine_code.Stored.can_run():
        _CALLS_STORED_CODE.append(True)


class _Kernel(functools.partial):  # type: ignore[type-arg]
    """A kernel as Python calls it, and as Numba meets it in other kernels.

    Its first call decides what runs it: from then on the partial *is* a call of that, so that no call takes longer.
    """

    def __new__(cls, kernel: Kernel, **options: Any) -> "_Kernel":
        """A kernel that has not been called."""
        made = super().__new__(cls, kernel)
        made.py_func, made._options = kernel, options
        functools.update_wrapper(made, kernel)
        made._run_by(made._call_first)
        return made

    def _run_by(self, function: Kernel) -> None:
        self.__setstate__((function, (), {}, self.__dict__))

    def _call_first(self, *arguments: Any) -> Any:
        if _CALLS_STORED_CODE:
            self._run_by(machine_code.Stored(self.py_func, self._call_compiled))
        else:
            self._run_by(self.compiled)
        return self(*arguments)

    def _call_compiled(self, *arguments: Any) -> Any:
        return self.compiled(*arguments)

    @functools.cached_property
    def compiled(self) -> Any:
        """Numba's form of it."""
        from engine import compiler

        return compiler.compiled(self.py_func, **self._options)

    @property
    def _numba_type_(self) -> Any:
        return self.compiled._numba_type_

    def __getattr__(self, name: str) -> Any:
        """Attribute of Numba's form."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.compiled, name)


class _InKernels:
    """A function that only kernels call. Numba asks for its type when it compiles one of them, and ``engine.compiler``
    makes it then."""

    def __init__(self, type_of: Callable[[Any], Any]) -> None:
        self._type_of = type_of

    @functools.cached_property
    def _numba_type_(self) -> Any:
        from engine import compiler

        return self._type_of(compiler)


def _instruction(name: str) -> Any:
    """An instruction of ``engine.instructions``."""
    return _InKernels(lambda compiler: compiler.instruction(name))


def _one_variant(kernel: Kernel, *, forceinline: bool | None = None, is_rare: bool = False) -> Kernel:
    return kernel if INTERPRETED else _Kernel(kernel, forceinline=forceinline, is_rare=is_rare)


def inlined(kernel: Kernel) -> Kernel:
    """A kernel that LLVM puts into its caller, so that passing the state costs nothing."""
    return _one_variant(kernel, forceinline=True)


def called(kernel: Kernel) -> Kernel:
    """A kernel that the compiler puts into its callers where it likes; into those that are inlined it always does."""
    return _one_variant(kernel)


def rare(kernel: Kernel) -> Kernel:
    """A kernel that is seldom called: never put into its callers, which keep their registers for the frequent paths."""
    # Said outright, because Numba lets a kernel inherit it from the inlined one for which it is compiled first.
    return _one_variant(kernel, forceinline=False, is_rare=True)


_WORD: Final = 2**64


def _signed(number: int) -> Any:
    number &= _WORD - 1
    return number - _WORD if number >= _WORD // 2 else number


if INTERPRETED:

    def ctz(word: Any) -> int:
        """Number of the lowest set bit of a 64-bit word that is not zero."""
        word = int(word)
        return (word & -word).bit_length() - 1

    def top_bit(word: Any) -> int:
        """Number of the highest set bit of a 64-bit word that is not zero."""
        return (int(word) & (_WORD - 1)).bit_length() - 1

    def lshr(word: Any, bits: Any) -> int:
        """The 64-bit word moved down by ``bits`` (0 to 63), zeros coming in at the top."""
        return int(_signed((int(word) & (_WORD - 1)) >> int(bits)))

    def shl(word: Any, bits: Any) -> int:
        """The 64-bit word moved up by ``bits`` (0 to 63), what leaves it at the top is lost."""
        return int(_signed(int(word) << int(bits)))

    def wrapping_add(a: Any, b: Any) -> int:
        """The low 64 bits of a sum, as int64."""
        return int(_signed(int(a) + int(b)))

    def wrapping_multiply(a: Any, b: Any) -> int:
        """The low 64 bits of a product, as int64."""
        return int(_signed(int(a) * int(b)))

    def quotient(a: Any, b: Any) -> int:
        """The whole part of a number that is not negative, divided by one above 0."""
        return int(a) // int(b)

    def word_of(row: Any, n: Any) -> int:
        """Word ``n`` of a row: 8 bytes from byte 8 * n on, as int64."""
        return int.from_bytes(row.tobytes()[8 * n : 8 * n + 8], "little", signed=True)

    def prefetch(array: Any, index: Any) -> None:
        """Prefetch a row of an array; changes nothing."""

    def _pack_pointers(arrays: Any) -> Any:
        """The arrays themselves: interpreted kernels need no addresses."""
        return arrays

    def unpack_pointers(_example: Any) -> Any:
        """A function that gives a kernel the arrays of ``Packed.pointers``."""
        return lambda arrays: arrays

else:

    def _pack_pointers(arrays: Any) -> Any:
        """Address and length of each array of a NamedTuple: int64[n, 2], read-only. ``Packed`` keeps them alive."""
        pointers = np.array([(each.ctypes.data, len(each)) for each in arrays], np.int64)
        pointers.flags.writeable = False
        return pointers

    def unpack_pointers(example: Any) -> Any:
        """A function that gives a kernel the arrays of ``Packed.pointers``, as a NamedTuple of the type of ``example``.

        The arrays are contiguous. Lengths come from the pointers; all axes after the first are those of the example.
        """
        return _InKernels(lambda compiler: compiler.unpacking(example))

    ctz = _instruction("ctz")
    top_bit = _instruction("top_bit")
    lshr = _instruction("lshr")
    shl = _instruction("shl")
    wrapping_add = _instruction("wrapping_add")
    wrapping_multiply = _instruction("wrapping_multiply")
    quotient = _instruction("quotient")
    word_of = _instruction("word_of")
    prefetch = _instruction("prefetch")


_Arrays = TypeVar("_Arrays", bound=tuple[Any, ...])


class Packed(Generic[_Arrays]):
    """A NamedTuple of arrays, with the pointers by which a kernel finds them: it passes those to ``unpack_pointers``.

    Numba takes a NamedTuple apart at each call, half a microsecond an array; for one order that is longer than all that
    the kernel then does. One object owns the arrays and their addresses, and neither can be replaced, so no kernel
    writes to memory that was freed. Fill arrays in place.
    """

    __slots__ = ("arrays", "pointers")

    #: The arrays.
    arrays: _Arrays
    #: The argument for a kernel.
    pointers: Any

    def __init__(self, arrays: _Arrays) -> None:
        object.__setattr__(self, "arrays", arrays)
        object.__setattr__(self, "pointers", _pack_pointers(arrays))

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"{name} cannot be replaced")


def call_by_address(returns: int) -> Any:
    """The call inside a kernel of another one that ``Linked`` gave an address: ``call(address, (argument, ...))``.

    returns: number of the int64 values that it gives.
    """
    if INTERPRETED:
        return lambda address, arguments: _INTERPRETED_KERNELS[int(address)](*arguments)
    return _InKernels(lambda compiler: compiler.calling_by_address(returns))


#: Kernels by the addresses that ``Linked`` gives where kernels are interpreted.
_INTERPRETED_KERNELS: Final[list[Kernel]] = []


class Linked:
    """A kernel that another one calls by its address, so that it is not compiled again as a part of that one.

    returns: number of the int64 values that it gives, as for ``call_by_address``.
    """

    def __init__(self, kernel: Kernel, returns: int) -> None:
        self._kernel: Any = kernel
        self._returns = returns

    def address(self, *arguments: Any) -> int:
        """Compile or load the kernel for arguments of these types; gives its address, a number where kernels are
        interpreted.

        Raises TypeError if the kernel gives anything else than was said.
        """
        if INTERPRETED:
            if self._kernel not in _INTERPRETED_KERNELS:
                _INTERPRETED_KERNELS.append(self._kernel)
            return _INTERPRETED_KERNELS.index(self._kernel)
        from engine import compiler

        return compiler.address_of(self._kernel.compiled, self._returns, arguments)


def libc(name: str, arguments: int, *, sized: bool) -> Any:
    """Function of the C library for kernels, with so many arguments: numbers and addresses, each an int64.

    sized: its result has 64 bits; otherwise it is an int. A kernel sees no ``errno``. Both calling conventions that
    matter (x86-64, AArch64) pass an int in a 64-bit register, of which the function reads the lower half.
    """
    if not INTERPRETED:
        return _InKernels(lambda compiler: compiler.c_function(name, arguments, sized=sized))
    import ctypes

    function = getattr(ctypes.CDLL(None), name)
    function.restype = ctypes.c_int64 if sized else ctypes.c_int
    function.argtypes = [ctypes.c_int64] * arguments
    return lambda *values: function(*(int(each) for each in values))


def quiet(kernel: Kernel) -> Kernel:
    """The kernel as Python calls it: int64 wraps in an interpreted one as it does compiled, without a warning."""
    return np.errstate(over="ignore")(kernel) if INTERPRETED else kernel
