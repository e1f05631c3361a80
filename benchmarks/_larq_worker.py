"""Time larq-compute-engine's binary 3x3 convolution for ``_larq_peer.py``.

The process answers each line of JSON with a line. ``{"size", "channels", "threads"}`` prepares a convolution
with BatchNorm. ``{"repeats", "warm_seconds"}`` runs it untimed for ``warm_seconds``, then ``repeats`` times,
and returns the seconds of one run. The process imports nothing of ProxConnect.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import cache
from importlib.metadata import version

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # keeps the output of the libraries apart from the answers

import larq  # noqa: E402
import larq_compute_engine  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from larq_compute_engine.tflite.python.interpreter import Interpreter  # noqa: E402

tf.get_logger().setLevel("ERROR")


@cache
def model(size: int, channels: int) -> bytes:
    """Convert the convolution, which binarizes its input, to the library's format."""
    images = tf.keras.Input((size, size, channels), batch_size=1)
    layer = larq.layers.QuantConv2D(
        channels,
        3,
        padding="same",
        pad_values=1.0,
        use_bias=False,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
    )
    network = tf.keras.Model(images, tf.keras.layers.BatchNormalization()(layer(images)))
    return bytes(larq_compute_engine.convert_keras_model(network))


def answer(content: object) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def main() -> None:
    answer({name: version(name) for name in ("larq-compute-engine", "tensorflow")})
    for line in sys.stdin:
        request = json.loads(line)
        if "repeats" not in request:
            size, channels = request["size"], request["channels"]
            # The default kernel of the library takes several times as long on x86.
            interpreter = Interpreter(
                model(size, channels), num_threads=request["threads"], use_indirect_bgemm=True
            )
            images = np.random.default_rng(0).standard_normal((1, size, size, channels), np.float32)
            answer(None)
            continue
        start = time.perf_counter()
        interpreter.predict(images)
        while time.perf_counter() < start + request["warm_seconds"]:
            interpreter.predict(images)
        start = time.perf_counter()
        for _ in range(request["repeats"]):
            interpreter.predict(images)
        answer((time.perf_counter() - start) / request["repeats"])


if __name__ == "__main__":
    main()
