"""How well lorarec recommends, on public data sets."""
