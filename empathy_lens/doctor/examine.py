"""A whole examination: the machine, then the model that is named, as far as memory allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch

from ..errors import ModelError
from ..models import (
    EMBEDDED_MODELS,
    HOOKED_AVAILABLE,
    Backend,
    HubConfig,
    ModelSource,
    embedded_key,
    load_model,
    locate_model,
    resolve_device,
    resolve_dtype,
)
from ..models.checkpoint import find_checkpoint, is_downloaded, open_checkpoint
from ..models.hooked import hooked_config
from .known_models import KnownNeed, known_config, memory_table, model_config
from .machine import (
    Check,
    MemoryNeed,
    Status,
    disk_check,
    gigabytes,
    machine_checks,
    memory_check,
    memory_need,
    worst,
)
from .parity import Reference, hub_reference, model_checks, release, residual_maxima


@dataclass(frozen=True)
class Examination:
    """All checks with the gravest status, the model's need, and the largest |resid_post| by layer.

    Without a model, ``memory_table`` has the need of well-known ones.
    """

    status: Status
    checks: tuple[Check, ...]
    need: MemoryNeed | None = None
    resid_post_max: tuple[float, ...] = ()
    memory_table: tuple[KnownNeed, ...] = ()


def examine(
    name: str | None = None,
    *,
    backend: Backend = "auto",
    device: str = "auto",
    dtype: str = "auto",
    run: bool = True,
    download: bool = False,
    trust_remote_code: bool = False,
) -> Examination:
    """The machine, what the model needs, and where ``run`` allows it whether it computes right.

    Before anything but its configuration is downloaded, the need is held against what is free.
    The weights themselves are downloaded only with ``download``. Raises InputError or ModelError
    for a device, dtype or folder that does not exist.
    """
    on = resolve_device(device)
    resolve_dtype(dtype, on)  # Refuses what cannot be, before anything is looked for.
    checks = machine_checks()
    if name is None:
        return Examination(worst(checks), tuple(checks), memory_table=tuple(memory_table()))
    key = embedded_key(name)
    if key in EMBEDDED_MODELS:
        # Its sizes are known; preparing it is not for a look at the need.
        source = ModelSource(name, EMBEDDED_MODELS[key].hub_id, local=True)
        config = known_config(source.hub_id)
        checks.append(Check("configuration", "ok", f"{config.model_type}, built-in sizes"))
    else:
        source = locate_model(name, trust_remote_code=trust_remote_code)
        try:
            config, check = model_config(source)
            checks.append(check)
        except ModelError as error:
            own_code = "--trust-remote-code" in str(error)  # Says itself what is to be done.
            remedy = "" if own_code else _remedy(source)
            checks.append(Check("configuration", "fail", str(error), "", remedy))
            return Examination(worst(checks), tuple(checks))
    precision = resolve_dtype(dtype, on, config.model_type)
    need = memory_need(config, precision, trust_remote_code=trust_remote_code)
    checks.append(_backend_check(source, config, backend))
    checks.append(memory_check(need, on))
    here = source.local or is_downloaded(source)
    if not here:
        from huggingface_hub.constants import HF_HUB_CACHE

        checks.append(disk_check(need, Path(HF_HUB_CACHE)))
    maxima: tuple[float, ...] = ()
    if run and worst(checks) == "fail":
        checks.append(Check("parity", "warn", "not run: see the failed checks above"))
    elif run and not here and not download:
        remedy = "run again with --download to fetch the weights and check them"
        checks.append(Check("parity", "warn", "not run: the weights are not here", "", remedy))
    elif run:
        try:
            of_model, maxima = _parity(
                name, backend, on, precision, need, trust_remote_code=trust_remote_code
            )
            checks += of_model
        except ModelError as error:
            checks.append(Check("load", "fail", str(error)))
    return Examination(worst(checks), tuple(checks), need, maxima)


def _backend_check(source: ModelSource, config: HubConfig, backend: Backend) -> Check:
    """Which class the model becomes, found out without its weights."""
    if backend == "bridge" or not HOOKED_AVAILABLE:
        return Check("backend", "ok", "TransformerBridge")
    with TemporaryDirectory() as scratch:
        if source.local:
            config.save_pretrained(scratch)
            source = replace(source, path=scratch)
        try:
            hooked_config(source, config, torch.float32, 16, torch.device("cpu"))
        except (ValueError, KeyError, AttributeError, NotImplementedError, OSError) as error:
            return Check(
                "backend",
                "fail" if backend == "hooked" else "ok",
                f"HookedTransformer does not take it ({str(error).splitlines()[0]})",
                remedy="use --backend bridge" if backend == "hooked" else "",
            )
    return Check("backend", "ok", "HookedTransformer")


def _remedy(source: ModelSource) -> str:
    return (
        "get a complete copy of the folder"
        if source.local
        else "check the connection and the name, or copy the model's folder here and name that"
    )


def _parity(
    name: str,
    backend: Backend,
    device: torch.device,
    dtype: torch.dtype,
    need: MemoryNeed,
    *,
    trust_remote_code: bool,
) -> tuple[list[Check], tuple[float, ...]]:
    """One model at a time: the hub's on the CPU if need be, the hub's on the device, ours."""
    source = locate_model(name, trust_remote_code=trust_remote_code)
    checkpoint = find_checkpoint(source)
    if checkpoint is not None:
        open_checkpoint(checkpoint)  # Names damage in a sentence, where transformers would not.
    checks: list[Check] = []
    on_cpu: Reference | None = None
    if device.type != "cpu":
        free = int(psutil.virtual_memory().available)
        fits = [d for d in (torch.float32, torch.bfloat16) if need.parameters * d.itemsize < free]
        if fits:
            on_cpu = hub_reference(source, fits[0], torch.device("cpu"))
        else:
            wanted = gigabytes(need.parameters * torch.bfloat16.itemsize)
            checks.append(
                Check(f"{device} = CPU", "warn", f"not run: needs {wanted}, free {gigabytes(free)}")
            )
    reference = hub_reference(source, dtype, device)
    model = load_model(
        name,
        backend=backend,
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        trust_remote_code=trust_remote_code,
    )
    checks = [*model_checks(model, reference, on_cpu), *checks]
    maxima = tuple(residual_maxima(model))
    del model
    release(device)
    return checks, maxima
