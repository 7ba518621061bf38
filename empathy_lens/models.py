"""Loading models: the only module that knows TransformerLens versions, devices and dtypes.

``load_model`` gives a HookedTransformer where the installed TransformerLens and the
architecture allow it, else a TransformerBridge. Weights are never processed (no LayerNorm
folding, no centring), so ``blocks.L.hook_resid_post`` equals the hub model's block output and
directions can be carried over to other tools.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from .embedded import EMBEDDED_MODELS, embedded_folder
from .errors import InputError, ModelError
from .types import HookedModel, Provenance

__all__ = ["Backend", "ModelCard", "load_model", "model_card", "resolve_device", "resolve_dtype"]

Backend = Literal["auto", "hooked", "bridge"]
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
HOOKED_AVAILABLE = importlib.util.find_spec("transformer_lens.HookedTransformer") is not None
CARD_ATTRIBUTE = "empathy_lens_card"
HASHED_VALUES = 64
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(frozen=True)
class ModelCard:
    """What the library must know of a loaded model beside its weights.

    ``bos_id`` is the token that starts every text, or None for models without one; ``stop_ids``
    end a completion; ``chat`` says whether prompts are wrapped in the tokenizer's chat template.
    """

    provenance: Provenance
    bos_id: int | None
    stop_ids: frozenset[int]
    chat: bool
    n_ctx: int


def load_model(
    name: str | Path = "embedded",
    *,
    backend: Backend = "auto",
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    n_ctx: int = 2048,
) -> HookedModel:
    """A language model with hooks, ready for inference.

    Parameters
    ----------
    name
        ``embedded`` (Gemma-3-270M from the package registry), ``embedded:smollm2``, a hub id
        such as ``google/gemma-2-9b-it``, or a folder with config, tokenizer and weights.
    backend
        ``auto`` takes HookedTransformer where it can be had, else TransformerBridge.
    device, dtype
        ``auto``: CUDA, then MPS, then CPU; bfloat16 on CUDA, float16 on MPS, float32 on CPU.
    n_ctx
        Longest text in tokens that will be accepted (at most what the model was made for).

    Raises
    ------
    InputError
        float16 on CPU, an unknown backend, device or dtype.
    ModelError
        The model does not exist, is gated, cannot be reached, or is not supported.
    """
    resolved_device = resolve_device(device)
    resolved_dtype = resolve_dtype(dtype, resolved_device)
    if backend not in ("auto", "hooked", "bridge"):
        raise InputError(f"backend: expected auto, hooked or bridge, got {backend!r}")
    if backend == "hooked" and not HOOKED_AVAILABLE:
        raise ModelError(
            f"transformer-lens {version('transformer-lens')} has no HookedTransformer; "
            "use --backend bridge, or install 'transformer-lens>=3.9,<4'"
        )
    source = _locate(str(name))
    hub_model, tokenizer = _load_hub_model(source, resolved_dtype, revision)
    limit = getattr(hub_model.config, "max_position_embeddings", None) or n_ctx
    n_ctx = min(n_ctx, limit)
    weights_hash = _weights_hash(hub_model)
    bos_id, chat = tokenizer.bos_token_id, bool(tokenizer.chat_template)
    stop_ids = _stop_ids(hub_model, tokenizer)
    used, model = _with_hooks(
        backend, source, hub_model, tokenizer, resolved_device, resolved_dtype, n_ctx
    )
    card = ModelCard(
        provenance=Provenance(
            model_name=source.hub_id,
            weights_hash=weights_hash,
            dtype=str(resolved_dtype).removeprefix("torch."),
            backend=used,
            transformer_lens=version("transformer-lens"),
            revision=revision or "",
            prompt_format=("chat, " if chat else "plain, ")
            + ("no bos" if bos_id is None else "one bos"),
        ),
        bos_id=bos_id,
        stop_ids=stop_ids,
        chat=chat,
        n_ctx=n_ctx,
    )
    object.__setattr__(model, CARD_ATTRIBUTE, card)
    return cast(HookedModel, model)


def model_card(model: HookedModel) -> ModelCard:
    """The card of a model; made on the spot for one that ``load_model`` did not load.

    Such a model's weights may have been processed by TransformerLens, which changes the
    residual stream: ``weight_basis`` is then "processed" and its directions are its own.
    """
    card = getattr(model, CARD_ATTRIBUTE, None)
    if card is not None:
        return cast(ModelCard, card)
    cfg, tokenizer = model.cfg, model.tokenizer
    processed = str(getattr(cfg, "normalization_type", "")).endswith("Pre")
    chat = bool(getattr(tokenizer, "chat_template", None))
    card = ModelCard(
        provenance=Provenance(
            model_name=str(getattr(cfg, "model_name", "custom")),
            weights_hash=_weights_hash(cast(nn.Module, model)),
            dtype=str(getattr(cfg, "dtype", "")).removeprefix("torch."),
            backend="hooked" if type(model).__name__ == "HookedTransformer" else "bridge",
            transformer_lens=version("transformer-lens"),
            weight_basis="processed" if processed else "hub",
            prompt_format="chat" if chat else "plain",
        ),
        bos_id=getattr(tokenizer, "bos_token_id", None),
        stop_ids=_stop_ids(model, tokenizer),
        chat=chat,
        n_ctx=int(getattr(cfg, "n_ctx", 2048)),
    )
    object.__setattr__(model, CARD_ATTRIBUTE, card)
    return card


def resolve_device(name: str = "auto") -> torch.device:
    """The device to use. Raises InputError for one that this machine does not have."""
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if has[d]))
    kind = name.split(":")[0]
    if kind not in has:
        raise InputError(f"device: expected auto, cpu, mps or cuda, got {name!r}")
    if not has[kind]:
        there = ", ".join(d for d, ok in has.items() if ok)
        raise InputError(f"device {name} is not available here; available: {there}")
    try:
        return torch.device(name)
    except RuntimeError:
        raise InputError(f"device: expected auto, cpu, mps or cuda, got {name!r}") from None


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype to use; float16 on CPU is refused because it is hundreds of times slower."""
    if name == "auto":
        return {"mps": torch.float16, "cuda": torch.bfloat16}.get(device.type, torch.float32)
    if name not in DTYPES:
        raise InputError(f"dtype: expected auto, {', '.join(DTYPES)}, got {name!r}")
    if name == "float16" and device.type == "cpu":
        raise InputError(
            "float16 on CPU is hundreds of times slower than float32; "
            "use --dtype float32 (or bfloat16), or a GPU with --device mps or cuda"
        )
    return DTYPES[name]


