"""Rollouts: a language model plays episodes side by side, one decision of each at a time.

The history of a game is read once: its keys and values are kept from turn to turn, the block of
current state and choices is read after them, and all legal actions are scored from there as
candidate continuations.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.continuations import Scored, read_continuations
from ..engine.key_values import KeyValues, Reading, read, read_last
from ..engine.pooling import Hook
from ..engine.tokens import encode_pieces, plain_ids
from ..errors import InputError
from ..models import model_card
from ..types import HookedModel, Site
from .actions import Action
from .episodes import AnyGame, Episode, new_game
from .game import Observation
from .play import Choice, Decision

CUE = "Your action:"
MAX_REPLY = 30
"""Tokens of a generated reply; it ends earlier at a line break."""


def prompt_tokens(
    model: HookedModel, observation: Observation, preamble: str = ""
) -> tuple[tuple[int, ...], int]:
    """Token ids of what a player reads before a decision, and how many of them to keep of it.

    A plain text is tokenised line by line, so that the tokens of a history never change as it
    grows, and these are kept. A chat prompt is tokenised as a whole: all of it is kept, until the
    next one shows how much they share.
    """
    opening = f"{preamble.strip()}\n\n" if preamble.strip() else ""
    lines = (opening + observation.history).splitlines(keepends=True)
    block = observation.prompt[len(observation.history) :]
    ids = encode_pieces(model, [*lines, block])
    if model_card(model).chat:
        return ids, len(ids)
    return ids, len(ids) - len(plain_ids(model, block))


def phrase_tokens(model: HookedModel, action: Action) -> tuple[int, ...]:
    """Token ids of an action as the answer to a prompt."""
    return plain_ids(model, action.text if model_card(model).chat else f" {action.text}")


@dataclass
class Rollout:
    """One episode in play, as far as its player has seen it; ``draws`` seeds its choices."""

    episode: int
    game: AnyGame
    seen: Observation
    preamble: str
    draws: int
    rng: random.Random = field(init=False)
    read: tuple[int, ...] = ()
    """Tokens whose keys and values are kept."""

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.draws}/{self.seen.game_id}/{self.seen.seed}")


class Rollouts:
    """Episodes in lockstep: one decision of every unfinished one at a time.

    The batch shrinks as episodes end, and the key-value cache with it.
    """

    def __init__(
        self,
        model: HookedModel,
        choice: Choice,
        layers: Sequence[int],
        preambles: Sequence[str],
        name: str,
    ) -> None:
        self.model, self.choice, self.layers, self.preambles = model, choice, layers, preambles
        self.name = name
        self.rows: list[Rollout] = []
        self.done: list[Rollout] = []
        self.decisions: list[Decision] = []
        self.residuals: list[Tensor] = []
        self.n_tokens = 0
        self._past: KeyValues | None = None
        self._bare: dict[tuple[int, ...], float] = {}

    def play(self, episodes: Sequence[tuple[str, int]], first: int, draws: int) -> None:
        """Plays episodes, numbered from ``first``, to their end."""
        self._past, self._bare = None, {}
        for i, (game_id, seed) in enumerate(episodes, start=first):
            game = new_game(game_id)
            self.rows.append(Rollout(i, game, game.reset(seed), self.preambles[i], draws))
        while self.rows:
            before = len(self.decisions)
            for row, act in zip(self.rows, self.decide(), strict=True):
                row.seen = row.game.step(act)
            for i, row in enumerate(self.rows, start=before):
                done = row.game.trajectory.steps[-1].action
                self.decisions[i] = replace(self.decisions[i], action=done)
            self._leave()

    def finished(self) -> list[Episode]:
        """The episodes in the order in which they were given."""
        return [
            Episode.of(row.game.trajectory, row.game.score(row.game.trajectory), self.name)
            for row in sorted(self.done, key=lambda row: row.episode)
        ]

    def _leave(self) -> None:
        """Lets finished episodes go, and their keys and values with them."""
        going = [i for i, row in enumerate(self.rows) if not row.seen.done]
        self.done += [row for row in self.rows if row.seen.done]
        if going and self._past is not None and len(going) < len(self.rows):
            self._past = self._past.keep([len(self.rows[i].read) for i in going], going)
        self.rows = [self.rows[i] for i in going]

    def decide(self) -> Sequence[Action | str]:
        """An action, or a reply in words, for every row; what was read of the block is dropped."""
        prompts = [prompt_tokens(self.model, row.seen, row.preamble) for row in self.rows]
        n_ctx = model_card(self.model).n_ctx
        if (longest := max(len(ids) for ids, _ in prompts) + MAX_REPLY) > n_ctx:
            raise InputError(
                f"a game has grown to {longest} tokens, the model was loaded for {n_ctx}; "
                "load it with a larger n_ctx"
            )
        if self._past is None:
            self._read_common([ids for ids, _ in prompts])
        else:
            self._past = self._still_true(self._past, [ids for ids, _ in prompts])
        new = [ids[len(row.read) :] for row, (ids, _) in zip(self.rows, prompts, strict=True)]
        self.n_tokens += sum(map(len, new))
        kept: dict[int, Tensor] = {}
        scores = [np.empty(0)] * len(self.rows)
        acts: Sequence[Action | str]
        with self.model.hooks(fwd_hooks=self._recorders([len(ids) - 1 for ids in new], kept)):
            if self.choice.how == "score":
                scores, past = self._scores(new)
                acts = [self._draw(row, s) for row, s in zip(self.rows, scores, strict=True)]
            else:
                reading = read_last(self.model, new, past=self._past)
                acts, past = self._reply(reading, [len(ids) for ids, _ in prompts]), reading.past
        if self.layers:
            self.residuals += torch.stack([kept[layer] for layer in self.layers], dim=1)
        for row, values, (ids, n_kept) in zip(self.rows, scores, prompts, strict=True):
            self.decisions.append(self._decision(row, values, len(ids)))
            row.read = ids[:n_kept]
        self._past = past.keep([len(row.read) for row in self.rows])
        return acts

    def _read_common(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Reads once what all rows begin with; games of one kind share much of their rules."""
        columns = enumerate(zip(*prompts, strict=False))
        length = next((i for i, column in columns if len(set(column)) > 1), 0)
        if len(prompts) > 1 and length > 1:
            seen = read_last(self.model, [prompts[0][:length]])
            self._past = seen.past.keep([length] * len(prompts), [0] * len(prompts))
            self.n_tokens += length
            for row in self.rows:
                row.read = prompts[0][:length]

    def _still_true(self, past: KeyValues, prompts: Sequence[tuple[int, ...]]) -> KeyValues:
        """What is kept, without tokens that the prompts no longer begin with."""
        for row, ids in zip(self.rows, prompts, strict=True):
            pairs = enumerate(zip(row.read, ids[:-1], strict=False))
            shared = min(len(row.read), len(ids) - 1)
            row.read = ids[: next((i for i, (old, new) in pairs if old != new), shared)]
        lengths = [len(row.read) for row in self.rows]
        return past if lengths == past.mask.sum(dim=1).tolist() else past.keep(lengths)

    def _recorders(self, last: Sequence[int], kept: dict[int, Tensor]) -> list[tuple[str, Hook]]:
        rows = torch.arange(len(last))

        def recorder(layer: int) -> Hook:
            def record(resid: Tensor, hook: object = None) -> None:
                if layer not in kept:
                    kept[layer] = resid[rows, list(last)].float().cpu()

            return record

        return [(Site(layer).hook_name, recorder(layer)) for layer in self.layers]

    def _scores(self, new: Sequence[tuple[int, ...]]) -> tuple[list[np.ndarray], KeyValues]:
        """Scores of every legal action of every row, in nats per token, and what was read."""
        phrases = [
            [phrase_tokens(self.model, a) for a in row.seen.legal_actions] for row in self.rows
        ]
        read_on = read_continuations(self.model, new, phrases, past=self._past)
        scores = self._mean_log_probs(read_on)
        if self.choice.calibrated:
            bare = self._bare_scores(sorted({phrase for row in phrases for phrase in row}))
            scores = [
                values - np.array([bare[phrase] for phrase in row])
                for values, row in zip(scores, phrases, strict=True)
            ]
        return scores, read_on.past

    def _mean_log_probs(self, seen: Scored) -> list[np.ndarray]:
        """Mean log-probability per token of each phrase."""
        self.n_tokens += seen.n_read
        return [np.array([phrase.mean().item() for phrase in row]) for row in seen.log_probs]

    def _bare_scores(self, phrases: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
        """Scores of phrases after the cue alone, each computed once."""
        unknown = [phrase for phrase in phrases if phrase not in self._bare]
        if unknown:
            seen = read_continuations(self.model, [encode_pieces(self.model, [CUE])], [unknown])
            (values,) = self._mean_log_probs(seen)
            self._bare |= dict(zip(unknown, values.tolist(), strict=True))
        return self._bare

    def _draw(self, row: Rollout, scores: Float[np.ndarray, "action"]) -> Action:
        weights = _probabilities(scores, self.choice.temperature)
        return row.rng.choices(row.seen.legal_actions, weights=weights.tolist())[0]

    def _reply(self, reading: Reading, n_prompt_tokens: Sequence[int]) -> list[str]:
        """A line of each row's own words."""
        stops = model_card(self.model).stop_ids
        replies: list[list[int]] = [[] for _ in self.rows]
        going = [True] * len(self.rows)
        logits, past = reading.logits, reading.past.keep(n_prompt_tokens)
        for _ in range(MAX_REPLY):
            # A row that has ended draws no more, so that it is the same in any batch.
            tokens = [
                self._sample(r, row) if goes else 0
                for r, row, goes in zip(self.rows, logits, going, strict=True)
            ]
            for i, token in enumerate(tokens):
                text = self.model.tokenizer.decode([*replies[i], token])
                going[i] = going[i] and token not in stops
                if going[i]:
                    replies[i].append(token)
                    going[i] = "\n" not in text.strip("\n ") and not text.rstrip(" ").endswith("\n")
            if not any(going):
                break
            column = torch.tensor(tokens)[:, None]
            here = torch.ones_like(column, dtype=torch.bool)
            reading = read(self.model, column, here, here, past=past)
            logits, past = reading.logits, reading.past
            self.n_tokens += sum(going)
        return [self.model.tokenizer.decode(r, skip_special_tokens=True) for r in replies]

    def _sample(self, row: Rollout, logits: Float[Tensor, "d_vocab"]) -> int:
        if self.choice.temperature == 0:
            return int(logits.argmax())
        probabilities = (logits / self.choice.temperature).softmax(-1).cumsum(-1)
        return int(torch.searchsorted(probabilities, row.rng.random() * float(probabilities[-1])))

    def _decision(
        self, row: Rollout, scores: Float[np.ndarray, "action"], n_prompt_tokens: int
    ) -> Decision:
        chances = _probabilities(scores, self.choice.temperature) if len(scores) else scores
        return Decision(
            episode=row.episode,
            game_id=row.seen.game_id,
            seed=row.seen.seed,
            turn=row.seen.turn,
            plea_heard=row.seen.plea_heard,
            legal=tuple(action.id for action in row.seen.legal_actions),
            scores=tuple(scores.tolist()),
            probabilities=tuple(chances.tolist()),
            action="",
            n_prompt_tokens=n_prompt_tokens,
        )


def _probabilities(
    scores: Float[np.ndarray, "action"], temperature: float
) -> Float[np.ndarray, "action"]:
    if temperature == 0:
        return (np.arange(len(scores)) == scores.argmax()).astype(np.float64)
    weights = np.exp((scores - scores.max()) / temperature)
    return np.asarray(weights / weights.sum())
