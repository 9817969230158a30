"""The door to Numba: how kernels are compiled and loaded, and the few instructions Python lacks.

The cache of compiled kernels (``engine.kernel_cache``) is set before Numba is imported. With NUMBA_DISABLE_JIT=1 each
kernel runs as plain Python, and with NUMBA_BOUNDSCHECK=1 a compiled one checks every index; all three must give the
same bytes.
"""

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from engine.kernel_cache import cache_directory, cache_directory_of

if sys.flags.optimize:
    raise RuntimeError("python -O strips checks that lockstep relies on; start it without -O")

os.environ["NUMBA_CACHE_DIR"] = str(cache_directory())

import numba  # the cache folder has to be set first
import numpy as np
from numba import _dynfunc, types
from numba.core import cgutils, event
from numba.core.base import BaseContext
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.codegen import JITCodeLibrary, ll
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.extending import intrinsic
from numba.np import arrayobj

from engine import compiler_shortcuts

compiler_shortcuts.take()

#: True when kernels run as plain Python (NUMBA_DISABLE_JIT=1).
INTERPRETED: Final = bool(numba.config.DISABLE_JIT)

Kernel = Callable[..., Any]


def _index_as_it_is(context: Any, builder: Any, index_type: Any, index: Any, _size: Any) -> Any:
    return context.cast(builder, index, index_type, types.intp if index_type.signed else types.uintp)


#: Module and name of the kernels that are rarely called.
_RARE: Final[set[tuple[str, str]]] = set()

_declare_function: Final = BaseContext.declare_function


def _declare_rare_as_such(context: Any, module: Any, described: Any) -> Any:
    function = _declare_function(context, module, described)
    if (described.modname, described.qualname) in _RARE:
        function.attributes.add("cold")
        function.attributes.add("noinline")
    return function


#: Libraries of kernels that only other kernels call. Numba finalizes one when it lowers the first call, so often while
#: it compiles a kernel that is no part.
_PARTS: Final[WeakSet[Any]] = WeakSet()


def _end_without_machine_code(library: Any) -> None:
    """End a part as it is: it is linked and optimised with the kernel that Python calls."""
    library._raise_if_finalized()
    library._finalize_dynamic_globals()
    library._finalized = True


def _callers_first(library: Any) -> list[Any]:
    """All libraries that one calls, however deep, each behind those that call it.

    LLVM's linker leaves out a function that nothing linked before it calls.
    """
    found: dict[Any, None] = {}  # callees first

    def visit(each: Any) -> None:
        if each not in found:
            for deeper in each._linking_libraries:
                visit(deeper)
            found[each] = None

    visit(library)
    return list(found)[-2::-1]


def _link_and_optimise(library: Any) -> None:
    """Link all that a kernel calls, however deep, and optimise it once.

    Numba would link and optimise each kernel with all that it calls, and again in each of its callers: a third of
    the time of compiling all. Nothing else calls this copy of a part, and LLVM is told so: it then passes only those
    numbers of an array that are used, where it would store seven for each array of the state before each call.
    """
    if library in _PARTS:
        _end_without_machine_code(library)
        return
    library._raise_if_finalized()
    for each in _callers_first(library):
        library._reload_init.update(each._reload_init)
        library._final_module.link_in(each._get_module_for_linking(), preserve=True)
    undefined = [each.name for each in library._final_module.functions if each.is_declaration and each.name[:2] == "_Z"]
    if undefined:  # machine code without it would jump to address 0
        raise AssertionError(f"{library.name} was linked without {', '.join(undefined)}")
    for function in library._final_module.functions:
        if not function.is_declaration and function.linkage.name == "linkonce_odr":
            function.linkage = "internal"
    library._optimize_final_module()
    library._final_module.verify()
    library._finalize_final_module()


def _name_of_part(_context: Any, library: Any, described: Any, environment: Any) -> Any:
    """Function object by which Numba knows a part. It has no address; no Python code gets hold of it."""
    name = described.qualname.split(".")[-1]
    return _dynfunc.make_function(described.lookup_module(), name, "part of a kernel", 0, environment, (library,))


