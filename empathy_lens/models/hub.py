"""The hub model: config, tokenizer and weights, as transformers reads them.

Weights go tensor by tensor into the dtype and onto the device that are wanted, so that the peak
is what the model takes there, never a copy more.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

import torch
from transformers import PretrainedConfig as HubConfig
from transformers import PreTrainedModel as HubModel

from ..errors import ModelError, did_you_mean
from ..files import read_json
from ..types import Tokenizer
from .checkpoint import (
    SINGLE_FILE,
    ModelSource,
    StoredTensor,
    find_checkpoint,
    open_checkpoint,
    some_names,
)
from .zoo import EMBEDDED_MODELS

# Loading less than this takes seconds: a progress bar would only flash by.
SHOW_PROGRESS_BYTES = 4e9
NAMES = ("embedded", *(f"embedded:{name}" for name in EMBEDDED_MODELS))
# What transformers says where code of the model's own would have to run and must not.
ASKS_FOR_TRUST = "trust_remote_code=True"


class LoadingInfo(TypedDict):
    """What transformers says of a checkpoint that it has loaded."""

    missing_keys: Collection[str]
    unexpected_keys: Collection[str]
    mismatched_keys: Collection[tuple[str, torch.Size, torch.Size]]


def load_hub_config(source: ModelSource) -> HubConfig:
    """The model's configuration. Raises ModelError where it cannot be had or read."""
    from transformers import AutoConfig

    with _clear_faults(source), _quiet_transformers():
        return AutoConfig.from_pretrained(source.path, **source.auto_options)


def load_tokenizer(source: ModelSource) -> Tokenizer:
    """The model's tokenizer. Raises ModelError where it cannot be had or read."""
    from transformers import AutoTokenizer

    with _clear_faults(source), _quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(source.path, **source.auto_options)
        tokenizer("")  # Some damage shows only where a text is read.
    if source.trust_remote_code:
        # Said aloud too: TransformerLens may read the tokenizer again.
        tokenizer.init_kwargs["trust_remote_code"] = True
    return tokenizer


def parameters_only(config: HubConfig, *, trust_remote_code: bool = False) -> HubModel:
    """The model of a configuration without values (on torch's meta device); takes no memory.

    Raises ModelError for a configuration that no causal language model has, or that needs code
    of the model's own.
    """
    from transformers import AutoModelForCausalLM

    try:
        with _quiet_transformers(), torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except Exception as error:  # A damaged configuration makes transformers raise anything.
        if ASKS_FOR_TRUST in str(error):
            maps = {"config.json": getattr(config, "auto_map", None)}
            raise ModelError(_own_code(config.name_or_path, maps)) from None
        raise ModelError(
            f"no causal language model can be made from this configuration: {_first_line(error)}"
        ) from error


def load_hub_model(source: ModelSource, dtype: torch.dtype, device: torch.device) -> HubModel:
    """The model in evaluation mode on the device.

    Raises ModelError where it cannot be had, and where files or tensors are missing, damaged, of
    a wrong shape or kind, or not part of the model: transformers would fill holes with random
    numbers and leave out what does not fit.
    """
    with _clear_faults(source):
        config = load_hub_config(source)
        checkpoint = find_checkpoint(source)
        options: dict[str, object] = {
            "dtype": dtype,
            "device_map": {"": device},
            # Eager attention: the only kind that applies soft-caps and shows patterns.
            "attn_implementation": "eager",
            "output_loading_info": True,
            "ignore_mismatched_sizes": True,
        }
        if checkpoint is None:
            raise ModelError(
                f"model {source.path!r} could not be loaded: it has no {SINGLE_FILE}, and no other "
                "weights are read (unpickling pytorch_model.bin or a .pt file can run code); get "
                "a copy with safetensors, or write one with save_pretrained of transformers where "
                "you trust the file"
            )
        if getattr(config, "quantization_config", None) is not None:
            from transformers import AutoModelForCausalLM

            with _quiet_transformers():
                model, loading = AutoModelForCausalLM.from_pretrained(
                    source.path, use_safetensors=True, **options, **source.auto_options
                )
        else:
            from transformers import GenerationConfig

            tensors = open_checkpoint(checkpoint)
            empty = parameters_only(config, trust_remote_code=source.trust_remote_code)
            _check_kinds(source, empty, tensors)
            settings = empty.generation_config
            with _quiet_transformers(progress=checkpoint.n_bytes > SHOW_PROGRESS_BYTES):
                # Many models have none; the configuration's own end token is used then.
                with suppress(OSError):
                    settings = GenerationConfig.from_pretrained(source.path, **source.options)
                model, loading = type(empty).from_pretrained(
                    None, config=config, state_dict=tensors, generation_config=settings, **options
                )
    _check_loading(source, loading)
    return model.eval().requires_grad_(False)


