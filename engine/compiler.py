"""Compilation of kernels by Numba, with changes to it, and loading of what was compiled before.

Nothing here is imported before a kernel needs it (``engine.jit``): Numba takes a third of a second to load.
"""

import itertools
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import numba
from llvmlite import ir
from numba import _dynfunc, types
from numba.core import event
from numba.core.base import BaseContext
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.codegen import JITCodeLibrary, ll
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.typing.templates import make_intrinsic_template
from numba.np import arrayobj

from engine import compiler_shortcuts, instructions, machine_code
from engine.kernel_cache import cache_directory_of

compiler_shortcuts.take()

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


_create_wrapper: Final = CPUContext.create_cpython_wrapper


def _create_wrapper_and_entry(
    context: Any, library: Any, described: Any, environment: Any, call_helper: Any, release_gil: bool = False
) -> None:
    _create_wrapper(context, library, described, environment, call_helper, release_gil)
    if has_entry(described.argtypes, described.restype):
        library.add_ir_module(_entry(context, described))


def has_entry(arguments: Any, result: Any) -> bool:
    """True if a kernel of these types has an entry (``engine.machine_code``)."""
    return all(_has_words(each) for each in arguments) and _results(result) is not None


def _has_words(kind: Any) -> bool:
    if isinstance(kind, types.BaseNamedTuple):
        return all(_has_words(each) for each in kind.types)
    return kind == types.int64 or (isinstance(kind, types.Array) and kind.layout == "C")


def _results(kind: Any) -> int | None:
    """Number of int64 values that a kernel gives; None if it gives anything else."""
    if isinstance(kind, types.UniTuple) and kind.dtype == types.int64 and kind.count > 1:
        return int(kind.count)
    return {types.int64: 1, types.none: 0}.get(kind)


def _entry(context: Any, described: Any) -> Any:
    """Module of LLVM with the entry of a kernel: int32 of a table of words, 0 if the kernel came to its end."""
    module = context.create_module("entry")
    native = context.call_conv.get_function_type(described.restype, described.argtypes)
    kernel = ir.Function(module, native, described.llvm_func_name)
    word = context.get_value_type(types.int64)
    shape = ir.FunctionType(ir.IntType(32), [word.as_pointer()])
    entry = ir.Function(module, shape, machine_code.ENTRY + described.llvm_func_name)
    builder = ir.IRBuilder(entry.append_basic_block())
    places = itertools.count()

    def next_word() -> Any:
        return builder.load(builder.gep(entry.args[0], [word(next(places))]))

    arguments = [_from_words(context, builder, kind, next_word) for kind in described.argtypes]
    status, result = context.call_conv.call_function(
        builder, kernel, described.restype, described.argtypes, arguments, attrs=("noinline",)
    )
    results = _results(described.restype) or 0
    for place in range(results):
        value = builder.extract_value(result, place) if results > 1 else result
        builder.store(value, builder.gep(entry.args[0], [word(place)]))
    builder.ret(builder.zext(status.is_error, ir.IntType(32)))
    return module


def _from_words(context: Any, builder: Any, kind: Any, next_word: Callable[[], Any]) -> Any:
    """Value of an argument, from the words that ``machine_code`` puts for it."""
    if isinstance(kind, types.BaseNamedTuple):
        members = [_from_words(context, builder, each, next_word) for each in kind.types]
        return context.make_tuple(builder, kind, members)
    first = next_word()
    return (
        _array(context, builder, kind, first, [next_word() for _ in range(kind.ndim)]) if kind != types.int64 else first
    )


