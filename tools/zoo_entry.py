"""Put the packed model of a finished run into the zoo, with its card.

    python tools/zoo_entry.py resnet20-cifar10-bw RUN --data FOLDER --data-name "CIFAR-10 (JPEG copy)" \
        --protocol "15 epochs in full precision, 5 of fine-tuning" --recipe "recipes/reduced.toml, cell NAME"

The tool evaluates the packed file of the run on the test split of the data, and writes ``<name>.safetensors``
and ``<name>.json`` to ``src/proxconnect/zoo``. The card has the commit of the run's result; a run without a
recorded commit needs ``--commit``. Neither this commit nor that of the tool may have uncommitted changes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import proxconnect as pc
from proxconnect.base.files import written_whole
from proxconnect.experiments.grid import label_of
from proxconnect.trainer import evaluate_split, origin

ZOO = Path(__file__).parents[1] / "src" / "proxconnect" / "zoo"


def entry(
    name: str,
    run: Path,
    *,
    data: str,
    data_name: str,
    protocol: str,
    recipe: str,
    commit: str | None,
    measured: dict[str, Any],
    zoo: Path,
) -> pc.zoo.Card:
    """Write the two files of the model ``name`` to the folder ``zoo``.

    Args:
        name: name of the model for ``pc.zoo.load``.
        run: folder of a finished run.
        data: folder with the test split.
        data_name: name of the data on the card.
        protocol: the training in one sentence.
        recipe: the grid file and cell, or the command, that trains the model.
        commit: commit of the code that trained the model; None takes the commit that the run recorded.
        measured: commit and machine of this evaluation, as ``proxconnect.trainer.origin()`` returns them.
        zoo: the folder of the zoo.

    Raises:
        ProxConnectError: a commit is unknown, or the code had changes that are not committed.
    """
    result = json.loads((run / "result.json").read_text())
    packed = run / "model.safetensors"
    network = pc.load(packed)
    commit = commit or (result.get("origin") or {}).get("commit")
    if commit is None:
        raise pc.ProxConnectError(f"{run} did not record its commit; pass --commit")
    if measured["commit"] is None:
        raise pc.ProxConnectError("the commit of this code is unknown; run the tool in a git checkout")
    for action, revision in (("the run was trained", commit), ("this tool runs", measured["commit"])):
        if revision.endswith("-dirty"):
            raise pc.ProxConnectError(
                f"{action} with changes that no commit holds ({revision}), so nobody could repeat it; "
                "commit them and start again"
            )
    found = evaluate_split(network, data)
    card = pc.zoo.Card(
        model=result["config"]["model"],
        setting=result["config"]["setting"],
        method=label_of(result["config"]),
        data=data_name,
        protocol=protocol,
        accuracy=found.accuracy,
        images=found.images,
        validation_accuracy=result["packed"]["accuracy"],
        bytes=packed.stat().st_size,
        recipe=recipe,
        commit=commit,
        evaluated=measured,
    )
    with written_whole(zoo / f"{name}.safetensors") as file:
        shutil.copyfile(packed, file)
    with written_whole(zoo / f"{name}.json") as file:
        file.write_text(card.to_json())
    return card


def main() -> None:
    """Read the command line, and write the entry."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="name of the model for pc.zoo.load")
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--data", required=True, help="folder with test.parquet")
    parser.add_argument("--data-name", required=True, help="name of the data on the card")
    parser.add_argument("--protocol", required=True, help="the training in one sentence")
    parser.add_argument("--recipe", required=True, help="grid file and cell, or the command, that trains it")
    parser.add_argument("--commit", help="commit of the code that trained it, if the run did not record it")
    print(entry(**vars(parser.parse_args()), measured=origin(), zoo=ZOO).to_json(), end="")


if __name__ == "__main__":
    main()