@dataclass(frozen=True)
class _Source:
    """Where a checkpoint is read from, and what it is called on the hub."""

    path: str
    hub_id: str
    local: bool


def _locate(name: str) -> _Source:
    if name == "embedded" or name.startswith("embedded:"):
        key = name.partition(":")[2] or "gemma3-270m"
        folder = embedded_folder(key)
        return _Source(str(folder), EMBEDDED_MODELS[key].hub_id, local=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder}: expected a model folder, it has no config.json")
        if not any((folder / file).is_file() for file in TOKENIZER_FILES):
            # transformers would make up an empty tokenizer for the architecture and go on.
            raise ModelError(
                f"{folder}: expected a model folder, it has no tokenizer "
                f"(none of {', '.join(TOKENIZER_FILES)})"
            )
        return _Source(str(folder), folder.name, local=True)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{name}: no such folder, and not a hub id (owner/name)")
    return _Source(name, name, local=False)


def _load_hub_model(source: _Source, dtype: torch.dtype, revision: str | None) -> tuple[Any, Any]:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as hf_logging

    options: dict[str, Any] = {"local_files_only": source.local}
    if revision is not None:
        options["revision"] = revision
    if source.local:
        hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = AutoTokenizer.from_pretrained(source.path, **options)
            # Eager attention: the only kind that applies Gemma-2's soft-caps and shows patterns.
            model, loading = AutoModelForCausalLM.from_pretrained(
                source.path,
                dtype=dtype,
                attn_implementation="eager",
                output_loading_info=True,
                **options,
            )
    except GatedRepoError:
        raise ModelError(
            f"model {source.path!r} is gated: accept its licence on its hub page, then run "
            "`hf auth login` (or set HF_TOKEN)"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"there is no model {source.path!r} on the hub, or it is private; expected 'embedded', "
            "'embedded:smollm2', a hub id such as google/gemma-2-9b-it, or a folder"
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"model {source.path!r} could not be loaded: {first_line} (expected 'embedded', "
            "'embedded:smollm2', a hub id that can be reached from here, or a model folder)"
        ) from None
    if loading["missing_keys"]:
        # transformers would go on with random numbers in their place.
        missing = sorted(loading["missing_keys"])
        raise ModelError(
            f"model {source.path!r} could not be loaded: its checkpoint lacks {len(missing)} "
            f"tensors ({', '.join(missing[:3])}); get a complete copy"
        )
    if tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]:
        # Said aloud, so that TransformerLens does not read the tokenizer a second time to get it.
        tokenizer.init_kwargs["add_bos_token"] = True
    return model.eval().requires_grad_(False), tokenizer


