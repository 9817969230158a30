"""The command line: arguments in ``commands/``, each command in a file of its own; home of typer and rich."""
