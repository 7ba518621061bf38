"""A GGUF file made into a model folder: config, tokenizer, generation settings, safetensors.

Small models go through transformers, whole and in float32. Qwen2 models go tensor by tensor into
float16, so that no more than a few rows are in memory at a time. float16 has three bits more than
bfloat16: it rounds the file's values (products of small integers and float16 scales) by 0.02%,
bfloat16 by 0.17%, where quantising has already moved them by percents.
"""

from __future__ import annotations

import json
import math
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ModelError
from ..files import read_json, write_json, write_text
from ..types import Progress
from .qwen_tokenizer import qwen2_tokenizer

VALUES_AT_A_TIME = 1 << 23
"""Values that are dequantised at once: 32 MB in float32."""


def dequantise(gguf: Path, target: Path, progress: Progress) -> None:
    """A folder with float32 weights, of any model that transformers reads from GGUF."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as hf_logging

    progress(0, 1)
    hf_logging.disable_progress_bar()
    # transformers draws a bar that is not among those it can be told to leave out.
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        # The values are plain float32 now; transformers would refuse to save them as "gguf".
        del model.config.quantization_config
        model.hf_quantizer = None
        model.is_quantized = False
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    _slim_tokenizer(target)
    progress(1, 1)


def dequantise_qwen2(gguf: Path, target: Path, progress: Progress) -> None:
    """A folder with float16 weights of a Qwen2 model whose output matrix is its embedding.

    A file with a copy of that matrix for each use has two roundings of one matrix; the output's,
    which is the finer one, is taken. Raises ModelError for another architecture, and where
    tensors are missing, left over, of another shape or beyond float16's range.
    """
    from gguf import GGUFReader
    from transformers import GenerationConfig, Qwen2ForCausalLM

    file = GGUFReader(gguf)

    def read(key: str) -> Any:
        return file.fields[key].contents()

    if (architecture := read("general.architecture")) != "qwen2":
        raise ModelError(f"{gguf.name}: expected a GGUF file of a qwen2 model, got {architecture}")
    config = _qwen2_config(read)
    with torch.device("meta"):
        empty = Qwen2ForCausalLM(config)
    shapes = {name: tuple(values.shape) for name, values in empty.named_parameters()}
    stored = {tensor.name: tensor for tensor in file.tensors}
    if "output.weight" in stored:
        stored["token_embd.weight"] = stored.pop("output.weight")
    names = _names_in_gguf(shapes, config.num_hidden_layers)
    if odd := sorted(stored.keys() ^ names.keys()):
        raise ModelError(f"{gguf.name}: tensors are missing or left over: {', '.join(odd[:3])}")
    target.mkdir()
    tensors = [(names[name], _values(stored[name])) for name in names]
    write_float16(target / "model.safetensors", shapes, tensors, progress)
    config.save_pretrained(target)
    ends = [config.eos_token_id, config.pad_token_id]
    GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=ends, pad_token_id=config.pad_token_id
    ).save_pretrained(target)
    qwen2_tokenizer(read).save_pretrained(target)
    _slim_tokenizer(target)


def _qwen2_config(read: Callable[[str], Any]) -> Any:
    """The configuration of a Qwen2 model from a GGUF file's metadata.

    Not read by transformers: it takes half a minute to read the file once more.
    """
    from transformers import Qwen2Config

    return Qwen2Config(
        architectures=["Qwen2ForCausalLM"],
        dtype="float16",
        vocab_size=len(read("tokenizer.ggml.tokens")),
        hidden_size=read("qwen2.embedding_length"),
        intermediate_size=read("qwen2.feed_forward_length"),
        num_hidden_layers=read("qwen2.block_count"),
        num_attention_heads=read("qwen2.attention.head_count"),
        num_key_value_heads=read("qwen2.attention.head_count_kv"),
        max_position_embeddings=read("qwen2.context_length"),
        # A float32 in the file, 1e-06 at its makers'.
        rms_norm_eps=float(f"{read('qwen2.attention.layer_norm_rms_epsilon'):.6g}"),
        rope_parameters={"rope_type": "default", "rope_theta": read("qwen2.rope.freq_base")},
        tie_word_embeddings=True,
        bos_token_id=read("tokenizer.ggml.bos_token_id"),
        eos_token_id=read("tokenizer.ggml.eos_token_id"),
        pad_token_id=read("tokenizer.ggml.padding_token_id"),
    )


def _names_in_gguf(hub_names: Iterable[str], n_layers: int) -> dict[str, str]:
    """The hub's name of each tensor by its name in a GGUF file."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    known = get_tensor_name_map(MODEL_ARCH.QWEN2, n_layers)
    split = ((name, *name.rsplit(".", 1)) for name in hub_names)
    return {f"{known.get_name(module)}.{kind}": name for name, module, kind in split}


def _values(tensor: Any) -> Iterator[np.ndarray]:
    """The float32 values of a tensor of a GGUF file, some rows at a time."""
    from gguf import dequantize

    n_rows = max(1, VALUES_AT_A_TIME // int(tensor.shape[0]))
    for start in range(0, len(tensor.data), n_rows):
        yield dequantize(tensor.data[start : start + n_rows], tensor.tensor_type)


def write_float16(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Iterable[tuple[str, Iterable[np.ndarray]]],
    progress: Progress,
) -> None:
    """Writes a safetensors file of the tensors, which come by name in blocks of rows.

    ``progress`` counts megabytes. Raises ModelError where a tensor has another number of values
    than its shape, or values beyond float16's range.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(packed)) + packed)
        for name, blocks in tensors:
            start, stop = (len(packed) + 8 + offset for offset in header[name]["data_offsets"])
            out.seek(start)
            for values in blocks:
                with np.errstate(over="ignore"):
                    rounded = values.astype("<f2")
                if not np.isfinite(rounded).all():
                    raise ModelError(f"{name}: expected numbers within float16's range")
                out.write(rounded.tobytes())
                progress(out.tell() >> 20, len(packed) + end >> 20)
            if out.tell() != stop:
                raise ModelError(f"{name}: expected {shapes[name]}, got another number of values")


def _slim_tokenizer(folder: Path) -> None:
    """The same tokenizer in a form that loads in a third of the time.

    Compact JSON and the generic fast class: the model's own class would rebuild the vocabulary
    of 262,144 entries in Python only to arrive at the same tokenizer.
    """
    config = read_json(folder / "tokenizer_config.json")
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(folder / "tokenizer_config.json", config)
    file = folder / "tokenizer.json"
    write_text(file, json.dumps(read_json(file), ensure_ascii=False, separators=(",", ":")))
