"""The interface of a game: pure rules on frozen states, and a game that is played by them.

``Rules`` holds what a scenario is: a start drawn from a seed, legal actions, what an action
leads to, the rubric, and three players who act out its marks. ``Game`` adds the little that
changes: ``reset`` and ``step``. An action that is not legal, or a reply that names none, is
replaced by waiting one turn.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

from pydantic import BeforeValidator

from ..errors import InputError
from .actions import WAIT, Action, parse_action, say
from .messages import Judge
from .variants import cycle, shuffled


def _whole(value: object) -> object:
    if type(value) is not int:  # JSON's true equals 1, and a Literal would take it.
        raise ValueError("expected 0, 1 or 2")
    return value


Score = Annotated[Literal[0, 1, 2], BeforeValidator(_whole)]
Fault = Literal["", "illegal", "unparsable"]
Style = Literal["task", "delayed", "empathic"]
"""The rubric's marks acted out: never turning aside (score 0), helping when it costs nothing any
more (1), answering the plea (2)."""


@dataclass(frozen=True)
class Observation:
    """What a player sees before a decision.

    ``history`` (rules and all that happened) only ever grows: that of one turn is a prefix of
    the next one's, and it ends in a newline, so that a language model can keep its cache.
    ``prompt`` is ``history`` plus the block of current state and choices. ``plea_heard`` says
    whether the other's plea stands in the history. ``facts`` are the state's figures, for
    scripted policies and as covariates. ``turn`` counts decisions made so far.
    """

    game_id: str
    seed: int
    turn: int
    history: str
    prompt: str
    legal_actions: tuple[Action, ...]
    plea_heard: bool
    done: bool
    facts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    def first_legal(self, *action_ids: str) -> str:
        """The first of the ids that can be done now."""
        legal = {action.id for action in self.legal_actions}
        return next(action_id for action_id in action_ids if action_id in legal)


@dataclass(frozen=True)
class Step:
    """One decision: the id, text and message of the action that was played.

    Where ``fault`` is set, that is the wait that replaced the ``reply``.
    """

    turn: int
    action: str
    text: str
    message: str
    plea_heard: bool
    fault: Fault
    reply: str


@dataclass(frozen=True)
class Trajectory:
    """The decisions of one episode: with the seed, enough to replay it and to score it."""

    game_id: str
    seed: int
    steps: tuple[Step, ...]

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(Action(step.action, step.text, step.message) for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class GameState:
    """What the state of every game has.

    ``kind`` and ``neutral`` are the sentences that a player may say, in the order of the turns;
    ``turn`` counts decisions made so far; ``ended`` names what ended the game before its last turn.
    """

    stake: str
    past: str
    kind: tuple[str, ...]
    neutral: tuple[str, ...]
    n_turns: int
    plea_turn: int
    turn: int = 0
    ended: str = ""

    @property
    def is_over(self) -> bool:
        return bool(self.ended) or self.turn >= self.n_turns

    @property
    def turns_left(self) -> int:
        return self.n_turns - self.turn

    @property
    def since_plea(self) -> int:
        """Turns since the plea; negative before it."""
        return self.turn - self.plea_turn

    @property
    def plea_heard(self) -> bool:
        return self.since_plea >= 0

    def speech(self, kind_id: str = "say_support") -> tuple[Action, ...]:
        """What can be said: this turn's kind sentence, once the plea is heard, and small talk,
        which no rubric counts."""
        small_talk = say(cycle(self.neutral, self.turn), "say_neutral")
        if not self.plea_heard:
            return (small_talk,)
        return say(cycle(self.kind, self.turn), kind_id), small_talk


S = TypeVar("S", bound=GameState)


class Rules(ABC, Generic[S]):
    """One scenario as pure functions of a frozen state ``S``.

    ``helping`` has the listed actions that can earn a score above 0 once the plea is heard.
    """

    id: ClassVar[str]
    helping: ClassVar[frozenset[str]]

    @abstractmethod
    def start(self, rng: random.Random) -> S:
        """The first state; every variant (names, layout, timing, …) is drawn here."""

    @abstractmethod
    def opening(self, state: S) -> str:
        """The rules as the player reads them."""

    @abstractmethod
    def situation(self, state: S) -> str:
        """The current state in a few words: turn, resources, positions."""

    @abstractmethod
    def actions(self, state: S) -> tuple[Action, ...]:
        """What can be done now, waiting included."""

    @abstractmethod
    def advance(self, state: S, action: Action) -> tuple[S, tuple[str, ...]]:
        """The next state, and lines on what others did and said meanwhile."""

    @abstractmethod
    def facts(self, state: S) -> dict[str, int]:
        """Figures of the state for scripted policies and analyses."""

    @abstractmethod
    def grade(self, state: S, judge: Judge | None) -> Score:
        """The rubric's score of everything done up to this state."""

    @abstractmethod
    def scripted(self, style: Style, seen: Observation) -> str:
        """The id of what a scripted player of that style does on what it has seen."""


