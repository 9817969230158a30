"""Arguments and options of the commands: one file a panel of the help."""
