# The compiled module. Addresses are integers that proxconnect.engine has validated, 0 for a tensor that is
# not given; see csrc/products.h, csrc/convolutions.h and csrc/latents.h.

_Rows = tuple[int, int, int]  # address of signs or floats; stride, rows
_SignImages = tuple[int, int, int, int]  # address; count, height, width
_Images = tuple[int, tuple[int, ...], tuple[int, ...]]  # address; sizes and strides of (N, C, H, W)
_Panels = tuple[int, int, int]  # address of words; outputs, inputs
_ConvPanels = tuple[int, int, int, int, int, int, int]  # addresses of words, tap sums; n, C, (kh, kw), groups
_Geometry = tuple[int, int, int, int, int, int, int]  # stride, padding, dilation, each (y, x); fill
_Affine = tuple[int, int, int, int]  # addresses of residual, scale, bias, slope
_Thresholds = tuple[int, int]  # addresses of threshold, flip

def pack_signs(x: int, rows: int, columns: int, bits: int, threads: int) -> int: ...
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
def unpack_weights(
    signs: int, nonzero: int, scale: int, rows: int, columns: int, group: int, weights: int, threads: int
) -> None: ...
def padding_is_clear(rows: _Rows, k: int) -> bool: ...
def make_panels(rows: _Rows, k: int, words: int) -> None: ...
def make_conv_panels(rows: _Rows, panels: _ConvPanels) -> None: ...
def w1a1_sums(a: _Rows, weight: _Panels, wrap: bool, out: int, threads: int) -> None: ...
def w1a1_affine(a: _Rows, weight: _Panels, wrap: bool, out: int, affine: _Affine, threads: int) -> None: ...
def w1a1_signs(
    a: _Rows, weight: _Panels, wrap: bool, out: int, thresholds: _Thresholds, threads: int
) -> None: ...
def w1a8(
    x: _Rows, weight: _Panels, group: int, greatest: int, out: int, affine: _Affine, threads: int
) -> bool: ...
def w1a32(x: _Rows, weight: _Panels, out: int, affine: _Affine, threads: int) -> None: ...
def w1a1_conv_sums(
    a: _SignImages, weight: _ConvPanels, geometry: _Geometry, wrap: bool, out: int, threads: int
) -> None: ...
def w1a1_conv_affine(
    a: _SignImages,
    weight: _ConvPanels,
    geometry: _Geometry,
    wrap: bool,
    out: int,
    affine: _Affine,
    threads: int,
) -> None: ...
def w1a1_conv_signs(
    a: _SignImages,
    weight: _ConvPanels,
    geometry: _Geometry,
    wrap: bool,
    out: int,
    thresholds: _Thresholds,
    threads: int,
) -> None: ...
def w1a8_conv(
    x: _Images, weight: _ConvPanels, geometry: _Geometry, out: int, affine: _Affine, threads: int
) -> bool: ...
def w1a32_conv(
    x: _Images, weight: _ConvPanels, geometry: _Geometry, out: int, affine: _Affine, threads: int
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
