"""One function a command: resolve what is asked for, do it inside an MLflow run, return the result.

Nothing here prints; `say` and `report` callbacks carry words and progress to whoever listens.
"""
