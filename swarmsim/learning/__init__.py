"""Pure maths, arrays in and arrays out: a population of policies, its update, aggregation and evolution."""
