"""Questions to a journal: what happened, why, to whom, and how the market stood at any moment."""
