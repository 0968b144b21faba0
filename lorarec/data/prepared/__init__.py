"""The prepared data set: logs as numbers in a folder, checked, split, append-only.

The room knows files and Polars. It gives back canonical logs, so that whoever reads them need not
know whether they lay as text or as numbers.
"""
