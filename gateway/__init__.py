"""Order entry: sessions of clients on one side, COMMAND and EVENT rows on the other, whatever the protocol."""