@contextmanager
def _our_compiler(part: bool) -> Iterator[None]:
    """Compile with four changes to Numba; take the compiler's lock.

    An index below 0 does not count from the end of an array: kernels use no such index, and not looking for one saves
    up to a tenth of their instructions; under NUMBA_BOUNDSCHECK it is an error like any other index outside the array.
    Rare kernels are cold. A part, which only other kernels call, ends as it is: its callers get their own
    copy of it, so machine code of the part alone would never run. Nobody listens to Numba's events, of which there are
    many when kernels are nested.
    """
    with global_compiler_lock:
        kept = arrayobj.fix_integer_index, JITCodeLibrary.finalize, CPUContext.get_executable
        JITCodeLibrary.finalize = _end_without_machine_code if part else _link_and_optimise
        broadcast, event.broadcast = event.broadcast, lambda _event: None
        arrayobj.fix_integer_index = _index_as_it_is
        BaseContext.declare_function = _declare_rare_as_such
        if part:
            CPUContext.get_executable = _name_of_part
        try:
            yield
        finally:
            arrayobj.fix_integer_index, JITCodeLibrary.finalize, CPUContext.get_executable = kept
            BaseContext.declare_function = _declare_function
            event.broadcast = broadcast


#: Errors of reading a file that a power cut left in parts.
_TORN: Final = (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, ImportError)


class _StoredModule:
    """LLVM's form of a kernel, in the file behind its machine code: only a kernel that has it as a part needs it.

    Numba parses it for each kernel that it loads, to learn the names in it, and keeps it: most of the time and of the
    memory of loading. ``defined`` has the names.
    """

    def __init__(self, path: str, place: int, defined: frozenset[str]) -> None:
        self._path, self._place, self.defined = path, place, defined

    def parsed(self) -> Any:
        """The module. Raises OSError."""
        with open(self._path, "rb") as file:
            file.seek(self._place)
            return ll.parse_bitcode(file.read())


def _defined_in(module: Any) -> frozenset[str]:
    """Names of what a module of LLVM defines."""
    return frozenset(
        each.name for part in (module.functions, module.global_variables) for each in part if not each.is_declaration
    )


_library_of: Final = JITCodeLibrary._unserialize
_module_for_linking: Final = JITCodeLibrary._get_module_for_linking


def _library_of_machine_code(_cls: Any, codegen: Any, state: Any) -> Any:
    """The library of machine code that was stored."""
    name, _, (code, stored) = state
    if not isinstance(stored, _StoredModule):
        return _library_of(codegen, state)
    library = codegen.create_library(name)
    library.enable_object_caching()
    library._set_compiled_object(code)
    library._finalize_final_module()
    codegen._engine._defined_symbols |= stored.defined
    library._stored = stored
    return library


def _stored_module_for_linking(library: Any) -> Any:
    stored = library.__dict__.pop("_stored", None)
    if stored is not None:
        library._shared_module = stored.parsed()
    return _module_for_linking(library)


JITCodeLibrary._unserialize = classmethod(_library_of_machine_code)
JITCodeLibrary._get_module_for_linking = _stored_module_for_linking


