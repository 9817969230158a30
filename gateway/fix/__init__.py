"""Order entry by FIX 4.2, 4.4 and 5.0 SP2: a protocol of the gateway."""
