# The compiled module. Addresses are integers that proxconnect.engine has validated, 0 for a tensor that is
# not given; see csrc/products.h, csrc/convolutions.h and csrc/latents.h.

def pack_signs(x: int, rows: int, columns: int, bits: int, threads: int) -> int: ...
def unpack_weights(
    signs: int, nonzero: int, scale: int, rows: int, columns: int, group: int, weights: int, threads: int
) -> None: ...
def padding_is_clear(bits: int, stride: int, m: int, k: int) -> bool: ...
def make_panels(bits: int, stride: int, n: int, k: int, words: int) -> None: ...
def w1a1_sums(
    a: int, stride: int, m: int, words: int, n: int, k: int, wrap: bool, out: int, threads: int
) -> None: ...
def w1a1_affine(
    a: int,
    stride: int,
    m: int,
    words: int,
    n: int,
    k: int,
    wrap: bool,
    out: int,
    residual: int,
    scale: int,
    bias: int,
    slope: int,
    threads: int,
) -> None: ...
def w1a1_signs(
    a: int,
    stride: int,
    m: int,
    words: int,
    n: int,
    k: int,
    wrap: bool,
    out: int,
    threshold: int,
    flip: int,
    threads: int,
) -> None: ...
def w1a8(
    x: int,
    stride: int,
    m: int,
    words: int,
    n: int,
    k: int,
    group: int,
    greatest: int,
    out: int,
    residual: int,
    scale: int,
    bias: int,
    slope: int,
    threads: int,
) -> bool: ...
def w1a32(
    x: int,
    stride: int,
    m: int,
    words: int,
    n: int,
    k: int,
    out: int,
    residual: int,
    scale: int,
    bias: int,
    slope: int,
    threads: int,
) -> None: ...
def w1a32_conv(
    x: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    words: int,
    n: int,
    groups: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    output: tuple[int, int],
    out: int,
    residual: int,
    scale: int,
    bias: int,
    slope: int,
    threads: int,
) -> None: ...
def make_conv_panels(bits: int, stride: int, weight: tuple[int, ...]) -> None: ...
def w1a8_conv(
    x: int,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: tuple[int, ...],
    out: int,
    residual: int,
    scale: int,
    bias: int,
    slope: int,
    threads: int,
) -> bool: ...
def pack_planes(
    x: int,
    count: int,
    image_stride: int,
    channel_stride: int,
    channels: int,
    pixels: int,
    bits: int,
    threads: int,
) -> bool: ...
def w1a1_conv_sums(
    a: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: tuple[int, ...],
    wrap: bool,
    out: int,
    threads: int,
) -> None: ...
def w1a1_conv_affine(
    a: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: tuple[int, ...],
    wrap: bool,
    out: int,
    residual: int,
    scale: int,
    bias: int,
    slope: int,
    threads: int,
) -> None: ...
def w1a1_conv_signs(
    a: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: tuple[int, ...],
    wrap: bool,
    out: int,
    threshold: int,
    flip: int,
    threads: int,
) -> None: ...
def mean_magnitudes(values: int, rows: int, columns: int, mean: int, threads: int) -> None: ...
def quantize(
    values: int,
    rows: int,
    columns: int,
    s: int,
    alpha: int,
    step: int,
    map: int,
    mu: float,
    a: float,
    b: float,
    out: int,
    threads: int,
) -> None: ...
def scale_gradient(
    values: int,
    rows: int,
    columns: int,
    s: int,
    alpha: int,
    step: int,
    map: int,
    mu: float,
    a: float,
    b: float,
    g: int,
    out: int,
    threads: int,
) -> None: ...
def quantize_and_mark(
    x: int,
    size: int,
    map: int,
    map_mu: float,
    a: float,
    b: float,
    mu: float,
    out: int,
    inside: int,
    threads: int,
) -> None: ...
def scale_marked(inside: int, size: int, mu: float, g: int, out: int, threads: int) -> None: ...
def scale_outputs(y: int, rows: int, columns: int, scale: int, bias: int, threads: int) -> None: ...
def kernel_sets() -> list[str]: ...
def active_kernels() -> str: ...
def use_kernels(name: str) -> bool: ...
def cpu_features() -> dict[str, bool]: ...