def _check_kinds(source: ModelSource, model: HubModel, tensors: dict[str, StoredTensor]) -> None:
    """Integers in place of numbers would be cast in silence, as of a quantised checkpoint."""
    floats = {name for name, p in model.named_parameters() if p.is_floating_point()}
    wrong = {name for name in floats & tensors.keys() if not tensors[name].is_float}
    if wrong:
        kinds = sorted({tensors[name].kind for name in wrong})
        raise ModelError(
            f"model {source.path!r} could not be loaded: {len(wrong)} tensors are of kind "
            f"{', '.join(kinds)}, expected floating-point numbers ({some_names(wrong)}); get a "
            "copy that is not quantised"
        )


def _check_loading(source: ModelSource, loading: LoadingInfo) -> None:
    shapes = [
        f"{name}: {list(stored)}, expected {list(expected)}"
        for name, stored, expected in loading["mismatched_keys"]
    ]
    kinds: dict[str, Collection[str]] = {
        "its checkpoint lacks {} tensors": loading["missing_keys"],
        "{} tensors are of a wrong shape": shapes,
        "{} tensors are no part of the model": loading["unexpected_keys"],
    }
    faults = [
        f"{kind.format(len(names))} ({some_names(names)})" for kind, names in kinds.items() if names
    ]
    if faults:
        raise ModelError(
            f"model {source.path!r} could not be loaded: {'; '.join(faults)}; get a complete copy "
            "of weights and config.json from one place"
        )


@contextmanager
def _clear_faults(source: ModelSource) -> Iterator[None]:
    """Turns what transformers and the hub raise into one ModelError with the remedy."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except ModelError:
        raise
    except GatedRepoError:
        raise ModelError(
            f"model {source.path!r} is gated: accept its licence on its hub page, then run "
            "`hf auth login` (or set HF_TOKEN)"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"there is no model {source.path!r} on the hub, or it is private; expected 'embedded', "
            "'embedded:smollm2', a hub id such as google/gemma-2-9b-it, or a folder"
            f"{did_you_mean(source.path, NAMES)}"
        ) from None
    except Exception as error:  # Damaged files make transformers and tokenizers raise anything.
        if ASKS_FOR_TRUST in str(error):
            raise ModelError(_own_code(source.path, _auto_maps(source))) from None
        raise ModelError(
            f"model {source.path!r} could not be loaded: {_first_line(error)} (expected "
            "'embedded', 'embedded:smollm2', a hub id that can be reached from here, or a model "
            f"folder){did_you_mean(source.path, NAMES)}"
        ) from error


def _auto_maps(source: ModelSource) -> dict[str, object]:
    """What the model's files say of code of its own, by file."""
    from transformers.utils.hub import cached_file

    maps = {}
    for name in ("config.json", "tokenizer_config.json"):
        path = cached_file(
            source.path, name, _raise_exceptions_for_missing_entries=False, **source.options
        )
        data = read_json(Path(path)) if path is not None else None
        maps[name] = data.get("auto_map") if isinstance(data, dict) else None
    return maps


def _own_code(name: str, auto_maps: Mapping[str, object]) -> str:
    """The message for a model whose ``auto_map`` (by file) names classes in files of its own."""
    named = []
    for file, auto_map in auto_maps.items():
        classes = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
        listed = [c for each in classes for c in (each if isinstance(each, list) else [each])]
        code = {f"{c.rpartition('.')[0]}.py" for c in listed if isinstance(c, str)}
        named += [f"{', '.join(sorted(code))}, named in {file}"] if code else []
    return (
        f"model {name!r} comes with code of its own ({'; '.join(named) or 'see its auto_map'}), "
        "which is not run: it could do whatever you can do on this machine. Read it, then allow it "
        "with --trust-remote-code (in Python trust_remote_code=True), or take another model"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _quiet_transformers(progress: bool = False) -> Iterator[None]:
    """Without notes, load reports and bars: what matters in them becomes an error here."""
    from transformers.utils import logging as hf_logging

    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    if not progress:
        hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()
