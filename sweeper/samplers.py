"""Our samplers, for any Optuna study: several objectives, constraints by `trial.set_constraint`, batches that share a fit.

    import optuna
    from sweeper.samplers import GaussianProcessSampler

    study = optuna.create_study(directions=["minimize", "minimize"], sampler=GaussianProcessSampler(seed=0))
    study.optimize(objective, n_trials=100)
"""

from sweeper.search.batch_tpe import BatchTPESampler
from sweeper.search.gaussian_process import GaussianProcessSampler
from sweeper.search.local import ParetoLocalSampler

__all__ = ["BatchTPESampler", "GaussianProcessSampler", "ParetoLocalSampler"]
