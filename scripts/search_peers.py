"""Searches of other packages over one of our spaces, one design at a time: Optuna's samplers and pymoo's NSGA-II.

A repeated or statically illegal proposal costs nothing and is told what is known of it: only simulations count. Optional:

    python -m pip install torch --index-url https://download.pytorch.org/whl/cpu   # optuna_gp
    python -m pip install optunahub cmaes                                          # optuna_auto, with torch
    python -m pip install pymoo                                                    # pymoo_nsga2

OptunaHub's AutoSampler is loaded from the network, or from `hub`, a copy of the registry's folder `package`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from sweeper.space.legality import broken_rule
from sweeper.space.space import Space
from sweeper.study.front import signs
from sweeper.study.trial import Trial

LookUp = Callable[[Mapping[str, Any]], Trial]  # a legal point -> its trial
MOST_ASKED = 30  # proposals per simulation, before a search counts as stuck
OPTUNA = ("optuna_tpe", "optuna_mv_tpe", "optuna_nsga2", "optuna_nsga3", "optuna_qmc", "optuna_random", "optuna_auto",
          "optuna_gp")
PYMOO = "pymoo_nsga2"
SLOW = ("optuna_gp",)  # seconds a proposal
NAMES = (*OPTUNA, PYMOO)
UNKNOWN_COST = 1e30  # of a point without objectives, which its violation ranks behind the others


class MissingError(Exception):
    """A package that a search needs is not installed."""


def run(name: str, space: Space, look_up: LookUp, seed: int, trials: int, hub: str | None) -> tuple[list[Trial], float]:
    """The first `trials` simulations of a search, fewer where it is stuck, and its CPU seconds. Raises MissingError."""
    warnings.simplefilter("ignore")
    start_s = time.process_time()
    try:
        found = _pymoo(space, look_up, seed, trials) if name == PYMOO else _optuna(name, space, look_up, seed, trials, hub)
    except ImportError as error:
        raise MissingError(f"{error}; scripts/search_peers.py says how to install it") from error
    return found, time.process_time() - start_s


def _sampler(name: str, seed: int, hub: str | None) -> Any:
    from optuna import samplers

    if name == "optuna_auto":
        import optunahub

        load = (lambda path: optunahub.load_local_module(path, registry_root=hub)) if hub else optunahub.load_module
        try:
            return load("samplers/auto_sampler").AutoSampler(seed=seed)
        except ImportError:
            raise
        except Exception as error:  # git's, of a machine without network
            raise MissingError(f"AutoSampler cannot be loaded: {type(error).__name__}; give --hub a copy") from error
    if name == "optuna_gp":
        import torch  # noqa: F401  (GPSampler itself asks for it at the first fit only)
    make: dict[str, Callable[[], Any]] = {
        "optuna_tpe": lambda: samplers.TPESampler(seed=seed),
        "optuna_mv_tpe": lambda: samplers.TPESampler(seed=seed, multivariate=True),
        "optuna_nsga2": lambda: samplers.NSGAIISampler(seed=seed), "optuna_nsga3": lambda: samplers.NSGAIIISampler(seed=seed),
        "optuna_qmc": lambda: samplers.QMCSampler(seed=seed, scramble=True),
        "optuna_random": lambda: samplers.RandomSampler(seed=seed), "optuna_gp": lambda: samplers.GPSampler(seed=seed)}
    return make[name]()


def _optuna(name: str, space: Space, look_up: LookUp, seed: int, trials: int, hub: str | None) -> list[Trial]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=space.directions, sampler=_sampler(name, seed, hub))
    distributions = space.distributions()
    found: dict[str, Trial] = {}
    for _ in range(MOST_ASKED * trials):
        if len(found) == trials:
            break
        asked = study.ask(distributions)
        point = space.decode(asked.params)
        if broken_rule(space, point) is not None:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            continue
        trial = found.setdefault(space.key(point), look_up(point))
        values = [trial.objectives.get(o.name) for o in space.objectives]
        for constraint, amount in trial.constraints.items():
            asked.set_constraint(constraint, min(max(amount, -1e300), 1e300))
        if None in values:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(asked, values)
    return list(found.values())


def _pymoo(space: Space, look_up: LookUp, seed: int, trials: int) -> list[Trial]:
    """Mixed-variable operators, NSGA-II's tournament and survival, pymoo's population of 50 for mixed variables.

    Constraints are one, the sum of what is violated, as pymoo itself adds them.
    """
    import numpy as np
    from optuna.distributions import CategoricalDistribution
    from pymoo.algorithms.moo.nsga2 import RankAndCrowding, binary_tournament
    from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableGA, MixedVariableMating
    from pymoo.core.problem import Problem
    from pymoo.core.variable import Choice, Integer, Real
    from pymoo.operators.selection.tournament import TournamentSelection

    variables: dict[str, Any] = {}
    levels: dict[str, tuple[Any, float, float]] = {}  # of stepped ones: distribution, low, step
    for name, distribution in space.distributions().items():
        if isinstance(distribution, CategoricalDistribution):
            variables[name] = Choice(options=list(distribution.choices))
        elif step := getattr(distribution, "step", None):
            count = round((distribution.high - distribution.low) / step)  # type: ignore[attr-defined]
            variables[name] = Integer(bounds=(0, count))
            levels[name] = (distribution, distribution.low, step)  # type: ignore[attr-defined]
        else:
            variables[name] = Real(bounds=(distribution.low, distribution.high))  # type: ignore[attr-defined]
    problem = Problem(vars=variables, n_obj=len(space.objectives), n_ieq_constr=1)
    same = MixedVariableDuplicateElimination()
    algorithm = MixedVariableGA(
        survival=RankAndCrowding(), advance_after_initial_infill=True, eliminate_duplicates=same,
        mating=MixedVariableMating(selection=TournamentSelection(func_comp=binary_tournament), eliminate_duplicates=same))
    algorithm.tournament_type = "comp_by_dom_and_crowding"  # NSGA2's own, which its tournament reads
    algorithm.setup(problem, termination=("n_gen", MOST_ASKED * trials), seed=seed, verbose=False)
    found: dict[str, Trial] = {}
    for _ in range(MOST_ASKED * trials):
        population = algorithm.ask()
        if population is None or not len(population):
            break
        for member in population:
            encoded = {name: levels[name][0].to_external_repr(levels[name][1] + levels[name][2] * int(value))
                       if name in levels else value for name, value in member.X.items()}
            point = space.decode(encoded)
            violation, costs = 1.0, np.full(len(space.objectives), UNKNOWN_COST)
            if broken_rule(space, point) is None:
                key = space.key(point)
                if key not in found and len(found) == trials:
                    return list(found.values())
                trial = found.setdefault(key, look_up(point))
                violation = min(sum(max(v, 0.0) for v in trial.constraints.values()), UNKNOWN_COST)
                if all(o.name in trial.objectives for o in space.objectives):
                    costs = np.array([trial.objectives[o.name] for o in space.objectives]) * signs(space.objectives)
            member.F, member.G = costs, np.array([violation])
            member.evaluated.update(("F", "G"))
        algorithm.tell(infills=population)
    return list(found.values())
