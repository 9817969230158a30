"""Atomic words: LLVM's instructions, on x86-64 and on ARM, and the same results in a kernel that runs as Python."""

import re
import threading
from typing import Any

import numba
import numpy as np
import pytest
from llvmlite import binding

from engine.jit import INTERPRETED
from tape import machine
from tape.machine import (
    add_word,
    barrier_everywhere,
    copy_words,
    fence_acquire,
    fence_full,
    fence_release,
    load_acquire,
    load_behind,
    load_word,
    register_for_barriers,
    store_release,
    store_word,
    swap_if,
    wait_on,
    wake,
)

compiled_only = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")


def loads(words: Any) -> int:
    return load_acquire(words, 0) + load_word(words, 1)


def stores(words: Any) -> None:
    store_word(words, 0, 3)
    store_release(words, 1, 4)


def rings(words: Any) -> int:
    store_release(words, 1, 4)
    return load_behind(words, 2)


def adds(words: Any) -> int:
    return add_word(words, 0, 2)


def swaps(words: Any) -> int:
    return swap_if(words, 0, 5, 6)


def fences(words: Any) -> None:
    words[0] = 1
    fence_acquire()
    words[1] = 2
    fence_release()
    words[2] = 3
    fence_full()
    words[3] = 4


def copies(words: Any) -> None:
    copy_words(words, 4, words, 0, 4)


def wakes(words: Any) -> None:
    wake(words, 0)


def code(function: Any, triple: str) -> tuple[str, str]:
    """LLVM's code of a kernel of these words, and the instructions of a processor."""
    kernel = numba.njit(_nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    kernel.compile((numba.int64[::1],))
    (library,) = [each.library for each in kernel.overloads.values()]
    llvm = library.get_llvm_str()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = binding.parse_assembly(llvm)
    target = binding.Target.from_triple(triple).create_target_machine(opt=2)
    module.triple, module.data_layout = triple, str(target.target_data)
    return llvm, target.emit_assembly(module)


X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"


@compiled_only
@pytest.mark.parametrize(
    ("function", "llvm", "x86", "arm"),
    [
        (
            loads,
            [r"load atomic i64, .* acquire, align 8", r"load atomic i64, .* monotonic, align 8"],
            [],
            [r"\bldap?r\b"],
        ),
        (stores, [r"store atomic i64 3, .* monotonic", r"store atomic i64 4, .* release"], [], [r"\bstlr\b"]),
        (
            rings,
            [r"store atomic i64 4, .* release", r"~\{memory\}", r"load atomic i64, .* monotonic"],
            [],
            [r"\bstlr\b"],
        ),
        (adds, [r"atomicrmw add .* acq_rel"], [r"lock\s+(xadd|add|inc)"], [r"\bldaxr\b", r"\bstlxr\b"]),
        (swaps, [r"cmpxchg .* acq_rel acquire"], [r"lock\s+cmpxchg"], [r"\bldaxr\b", r"\bstlxr\b"]),
        (
            fences,
            [r"fence acquire", r"fence release", r"fence seq_cst"],
            [r"\bmfence\b|lock\s+or"],
            [r"dmb\s+ishld", r"dmb\s+ish\n"],
        ),
        (copies, [r"llvm.memcpy|load <4 x i64>|load i64"], [], []),
        (wakes, [r"call .*@syscall"], [r"syscall"], [r"\bbl?\s+syscall"]),
    ],
)
def test_words_are_atomic_instructions_on_both_processors(
    function: Any, llvm: list[str], x86: list[str], arm: list[str]
) -> None:
    for triple, wanted in ((X86, x86), (ARM, arm)):
        ir, assembly = code(function, triple)
        for pattern in llvm:
            assert re.search(pattern, ir), pattern
        for pattern in wanted:
            assert re.search(pattern, assembly), (triple, pattern)


@compiled_only
def test_a_plain_store_would_be_no_atomic_one() -> None:
    """The control of the test above."""

    def plain(words: Any) -> None:
        words[0] = 3
        words[1] = 4

    ir, assembly = code(plain, ARM)
    assert not re.search(r"(load|store) atomic", ir)
    assert not re.search(r"\bstlr\b", assembly)


@compiled_only
def test_neither_the_compiler_swaps_a_publication_and_the_look_at_the_bell() -> None:
    _, assembly = code(rings, X86)
    body = assembly[assembly.index("rings") :]
    assert body.index("$4, 8(") < body.index("16(")


@pytest.mark.parametrize("mode", ["compiled", "as Python"])
def test_words_have_the_same_meaning_in_a_kernel_and_in_python(mode: str) -> None:
    def all_of_them(words: Any) -> tuple[int, int, int, int]:
        store_release(words, 0, 5)
        store_word(words, 1, 7)
        found = add_word(words, 0, -2)
        kept = swap_if(words, 0, 4, 9)
        swapped = swap_if(words, 0, 3, 9)
        copy_words(words, 4, words, 0, 2)
        fence_full()
        wake(words, 0)
        return found, kept, swapped, load_acquire(words, 0) + load_word(words, 1) + load_behind(words, 5)

    words = np.zeros(8, np.int64)
    if mode == "compiled":
        if INTERPRETED:
            pytest.skip("nothing is compiled in this mode")
        result = numba.njit(all_of_them)(words)
    elif not INTERPRETED:
        pytest.skip("run with NUMBA_DISABLE_JIT=1")
    else:
        result = all_of_them(words)
    assert result == (5, 3, 3, 23)
    assert words.tolist() == [9, 7, 0, 0, 9, 7, 0, 0]


@compiled_only
def test_additions_and_swaps_of_several_threads_lose_nothing() -> None:
    def run(words: Any, times: int) -> None:
        for _ in range(times):
            add_word(words, 0, 1)
            while True:
                seen = load_word(words, 1)
                if swap_if(words, 1, seen, seen + 1) == seen:
                    break

    words = np.zeros(2, np.int64)
    kernel = numba.njit(nogil=True)(run)
    threads = [threading.Thread(target=kernel, args=(words, 100_000)) for _ in range(3)]
    kernel(words, 0)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert words.tolist() == [300_000, 300_000]


def test_who_sleeps_on_a_word_wakes_when_it_is_another_or_is_woken() -> None:
    words = np.array([2**40 + 5, 0], np.int64)
    wait_on(words, 0, 6, 60_000_000_000)  # at once: the word is another already
    wait_on(words, 0, 5, 1)  # its low half is the one that counts: until the bound
    awake = threading.Event()

    def sleep() -> None:
        while words[1] == 0:
            wait_on(words, 1, 0, 60_000_000_000)
        awake.set()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    words[1] = 1
    while not awake.is_set():
        machine.wake(words, 1) if INTERPRETED else _wake(words)
    sleeper.join()


def _wake(words: Any) -> None:
    numba.njit(wakes)(words[1:])


def test_barriers_of_other_processes_work_here() -> None:
    """If they did not, a doorbell would say so and whoever rings it would use a fence."""
    assert register_for_barriers()
    assert barrier_everywhere()
