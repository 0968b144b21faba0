"""A retraining that a team leaves running: plain functions, which need no orchestrator."""
