"""The parts of the made world: who is where, taste, popularity, time, draws, side features."""
