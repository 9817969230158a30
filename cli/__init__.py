"""The command line: arguments in ``commands_*.py``, one file for the work of each; nothing else imports typer or rich."""
