"""The command ``proxconnect`` and its exit statuses.

0: the command is done. 1: it ran, and the answer is no. 2: bad use or bad input, with one line on standard
error.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from proxconnect.base.version import __version__
from proxconnect.cli import bench as bench_command
from proxconnect.cli import check as check_command
from proxconnect.cli import doctor as doctor_command
from proxconnect.cli import eval as eval_command
from proxconnect.cli import export as export_command
from proxconnect.cli import generate as generate_command
from proxconnect.cli import grid as grid_command
from proxconnect.cli import methods as methods_command
from proxconnect.cli import pack as pack_command
from proxconnect.cli import predict as predict_command
from proxconnect.cli import report as report_command
from proxconnect.cli import train as train_command
from proxconnect.errors import ProxConnectError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class _InterruptedError(Exception):
    """Ctrl-C in a command, with the command's message; typer drops the message of a KeyboardInterrupt."""


def _stoppable(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def run_command(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt as interruption:
            raise _InterruptedError(str(interruption)) from None

    return run_command


app.command("methods")(_stoppable(methods_command.methods))
app.command("check")(_stoppable(check_command.check))
app.command("train")(_stoppable(train_command.train))
app.command("grid")(_stoppable(grid_command.grid))
app.command("report")(_stoppable(report_command.report))
app.command("pack")(_stoppable(pack_command.pack))
app.command("eval")(_stoppable(eval_command.evaluate_file))
app.command("bench")(_stoppable(bench_command.bench_file))
app.command("doctor")(_stoppable(doctor_command.doctor))
app.command("export")(_stoppable(export_command.export_file))
app.command("generate")(_stoppable(generate_command.generate))
app.command("predict")(_stoppable(predict_command.predict))


def _print_version(asked: bool) -> None:
    if asked:
        print(f"proxconnect {__version__}")
        raise typer.Exit


@app.callback()
def proxconnect(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Binarize PyTorch models: train, pack to 1 bit, evaluate, predict."""


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status.

    >>> run(["pack", "no/such/run"])
    2
    """
    try:
        status = typer.main.get_command(app).main(arguments, prog_name="proxconnect", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        return _refuse(error.format_message())
    except ProxConnectError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        # The reader of the output has closed it. Python would raise again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (_InterruptedError, KeyboardInterrupt, typer.Abort) as interruption:
        print(str(interruption) or "interrupted", file=sys.stderr)
        return 130
    return status if isinstance(status, int) else 0


def _refuse(message: str) -> int:
    if message:  # without a command typer shows the help, and the message is empty
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2
