"""Shorter ways to what Numba's compiler makes: the same machine code in four fifths of the processor time.

Each replaces a function of Numba by one with the same result, but for the symbols of kernels, which are shorter: Numba
writes each field of each array of the state into the name of each kernel that gets the state, 7 KB of name, and LLVM
reads them again at each call. ``engine.compiler`` takes the shortcuts before anything is compiled.
"""

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from numba.core import codegen, ir, itanium_mangler, targetconfig, types

#: Longest name of a type in a symbol; a longer one is given by its digest.
_NAME_MAX: Final = 64
#: Young objects among which Python looks for garbage while it compiles. The program that was compiled so far is not
#: searched again and again, which takes a tenth of the time of compiling all.
_YOUNG_OBJECTS: Final = 50_000
_NEVER: Final = 1_000_000

_VARIABLE: Final[Any] = ir.Var
_INSTRUCTION: Final[Any] = ir.Inst
_TYPE: Final[Any] = types.Type
_MANGLER: Final[Any] = itanium_mangler
_WITHOUT_VARIABLES: Final = frozenset((str, int, bool, float, type(None), ir.Loc))


def _collect_variables(value: Any, found: list[Any]) -> None:
    kind = type(value)
    if kind in _WITHOUT_VARIABLES:
        return
    if isinstance(value, _VARIABLE):
        found.append(value)
    elif isinstance(value, _INSTRUCTION):
        found.extend(value.list_vars())
    elif isinstance(value, list | tuple):
        for each in value:
            _collect_variables(each, found)
    elif isinstance(value, dict):
        for each in value.values():
            _collect_variables(each, found)


def _variables_in(_instruction: Any, value: Any) -> list[Any]:
    """Variables of a part of an instruction, in one list rather than one for each part of the part."""
    found: list[Any] = []
    _collect_variables(value, found)
    return found


_DEFAULTS: Final[dict[type, dict[str, Any]]] = {}


def _values_of(options: Any) -> dict[str, Any]:
    """All options: those that were set over the defaults of their kind."""
    kind = type(options)
    if kind not in _DEFAULTS:
        _DEFAULTS[kind] = {name: option.default for name, option in kind.options.items()}
    return {**_DEFAULTS[kind], **options._values}


def _are_equal(options: Any, others: Any) -> Any:
    if not isinstance(others, targetconfig.TargetConfig):
        return NotImplemented
    return options is others or _values_of(options) == _values_of(others)


def _hash_of(options: Any) -> int:
    """Numba's is one of the names of the options alone, and so the same for all of a kind too."""
    return hash(type(options).__name__)


_mangled_in_full: Final = _MANGLER.mangle_type_or_value
#: Names by the numbers of types, which tell types apart within a process.
_MANGLED: Final[dict[int, str]] = {}


def _mangled(value: Any) -> str:
    """Name of a type or value in a symbol: a digest where it is long, the same in each process."""
    if not isinstance(value, _TYPE):
        return str(_mangled_in_full(value))
    name = _MANGLED.get(value._code)
    if name is None:
        name = str(_mangled_in_full(value))
        if len(name) > _NAME_MAX:
            digest = hashlib.sha256(name.encode()).hexdigest()[:32]
            name = _MANGLER.mangle_identifier(f"{type(value).__name__}_{digest}")
        _MANGLED[value._code] = name
    return name


def _mangled_each(values: Any) -> str:
    return "".join(map(_mangled, values))


def _optimise_functions(library: Any, module: Any) -> None:
    """The first passes over each function of a module, by one manager: a declaration has nothing to pass over."""
    module.data_layout = library._codegen._data_layout
    passes, builder = library._codegen._function_pass_manager()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


#: A replaced function: where it is, its name, and what takes its place.
_SHORTCUTS: Final = (
    (_INSTRUCTION, "_rec_list_vars", _variables_in),
    (targetconfig.TargetConfig, "values", _values_of),
    (targetconfig.TargetConfig, "__eq__", _are_equal),
    (targetconfig.TargetConfig, "__hash__", _hash_of),
    (_MANGLER, "mangle_type_or_value", _mangled),
    (_MANGLER, "mangle_type", _mangled),
    (_MANGLER, "mangle_value", _mangled),
    (_MANGLER, "mangle_args", _mangled_each),
    (codegen.CPUCodeLibrary, "_optimize_functions", _optimise_functions),
)


def take() -> None:
    """Put them in the places of what they replace."""
    for place, name, ours in _SHORTCUTS:
        if not hasattr(place, name):
            raise AttributeError(f"this release of Numba has no {name}: lockstep needs the one that its setup installs")
        setattr(place, name, ours)


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Look for garbage among young objects alone."""
    kept = gc.get_threshold()
    gc.set_threshold(_YOUNG_OBJECTS, _NEVER, _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*kept)
