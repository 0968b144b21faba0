"""Public data sets: where they are, how they are fetched, and how they become logs.

The room knows the sources (`catalogue`), the network (`download`), archives that may be hostile
(`archive`) and each source's file format. It knows nothing of models, and prints nothing: what
there is to say goes to a `watch.Watcher`. What it writes is the column contract, like other logs.
"""
