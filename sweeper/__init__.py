"""Sweep a design space: Optuna proposes, Ray actors simulate, MLflow records."""
