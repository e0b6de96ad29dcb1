"""What a model looks at: relevance, token shuffling, rank of attention. Pure: imports nothing of `mm*`."""
