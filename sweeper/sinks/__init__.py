"""Followers of the ledger: MLflow and an Optuna storage."""
