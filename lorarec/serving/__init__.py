"""One base and many adapters in memory: requests in, ranked items out; a server, a pyfunc."""
