"""``load_model``: from a name to a model with hooks, and the card that says what it is."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ..directions import check_same_model
from ..errors import InputError, ModelError
from ..types import EDITED, Direction, HookedModel, Provenance, Tokenizer
from .checkpoint import ModelSource, locate_model
from .devices import resolve_device, resolve_dtype
from .hooked import HOOKED_AVAILABLE, hooked_transformer, quiet_transformer_lens
from .hub import HubModel, load_hub_config, load_hub_model, load_tokenizer
from .token_rule import BosRule, TokenRule, kept_as_made, token_rule

log = logging.getLogger(__name__)

Backend = Literal["auto", "hooked", "bridge"]
CARD_ATTRIBUTE = "empathy_lens_card"
HASHED_VALUES = 64
# What TransformerLens raises for an architecture or a configuration that it cannot take.
UNSUITED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class ModelCard:
    """What the library must know of a loaded model beside its weights.

    ``bos_id`` is the tokenizer's BOS, or None where it has none; ``stop_ids`` end a completion;
    ``chat`` says whether prompts are wrapped in the tokenizer's chat template; ``rule`` says what
    stands around a text, the BOS among it.
    """

    provenance: Provenance
    bos_id: int | None
    stop_ids: frozenset[int]
    chat: bool
    n_ctx: int
    rule: TokenRule
    sample: str = ""
    """:func:`weights_sample` when the card was made."""


def load_model(
    name: str | Path = "embedded",
    *,
    backend: Backend = "auto",
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    n_ctx: int = 2048,
    trust_remote_code: bool = False,
    bos: BosRule = "tokenizer",
    date: str | None = None,
) -> HookedModel:
    """A language model with hooks, ready for inference.

    Parameters
    ----------
    name
        ``embedded`` (Gemma-3-270M from the package registry), another embedded model such as
        ``embedded:qwen2.5-coder-0.5b``, a hub id such as ``google/gemma-2-9b-it``, or a folder
        with config, tokenizer and weights.
    backend
        ``auto`` takes HookedTransformer where it can be had, else TransformerBridge, and warns
        with the reason where HookedTransformer does not take the model.
    device, dtype
        ``auto``: CUDA, then MPS, then CPU; bfloat16 on CUDA, float16 on MPS (bfloat16 for Gemma-3,
        which overflows there), float32 on CPU.
    n_ctx
        Longest text in tokens that will be accepted (at most what the model was made for).
    trust_remote_code
        Let code run that comes with the model (its ``auto_map``): it can do whatever you can do
        on this machine, so read it first. Without it such a model is refused, unless
        transformers has code of its own for it. Kept in the provenance.
    bos
        ``tokenizer``: special tokens where the tokenizer's makers put them, also for
        ``model.to_tokens``. ``always``: BOS first wherever the tokenizer has one, as
        TransformerLens does; wrong for models that never saw one (Qwen).
    date
        A day, as in 2026-07-26, for chat templates that write today's date (Llama 3): without it
        runs differ from day to day. Other templates write none.

    Raises
    ------
    InputError
        float16 on CPU, an unknown backend, device, dtype or rule, a date that is none.
    ModelError
        The model does not exist, is gated, cannot be reached, is not supported, needs code of
        its own, or has pickled weights only.
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
    source = locate_model(str(name), revision, trust_remote_code=trust_remote_code)
    if dtype == "auto":
        resolved_dtype = resolve_dtype(dtype, resolved_device, load_hub_config(source).model_type)
    tokenizer = load_tokenizer(source)
    hub_model = load_hub_model(source, resolved_dtype, resolved_device)
    limit = getattr(hub_model.config, "max_position_embeddings", None) or n_ctx
    n_ctx = min(n_ctx, limit)
    rule, bos_id = token_rule(tokenizer, bos, date), tokenizer.bos_token_id
    hashed, stops = weights_hash(hub_model), _stop_ids(hub_model, tokenizer)
    rounded = weights_hash(hub_model, rounded=True)
    with kept_as_made(tokenizer):
        used, model = _with_hooks(backend, source, hub_model, tokenizer, resolved_dtype, n_ctx)
    model.cfg.default_prepend_bos = bos_id is not None and rule.before[:1] == (bos_id,)
    provenance = Provenance(
        model_name=source.hub_id,
        weights_hash=hashed,
        dtype=str(resolved_dtype).removeprefix("torch."),
        backend=used,
        transformer_lens=version("transformer-lens"),
        revision=revision or "",
        prompt_format=rule.prompt_format(bos_id),
        trust_remote_code=trust_remote_code,
        rounded_hash=rounded,
        bos_rule=rule.bos,
    )
    sample = weights_sample(model)
    _attach_card(model, ModelCard(provenance, bos_id, stops, rule.chat, n_ctx, rule, sample))
    return model


def _with_hooks(
    backend: Backend,
    source: ModelSource,
    hub_model: HubModel,
    tokenizer: Tokenizer,
    dtype: torch.dtype,
    n_ctx: int,
) -> tuple[str, HookedModel]:
    """The hub model as a HookedTransformer or a TransformerBridge, and which it became."""
    if backend != "bridge" and HOOKED_AVAILABLE:
        try:
            return "hooked", hooked_transformer(source, hub_model, tokenizer, dtype, n_ctx)
        except UNSUITED as error:
            if backend == "hooked":
                raise ModelError(
                    f"HookedTransformer does not take {source.hub_id} ({error}); "
                    "use --backend bridge"
                ) from error
            log.warning(
                "HookedTransformer does not take %s (%s): it is loaded as a TransformerBridge",
                source.hub_id,
                error,
            )
    from transformer_lens.model_bridge import TransformerBridge

    try:
        with quiet_transformer_lens():
            bridge = TransformerBridge.boot_transformers(
                source.path,
                hf_model=hub_model,
                tokenizer=tokenizer,
                dtype=dtype,
                device=hub_model.device,
                trust_remote_code=source.trust_remote_code,
            )
    except UNSUITED as error:
        raise ModelError(f"TransformerLens cannot bridge {source.hub_id}: {error}") from error
    return "bridge", bridge.eval().requires_grad_(False)