class _KernelFiles(IndexDataCacheFile):  # type: ignore[misc]
    """An index of the types for which a kernel is compiled, and a numbered file of machine code for each.

    Two programs that compile it at once for different types may both take the next number. The index that was written
    last stands, and so does the machine code, but not always of the same program: it would run with arguments of other
    types. So each file says what it is for, and one of something else, like a torn one, counts as missing.
    """

    def save(self, key: Any, data: Any) -> None:
        """Write machine code for a key: types, processor and digest of the kernel. Raises OSError."""
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        """Machine code for a key, or None."""
        try:
            found = super().load(key)
        except _TORN:
            return None
        return found[1] if found is not None and found[0] == key else None

    def _save_data(self, name: str, data: Any) -> None:
        key, ((library, kind, (code, module)), *rest) = data
        defined = _defined_in(ll.parse_bitcode(module))
        parts = key, ((library, kind, (code, defined, len(module))), *rest)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(self._dump(parts) + module)

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)
        with open(path, "rb") as file:
            key, ((library, kind, (code, defined, size)), *rest) = pickle.load(file)
            place = file.tell()
            if os.fstat(file.fileno()).st_size != place + size:
                raise EOFError(path)
        return key, ((library, kind, (code, _StoredModule(path, place, defined))), *rest)

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except _TORN:
            return {}


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """Files of one kernel in the cache.

    Numba would name them by the place of the source, and leave them unused once its time has changed. The folder is
    named by the content of all sources, so each checkout of the same sources has the same files.

    Numba loads the library of its compiler (0.4 s) before it reads them, though machine code needs none of it. A kernel
    that is not in the cache still gets all: the compiler loads its library itself.
    """

    def __init__(self, kernel: Kernel) -> None:
        folder = str(cache_directory_of(Path(kernel.__code__.co_filename).resolve().parent))
        numba.config.CACHE_DIR = folder
        super().__init__(kernel)
        self._cache_path = folder
        self._cache_file = _KernelFiles(folder, self._impl.filename_base, source_stamp="")

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Machine code of the kernel for the types of a call, or None."""
        return self._load_overload(signature, context)


def _without_value(argument: Any) -> Any:
    return types.int64 if isinstance(argument, types.IntEnumMember) else types.unliteral(argument)


class _Compiling:
    """The compilation of one kernel: once for int64, not again for every constant that a caller passes.

    A kernel that Python calls gets wrappers, machine code and a file in the cache. One that is met inside another is a
    part: it gets none of them, which halves the time of compiling all. Python may call it later; it is then compiled
    again. A wrapper takes the state of a venue apart, array by array, and is longer than most kernels.
    """

    #: Kernels under compilation, from the one that Python called to the innermost.
    _depth = 0

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._call_template, self._compile = compiled.get_call_template, compiled.compile
        self._add_overload = compiled.add_overload
        self._parts: set[Any] = set()

    def call_template(self, args: Any, kws: Any) -> Any:
        """Numba's question for the type of a call: constants and members of an IntEnum count as int64."""
        return self._call_template(tuple(_without_value(each) for each in args), kws)

    def compile(self, signature: Any) -> Any:
        """Compile for the types of a call, from Python or from another kernel."""
        part = _Compiling._depth > 0
        with _our_compiler(part):
            if not part:
                if isinstance(self._compiled._cache, NullCache):  # as most kernels, which Python never calls, keep it
                    self._compiled._cache = _KernelCache(self._compiled.py_func)
                for types_of_arguments in self._parts:
                    del self._compiled.overloads[types_of_arguments]
                self._parts.clear()
            _Compiling._depth += 1
            try:
                if part:
                    return self._compile_part(signature)
                with compiler_shortcuts.seldom_collecting():
                    return self._compile(signature)
            finally:
                _Compiling._depth -= 1

    def _compile_part(self, signature: Any) -> Any:
        compiled = self._compiled
        kept = compiled._cache
        compiled._cache = NullCache()
        compiled.targetoptions["no_cpython_wrapper"] = True
        compiled.add_overload = self._add_part
        try:
            return self._compile(signature)
        finally:
            compiled._cache, compiled.add_overload = kept, self._add_overload
            compiled.targetoptions["no_cpython_wrapper"] = False

    def _add_part(self, result: Any) -> None:
        """Keep the part for the kernels that call it, out of the table by which Python's calls find machine code."""
        types_of_arguments = tuple(result.signature.args)
        self._compiled.overloads[types_of_arguments] = result
        _PARTS.add(result.library)
        self._parts.add(types_of_arguments)


def _one_variant(kernel: Kernel, **options: Any) -> Kernel:
    compiled = numba.njit(nogil=True, _nrt=False, no_cfunc_wrapper=True, **options)(kernel)
    if not INTERPRETED:
        compiling = _Compiling(compiled)
        compiled.get_call_template, compiled.compile = compiling.call_template, compiling.compile
    return compiled  # type: ignore[no-any-return]


def inlined(kernel: Kernel) -> Kernel:
    """A kernel that LLVM puts into its caller, so that passing the state costs nothing."""
    return _one_variant(kernel, forceinline=True)


