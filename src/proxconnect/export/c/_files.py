"""The text of the C file and of its header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from proxconnect.base.version import __version__
from proxconnect.export._outputs import output_names
from proxconnect.export._source import Source
from proxconnect.export.c._constants import comment
from proxconnect.export.c._functions import TYPES, texts
from proxconnect.export.c._memory import Plan, planned
from proxconnect.export.c._program import Array, Program


@dataclass(frozen=True)
class Files:
    """The text of the two files, and the bytes of constants and of memory that they take."""

    source: str
    header: str
    constants: int
    memory: int


def files(name: str, include: str, source: Source, program: Program, outputs: Sequence[Array]) -> Files:
    """Write the network ``name`` as C99.

    Args:
        name: an identifier of C, with which all public names begin.
        include: the name of the header's file.
        source: the network.
        program: its steps.
        outputs: the arrays of its output.
    """
    inputs = frozenset(range(len(source.graph.inputs)))
    kept = frozenset(array.root for array in outputs if isinstance(array.root, int))
    plan = planned(program.steps, inputs, kept)
    words = plan.sizes["uint32_t"]
    memory = 4 * (plan.sizes["float"] + words)
    taken = _parameters("input", "in", [spec.name for spec in source.graph.inputs])
    given = _parameters("output", "out", output_names(source.graph))
    sizes = [program.arrays[index].size for index in sorted(inputs)]
    arguments = [f"const float {param}[{size}]" for param, size in zip(taken, sizes, strict=True)]
    arguments += [f"float {param}[{array.size}]" for param, array in zip(given, outputs, strict=True)]
    head = f"void {name}_run({', '.join(arguments)})"
    lines = [
        f"/* {comment(name)}, written by ProxConnect {__version__}: C99, with math.h alone. */",
        f'#include "{include}"',
        "",
        "#include <math.h>",
        "#include <stdint.h>",
        "",
        TYPES,
        *program.constants.lines,
        "",
        *texts(program.functions),
        "/* Each value lies here from the step that writes it to the last step that reads it. */",
        *([f"static float floats[{plan.sizes['float']}];"] if plan.sizes["float"] else []),
        *([f"static uint32_t words[{words}];"] if words else []),
        "",
        f"{head} {{",
        *_steps(program, plan, taken),
    ]
    kinds = {step.result: step.kind for step in program.steps}
    for param, array in zip(given, outputs, strict=True):
        place = _place(array.root, array.first, plan, kinds, taken)
        lines.append(f"    for (int i = 0; i < {array.size}; ++i) {param}[i] = ({place})[i];")
    lines += ["}"]
    classes = source.facts.get("classes")
    if classes:
        lines += ["", f"const char *const {name}_classes[{len(classes)}] = {{"]
        lines += [f"    {_string(each)}," for each in classes] + ["};"]
    header = _header(name, source, program, memory, arguments, head)
    return Files("\n".join(lines) + "\n", header, program.constants.bytes, memory)


def _steps(program: Program, plan: Plan, taken: Sequence[str]) -> list[str]:
    kinds = {step.result: step.kind for step in program.steps}
    lines: list[str] = []
    for step, scratch in zip(program.steps, plan.scratch, strict=True):
        lines.append(f"    {{ /* {comment(step.comment)} */")
        for i, (root, first) in enumerate(step.reads):
            kind = kinds.get(root, "float") if isinstance(root, int) else "float"
            lines.append(f"        const {kind} *x{i} = {_place(root, first, plan, kinds, taken)};")
        array = "floats" if step.kind == "float" else "words"
        lines.append(f"        {step.kind} *y = {array} + {plan.first[step.result]};")
        if step.scratch:
            lines.append(f"        float *t = floats + {scratch};")
        lines += [f"        {line}" for line in step.lines]
        lines.append("    }")
    return lines


def _place(root: int | str, first: int, plan: Plan, kinds: dict[int, str], taken: Sequence[str]) -> str:
    if isinstance(root, str):
        return f"{root} + {first}" if first else root
    if root in kinds:
        return f"{'floats' if kinds[root] == 'float' else 'words'} + {plan.first[root] + first}"
    return f"{taken[root]} + {first}" if first else taken[root]


def _header(
    name: str, source: Source, program: Program, memory: int, arguments: Sequence[str], head: str
) -> str:
    guard = f"{name.upper()}_H"
    classes = source.facts.get("classes")
    prepared = source.facts.get("preprocessing")
    notes = [
        f"/* One sample through the network {comment(name)}. Images lie channel by channel, row by row.",
        f"   Constants take {program.constants.bytes} bytes. Memory takes {memory} bytes, all of it static:",
        "   calls must not overlap.",
    ]
    if prepared:
        notes.append(f"   Preprocessing: {comment(str(dict(prepared)))}")
    notes[-1] += " */"
    lines = [
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        *notes,
        f"{head};",
        *([f"extern const char *const {name}_classes[{len(classes)}];"] if classes else []),
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _parameters(single: str, prefix: str, names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return [single]
    return [f"{prefix}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}" for name in names]


def _string(text: str) -> str:
    """Write a string of C; bytes that mean something in it are written as numbers."""
    plain = {byte for byte in range(32, 127) if byte not in b'"\\?'}
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'
