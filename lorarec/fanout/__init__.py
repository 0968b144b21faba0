"""One function over many domains, in this process, in others, or on Ray."""
