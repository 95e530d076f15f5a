"""The factory of searches: a sampler's name in, a search out."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.inputs import plugins
from simulator.inputs.errors import InputError
from sweeper.search.base import Search, Skip
from sweeper.search.simple import Random
from sweeper.space.sampler_names import NAMES, check_name
from sweeper.space.space import Space


def build_search(name: str, space: Space, *, seed: int, in_flight: int, skip: Skip) -> Search:
    """The search called `name` (`sweeper.search.auto_sampler` says what `auto` means; `exhaustive` needs no search).

    in_flight: how many points will be under evaluation at once. skip: points that need no proposal.
    Raises InputError for an unknown name.
    """
    if check_name(name) not in NAMES:
        return _plugin(name, space, seed, skip)
    if name in ("gp", "local"):
        from sweeper.search.local import Local
        from sweeper.search.surrogate import Surrogate

        if any(p.domain.count is None for p in space.parameters):
            raise InputError(f"{name} needs discrete parameters; give ranges a 'step', or use tpe", key="study.sampler")
        gp = Surrogate(space, seed, skip)
        return gp if name == "gp" else Local(space, seed, skip, gp)
    if name == "random":
        return Random(space, seed)
    return _optuna(name, space, seed, in_flight, skip)


def _plugin(name: str, space: Space, seed: int, skip: Skip) -> Search:
    """The search of another package: `factory(space, seed=..., skip=...)`."""
    try:
        search: Search = plugins.find(name, plugins.SAMPLERS_GROUP, "sampler").load()(space, seed=seed, skip=skip)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"sampler plug-in '{name}' cannot be built: {type(error).__name__}: {error}") from error
    missing = [method for method in ("ask", "tell", "replay") if not callable(getattr(search, method, None))]
    if missing:
        raise InputError(f"sampler plug-in '{name}' has no method {missing[0]}() (sweeper.search.base.Search)")
    return search


def resumed_seed(seed: int, finished: int) -> int:
    """Another stream of numbers after every interruption: the same one would propose the same points again."""
    return seed if not finished else int(np.random.SeedSequence([seed, finished]).generate_state(1)[0])


def _optuna(name: str, space: Space, seed: int, in_flight: int, skip: Skip) -> Search:
    import warnings

    from optuna import samplers

    from sweeper.search.batch_tpe import BatchTPESampler
    from sweeper.search.optuna_search import OptunaSearch

    def skip_encoded(encoded: dict[str, Any]) -> bool:
        return skip(space.decode(encoded))

    sampler: samplers.BaseSampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental arguments
        if name == "nsga2":
            sampler = samplers.NSGAIISampler(seed=seed)
        elif name == "nsga3":
            sampler = samplers.NSGAIIISampler(seed=seed)
        elif name == "qmc":
            sampler = samplers.QMCSampler(scramble=True, seed=seed, warn_asynchronous_seeding=False,
                                          warn_independent_sampling=False)
        else:
            sampler = BatchTPESampler(batch=4 if in_flight <= 32 else 16, skip=skip_encoded, seed=seed)
    return OptunaSearch(name, space, sampler)
