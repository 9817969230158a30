"""The console script: Ctrl-C is in force before anything is loaded."""

from cli.interrupts import end_at_once, on_interrupt


def main() -> None:
    """The console script."""
    on_interrupt(end_at_once)
    from cli.main import main as program

    program()
