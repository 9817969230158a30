"""The console script; it handles Ctrl-C before anything is loaded."""

from cli.interrupts import end_at_once, on_interrupt


def main() -> None:
    """Run the console script."""
    on_interrupt(end_at_once)
    from cli.main import main as program

    program()
