"""The factory of samplers: a sampler's name in, an Optuna sampler over the space's parameters out."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from optuna import samplers
from optuna.samplers import BaseSampler

from simulator.inputs import plugins
from simulator.inputs.errors import InputError
from sweeper.search.batch_tpe import BatchTPESampler
from sweeper.search.codes import Params
from sweeper.search.extremes import Polish, conditions_of
from sweeper.search.gaussian_process import GaussianProcessSampler
from sweeper.search.local import ParetoLocalSampler
from sweeper.search.proposer import Proposer
from sweeper.space.sampler_names import NAMES, check_name
from sweeper.space.space import Space, Values


def build_proposer(name: str, space: Space, *, seed: int, in_flight: int, rejected: Counter[str] | None = None,
                   first: Sequence[Values] = (), polish: Polish | None = None) -> Proposer:
    """The search called `name` (`sweeper.search.auto_sampler` says what `auto` means; `exhaustive` needs no search).

    in_flight: how many points will be under evaluation at once; the rest as `Proposer` has it. Raises InputError for an
    unknown name, and for a sampler that cannot search the space.
    """
    def sampler(skip: Callable[[Params], bool]) -> BaseSampler:
        return build_sampler(name, space, seed=seed, in_flight=in_flight, skip=skip)

    return Proposer(space, sampler, seed=seed, rejected=rejected, first=first, polish=polish)


def build_sampler(name: str, space: Space, *, seed: int, in_flight: int, skip: Callable[[Params], bool]) -> BaseSampler:
    """The sampler called `name`; see `build_proposer`."""
    if check_name(name) not in NAMES:
        return _plugin(name, seed)
    if name in ("gp", "local"):
        if any(p.domain.count is None for p in space.parameters):
            raise InputError(f"{name} needs discrete parameters; give ranges a 'step', or use tpe", key="study.sampler")
        ours = GaussianProcessSampler if name == "gp" else ParetoLocalSampler
        return ours(seed=seed, search_space=space.distributions(), skip=skip, conditions=conditions_of(space))
    if name == "tpe":
        return BatchTPESampler(seed=seed, search_space=space.distributions(), skip=skip, batch=4 if in_flight <= 32 else 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental arguments
        if name == "nsga2":
            return samplers.NSGAIISampler(seed=seed)
        if name == "nsga3":
            return samplers.NSGAIIISampler(seed=seed)
        if name == "qmc":
            return samplers.QMCSampler(scramble=True, seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False)
        return samplers.RandomSampler(seed=seed)


def _plugin(name: str, seed: int) -> BaseSampler:
    """Another package's sampler: `factory(seed=...)`, of which an Optuna sampler's class is one."""
    try:
        sampler = plugins.find(name, plugins.SAMPLERS_GROUP, "sampler").load()(seed=seed)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"sampler plug-in '{name}' cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(sampler, BaseSampler):
        raise InputError(f"sampler plug-in '{name}' makes a {type(sampler).__name__}, which is no optuna.samplers.BaseSampler")
    return sampler


def resumed_seed(seed: int, finished: int) -> int:
    """Another stream of numbers after every interruption: the same one would propose the same points again."""
    return seed if not finished else int(np.random.SeedSequence([seed, finished]).generate_state(1)[0])
