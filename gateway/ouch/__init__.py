"""OUCH 4.2 over SoupBinTCP as a protocol of the gateway."""