def _stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """The end tokens of the tokenizer and of the model's generation settings (end of turn)."""
    settings = getattr(model, "generation_config", None)
    configured = getattr(settings, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    ids = (*listed, getattr(tokenizer, "eos_token_id", None))
    return frozenset(int(i) for i in ids if i is not None)


def _with_hooks(
    backend: Backend,
    source: _Source,
    hub_model: Any,
    tokenizer: Any,
    device: torch.device,
    dtype: torch.dtype,
    n_ctx: int,
) -> tuple[str, Any]:
    """The hub model as a HookedTransformer or a TransformerBridge, and which it became."""
    if backend != "bridge" and HOOKED_AVAILABLE:
        try:
            return "hooked", _hooked(source, hub_model, tokenizer, device, dtype, n_ctx)
        except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
            if backend == "hooked":
                raise ModelError(
                    f"HookedTransformer does not take {source.hub_id} ({error}); "
                    "use --backend bridge"
                ) from error
    from transformer_lens.model_bridge import TransformerBridge

    try:
        with _quiet_transformer_lens():
            bridge = TransformerBridge.boot_transformers(
                source.path, hf_model=hub_model, tokenizer=tokenizer, dtype=dtype, device=device
            )
    except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise ModelError(f"TransformerLens cannot bridge {source.hub_id}: {error}") from error
    return "bridge", bridge.eval().requires_grad_(False)


def _hooked(
    source: _Source,
    hub_model: Any,
    tokenizer: Any,
    device: torch.device,
    dtype: torch.dtype,
    n_ctx: int,
) -> Any:
    """A HookedTransformer that shares the hub model's tensors where their layouts agree.

    ``HookedTransformer.from_pretrained`` copies every tensor; assigning the converted ones
    keeps views of the memory-mapped checkpoint, so that the peak stays near the weights' size.
    """
    from transformer_lens import HookedTransformer
    from transformer_lens import loading_from_pretrained as loading

    with _quiet_transformer_lens():
        cfg = _hooked_config(source, hub_model.config, dtype, n_ctx)
        state = loading.get_pretrained_state_dict(
            cfg.model_name if not source.local else source.path, cfg, hub_model, dtype=dtype
        )
        model = HookedTransformer(cfg, tokenizer, move_to_device=False)
    expected = dict(model.named_parameters())
    missing = sorted(expected.keys() - state.keys())
    wrong = sorted(k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape)
    if missing or wrong:
        raise ValueError(f"missing tensors {missing[:5]}, tensors of wrong shape {wrong[:5]}")
    cast_state = {k: state[k].detach().to(expected[k].dtype) for k in expected}
    model.load_state_dict(cast_state, strict=False, assign=True)
    model.cfg.device = str(device)
    model = nn.Module.to(model, device).eval().requires_grad_(False)
    del state, cast_state
    gc.collect()
    return model


def _hooked_config(source: _Source, hub_config: Any, dtype: torch.dtype, n_ctx: int) -> Any:
    from transformer_lens import HookedTransformerConfig
    from transformer_lens import loading_from_pretrained as loading

    if hub_config.architectures[0] in ("Gemma2ForCausalLM", "Gemma3ForCausalLM"):
        # TransformerLens knows these by name only, with sizes typed in; read them instead.
        return HookedTransformerConfig(**_gemma_config(hub_config, source.hub_id, dtype, n_ctx))
    options: dict[str, Any] = {"dtype": dtype, "n_ctx": n_ctx, "device": "cpu"}
    if not source.local:
        return loading.get_pretrained_model_config(
            source.path, hf_cfg=hub_config.to_dict(), **options
        )
    # TransformerLens guesses the architecture from the words in a path: give it a neutral one.
    with tempfile.TemporaryDirectory(prefix="checkpoint") as neutral:
        shutil.copy(Path(source.path) / "config.json", neutral)
        return loading.get_pretrained_model_config(neutral, hf_cfg=hub_config.to_dict(), **options)


def _gemma_config(hub: Any, name: str, dtype: torch.dtype, n_ctx: int) -> dict[str, Any]:
    """Gemma-2 and Gemma-3 text models in TransformerLens's terms, from the hub configuration."""
    gemma3 = hub.architectures[0] == "Gemma3ForCausalLM"
    ropes = hub.rope_parameters
    full = ropes.get("full_attention", ropes)
    local = ropes.get("sliding_attention", ropes)
    config: dict[str, Any] = {
        "model_name": name,
        "original_architecture": hub.architectures[0],
        "d_model": hub.hidden_size,
        "d_head": hub.head_dim,
        "n_heads": hub.num_attention_heads,
        "n_key_value_heads": hub.num_key_value_heads,
        "d_mlp": hub.intermediate_size,
        "n_layers": hub.num_hidden_layers,
        "n_ctx": n_ctx,
        "eps": hub.rms_norm_eps,
        "d_vocab": hub.vocab_size,
        "act_fn": hub.hidden_activation,
        "initializer_range": hub.initializer_range,
        "normalization_type": "RMS",
        "positional_embedding_type": "rotary",
        "rotary_dim": hub.head_dim,
        "rotary_base": full["rope_theta"],
        "use_attn_scale": True,
        "attn_scale": hub.query_pre_attn_scalar**0.5,
        "gated_mlp": True,
        "final_rms": True,
        "use_normalization_before_and_after": True,
        "use_local_attn": True,
        "window_size": hub.sliding_window,
        "attn_types": ["local" if t.startswith("sliding") else "global" for t in hub.layer_types],
        "default_prepend_bos": True,
        "init_weights": False,
        "dtype": dtype,
        "device": "cpu",
    }
    if gemma3:
        config |= {"use_qk_norm": True, "rotary_base_local": local["rope_theta"]}
    if hub.attn_logit_softcapping:
        config["attn_scores_soft_cap"] = hub.attn_logit_softcapping
    if hub.final_logit_softcapping:
        config["output_logits_soft_cap"] = hub.final_logit_softcapping
    return config


@contextmanager
def _quiet_transformer_lens() -> Iterator[None]:
    """Without its deprecation notes: which class is used is a choice this module states."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


def _weights_hash(module: nn.Module) -> str:
    """A fingerprint of the loaded weights: names, shapes and evenly spaced values of each tensor.

    Reading a few values of every tensor tells models and fine-tunes apart without touching
    gigabytes.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.named_parameters()):
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // HASHED_VALUES)
        values = flat[::step][:HASHED_VALUES].to("cpu", torch.float32)
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:32]
