"""The interface of a game: pure rules on frozen states, and one player's table to play at.

``Rules`` holds what a scenario is: a start drawn from a seed, legal actions, what an action
leads to, and the rubric. ``Game`` adds the little that changes: ``reset`` and ``step``.
An action that is not legal, or a reply that names none, is replaced by waiting one turn.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

from ..errors import InputError
from .parsing import parse_action
from .values import WAIT, Action, Fault, Judge, Observation, Score, Step, Trajectory, say

__all__ = ["Game", "Rules"]

S = TypeVar("S")


class Rules(ABC, Generic[S]):
    """One scenario as pure functions of a frozen state ``S``."""

    id: ClassVar[str]

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
    def turn(self, state: S) -> int:
        """Decisions made so far."""

    @abstractmethod
    def is_over(self, state: S) -> bool: ...

    @abstractmethod
    def plea_heard(self, state: S) -> bool: ...

    @abstractmethod
    def facts(self, state: S) -> dict[str, int]:
        """Figures of the state for scripted policies and analyses."""

    @abstractmethod
    def grade(self, state: S, judge: Judge | None) -> Score:
        """The rubric's score of everything done up to this state."""


class Game(Generic[S]):
    """A game in play: ``reset(seed)``, then ``step`` until ``observation.done``."""

    def __init__(self, rules: Rules[S]) -> None:
        self.rules = rules
        self._state: S | None = None
        self._history = ""
        self._trajectory = Trajectory(rules.id, 0)

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
        return self._legal(self._current(), self._trajectory.seed)

    def reset(self, seed: int) -> Observation:
        """Starts the variant that ``seed`` draws."""
        self._state = self._start(seed)
        self._history = self.rules.opening(self._state) + "\n"
        self._trajectory = Trajectory(self.rules.id, seed)
        return self._observe()

    def step(self, action: Action | str) -> Observation:
        """Plays an action, or a reply in words, which is parsed by ``parse_action``."""
        state, played = self._current(), self._trajectory
        if self.rules.is_over(state):
            raise InputError(f"{self.id}: the game is over; call reset(seed) to play again")
        legal = self.legal_actions
        named = parse_action(action, legal) if isinstance(action, str) else action
        done = None if named is None else _as_legal(named, legal)
        fault: Fault = "" if done else "unparsable" if named is None else "illegal"
        step = Step(
            turn=len(played.steps),
            action=done or WAIT,
            plea_heard=self.rules.plea_heard(state),
            fault=fault,
            reply=action if isinstance(action, str) else "",
        )
        self._state, lines = self.rules.advance(state, step.action)
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
            over = self.rules.is_over(state)
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

    def _legal(self, state: S, seed: int) -> tuple[Action, ...]:
        if self.rules.is_over(state):
            return ()
        actions = self.rules.actions(state)
        rng = random.Random(f"{self.id}/{seed}/{self.rules.turn(state)}")
        return tuple(rng.sample(actions, len(actions)))

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
            turn=rules.turn(state),
            history=self._history,
            prompt=self._history + block,
            legal_actions=legal,
            plea_heard=rules.plea_heard(state),
            done=rules.is_over(state),
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
    did = f"You {step.action.text}" + ("" if step.action.message else ".")
    if step.fault:
        did = f"Your reply named no possible action. {did}"
    return "".join(f"{line}\n" for line in (did, *lines))
