"""Command-line options that are made from the fields of :class:`TrainConfig`, which describe them once.

``--help`` groups the options by the panels of the fields; a newcomer needs only the first panel.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_args, get_type_hints

import typer

from proxconnect.trainer.config import TrainConfig


def with_config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` one option per field; its parameter ``given`` is a dictionary of the options in use.

    The default of every option is None: an option that is not given differs from one given as its default.
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
    """Return the option of the field ``name``, or with ``on=False`` the option that switches it off.

    >>> flag("channels_last"), flag("channels_last", on=False)
    ('--channels-last', '--no-channels-last')
    """
    return ("--" if on else "--no-") + name.replace("_", "-")


def _options() -> list[inspect.Parameter]:
    types = get_type_hints(TrainConfig)
    options = []
    for field in fields(TrainConfig):
        kind: Any = next((t for t in get_args(types[field.name]) if t is not type(None)), types[field.name])
        default = field.default if field.default not in (None, False, True, MISSING) else None
        help_text = field.metadata["help"] + ("" if default is None else f" (default: {default})")
        name = flag(field.name)
        if isinstance(field.default, bool):
            name = f"{name}/{flag(field.name, on=False)}"
        option = typer.Option(
            name, help=help_text, show_default=False, rich_help_panel=field.metadata["panel"]
        )
        annotation = Annotated[kind | None, option]
        options.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        )
    return options
