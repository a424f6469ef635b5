"""Sessions without I/O: the lifecycle's table, what all parties conclude from their answers, keys, messages, ports."""
