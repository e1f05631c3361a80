"""Byte-level BPE tokenizers: ``tokenizer.json`` of a Hugging Face folder, and the metadata of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxconnect.base.optional import needed_for
from proxconnect.errors import ExportError, FormatError, shown

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_KINDS = range(1, 7)
_PREFIX = "tokenizer.ggml."
_SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}


def _split(digits: str) -> dict[str, Any]:
    """Return a pre-tokenizer that cuts text into words and numbers, then turns bytes into characters."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, _BYTES | {"use_regex": False}]}


# How text is cut before its bytes are merged, by the names of llama.cpp.
_PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTES | {"use_regex": True},
    "llama-bpe": _split(r"\p{N}{1,3}"),
    "qwen2": _split(r"\p{N}"),
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTES | {"use_regex": True}],
    },
}
# llama.cpp takes no word apart that is a token, and begins a text with BOS where a file does not say.
_LIKE_LLAMA3 = ("llama-bpe",)
# llama.cpp wants at least one merge. Text in UTF-8 has no byte 255, so this one never happens.
_NO_MERGE = "ÿ ÿ"


def write_tokenizer(writer: Any, folder: Path, vocabulary: int) -> None:
    """Write the tokenizer of a Hugging Face folder into a GGUF file.

    Args:
        writer: a ``gguf.GGUFWriter``.
        folder: has ``tokenizer.json``, and may have ``tokenizer_config.json`` and a chat template.
        vocabulary: the rows of the embedding; those beyond the tokens become unused tokens.

    Raises:
        ExportError: there is no tokenizer, it is no byte-level BPE, or llama.cpp would cut text otherwise.
    """
    with needed_for("Writing a tokenizer", "gguf"):
        from gguf import SpecialVocab
        from tokenizers import Tokenizer
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ExportError(
            f"{folder} has no tokenizer.json: save the tokenizer there with its save_pretrained, or name "
            "the folder that has one"
        )
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(file))
        special = SpecialVocab(folder, load_merges=True, n_vocab=vocabulary)
    except Exception as error:  # the package tokenizers raises Exception itself
        raise ExportError(f"{file}: cannot be read: {error}") from None
    pre = _name_of_cuts(fields, file)
    tokens, added = tokenizer.get_vocab(), tokenizer.get_added_tokens_decoder()
    last = max(tokens.values(), default=0)
    if last >= vocabulary:
        raise ExportError(f"{file} has a token {last}, and the embedding of the model has {vocabulary} rows")
    texts = [f"[PAD{number}]" for number in range(vocabulary)]
    kinds = [_UNUSED] * vocabulary
    for text, number in tokens.items():
        texts[number], kinds[number] = text, _NORMAL
    for number, token in added.items():
        kinds[number] = _CONTROL if token.special else _USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    special.merges = special.merges or [_NO_MERGE]
    special.add_special_token.setdefault("bos", False)
    special.add_to_gguf(writer, quiet=True)


def _name_of_cuts(fields: Mapping[str, Any], file: Path) -> str:
    """Name how a tokenizer cuts text, as llama.cpp does."""
    model, normalizer = fields["model"], fields.get("normalizer") or {}
    if model["type"] != "BPE" or model.get("byte_fallback") or normalizer.get("type", "NFC") != "NFC":
        raise ExportError(
            f"{file} is no byte-level BPE tokenizer, and only these can be written to a GGUF file"
        )
    found = _without_offsets(fields.get("pre_tokenizer") or {})
    if not model["merges"] and _ends_in_bytes(found):
        return "gpt-2"  # where nothing is merged, it does not matter how text is cut
    for name, expected in _PRE_TOKENIZERS.items():
        if found == _without_offsets(expected) and bool(model.get("ignore_merges")) == (name in _LIKE_LLAMA3):
            return name
    known = ", ".join(_PRE_TOKENIZERS)
    raise ExportError(
        f"{file} cuts text in a way for which no name in llama.cpp is known here; known: {known}"
    )


def _ends_in_bytes(part: Mapping[str, Any]) -> bool:
    last = part["pretokenizers"][-1] if part.get("pretokenizers") else part
    return last.get("type") == "ByteLevel" and not last.get("add_prefix_space")


