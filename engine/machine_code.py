"""Machine code of kernels as a file, and calls of it by a program that has not loaded Numba.

Numba takes a third of a second to load, and a kernel that is compiled needs none of it. So beside Numba's own files
(``engine.compiler``) each kernel whose arguments are whole numbers, arrays, and NamedTuples of arrays has a file with
its machine code and the name of its *entry*: a function that reads the arguments from a table of words, calls the
kernel, and writes its results into the same table. LLVM places the code in memory; ctypes calls the entry.

A file is found by all that its code depends on: the folder is named by sources and versions (``engine.kernel_cache``),
the file by the kernel, the types of the arguments and the processor. A file that is not whole counts as missing.
"""

import ctypes
import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from engine.digest import DIGEST_BYTES, checksum
from engine.errors import InvariantError
from engine.kernel_cache import cache_directory_of

#: Begin of the name of an entry, before the name of its kernel.
ENTRY: Final = "lockstep_entry_"

_INT64: Final = range(-(2**63), 2**63)
_LENGTH_BYTES: Final = 4
#: Settings of Numba that change nothing in a kernel, or have a folder of their own.
_HARMLESS: Final = frozenset({"NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS"})
#: Begin of the names of Numba's own functions, which only the wrapper for Python calls, and no entry does.
_OF_NUMBA: Final = "numba_"


class Code(NamedTuple):
    """Machine code of a kernel for arguments of certain types.

    processor: triple, name and features of the processor that it is for. results: number of int64 values that the
    kernel gives. code: object file of LLVM.
    """

    arguments: str
    processor: tuple[str, str, str]
    entry: str
    results: int
    code: bytes


def described(argument: Any) -> str | None:
    """Type of an argument in words, as a kernel is compiled for it; None for one that no entry takes."""
    kind = type(argument)
    if kind is np.int64 or (kind is int and argument in _INT64):
        return "int64"
    if kind is np.ndarray:
        flags = argument.flags
        if not flags.c_contiguous:
            return None
        written = "" if flags.writeable else " read-only"
        return f"{_dtype(argument.dtype)}[{argument.ndim}]{written}{'' if flags.aligned else ' unaligned'}"
    if isinstance(argument, tuple) and hasattr(kind, "_fields"):
        members = described_all(argument)
        return None if members is None else f"{kind.__module__}.{kind.__qualname__}({members})"
    return None


@cache
def _dtype(dtype: "np.dtype[Any]") -> str:
    return repr(dtype)


def described_all(arguments: Sequence[Any]) -> str | None:
    """Types of arguments in words; None if no entry takes one of them."""
    each = [described(argument) for argument in arguments]
    return None if None in each else ", ".join(each)  # type: ignore[arg-type]


def path_of(kernel: Callable[..., Any], arguments: str, processor: tuple[str, str, str]) -> Path:
    """File of a kernel for arguments of these types, and for a processor."""
    code = kernel.__code__
    key = checksum(json.dumps([kernel.__module__, kernel.__qualname__, arguments, processor]).encode()).hex()
    folder = cache_directory_of(Path(code.co_filename).resolve().parent)
    return folder / f"{Path(code.co_filename).stem}.{kernel.__qualname__}-{code.co_firstlineno}-{key}.code"


def write(kernel: Callable[..., Any], code: Code) -> None:
    """Write the file of a kernel, whole or not at all. Raises OSError."""
    path = path_of(kernel, code.arguments, code.processor)
    head = json.dumps(code._replace(code=None)._asdict()).encode()  # type: ignore[arg-type]
    rest = len(head).to_bytes(_LENGTH_BYTES, "little") + head + code.code
    new = path.with_name(f"{path.name}-{os.urandom(8).hex()}")
    try:
        new.write_bytes(checksum(rest) + rest)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def read(kernel: Callable[..., Any], arguments: str, processor: tuple[str, str, str]) -> Code | None:
    """Code of a kernel for arguments of these types and a processor; None where there is none that is whole."""
    try:
        stored = path_of(kernel, arguments, processor).read_bytes()
    except OSError:
        return None
    rest = stored[DIGEST_BYTES:]
    if checksum(rest) != stored[:DIGEST_BYTES]:
        return None
    end = _LENGTH_BYTES + int.from_bytes(rest[:_LENGTH_BYTES], "little")
    head = json.loads(rest[_LENGTH_BYTES:end])
    code = Code(**{**head, "processor": tuple(head["processor"]), "code": rest[end:]})
    return code if (code.arguments, code.processor) == (arguments, processor) else None


