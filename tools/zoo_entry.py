"""Put the packed model of a finished run into the zoo, with its card.

    python tools/zoo_entry.py resnet20-cifar10-bw RUN --data FOLDER --data-name "CIFAR-10 (JPEG copy)" \
        --protocol "15 epochs in full precision, 5 of fine-tuning" --recipe "recipes/reduced.toml, cell NAME"

Evaluates the run's packed file on the test split of the data and writes ``<name>.safetensors`` and
``<name>.json`` to ``src/proxconnect/zoo``. The card's commit is that of the run's result; a run that recorded
none needs ``--commit``. Neither that commit nor the tool's own may have uncommitted changes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import proxconnect as pc
from proxconnect.base.files import written_whole
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
        name: what ``pc.zoo.load`` will call the model.
        run: folder of a finished run.
        data: folder with the test split.
        data_name: what the card calls the data.
        protocol: how it was trained.
        recipe: what trains it.
        commit: of the code that trained it; None takes that which the run recorded.
        measured: commit and machine that evaluate it now, as ``proxconnect.trainer.origin()`` gives them.
        zoo: the folder.

    Raises:
        ProxConnectError: a commit is not known, or was not what the code was: the tree had changes.
    """
    result = json.loads((run / "result.json").read_text())
    packed = run / "model.safetensors"
    network = pc.load(packed)
    commit = commit or (result.get("origin") or {}).get("commit")
    if commit is None:
        raise pc.ProxConnectError(f"{run} did not record its commit; pass --commit")
    if measured["commit"] is None:
        raise pc.ProxConnectError("the commit of this code is unknown; run the tool in a git checkout")
    for what, found in (("the run was trained", commit), ("this tool runs", measured["commit"])):
        if found.endswith("-dirty"):
            raise pc.ProxConnectError(
                f"{what} with changes that no commit holds ({found}), so nobody could repeat it; "
                "commit them and start again"
            )
    found = evaluate_split(network, data)
    card = pc.zoo.Card(
        model=result["config"]["model"],
        setting=result["config"]["setting"],
        method=result["config"]["method"],
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
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="what pc.zoo.load will call the model")
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--data", required=True, help="folder with test.parquet")
    parser.add_argument("--data-name", required=True, help="what the card calls the data")
    parser.add_argument("--protocol", required=True, help="how it was trained, in a sentence")
    parser.add_argument("--recipe", required=True, help="grid file and cell, or the command, that trains it")
    parser.add_argument("--commit", help="of the code that trained it, where the run did not record it")
    print(entry(**vars(parser.parse_args()), measured=origin(), zoo=ZOO).to_json(), end="")


if __name__ == "__main__":
    main()
