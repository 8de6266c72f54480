"""From sources to a finished target: finding, planning, copying, rereading; ``shuffle.merge`` directs it."""