def _without_offsets(part: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what does not change the tokens."""
    plain = {name: value for name, value in part.items() if name != "trim_offsets"}
    if "pretokenizers" in plain:
        plain["pretokenizers"] = [_without_offsets(inner) for inner in plain["pretokenizers"]]
    return plain


def tokenizer_of_metadata(metadata: Mapping[str, Any], vocabulary: int) -> Any:
    """Make a ``PreTrainedTokenizerFast`` from the metadata of a GGUF file.

    A chat template is a program, so it is left out.

    Raises:
        FormatError: there is no tokenizer, it is of another kind, or it contradicts itself.
    """
    with needed_for("Reading a tokenizer", "gguf"):
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast
    kind, pre = (metadata.get(f"{_PREFIX}{name}") for name in ("model", "pre"))
    if kind in (None, "none", "no_vocab"):
        raise FormatError("the file has no tokenizer; export the model again with one")
    if kind != "gpt2" or not isinstance(pre, str) or pre not in _PRE_TOKENIZERS:
        known = ", ".join(_PRE_TOKENIZERS)
        raise FormatError(
            f"a tokenizer {shown(kind)} that cuts as {shown(pre)} is not read; expected 'gpt2' and {known}"
        )
    texts, kinds = _texts(metadata, "tokens"), metadata.get(f"{_PREFIX}token_type", [_NORMAL] * vocabulary)
    if len(texts) != vocabulary or len(set(texts)) != vocabulary or "" in texts:
        raise FormatError(f"the tokenizer has {len(texts)} tokens; expected {vocabulary}, all different")
    if not isinstance(kinds, list) or len(kinds) != vocabulary or any(kind not in _KINDS for kind in kinds):
        raise FormatError(f"{_PREFIX}token_type: expected {vocabulary} numbers from 1 to 6")
    ids = {text: number for number, text in enumerate(texts) if kinds[number] != _UNUSED}
    special = {
        name: _token(metadata, stored, texts, ids)
        for name, stored in _SPECIAL.items()
        if f"{_PREFIX}{stored}_token_id" in metadata
    }
    begins = metadata.get(f"{_PREFIX}add_bos_token", pre in _LIKE_LLAMA3) and "bos" in special
    fields = {
        "version": "1.0",
        "added_tokens": [_added(n, texts[n], kind) for n, kind in enumerate(kinds) if kind in _ADDED],
        "pre_tokenizer": _PRE_TOKENIZERS[pre],
        "post_processor": _beginning(special["bos"], ids) if begins else None,
        "decoder": _BYTES | {"use_regex": True},
        "model": {
            "type": "BPE",
            "ignore_merges": pre in _LIKE_LLAMA3,
            "vocab": ids,
            "merges": [pair for pair in _merges(metadata) if "".join(pair) in ids and ids.keys() >= {*pair}],
        },
    }
    try:
        tokenizer = Tokenizer.from_str(json.dumps(fields))
    except Exception as error:  # the package tokenizers raises Exception itself
        raise FormatError(f"the tokenizer cannot be made: {error}") from None
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": text for name, text in special.items()}
    )


_ADDED = (_CONTROL, _USER_DEFINED)


def _added(number: int, text: str, kind: int) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text, "special": kind == _CONTROL, **plain}


def _beginning(text: str, ids: Mapping[str, int]) -> dict[str, Any]:
    """Return a post-processor that puts a token before every text."""
    first = {"SpecialToken": {"id": text, "type_id": 0}}
    sequences = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {
        "type": "TemplateProcessing",
        "single": [first, sequences[0]],
        "pair": [first, sequences[0], first, sequences[1]],
        "special_tokens": {text: {"id": text, "ids": [ids[text]], "tokens": [text]}},
    }


def _texts(metadata: Mapping[str, Any], name: str) -> list[str]:
    texts = metadata.get(f"{_PREFIX}{name}", [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise FormatError(f"{_PREFIX}{name}: expected texts")
    return texts


def _merges(metadata: Mapping[str, Any]) -> list[list[str]]:
    pairs = [merge.split(" ") for merge in _texts(metadata, "merges")]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise FormatError(f"{_PREFIX}merges: expected two texts with a space between them")
    return pairs


def _token(metadata: Mapping[str, Any], name: str, texts: list[str], ids: Mapping[str, int]) -> str:
    number = metadata[f"{_PREFIX}{name}_token_id"]
    if type(number) is not int or not 0 <= number < len(texts) or texts[number] not in ids:
        raise FormatError(f"{_PREFIX}{name}_token_id is {shown(number)}; expected one of {len(ids)} tokens")
    return texts[number]
