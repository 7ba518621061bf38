"""``empathy-lens models``: the embedded models as a table."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ..console import shown
from ..models.embedded import embedded_state
from ..models.zoo import EMBEDDED_MODELS


@dataclass(frozen=True)
class ListedModel:
    """An embedded model, how it stands, and the command that is to be run (empty where none).

    ``download_bytes`` is its GGUF file, ``disk_bytes`` what it takes once prepared.
    """

    name: str
    hub_id: str
    licence: str
    good_for: str
    download_bytes: int
    disk_bytes: int
    state: str
    command: str


def listed_models() -> list[ListedModel]:
    """All embedded models with their states; nothing is changed."""
    return [
        ListedModel(
            name,
            model.hub_id,
            model.licence,
            model.good_for,
            model.gguf_bytes,
            model.disk_bytes,
            *embedded_state(name),
        )
        for name, model in EMBEDDED_MODELS.items()
    ]


def print_models(listed: list[ListedModel], console: Console) -> None:
    """Each model with its use, licence, sizes, state and the command that makes it ready."""
    table = Table(show_edge=False, pad_edge=False, show_lines=True)
    table.add_column("model", no_wrap=True)
    table.add_column("what it is, how it stands", overflow="fold")
    for row in listed:
        download, on_disk = (
            f"{size / 1e9:.1f} GB" for size in (row.download_bytes, row.disk_bytes)
        )
        lines = [
            row.good_for,
            f"{row.licence}; download {download}, disk {on_disk}",
            row.state,
            *([f"→ {row.command}"] if row.command else []),
        ]
        table.add_row(f"embedded:{row.name}", shown("\n".join(lines)))
    console.print(table)
