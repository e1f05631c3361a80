"""Run a training function for every method and seed, and compare the results."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from operator import index
from pathlib import Path
from typing import Any

from proxconnect.base.files import content_of, make_folder, written_whole
from proxconnect.base.notice import notice
from proxconnect.comparison.result import Comparison, plain_values
from proxconnect.errors import ProxConnectError, unknown_name

Result = float | Mapping[str, float]
_Runs = dict[str, dict[int, dict[str, float]]]


def compare(
    methods: Iterable[Any] | Mapping[str, Any],
    train: Callable[[Any, int], Result],
    *,
    seeds: Iterable[int] | int,
    baseline: Any = None,
    path: str | os.PathLike[str] | None = None,
) -> Comparison:
    """Run ``train(method, seed)`` for every method and seed, and compare the methods seed by seed.

    The difference of two methods is taken between runs of the same seed, and its interval is Student's over
    the seeds: what all runs of a seed have in common does not count. All methods of one seed run before the
    next seed begins.

    Args:
        methods: names, pairs, or anything with a ``name``; or a map from names to anything. They are passed
            on to ``train`` as they are.
        train: a function of one's own that trains with a method, seeds its random numbers with the seed, and
            returns a number, or a map from names of metrics to numbers. The numbers may be tensors of one
            element.
        seeds: different whole numbers, or how many: 3 stands for 0, 1 and 2.
        baseline: the method that the others are compared with, or its name; by default the first one.
        path: a JSON file that keeps every finished run. If it exists, the runs in it are not run again, so an
            interrupted comparison continues, and methods or seeds can be added.

    Returns:
        The values, tables, forest plot and JSON of the comparison.

    Raises:
        ProxConnectError: there are no methods, no seeds, or two alike; a method has no name; the baseline is
            none of them; ``train`` returns no finite number, or other metrics than before; ``path`` is no
            file of a comparison. What ``train`` raises is passed on. Finished runs are in ``path`` then.

    >>> import proxconnect as pc
    >>> accuracy = {"bnn": (0.90, 0.92, 0.89), "bnn++": (0.93, 0.94, 0.92)}
    >>> def train(method, seed):                   # stands for a training loop
    ...     return accuracy[method][seed]
    >>> result = pc.compare(["bnn", "bnn++"], train, seeds=3)
    >>> print(result.table())
    method           value  less bnn      95 % interval  reading   seeds needed
    ---------------------------------------------------------------------------
    bnn     0.9033 ± 0.015                               baseline
    bnn++      0.93 ± 0.01   +0.0267  +0.0123 to +0.041  higher               3
    >>> result.rows()[1].reading
    'higher'
    """
    named = _named(methods)
    seeds = _seeds(seeds)
    if not callable(train):
        raise ProxConnectError(f"train must be a function train(method, seed) -> number, not {train!r}")
    against = next(iter(named)) if baseline is None else _name(baseline)
    if against not in named:
        raise ProxConnectError(unknown_name("baseline", against, named))
    file = None if path is None else Path(path)
    runs = _read(file) if file is not None else {}
    metrics = next((tuple(found) for by_seed in runs.values() for found in by_seed.values()), None)
    for seed in seeds:
        for name, method in named.items():
            if seed in runs.get(name, {}):
                continue
            found = _checked(train(method, seed), f"train of {name!r} with seed {seed}")
            if metrics is not None and set(found) != set(metrics):
                raise ProxConnectError(
                    f"train of {name!r} with seed {seed} returned {', '.join(found)}; expected what the runs "
                    f"before it returned: {', '.join(metrics)}"
                )
            metrics = metrics or tuple(found)
            runs.setdefault(name, {})[seed] = {metric: found[metric] for metric in metrics}
            if file is not None:
                _write(file, runs)
    chosen = {name: {seed: runs[name][seed] for seed in seeds} for name in named}
    result = Comparison(tuple(named), seeds, against, chosen)
    _notice_seeds_that_change_nothing(result)
    if file is not None:
        _write(file, runs)
    return result


def _named(methods: Iterable[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Return the methods by name, in order."""
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise ProxConnectError(f"methods must be a list such as ['bnn', 'bnn++'], not {methods!r}")
    listed = list(methods.items()) if isinstance(methods, Mapping) else [(_name(m), m) for m in methods]
    named: dict[str, Any] = {}
    for name, method in listed:
        if name in named:
            raise ProxConnectError(
                f"two methods have the name {name!r}: give them different names, as in "
                "{'mine': pair, 'mine, wide': other}"
            )
        named[_name(name)] = method
    if not named:
        raise ProxConnectError("methods is empty; expected at least one, such as ['bnn', 'bnn++']")
    return named


def _name(method: Any) -> str:
    name = method if isinstance(method, str) else getattr(method, "name", None)
    if not isinstance(name, str) or not name:
        raise ProxConnectError(
            f"a method has to be a name or to have one, but {method!r} has none: pass a map {{name: method}}"
        )
    return name


def _seeds(seeds: Iterable[int] | int) -> tuple[int, ...]:
    try:
        listed = tuple(map(index, seeds)) if isinstance(seeds, Iterable) else tuple(range(index(seeds)))
    except TypeError:
        listed = ()
    if not listed or isinstance(seeds, bool):
        raise ProxConnectError(f"seeds must be whole numbers such as range(5), at least one, not {seeds!r}")
    if len(set(listed)) < len(listed):
        raise ProxConnectError(f"seeds must differ, but {list(listed)} has one twice")
    return listed


def _checked(result: Any, what: str) -> dict[str, float]:
    """Return the metrics of a run as finite floats."""
    metrics = dict(result) if isinstance(result, Mapping) else {"value": result}
    if not metrics:
        raise ProxConnectError(f"{what} returned no metrics; expected a number or a map of numbers")
    found = {}
    for name, value in metrics.items():
        try:
            number = math.nan if isinstance(value, str | bool) else float(value)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
        if not math.isfinite(number):
            metric = f" as {name!r}" if isinstance(result, Mapping) else ""
            raise ProxConnectError(
                f"{what} returned {value!r}{metric}; expected a finite number. Return what is to be "
                "compared, such as the accuracy, also where training diverges"
            )
        found[str(name)] = number
    return found


def _read(file: Path) -> _Runs:
    """Read the runs that a file keeps."""
    if not file.exists():
        return {}
    try:
        values = json.loads(content_of(file).decode())["values"]
        runs = {
            str(method): {int(seed): _checked(found, "a run") for seed, found in by_seed.items()}
            for method, by_seed in values.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProxConnectError(
            f"{file} is not a file of a comparison ({error}); remove it, or give another path"
        ) from error
    if len({frozenset(found) for by_seed in runs.values() for found in by_seed.values()}) > 1:
        raise ProxConnectError(f"the runs in {file} have different metrics; remove it, or give another path")
    return runs


def _write(file: Path, runs: _Runs) -> None:
    make_folder(file.parent)
    with written_whole(file) as temporary:
        temporary.write_text(json.dumps({"values": plain_values(runs)}, indent=1) + "\n", encoding="utf-8")


def _notice_seeds_that_change_nothing(result: Comparison) -> None:
    metrics = result.metrics
    constant = all(row.spread == 0 for metric in metrics for row in result.rows(metric))
    if len(result.seeds) > 1 and constant:
        notice(
            "train returned the same numbers for every seed, so that the intervals mean nothing: "
            "seed the random numbers of train with its second argument, as in torch.manual_seed(seed)"
        )