def _attach_card(model: object, card: ModelCard) -> None:
    """Keeps the card on the model, where :func:`model_card` finds it."""
    object.__setattr__(model, CARD_ATTRIBUTE, card)


def model_card(model: HookedModel) -> ModelCard:
    """The card of a model; made on the spot for one that ``load_model`` did not load.

    Such a model's weights may have been processed by TransformerLens, which changes the
    residual stream: ``weight_basis`` is then "processed" and its directions are its own. Its
    texts become what its tokenizer makes of them as it is, whatever TransformerLens prepends.
    """
    card = getattr(model, CARD_ATTRIBUTE, None)
    if card is not None:
        return cast(ModelCard, card)
    cfg, tokenizer = model.cfg, model.tokenizer
    processed = str(getattr(cfg, "normalization_type", "")).endswith("Pre")
    bos_id = getattr(tokenizer, "bos_token_id", None)
    rule = TokenRule() if tokenizer is None else token_rule(tokenizer)
    card = ModelCard(
        provenance=Provenance(
            model_name=str(getattr(cfg, "model_name", "custom")),
            weights_hash=weights_hash(cast(nn.Module, model)),
            dtype=str(getattr(cfg, "dtype", "")).removeprefix("torch."),
            backend="hooked" if type(model).__name__ == "HookedTransformer" else "bridge",
            transformer_lens=version("transformer-lens"),
            weight_basis="processed" if processed else "hub",
            prompt_format=rule.prompt_format(bos_id),
            rounded_hash=weights_hash(cast(nn.Module, model), rounded=True),
            bos_rule=rule.bos,
        ),
        bos_id=bos_id,
        stop_ids=_stop_ids(model, tokenizer),
        chat=rule.chat,
        n_ctx=int(getattr(cfg, "n_ctx", 2048)),
        rule=rule,
        sample=weights_sample(model),
    )
    _attach_card(model, card)
    return card


def current_provenance(model: HookedModel) -> Provenance:
    """The provenance of the model as it is now: its weights' hash is another one once edited.

    What was edited in place after loading is noticed by :func:`weights_sample`; the same edit has
    the same hash on one backend. Costs milliseconds: for once a call, not once a pass.
    """
    card, sample = model_card(model), weights_sample(model)
    if sample == card.sample:
        return card.provenance
    digest = hashlib.sha256((card.provenance.weights_hash + sample).encode()).hexdigest()
    return replace(card.provenance, weights_hash=f"{EDITED}-{digest[:25]}", rounded_hash="")


def check_made_on(model: HookedModel, directions: Iterable[Direction]) -> None:
    """Raises InputError unless the directions were made on this model, and says what differs.

    The rule is that of :func:`~empathy_lens.directions.check_same_model`, for the weights as they
    are now.
    """
    card = replace(model_card(model), provenance=current_provenance(model))
    for direction in directions:
        check_same_model(direction, card, "this model is")


def _stop_ids(model: object, tokenizer: object) -> frozenset[int]:
    """The end tokens of the tokenizer and of the model's generation settings (end of turn)."""
    settings = getattr(model, "generation_config", None)
    configured = getattr(settings, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    ids = (*listed, getattr(tokenizer, "eos_token_id", None))
    known = [i for i in ids if i is not None]
    if wrong := [i for i in known if type(i) is not int]:
        name = getattr(model, "name_or_path", "")
        raise ModelError(
            f"model {name!r}: generation_config.json or config.json: eos_token_id: expected token "
            f"numbers, got {wrong[:3]!r}"
        )
    return frozenset(known)


def weights_hash(module: nn.Module, *, rounded: bool = False) -> str:
    """A fingerprint of the loaded weights: names, shapes and evenly spaced values of each tensor.

    Reading a few values of every tensor tells models and fine-tunes apart without touching
    gigabytes. ``rounded`` values are those of a bfloat16 copy, so that it and one in float32 agree.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.named_parameters()):
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // HASHED_VALUES)
        values = flat[::step][:HASHED_VALUES].to("cpu", torch.float32)
        if rounded:
            values = values.bfloat16().float()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:32]


def weights_sample(model: HookedModel) -> str:
    """A fingerprint of the weights in memory now, to tell whether they were edited.

    Evenly spaced values of every parameter, up to 64 of each, rounded to bfloat16, so that casting
    the model to bfloat16 is no edit. It does not notice what changes no value that is read, such as
    a few rows of one matrix, or less than bfloat16 resolves (0.4% of a value).
    """
    read: dict[torch.device, list[Tensor]] = {}
    for _, tensor in cast(nn.Module, model).named_parameters():
        # Views of the storage, whatever the order of its dimensions: a reshape could copy it all.
        n_held = tensor.untyped_storage().nbytes() // tensor.element_size()
        n_values = min(tensor.numel(), n_held - tensor.storage_offset())
        # An odd step, so that it does not stay in one column of a matrix.
        step = max(1, n_values // HASHED_VALUES) | 1
        n_read = min(HASHED_VALUES, -(-n_values // step))
        values = tensor.detach().as_strided((n_read,), (step,), tensor.storage_offset())
        read.setdefault(tensor.device, []).append(values.bfloat16())
    digest = hashlib.sha256()
    for parts in read.values():
        digest.update(torch.cat(parts).cpu().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:32]
