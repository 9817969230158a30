"""Market data by FIX: what is public of each instrument, requests for it, and the messages that tell it."""