def called(kernel: Kernel) -> Kernel:
    """A kernel that the compiler puts into its callers where it likes; into those that are inlined it always does."""
    return _one_variant(kernel)


def rare(kernel: Kernel) -> Kernel:
    """A kernel that is seldom called: never put into its callers, which keep their registers for the frequent paths."""
    _RARE.add((kernel.__module__, kernel.__qualname__))
    # Said outright, because Numba lets a kernel inherit it from the inlined one for which it is compiled first.
    return _one_variant(kernel, forceinline=False)


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
        kind = numba.typeof(example)
        inner = [each.shape[1:] for each in example]

        @intrinsic  # type: ignore[untyped-decorator]
        def rebuilt(_context: Any, table: Any) -> Any:
            def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
                view = ctx.make_array(sig.args[0])(ctx, builder, args[0])
                word = ctx.get_value_type(types.int64)

                def number(row: int, column: int) -> Any:
                    pointer = builder.gep(view.data, [word(2 * row + column)])
                    return builder.load(pointer)

                members = []
                for row, array_type in enumerate(kind.types):
                    array = ctx.make_array(array_type)(ctx, builder)
                    data = builder.inttoptr(number(row, 0), array.data.type)
                    shape = [number(row, 1), *(word(n) for n in inner[row])]
                    itemsize = ctx.get_abi_sizeof(ctx.get_data_type(array_type.dtype))
                    strides = [word(itemsize * int(np.prod(inner[row][axis:]))) for axis in range(len(shape))]
                    arrayobj.populate_array(
                        array, data, shape=shape, strides=strides, itemsize=word(itemsize), meminfo=None
                    )
                    members.append(array._getvalue())
                return ctx.make_tuple(builder, kind, members)

            return kind(table), generate

        return rebuilt

    @intrinsic  # type: ignore[untyped-decorator]
    def ctz(_context: Any, _word: Any) -> Any:
        """Number of the lowest set bit of a 64-bit word that is not zero."""

        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            return builder.cttz(args[0], cgutils.true_bit)

        return types.int64(types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def top_bit(_context: Any, _word: Any) -> Any:
        """Number of the highest set bit of a 64-bit word that is not zero."""

        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            return builder.sub(args[0].type(63), builder.ctlz(args[0], cgutils.true_bit))

        return types.int64(types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def lshr(_context: Any, _word: Any, _bits: Any) -> Any:
        """The 64-bit word moved down by ``bits`` (0 to 63), zeros coming in at the top."""

        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            return builder.lshr(args[0], args[1])

        return types.int64(types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def shl(_context: Any, _word: Any, _bits: Any) -> Any:
        """The 64-bit word moved up by ``bits`` (0 to 63), what leaves it at the top is lost."""

        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            return builder.shl(args[0], args[1])

        return types.int64(types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def wrapping_add(_context: Any, _a: Any, _b: Any) -> Any:
        """The low 64 bits of a sum, as int64. The compiler may take it that a sum with ``+`` never overflows."""

        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            return builder.add(args[0], args[1])

        return types.int64(types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def wrapping_multiply(_context: Any, _a: Any, _b: Any) -> Any:
        """The low 64 bits of a product, as int64."""

        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            return builder.mul(args[0], args[1])

        return types.int64(types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def quotient(_context: Any, _a: Any, _b: Any) -> Any:
        """The whole part of a number that is not negative, divided by one above 0: no question of signs and zeros."""

        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            return builder.udiv(args[0], args[1])

        return types.int64(types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def word_of(_context: Any, row: Any, _n: Any) -> Any:
        """Word ``n`` of a row: 8 bytes from byte 8 * n on, as int64."""

        def generate(ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            words = builder.bitcast(args[0], ctx.get_value_type(types.int64).as_pointer())
            return builder.load(builder.gep(words, [args[1]]), align=1)

        return types.int64(row, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def prefetch(_context: Any, array: Any, _index: Any) -> Any:
        """Prefetch a row of an array; changes nothing."""

        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            from llvmlite import ir

            view = ctx.make_array(sig.args[0])(ctx, builder, args[0])
            pointer = cgutils.get_item_pointer(ctx, builder, sig.args[0], view, [args[1]], wraparound=False)
            byte = builder.bitcast(pointer, ir.IntType(8).as_pointer())
            i32 = ir.IntType(32)
            shape = ir.FunctionType(ir.VoidType(), [byte.type, i32, i32, i32])
            function = builder.module.declare_intrinsic("llvm.prefetch", [byte.type], shape)
            builder.call(function, [byte, i32(0), i32(3), i32(1)])
            return ctx.get_dummy_value()

        return types.void(array, types.int64), generate


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


def call_by_address(returns: int) -> Kernel:
    """The call inside a kernel of another one that ``Linked`` gave an address: ``call(address, (argument, ...))``.

    returns: number of the int64 values that it gives.
    """
    if INTERPRETED:
        return lambda address, arguments: _INTERPRETED_KERNELS[int(address)](*arguments)
    kind = _int64_values(returns)

    @intrinsic  # type: ignore[untyped-decorator]
    def call(_context: Any, address: Any, arguments: Any) -> Any:
        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            kinds = tuple(sig.args[1].types)
            function = ctx.call_conv.get_function_type(kind, kinds).as_pointer()
            values = [builder.extract_value(args[1], place) for place in range(len(kinds))]
            _, result = ctx.call_conv.call_function(builder, builder.inttoptr(args[0], function), kind, kinds, values)
            return result

        return kind(address, arguments), generate

    return call  # type: ignore[no-any-return]


def _int64_values(number: int) -> Any:
    return types.int64 if number == 1 else types.UniTuple(types.int64, number)


#: Kernels by the addresses that ``Linked`` gives where kernels are interpreted.
_INTERPRETED_KERNELS: Final[list[Kernel]] = []


class Linked:
    """A kernel that another one calls by its address, so that it is not compiled again as a part of that one.

    returns: number of the int64 values that it gives, as for ``call_by_address``.
    """

    def __init__(self, kernel: Kernel, returns: int) -> None:
        self._kernel: Any = kernel
        self._returns = _int64_values(returns)

    def address(self, *arguments: Any) -> int:
        """Compile or load the kernel for arguments of these types; gives its address, a number where kernels are
        interpreted.

        Raises TypeError if the kernel gives anything else than was said.
        """
        if INTERPRETED:
            if self._kernel not in _INTERPRETED_KERNELS:
                _INTERPRETED_KERNELS.append(self._kernel)
            return _INTERPRETED_KERNELS.index(self._kernel)
        kinds = tuple(_without_value(numba.typeof(each)) for each in arguments)
        made = self._kernel.overloads.get(kinds)
        if made is None or made.library in _PARTS:
            self._kernel.compile(kinds)
            made = self._kernel.overloads[kinds]
        if made.signature.return_type != self._returns:
            raise TypeError(f"{self._kernel.__name__} gives {made.signature.return_type}, not {self._returns}")
        return int(made.library.get_pointer_to_function(made.fndesc.llvm_func_name))


def libc(name: str, arguments: int, *, sized: bool) -> Kernel:
    """Function of the C library for kernels, with so many arguments: numbers and addresses, each an int64.

    sized: its result has 64 bits; otherwise it is an int. A kernel sees no ``errno``. Both calling conventions that
    matter (x86-64, AArch64) pass an int in a 64-bit register, of which the function reads the lower half.
    """
    if not INTERPRETED:
        result = types.int64 if sized else types.int32
        return types.ExternalFunction(name, result(*[types.int64] * arguments))  # type: ignore[no-any-return]
    import ctypes

    function = getattr(ctypes.CDLL(None), name)
    function.restype = ctypes.c_int64 if sized else ctypes.c_int
    function.argtypes = [ctypes.c_int64] * arguments
    return lambda *values: function(*(int(each) for each in values))


def quiet(kernel: Kernel) -> Kernel:
    """The kernel as Python calls it: int64 wraps in an interpreted one as it does compiled, without a warning."""
    return np.errstate(over="ignore")(kernel) if INTERPRETED else kernel
