"""The command line: arguments in ``commands_*.py``, each command in a file of its own; home of typer and rich."""