class Game(Generic[S]):
    """A game in play: ``reset(seed)``, then ``step`` until ``observation.done``."""

    def __init__(self, rules: Rules[S]) -> None:
        self.rules = rules
        self._state: S | None = None
        self._history = ""
        self._trajectory = Trajectory(rules.id, 0, ())

    @property
    def id(self) -> str:
        return self.rules.id

    @property
    def trajectory(self) -> Trajectory:
        """What was done since ``reset``."""
        return self._trajectory

    @property
    def legal_actions(self) -> tuple[Action, ...]:
        """In an order shuffled by seed and turn, so that no action owns a place in the list."""
        state = self._current()
        rng = random.Random(f"{self.id}/{self._trajectory.seed}/{state.turn}")
        return () if state.is_over else shuffled(rng, self.rules.actions(state))

    def reset(self, seed: int) -> Observation:
        """Starts the variant that ``seed`` draws."""
        self._state = self._start(seed)
        self._history = self.rules.opening(self._state) + "\n"
        self._trajectory = Trajectory(self.rules.id, seed, ())
        return self._observe()

    def step(self, action: Action | str) -> Observation:
        """Plays an action, or a reply in words, which is parsed by ``parse_action``."""
        state, played = self._current(), self._trajectory
        if state.is_over:
            raise InputError(f"{self.id}: the game is over; call reset(seed) to play again")
        legal = self.legal_actions
        named = parse_action(action, legal) if isinstance(action, str) else action
        possible = None if named is None else _as_legal(named, legal)
        fault: Fault = "" if possible else "unparsable" if named is None else "illegal"
        reply, done = action if isinstance(action, str) else "", possible or WAIT
        step = Step(
            len(played.steps), done.id, done.text, done.message, state.plea_heard, fault, reply
        )
        self._state, lines = self.rules.advance(state, done)
        self._history += _record(step, lines)
        self._trajectory = Trajectory(played.game_id, played.seed, (*played.steps, step))
        return self._observe()

    def score(self, trajectory: Trajectory, judge: Judge | None = None) -> Score:
        """The rubric's score, from a replay of the actions and nothing else.

        ``judge`` replaces the word rules that decide what a message means. Raises InputError
        for a trajectory of another game, or one that these rules do not allow.
        """
        if trajectory.game_id != self.id:
            raise InputError(f"expected a trajectory of {self.id!r}, got {trajectory.game_id!r}")
        state = self._start(trajectory.seed)
        for turn, action in enumerate(trajectory.actions):
            over = state.is_over
            if over or _as_legal(action, self.rules.actions(state)) is None:
                why = "comes after the end" if over else "is not legal there"
                raise InputError(
                    f"{self.id}, seed {trajectory.seed}: action {action.id!r} "
                    f"at turn {turn} {why}; was it played by another version?"
                )
            state, _ = self.rules.advance(state, action)
        return self.rules.grade(state, judge)

    def _start(self, seed: int) -> S:
        return self.rules.start(random.Random(f"{self.id}/{seed}"))

    def _current(self) -> S:
        if self._state is None:
            raise InputError(f"{self.id}: call reset(seed) before playing")
        return self._state

    def _observe(self) -> Observation:
        state, rules = self._current(), self.rules
        legal = self.legal_actions
        block = "The game is over."
        if legal:
            choices = "".join(f"{action.text}\n" for action in legal)
            block = f"Now: {rules.situation(state)}\nYou can:\n{choices}Your action:"
        return Observation(
            game_id=self.id,
            seed=self._trajectory.seed,
            turn=state.turn,
            history=self._history,
            prompt=self._history + block,
            legal_actions=legal,
            plea_heard=state.plea_heard,
            done=state.is_over,
            facts=MappingProxyType(rules.facts(state)),
        )


def _as_legal(action: Action, legal: tuple[Action, ...]) -> Action | None:
    """The action where it may be played: one of the listed, or words of the player's own."""
    if action in legal:
        return action
    may_speak = any(candidate.message for candidate in legal)
    if action.id == "say" and may_speak and say(action.message).message:
        return say(action.message)
    return None


def _record(step: Step, lines: tuple[str, ...]) -> str:
    did = f"You {step.text}" + ("" if step.message else ".")
    if step.fault:
        did = f"Your reply named no possible action. {did}"
    return "".join(f"{line}\n" for line in (did, *lines))
