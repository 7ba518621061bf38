"""Sound files of tensors, each with its reader: directions, activations, plays, stores, models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from fuzzed_formats import JSON, RESULTS, TENSORS, Reader


def tensor_readers(folder: Path) -> list[Reader]:
    """Every reader of tensors with its sound file, made in the folder."""
    return [*_tensors(folder), *_stores(folder), *_models(folder)]


def _tensors(folder: Path) -> list[Reader]:
    from empathy_lens.directions.store import (
        load_activations,
        load_directions,
        save_activations,
        save_directions,
    )
    from empathy_lens.games.episodes import GAMES, new_game, play_episode, scripted_policy
    from empathy_lens.games.play import Decision, Play, load_play, save_play
    from empathy_lens.types import Activations, Site

    directions = load_directions(RESULTS / "directions.safetensors")
    provenance = next(iter(directions.values())).provenance
    paths = [
        folder / "tensors" / f"{name}.safetensors" for name in ("directions", "activations", "play")
    ]
    save_directions(paths[0], dict(list(directions.items())[:3]))
    save_activations(
        paths[1],
        Activations(
            values=torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(0)),
            sites=(Site(1),),
            labels=torch.tensor([True, False, True, False]),
            pair_ids=("a", "a", "b", "b"),
            scenario_ids=("s",) * 4,
            groups=("s/a", "s/a", "s/b", "s/b"),
            n_tokens=(3, 4, 5, 6),
            pooling="mean",
            provenance=provenance,
        ),
    )
    game = next(iter(GAMES))
    decision = Decision(
        episode=0,
        game_id=game,
        seed=0,
        turn=0,
        plea_heard=True,
        legal=("a", "b"),
        scores=(-1.0, -2.0),
        probabilities=(0.7, 0.3),
        action="a",
        n_prompt_tokens=10,
    )
    save_play(
        paths[2],
        Play(
            episodes=(play_episode(new_game(game), scripted_policy("task", game), 0),),
            preambles=("",),
            decisions=(decision,),
            layers=(1,),
            provenance=provenance,
            n_tokens=100,
            resid_post=torch.zeros(1, 1, 8),
        ),
    )
    committed = RESULTS / "directions.safetensors"
    return [
        Reader("directions", paths[0], load_directions, TENSORS, whole=True),
        Reader("directions without checksum", committed, load_directions, TENSORS),
        Reader("activations", paths[1], load_activations, TENSORS, whole=True),
        Reader("play", paths[2], load_play, TENSORS, whole=True),
    ]


def _stores(folder: Path) -> list[Reader]:
    from empathy_lens.activations.shards import (
        CachedTexts,
        _cached_rows,
        read_shard,
        write_shard,
    )
    from empathy_lens.activations.store import (
        INDEX,
        MadeWith,
        Shard,
        StoreIndex,
        StreamNote,
        open_store,
        shard_file,
    )
    from empathy_lens.directions.store import load_directions
    from empathy_lens.results import write_result
    from empathy_lens.types import Site

    provenance = next(iter(load_directions(RESULTS / "directions.safetensors").values())).provenance
    draw = torch.Generator().manual_seed(0)
    cache, store = folder / "cache", folder / "store"
    cached = cache / "some.safetensors"
    values = torch.randn(3, 2, 8, generator=draw)
    write_shard(cached, {"values": values}, CachedTexts((0, 1), ("k1", "k2", "k3")))
    note = StreamNote((Site(0), Site(1)), "mean")
    for number in range(2):
        tensors = {
            "values": torch.randn(3, 2, 8, generator=draw),
            "n_tokens": torch.tensor([3, 4, 5]),
        }
        write_shard(store / shard_file(number), tensors, note)
    shards = tuple(Shard(shard_file(number), 3, f"hash{number}") for number in range(2))
    made_with = MadeWith(provenance, (0, 1), "mean", 64, 3)
    write_result(store / INDEX, StoreIndex(1, made_with, shards, True))

    def read_cache(path: Path) -> Any:
        rows = _cached_rows(path.parent, (0, 1))
        return {k: read_shard(r.shard, "values")["values"][r.row] for k, r in rows.items()}

    def read_store(path: Path) -> Any:
        opened = open_store(path.parent)
        return torch.cat(list(opened)), opened.n_tokens(), len(opened)

    return [
        Reader("cache", cached, read_cache, TENSORS, whole=True),
        Reader("store: index.json", store / INDEX, read_store, JSON, whole=True, fitting="store"),
        Reader("store: shard", store / shard_file(1), read_store, TENSORS, whole=True),
    ]


def _models(folder: Path) -> list[Reader]:
    from empathy_lens.models import load_model, model_card

    kept = _tiny_model(folder / "model")

    def load(path: Path) -> Any:
        model = load_model(path.parent, device="cpu", dtype="float32")
        model(torch.tensor([[1, 3, 4]]))
        return model_card(model).provenance.weights_hash

    def reader(name: str) -> Reader:
        tensors = name.endswith(".safetensors")
        return Reader(
            f"model: {name}",
            kept / name,
            load,
            TENSORS if tensors else JSON,
            weight=0.1,
            fitting="model",
        )

    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
    return [reader(name) for name in (*names, "model.safetensors")]


def _tiny_model(folder: Path) -> Path:
    """A Llama of one layer with random weights, and a tokenizer of the digits."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = {token: i for i, token in enumerate(("<pad>", "<bos>", "<eos>", *"0123456789"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder
