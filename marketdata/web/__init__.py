"""Market data for web clients in the words of the Coinbase Exchange: answers and channels, made of reports alone."""
