"""Command-line options made from the fields of :class:`TrainConfig`: one place says what each means.

The fields' panels are those of ``--help``: a newcomer needs the first alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_args, get_type_hints

import typer

from proxconnect.trainer.config import TrainConfig


def with_config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` one option per field; its parameter ``given`` is a dictionary of those that were used.

    Every option's default is None, so that "not given" can be told from "given as the default".
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]

    def wrapper(**values: Any) -> None:
        rest = {parameter.name: values.pop(parameter.name) for parameter in own}
        command(given={name: value for name, value in values.items() if value is not None}, **rest)

    wrapper.__doc__ = command.__doc__
    wrapper.__signature__ = inspect.Signature(_options() + own)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in [*_options(), *own]}
    return wrapper


def flag(name: str, *, on: bool = True) -> str:
    """The option of the field ``name``; that which switches it off, where it is on by default.

    >>> flag("channels_last"), flag("channels_last", on=False)
    ('--channels-last', '--no-channels-last')
    """
    return ("--" if on else "--no-") + name.replace("_", "-")


def _options() -> list[inspect.Parameter]:
    types = get_type_hints(TrainConfig)
    options = []
    for each in fields(TrainConfig):
        kind: Any = next((t for t in get_args(types[each.name]) if t is not type(None)), types[each.name])
        default = each.default if each.default not in (None, False, True, MISSING) else None
        help_text = each.metadata["help"] + ("" if default is None else f" (default: {default})")
        name = flag(each.name)
        if each.default is True:
            name = f"{name}/{flag(each.name, on=False)}"
        option = typer.Option(
            name, help=help_text, show_default=False, rich_help_panel=each.metadata["panel"]
        )
        annotation = Annotated[kind | None, option]
        options.append(
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        )
    return options
