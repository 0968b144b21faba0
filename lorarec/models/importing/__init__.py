"""Models that others trained, as users' and items' vectors that a base can be made of."""