def _array(context: Any, builder: Any, kind: Any, address: Any, shape: list[Any]) -> Any:
    """Contiguous array at an address. Nothing owns its memory within kernels."""
    word = context.get_value_type(types.int64)
    array = context.make_array(kind)(context, builder)
    itemsize = word(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [itemsize]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    data = builder.inttoptr(address, array.data.type)
    arrayobj.populate_array(array, data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()


@contextmanager
def _our_compiler(part: bool) -> Iterator[None]:
    """Compile with five changes to Numba; take the compiler's lock.

    An index below 0 does not count from the end of an array: kernels use no such index, and not looking for one saves
    up to a tenth of their instructions; under NUMBA_BOUNDSCHECK it is an error like any other index outside the array.
    Rare kernels are cold. A part, which only other kernels call, ends as it is: its callers get their own
    copy of it, so machine code of the part alone would never run. Another kernel gets an entry beside its wrapper.
    Nobody listens to Numba's events, of which there are many when kernels are nested.
    """
    with global_compiler_lock:
        kept = arrayobj.fix_integer_index, JITCodeLibrary.finalize, CPUContext.get_executable
        wrapped = CPUContext.create_cpython_wrapper
        JITCodeLibrary.finalize = _end_without_machine_code if part else _link_and_optimise
        broadcast, event.broadcast = event.broadcast, lambda _event: None
        arrayobj.fix_integer_index = _index_as_it_is
        BaseContext.declare_function = _declare_rare_as_such
        if part:
            CPUContext.get_executable = _name_of_part
        else:
            CPUContext.create_cpython_wrapper = _create_wrapper_and_entry
        try:
            yield
        finally:
            arrayobj.fix_integer_index, JITCodeLibrary.finalize, CPUContext.get_executable = kept
            BaseContext.declare_function = _declare_function
            CPUContext.create_cpython_wrapper = wrapped
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

    def machine_code(self) -> bytes:
        """The kernel's machine code, read anew. Raises OSError, or one of ``_TORN``."""
        with open(self._path, "rb") as file:
            _, ((_, _, (code, _, _)), *_) = pickle.load(file)
        return bytes(code)


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
    library._stored = library._loaded_from = stored
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


def _store(compiled: Any, arguments: tuple[Any, ...]) -> None:
    """Write the machine code of a kernel for programs without Numba, where its file is missing.

    It was compiled or loaded for arguments of these types.
    """
    described = machine_code.described_all(arguments)
    if described is None:
        return
    made = compiled.overloads[tuple(_without_value(numba.typeof(each)) for each in arguments)]
    results = _results(made.signature.return_type)
    processor = made.library.codegen.magic_tuple()
    kernel = compiled.py_func
    if results is None or not has_entry(made.signature.args, made.signature.return_type) or kernel.__closure__:
        return
    if not machine_code.path_of(kernel, described, processor).exists():
        entry = machine_code.ENTRY + made.fndesc.llvm_func_name
        loaded = getattr(made.library, "_loaded_from", None)
        with suppress(OSError, *_TORN):  # programs without it take longer
            octets = made.library._get_compiled_object() if loaded is None else loaded.machine_code()
            machine_code.write(kernel, machine_code.Code(described, processor, entry, results, octets))


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
        self._add_overload, self._compile_for_call = compiled.add_overload, compiled._compile_for_args
        self._parts: set[Any] = set()

    def call_template(self, args: Any, kws: Any) -> Any:
        """Numba's question for the type of a call: constants and members of an IntEnum count as int64."""
        return self._call_template(tuple(_without_value(each) for each in args), kws)

    def compile_for_call(self, *arguments: Any) -> Any:
        """Compile for a call from Python; write the machine code for programs without Numba."""
        called = self._compile_for_call(*arguments)
        _store(self._compiled, arguments)
        return called

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


def compiled(kernel: Kernel, *, forceinline: bool | None, is_rare: bool) -> Any:
    """Numba's form of a kernel, which compiles or loads it when it is called."""
    if is_rare:
        _RARE.add((kernel.__module__, kernel.__qualname__))
    options = {} if forceinline is None else {"forceinline": forceinline}
    made = numba.njit(nogil=True, _nrt=False, no_cfunc_wrapper=True, **options)(kernel)
    compiling = _Compiling(made)
    made.get_call_template, made.compile = compiling.call_template, compiling.compile
    made._compile_for_args = compiling.compile_for_call
    return made


def instruction(name: str) -> Any:
    """Numba's type of an instruction of ``engine.instructions``."""
    return _function(getattr(instructions, name))


def _function(define: Callable[..., Any]) -> Any:
    """Numba's type of a function that kernels call; ``define`` gives the type of a call and what writes it."""
    return types.Function(make_intrinsic_template(define, define, define.__name__))


def unpacking(example: Any) -> Any:
    """Numba's type of a function that gives a kernel the arrays of ``jit.Packed.pointers``."""
    kind = numba.typeof(example)
    inner = [each.shape[1:] for each in example]

    def unpack(_context: Any, table: Any) -> Any:
        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            view = ctx.make_array(sig.args[0])(ctx, builder, args[0])
            word = ctx.get_value_type(types.int64)

            def number(row: int, column: int) -> Any:
                return builder.load(builder.gep(view.data, [word(2 * row + column)]))

            members = []
            for row, array_type in enumerate(kind.types):
                address, length = number(row, 0), number(row, 1)
                members.append(_array(ctx, builder, array_type, address, [length, *(word(n) for n in inner[row])]))
            return ctx.make_tuple(builder, kind, members)

        return kind(table), generate

    return _function(unpack)


def calling_by_address(returns: int) -> Any:
    """Numba's type of the call of a kernel by its address, which gives so many int64 values."""
    kind = _int64_values(returns)

    def call(_context: Any, address: Any, arguments: Any) -> Any:
        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            kinds = tuple(sig.args[1].types)
            function = ctx.call_conv.get_function_type(kind, kinds).as_pointer()
            values = [builder.extract_value(args[1], place) for place in range(len(kinds))]
            _, result = ctx.call_conv.call_function(builder, builder.inttoptr(args[0], function), kind, kinds, values)
            return result

        return kind(address, arguments), generate

    return _function(call)


def _int64_values(number: int) -> Any:
    return types.int64 if number == 1 else types.UniTuple(types.int64, number)


def address_of(kernel: Any, returns: int, arguments: tuple[Any, ...]) -> int:
    """Compile or load a kernel for arguments of these types; gives its address. Raises TypeError if it gives others
    than so many int64 values.
    """
    kinds = tuple(_without_value(numba.typeof(each)) for each in arguments)
    made = kernel.overloads.get(kinds)
    if made is None or made.library in _PARTS:
        kernel.compile(kinds)
        made = kernel.overloads[kinds]
    _store(kernel, arguments)
    if made.signature.return_type != _int64_values(returns):
        raise TypeError(f"{kernel.__name__} gives {made.signature.return_type}, not {_int64_values(returns)}")
    return int(made.library.get_pointer_to_function(made.fndesc.llvm_func_name))


def c_function(name: str, arguments: int, *, sized: bool) -> Any:
    """Numba's type of a function of the C library, as ``jit.libc`` describes it."""
    result = types.int64 if sized else types.int32
    return types.ExternalFunction(name, result(*[types.int64] * arguments))
