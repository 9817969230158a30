"""Ctrl-C at any moment ends the program with status 130 and no traceback.

While the modules are loaded and after the work is done, a Ctrl-C ends the process at once. In between it is
KeyboardInterrupt, after which each command cleans up. After a SIGTERM, and after the SIGHUP of a terminal that is
closed, commands clean up in the same way; then the process ends as by that signal, which shells report as 143 or 129.
This file imports little, so that it is in force early.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
TERMINATED = 143

#: Signals that have asked for the end.
_ending: list[int] = [signal.SIGTERM]


class Terminated(KeyboardInterrupt):
    """A SIGTERM or SIGHUP while the program works."""


def end_at_once(_number: int = signal.SIGINT, _frame: FrameType | None = None) -> None:
    """End the process at once, as a signal does; pending output is lost."""
    try:
        os.write(2, f"{after_echo()}lockstep: interrupted\n".encode())
    finally:
        os._exit(INTERRUPTED)


def after_echo() -> str:
    """A newline where the terminal has shown the Ctrl-C as ^C, behind which nothing should stand; else nothing."""
    import termios  # for this alone, at the very end

    shows = termios.ECHO | termios.ECHOCTL
    try:
        return "\n" if termios.tcgetattr(2)[3] & shows == shows else ""
    except termios.error:  # standard error is no terminal
        return ""


def run(work: Callable[[], int]) -> None:
    """Run the work of the program, and exit with its status."""
    try:
        sys.unraisablehook = _on_unraisable
        on_interrupt(signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores a SIGHUP
                signal.signal(number, _terminate)
        status = work()
        on_interrupt(end_at_once)
    except Terminated:
        status = TERMINATED
    except KeyboardInterrupt:  # for example during another error message, or after the first interrupt
        end_at_once()
    if status == TERMINATED:
        signal.signal(_ending[-1], signal.SIG_DFL)
        os.kill(os.getpid(), _ending[-1])  # a supervisor takes this for an orderly end, and not a status
    # CPython notes an interrupt that passes through an exec of text, as numba and dataclasses have, and `python -m`
    # would end as by that signal, whatever the status; the next text clears the note.
    exec("")
    _leave(status)


def _leave(status: int) -> None:
    """End the process as `sys.exit` does, but leave its memory to the system.

    Python would take apart every module and every compiled kernel first: a quarter of a second after a question.
    Threads are waited for, functions of `atexit` are called and output is flushed as ever. If that fails, Python ends
    the process, and tells why.
    """
    threading = sys.modules.get("threading")
    try:
        if threading is not None:
            threading._shutdown()  # waits, as at Python's own end
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException:
        sys.exit(status)
    os._exit(status)


def _terminate(number: int, _frame: FrameType | None) -> None:
    _ending.append(number)
    raise Terminated


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that an error stands for, if any: Python 3.11 makes a RuntimeError of one that comes as it makes a
    class.
    """
    cause = error.__cause__ if isinstance(error, RuntimeError) else error
    return cause if isinstance(cause, KeyboardInterrupt) else None


def on_interrupt(action: Callable[[int, FrameType | None], None]) -> None:
    """Set the action of Ctrl-C from now on."""
    if (
        signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    ):  # ignored, as for a job that a script runs in the background
        signal.signal(signal.SIGINT, action)


def _on_unraisable(lost: "sys.UnraisableHookArgs") -> None:
    """Repeat an interrupt that came where nothing can be raised, such as in a finalizer."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    import threading

    number = _ending[-1] if issubclass(lost.exc_type, Terminated) else signal.SIGINT
    again = threading.Timer(0.01, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
