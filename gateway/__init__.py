"""Order entry: SoupBinTCP sessions and OUCH messages on one side, COMMAND and EVENT rows on the other."""
