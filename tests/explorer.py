"""An explorer of small programs on shared words: every interleaving, and every stale value that the memory model
allows.

The programs are the real kernels: the source of a module, run as Python over words that only note each load and store.
Memory is that of release and acquire. Each word has a history of stores, and a load may give any one that its thread
does not yet know to be old. A release store carries what its thread knows, and an acquire load takes it over; fences
do both apart. So a load may come before an earlier store of its thread (store buffers), and rows may be seen after the
position that covers them, unless the order says otherwise. Each word of a copy is a load or store of its own.

A thread is run from its beginning for each step, with the results that it had so far: its state is that list.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
View = tuple[int, ...]  # for each word, the first store of its history that is not too old


class _Next(BaseException):
    """The next step of a thread; the kernel goes no further."""

    def __init__(self, step: tuple[Any, ...]) -> None:
        self.step = step


class Wrong(AssertionError):
    """A promise was broken in some interleaving."""


class Words:
    """Shared words. ``base`` is the place of the first among all words of the program."""

    def __init__(self, explorer: "Explorer", base: int, count: int) -> None:
        self._explorer, self.base, self._count = explorer, base, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        return self._explorer.step("load", self.place(index), False)

    def __setitem__(self, index: int, value: int) -> None:
        self._explorer.step("store", self.place(index), int(value), False)

    def place(self, index: int) -> int:
        """Place of a word among all."""
        if not 0 <= index < self._count:
            raise Wrong(f"word {index} of {self._count}")
        return self.base + int(index)


class Thread(NamedTuple):
    """State of a thread. results: of its steps so far. carried: what a fence gives to later stores; noted: what a fence
    takes over of earlier loads."""

    program: int
    results: tuple[Any, ...]
    view: View
    carried: View
    noted: View
    asleep: int  # word, or -1


class State(NamedTuple):
    """State of memory and threads. history: of each word, pairs of value and view."""

    history: tuple[tuple[tuple[int, View], ...], ...]
    threads: tuple[Thread, ...]
    sequential: View  # what full fences have ordered


def _joined(one: View, other: View) -> View:
    return tuple(map(max, one, other))


class Explorer:
    """Programs and words of one exploration.

    successors: of a program that may be killed at any step, the program that then begins. barriers: True where threads
    use ``barrier_everywhere``; otherwise stores are made at once, since a load may pass over them anyway.
    """

    def __init__(self, *, barriers: bool = False, states_max: int = 400_000) -> None:
        self._words = 0
        self._programs: list[Callable[[], Any]] = []
        self._successors: dict[int, int] = {}
        self._first: list[int] = []
        self._barriers = barriers
        self._states_max = states_max
        self._results: tuple[Any, ...] = ()
        self._at = 0
        self._memo: dict[tuple[int, tuple[Any, ...]], tuple[Any, ...]] = {}
        self._initial: dict[int, int] = {}

    def words(self, count: int, first: Iterable[int] = ()) -> Words:
        """New shared words, 0 or as given."""
        made = Words(self, self._words, count)
        self._initial |= {self._words + n: value for n, value in enumerate(first)}
        self._words += count
        return made

    def thread(self, program: Callable[[], Any], *, then: Callable[[], Any] | None = None) -> None:
        """Add a thread. then: it may be killed at any step, and this begins."""
        self._first.append(len(self._programs))
        self._programs.append(program)
        if then is not None:
            self._successors[len(self._programs) - 1] = len(self._programs)
            self._programs.append(then)

    def step(self, *step: Any) -> Any:
        """Result of a step, or the end of this run of the thread."""
        if self._at < len(self._results):
            self._at += 1
            return self._results[self._at - 1]
        raise _Next(step)

    def _next(self, program: int, results: tuple[Any, ...]) -> tuple[Any, ...]:
        """The next step of a thread; ("end",) behind its last."""
        key = (program, results)
        if key not in self._memo:
            self._results, self._at = results, 0
            try:
                self._programs[program]()
                self._memo[key] = ("end",)
            except _Next as found:
                self._memo[key] = found.step
        return self._memo[key]

    def run(self) -> int:
        """Number of states. Raises Wrong if a promise breaks in one, or if all threads that are left sleep."""
        view = (0,) * self._words
        history = tuple(((self._initial.get(n, 0), view),) for n in range(self._words))
        start = State(history, tuple(Thread(n, (), view, view, view, -1) for n in self._first), view)
        seen, left = {start}, [start]
        while left:
            state = left.pop()
            for after in self._after(state):
                if after not in seen:
                    seen.add(after)
                    left.append(after)
            if len(seen) > self._states_max:
                raise RuntimeError("too many states; make the program smaller")
        return len(seen)

    def _after(self, state: State) -> list[State]:
        steps = [self._next(each.program, each.results) for each in state.threads]
        awake = [n for n, step in enumerate(steps) if step[0] != "end" and state.threads[n].asleep < 0]
        if not awake:
            if any(each.asleep >= 0 for each in state.threads):
                raise Wrong("a thread sleeps, and nobody will wake it")
            return []
        if not self._barriers:
            at_once = [n for n in awake if steps[n][0] == "store" and state.threads[n].program not in self._successors]
            awake = at_once[:1] or awake
        after: list[State] = []
        for n in awake:
            after += getattr(self, f"_{steps[n][0]}")(state, n, *steps[n][1:])
            if (successor := self._successors.get(state.threads[n].program)) is not None:
                heir = state.threads[n]._replace(program=successor, results=())
                after.append(_with(state, n, heir))
        return [_trimmed(each) for each in after]

    def _load(self, state: State, n: int, place: int, acquire: bool) -> list[State]:
        thread, after = state.threads[n], []
        for at in range(thread.view[place], len(state.history[place])):
            value, carried = state.history[place][at]
            view = _put(thread.view, place, at)
            after.append(
                _with(
                    state,
                    n,
                    thread._replace(
                        results=(*thread.results, value),
                        view=_joined(view, carried) if acquire else view,
                        noted=_joined(thread.noted, carried),
                    ),
                )
            )
        return after

    def _store(self, state: State, n: int, place: int, value: int, release: bool) -> list[State]:
        """Put the store anywhere behind the last one that the thread knows: two processors may make theirs in any
        order."""
        thread, after = state.threads[n], []
        for at in range(thread.view[place] + 1, len(state.history[place]) + 1):
            moved = _room_for(state, place, at)
            me = moved.threads[n]
            view = _put(me.view, place, at)
            carried = _put(view if release else me.carried, place, at)
            after.append(
                _with(
                    moved._replace(history=_inserted(moved.history, place, at, (value, carried))),
                    n,
                    me._replace(results=(*me.results, None), view=view),
                )
            )
        return after

    def _add(self, state: State, n: int, place: int, more: int) -> list[State]:
        """Read the last store and put the sum behind it, in one piece, with acquire and release."""
        thread = state.threads[n]
        value, known = state.history[place][-1]
        at = len(state.history[place])
        view = _put(_joined(thread.view, known), place, at)
        history = _inserted(state.history, place, at, (value + more, view))
        return [_with(state._replace(history=history), n, thread._replace(results=(*thread.results, value), view=view))]

    def _fence(self, state: State, n: int, kind: str) -> list[State]:
        thread = state.threads[n]
        view = thread.view
        if kind in ("acquire", "full"):
            view = _joined(view, thread.noted)
        if kind == "full":
            view = _joined(view, state.sequential)
            state = state._replace(sequential=view)
        carried = view if kind in ("release", "full") else thread.carried
        return [_with(state, n, thread._replace(results=(*thread.results, None), view=view, carried=carried))]

    def _barrier(self, state: State, n: int) -> list[State]:
        """A full fence in this thread and in each other."""
        (state,) = self._fence(state, n, "full")
        mine = gathered = state.threads[n].view
        for other, thread in enumerate(state.threads):
            if other != n:
                gathered = _joined(gathered, thread.view)
                view = _joined(thread.view, mine)
                state = _with(state, other, thread._replace(view=view, carried=view))
        return [_with(state, n, state.threads[n]._replace(view=gathered, carried=gathered))]

    def _sleep(self, state: State, n: int, place: int, value: int) -> list[State]:
        """Sleep on a word while it has the value; the system call looks, with a fence."""
        (state,) = self._fence(state, n, "full")
        thread = state.threads[n]
        after = []
        for at in range(thread.view[place], len(state.history[place])):
            known = thread._replace(view=_put(thread.view, place, at))
            after.append(
                _with(state, n, known if state.history[place][at][0] != value else known._replace(asleep=place))
            )
        return after

    def _wake(self, state: State, n: int, place: int) -> list[State]:
        (state,) = self._fence(state, n, "full")
        for other, thread in enumerate(state.threads):
            if thread.asleep == place:
                known = _joined(thread.view, state.threads[n].view)
                state = _with(state, other, thread._replace(results=(*thread.results, None), view=known, asleep=-1))
        return [state]


def _put(view: View, place: int, at: int) -> View:
    return view if view[place] >= at else (*view[:place], at, *view[place + 1 :])


def _with(state: State, n: int, thread: Thread) -> State:
    return state._replace(threads=(*state.threads[:n], thread, *state.threads[n + 1 :]))


def _inserted(history: Any, place: int, at: int, stored: tuple[int, View]) -> Any:
    word = history[place]
    return (*history[:place], (*word[:at], stored, *word[at:]), *history[place + 1 :])


def _changed(state: State, change: Callable[[View], View]) -> State:
    """The state with another numbering of stores."""
    return State(
        tuple(tuple((value, change(view)) for value, view in word) for word in state.history),
        tuple(
            each._replace(view=change(each.view), carried=change(each.carried), noted=change(each.noted))
            for each in state.threads
        ),
        change(state.sequential),
    )


def _room_for(state: State, place: int, at: int) -> State:
    if at == len(state.history[place]):
        return state
    return _changed(state, lambda view: (*view[:place], view[place] + (view[place] >= at), *view[place + 1 :]))


def _trimmed(state: State) -> State:
    """The state without stores that nobody can read any more, so that equal ones are equal."""
    old = tuple(map(min, *(each.view for each in state.threads))) if len(state.threads) > 1 else state.threads[0].view
    if not any(old):
        return state
    changed = _changed(state, lambda view: tuple(max(at - less, 0) for at, less in zip(view, old, strict=True)))
    return changed._replace(history=tuple(word[less:] for word, less in zip(changed.history, old, strict=True)))


class Kernels:
    """The functions of modules of the tape as Python over an explorer's words.

    edits: (text, other text) by path, to break the source on purpose. Each text must be there exactly once.
    """

    def __init__(self, explorer: Explorer, *paths: str, edits: dict[str, list[tuple[str, str]]] | None = None) -> None:
        names: dict[str, Any] = {}
        for path in paths:
            source = (ROOT / path).read_text()
            for text, other in (edits or {}).get(path, []):
                if source.count(text) != 1:
                    raise ValueError(f"{path} has {source.count(text)} times: {text}")
                source = source.replace(text, other)
            module: dict[str, Any] = {"__name__": path}
            exec(compile(source, path, "exec"), module)
            ours = {name: getattr(each, "py_func", each) for name, each in module.items()}
            # What an earlier module defines is taken from it, not from the import of the module as it is.
            names = ours | names | _machine(explorer)
            names |= {name: (lambda given: given) for name in names if name.lstrip("_").startswith("unpack")}
            module |= names
        self._names = names

    def __getattr__(self, name: str) -> Any:
        return self._names[name]


def _machine(explorer: Explorer) -> dict[str, Any]:
    """``tape.machine`` over words of an explorer; lists are the thread's own."""

    def copy_words(target: Any, at: int, source: Any, begin: int, count: int) -> None:
        for n in range(count):
            target[at + n] = source[begin + n]

    def step(kind: str, *more: Any) -> Callable[..., Any]:
        return lambda words, index, *given: explorer.step(kind, words.place(index), *given, *more)

    return {
        "load_acquire": step("load", True),
        "load_word": step("load", False),
        "load_behind": step("load", False),
        "store_release": step("store", True),
        "store_word": step("store", False),
        "add_word": step("add"),
        "wake": step("wake"),
        "wait_on": step("sleep"),
        "fence_acquire": lambda: explorer.step("fence", "acquire"),
        "fence_release": lambda: explorer.step("fence", "release"),
        "fence_full": lambda: explorer.step("fence", "full"),
        "barrier_everywhere": lambda: explorer.step("barrier"),
        "copy_words": copy_words,
    }
