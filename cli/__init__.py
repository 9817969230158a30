"""The command line: argument parsing in ``main.py``, one file a command group; nothing else imports typer or rich."""
