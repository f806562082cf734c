"""Arrays in, arrays out: networks, learners, aggregation and evolution of a population of policies."""