class _Loader:
    """LLVM's loader of object files, for this processor. What it loads stays for the life of the process."""

    def __init__(self) -> None:
        from llvmlite import binding

        self._llvm = binding
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        triple = binding.get_process_triple()
        self.processor = triple, binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
        machine = binding.Target.from_triple(triple).create_target_machine(
            cpu=self.processor[1], features=self.processor[2], reloc="default", codemodel="jitdefault", jit=True
        )
        nothing = binding.parse_assembly(f'target triple = "{triple}"')
        self._engine = binding.create_mcjit_compiler(nothing, machine)

    def address(self, code: Code) -> int | None:
        """Place code in memory; gives the address of its entry, or None if it needs what this process has not.

        Numba's wrapper is part of the code and is never called: its functions lead to the end of the process.
        """
        for name in undefined_symbols(code.code):
            if self._llvm.address_of_symbol(name) is None:
                if not name.startswith(_OF_NUMBA):
                    return None
                self._llvm.add_symbol(name, _address_of_abort())
        self._engine.add_object_file(self._llvm.ObjectFileRef.from_data(code.code))
        self._engine.finalize_object()
        return int(self._engine.get_function_address(code.entry)) or None


def _address_of_abort() -> int:
    return int(ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value or 0)


@cache
def _loader() -> _Loader:
    return _Loader()


#: A section of an object file, with what is read of it.
_SECTION: Final = np.dtype(
    {
        "names": ["type", "offset", "size", "link"],
        "formats": ["<u4", "<u8", "<u8", "<u4"],
        "offsets": [0x04, 0x18, 0x20, 0x28],
        "itemsize": 0x40,
    }
)
#: A symbol of it: where its name is, and its section (0: in no section of this file).
_SYMBOL: Final = np.dtype(
    {"names": ["name", "section"], "formats": ["<u4", "<u2"], "offsets": [0x00, 0x06], "itemsize": 0x18}
)
_SYMBOL_TABLE: Final = 2


def undefined_symbols(code: bytes) -> list[str]:
    """Names that an object file (ELF, 64 bits, little-endian) takes from elsewhere.

    LLVM ends the process when it does not find one of them.
    """
    start = int.from_bytes(code[0x28:0x30], "little")
    sections = np.frombuffer(code, _SECTION, int.from_bytes(code[0x3C:0x3E], "little"), start)
    found = []
    for section in sections[sections["type"] == _SYMBOL_TABLE]:
        symbols = np.frombuffer(code, _SYMBOL, int(section["size"]) // _SYMBOL.itemsize, int(section["offset"]))
        names = int(sections[int(section["link"])]["offset"])
        for at in symbols["name"][(symbols["section"] == 0) & (symbols["name"] != 0)].tolist():
            found.append(code[names + at : code.index(b"\0", names + at)].decode())
    return found


class Stored:
    """A kernel as a program without Numba calls it; ``otherwise`` takes the calls for which it has no file."""

    def __init__(self, kernel: Callable[..., Any], otherwise: Callable[..., Any]) -> None:
        self._kernel, self._otherwise = kernel, otherwise
        self._entries: dict[str, Callable[..., Any] | None] = {}

    @staticmethod
    def can_run() -> bool:
        """True if nothing in the environment asks Numba for other machine code than this processor's."""
        return not {name for name in os.environ if name.startswith("NUMBA_")} - _HARMLESS

    def __call__(self, *arguments: Any) -> Any:
        """Call the kernel; gives an int, a tuple of them or None. Raises InvariantError if the kernel fails."""
        types = described_all(arguments)
        if types is None:
            return self._otherwise(*arguments)
        if types not in self._entries:
            self._entries[types] = self._entry(types)
        entry = self._entries[types]
        return self._otherwise(*arguments) if entry is None else entry(arguments)

    def _entry(self, types: str) -> Callable[[Sequence[Any]], Any] | None:
        """Call of the entry for arguments of these types; None where there is no file."""
        loader = _loader()
        code = read(self._kernel, types, loader.processor)
        address = None if code is None else loader.address(code)
        if code is None or address is None:
            return None
        results = code.results
        # It gives the interpreter's lock back for the time of the call.
        function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(address)
        name = self._kernel.__qualname__

        def call(arguments: Sequence[Any]) -> Any:
            words: list[int] = []
            for argument in arguments:
                _put(argument, words)
            table = (ctypes.c_int64 * max(len(words), results, 1))(*words)
            if function(table):
                raise InvariantError(f"kernel {name} ended with an exception")
            return table[0] if results == 1 else tuple(table[:results]) if results else None

        return call


def _put(argument: Any, words: list[int]) -> None:
    """Append the words of an argument: a number, the address and the shape of an array, those of each of a tuple."""
    if isinstance(argument, tuple):
        for each in argument:
            _put(each, words)
    elif isinstance(argument, np.ndarray):
        words.append(argument.__array_interface__["data"][0])
        words.extend(argument.shape)
    else:
        words.append(int(argument))
