"""Which of a list of intents a short text speaks of, learned from samples in seconds."""
