"""The sequencer: where order and time are decided; requests become the commands of the journal."""
