"""Time products with 1-bit weights beside other libraries and beside the peak of the processor.

    python benchmarks/kernels.py [--ggml FOLDER] [--bitnet FOLDER]

Every round runs our kernels, each peer and each ceiling, warm, one after the other, so that other work of the
machine slows all of them alike; ratios are taken round by round. The floor is the larger of two times: the
operations over the rate of the instructions, and the bytes of the weight over the bandwidth of its memory.
``ceilings.cpp`` measures both, on as many cores at once as there are threads.

ggml is taken from the folder that ``--ggml`` names, which has ``libggml-cpu.so``; after ``pip install
llama-cpp-python`` it is ``llama_cpp/lib`` among the packages. bitnet.cpp, which has no published package, is
taken from the clone of ``github.com/microsoft/BitNet`` that ``--bitnet`` names. Libraries that are not there
are skipped by name. The script writes ``docs/results/data/kernels.json`` and the table
``docs/results/kernels.md``.
"""

from __future__ import annotations

import torch
from _bars import Bar
from _bitnet_peer import BITNET, BitnetPeer
from _ggml_peer import GgmlPeer
from _kernel_page import INSTRUCTIONS, Measured, Subject, command_line, instructions, report
from _product_peers import PEERS, Peer
from _rounds import Ceiling, Run, ceilings, rounds, versions, with_kernels
from torch import Tensor

from proxconnect import kernels

OF_LAYERS = ((1, 4096, 4096), (197, 768, 768), (512, 3072, 768), (1024, 1024, 1024))
OF_RESNETS = ((3136, 64, 576), (784, 128, 1152), (196, 256, 2304), (49, 512, 4608))
LIBRARIES = ("torch", "onnxruntime", "openvino")
INT8 = ("torch int8, dynamic", "onnxruntime int8")
SUBJECT = Subject(
    name="kernels",
    title="Products with 1-bit weights",
    shape="m x n x k",
    share="floor / time",
    protocol="W1A1 takes bits, and all others take float32. Times include quantizing the activations, "
    "except for the peer *bare*. The floor is the least time that the instructions, or reading the weight, "
    "can take.",
    bars=(
        Bar("W1A1", 0.85, shapes=lambda shape: shape[0] != 1),
        Bar("W1A1", 11, ("torch float32",), lambda shape: shape[0] != 1 and shape[2] != 768),
        Bar("W1A1", 2.9, ("torch int8, bare",), lambda shape: shape[0] != 1 and shape[2] != 768),
        Bar("W1A8", 18, ("torch float32",), lambda shape: shape[0] == 1),
        Bar("W1A8", 5, INT8, lambda shape: shape[0] == 1),
        Bar("W1A8", 2.3, ("onnxruntime 2 bits",), lambda shape: shape[0] == 1),
        Bar("W1A8", 2.3, (BITNET,), lambda shape: shape[0] == 1),
        Bar("W1A8", 6, ("ggml Q1_0",), lambda shape: shape[0] == 1),
        Bar("W1A8", 3.6, ("torch float32",), lambda shape: shape[0] in (197, 512)),
        Bar("W1A8", 1, INT8, lambda shape: shape[0] in (197, 512)),
        Bar("W1A8", 3.3, (BITNET,), lambda shape: shape[0] in (197, 512)),
        Bar("W1A32", 18, ("torch float32",), lambda shape: shape[0] == 1),
        Bar("W1A32", 2, ("torch float32",), lambda shape: shape[0] in (197, 512)),
        Bar("W1A8, AVX2", 1, ("torch float32",), lambda shape: shape[0] in (197, 512)),
    ),
)


def ours(x: Tensor, weight: Tensor) -> dict[str, Run]:
    """Return our products: from bits or float32, to float32 or bits."""
    n, k = weight.shape
    scale, bias = torch.rand(n), torch.randn(n)
    bits, panels = kernels.pack_signs(x), kernels.Panels.lay_out(kernels.pack_signs(weight), k)
    affine = kernels.Affine.of(scale, bias)
    thresholds = kernels.Thresholds.of(scale, bias, k)
    runs: dict[str, Run] = {
        "W1A1": lambda: kernels.w1a1_affine(bits, panels, affine),
        "W1A1 to bits": lambda: kernels.w1a1_signs(bits, panels, thresholds),
        "W1A8": lambda: kernels.w1a8(x, panels, affine),
        "W1A6": lambda: kernels.w1a8(x, panels, affine, bits=6),
        "W1A32": lambda: kernels.w1a32(x, panels, affine),
    }
    if "avx2" in kernels.kernel_sets():
        runs["W1A8, AVX2"] = with_kernels("avx2", runs["W1A8"])
    return runs


def measure(threads: int, peers: list[Peer], of: dict[str, Ceiling], count: int, measured: Measured) -> None:
    torch.set_num_threads(threads)
    for m, n, k in (*OF_LAYERS, *OF_RESNETS):
        x, weight = torch.randn(m, k), torch.randn(n, k).sign()
        mine = ours(x, weight)
        others = {name: run for peer in peers for name, run in peer(x, weight, threads).items()}
        times = rounds(mine | others | of, count)
        memory = "level_2" if n * k / 8 <= 2**20 else "level_3"
        reading = of[memory].floor(n * k / 8, times[memory])
        floors = {}
        for name in mine:
            computing = of[instructions(name)].floor(m * n * k, times[instructions(name)])
            floors[name] = [max(pair) for pair in zip(computing, reading, strict=True)]
        measured.add(
            [m, n, k],
            threads,
            {name: times[name] for name in mine},
            {name: times[name] for name in others},
            floors,
        )


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--ggml", metavar="FOLDER", help="folder of libggml-cpu.so")
    parser.add_argument("--bitnet", metavar="FOLDER", help="clone of bitnet.cpp")
    arguments = parser.parse_args()
    found, skipped = versions(LIBRARIES)
    peers = [*PEERS]
    if arguments.ggml:
        ggml = GgmlPeer(arguments.ggml)
        peers.append(ggml)
        found |= ggml.versions
    else:
        skipped["ggml Q1_0 and TQ2_0"] = "needs the folder of its library, which --ggml names"
    if arguments.bitnet:
        bitnet = BitnetPeer(arguments.bitnet)
        peers.append(bitnet)
        found |= bitnet.versions
    else:
        skipped[BITNET] = "needs the clone of its source that --bitnet names"
    of, measured = ceilings(*INSTRUCTIONS.values(), "level_2", "level_3"), Measured()
    for threads in arguments.threads:
        measure(threads, peers, of, arguments.rounds, measured)
    report(SUBJECT, measured, arguments, found, skipped)


if __name__ == "__main__":
    main()
