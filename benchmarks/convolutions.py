"""Time 3x3 convolutions with 1-bit weights beside other libraries and beside the peak of the processor.

    python benchmarks/convolutions.py [--larq PYTHON]

Every round runs our kernels, each peer and the ceilings, warm, one after the other; ratios are taken round by
round. The ceilings are those of the instructions of AVX-512 in ``ceilings.cpp``, on as many cores at once as
there are threads. OpenVINO's convolution is timed in a chain, whose layers pass bits to each other.
larq-compute-engine runs in a process of its own, with the Python that ``--larq`` names, of an environment of
``pip install tensorflow==2.16.2 tf_keras==2.16.0 larq larq-compute-engine==0.16.0 "numpy<2"``. Libraries
that are not installed are skipped by name. The script writes ``docs/results/data/convolutions.json`` and
``docs/results/convolutions.md``.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from _bars import Bar
from _convolution_peers import CHAIN, PEERS, Peer
from _kernel_page import Measured, Subject, command_line, instructions, report
from _larq_peer import LARQ, LarqPeer
from _rounds import Ceiling, Run, ceilings, rounds, versions, with_kernels
from torch import Tensor

from proxconnect import kernels

SHAPES = ((56, 64), (28, 128), (14, 256), (7, 512))  # height and width, channels: those of ResNets
LIBRARIES = ("torch", "onnxruntime", "openvino")
BITS, FLOATS = "W1A1, bits to bits", "W1A1, float32 to float32"
SUBJECT = Subject(
    name="convolutions",
    title="3x3 convolutions with 1-bit weights",
    shape="image",
    share="of the ceiling",
    protocol="All have as many outputs as channels, stride 1, zero padding and batch 1. Channels are last "
    "in and out unless the row says NCHW. W1A8 and W1A32 run from float32 to float32, with the "
    "quantization. int8 peers run from 8 bits to 8 bits. OpenVINO's binary convolution is timed in a chain "
    f"of {CHAIN} with one weight: the time of the chain, with its ends, is divided by {CHAIN}. "
    "larq-compute-engine runs from float32 to float32, with BatchNorm and its indirect BGEMM, which is the "
    "fastest of its kernels here. It pads with +1 and is timed in a process of its own, in the same rounds.",
    bars=(
        Bar(BITS, 1.5, ("OpenVINO binary",)),
        Bar(BITS, 2.2, ("torch int8", "onnxruntime int8")),
        Bar(BITS, 0.75, shapes=lambda shape: shape[0] == 56),
        Bar(FLOATS, 7.5, ("torch float32",)),
        Bar(FLOATS, 9, (LARQ,)),
        Bar("W1A32", 1.5, ("torch float32",)),
        Bar(f"{BITS}, AVX2", 4, ("torch float32",)),
        Bar(f"{FLOATS}, AVX2", 4, ("torch float32",)),
    ),
)


def ours(x: Tensor, weight: Tensor) -> dict[str, Run]:
    """Return our convolutions: bits to bits, and float32 to float32 from either layout of the input."""
    n = len(weight)
    bits = kernels.pack_pixels(x)
    panels = kernels.ConvPanels.lay_out(kernels.pack_signs(weight.flatten(1)), tuple(weight.shape))  # type: ignore[arg-type]
    geometry = kernels.Geometry(padding=(1, 1))
    scale, bias = torch.rand(n), torch.randn(n)
    affine, thresholds = kernels.Affine.of(scale, bias), kernels.Thresholds.of(scale, bias, panels.k)
    last = x.contiguous(memory_format=torch.channels_last)

    def whole(images: Tensor) -> Tensor:
        return kernels.w1a1_conv_affine(kernels.pack_pixels(images), panels, geometry, affine)

    runs: dict[str, Run] = {
        BITS: lambda: kernels.w1a1_conv_signs(bits, panels, geometry, thresholds),
        FLOATS: lambda: whole(last),
        "W1A1, float32 NCHW to float32": lambda: whole(x),
        "W1A8": lambda: kernels.w1a8_conv(last, panels, geometry, affine),
        "W1A32": lambda: kernels.w1a32_conv(last, panels, geometry, affine),
    }
    if "avx2" in kernels.kernel_sets():
        runs |= {f"{name}, AVX2": with_kernels("avx2", runs[name]) for name in (BITS, FLOATS)}
    return runs


def measure(threads: int, peers: list[Peer], of: dict[str, Ceiling], count: int, measured: Measured) -> None:
    torch.set_num_threads(threads)
    for size, channels in SHAPES:
        x, weight = torch.randn(1, channels, size, size), torch.randn(channels, channels, 3, 3).sign()
        mine = ours(x, weight)
        others = {name: run for peer in peers for name, run in peer(x, weight, threads).items()}
        times = rounds(mine | others | of, count)
        products = 9 * size**2 * channels**2
        measured.add(
            [size, size, channels],
            threads,
            {name: times[name] for name in mine},
            {name: times[name] for name in others},
            {name: of[instructions(name)].floor(products, times[instructions(name)]) for name in mine},
        )


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--larq", metavar="PYTHON", help=f"the Python of an environment with {LARQ}")
    arguments = parser.parse_args()
    found, skipped = versions(LIBRARIES)
    of, measured = ceilings("carry_save", "dot", "look_up"), Measured()
    with ExitStack() as processes:
        peers = [*PEERS]
        if arguments.larq:
            larq = processes.enter_context(LarqPeer(arguments.larq))
            peers.append(larq)
            found |= larq.versions
        else:
            skipped[LARQ] = "needs an environment of its own, which --larq names"
        for threads in arguments.threads:
            measure(threads, peers, of, arguments.rounds, measured)
    report(SUBJECT, measured, arguments, found, skipped)


if __name__ == "__main__":
    main()
