"""Native order entry: all that the market knows, in messages of its own (``wire.native``) over SoupBinTCP."""
