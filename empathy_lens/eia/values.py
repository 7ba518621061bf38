"""What passes between a game and its player: actions, observations, trajectories. All frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ..errors import InputError

__all__ = [
    "MAX_MESSAGE",
    "WAIT",
    "Action",
    "Fault",
    "Judge",
    "Observation",
    "Score",
    "Step",
    "Trajectory",
    "say",
]

Score = Literal[0, 1, 2]
Fault = Literal["", "illegal", "unparsable"]
Judge = Callable[[str, str], bool]
"""(message, question in plain English) → yes or no; replaces the word rules of ``messages``."""

MAX_MESSAGE = 200
"""Characters of a spoken message that are kept; it is also put on one line."""


@dataclass(frozen=True)
class Action:
    """Something a player can do.

    ``id`` is stable over seeds and is what analyses group by; ``text`` is the English phrase
    that the player reads and answers with; ``message`` is what is spoken, where it speaks.
    """

    id: str
    text: str
    message: str = ""


WAIT = Action("wait", "wait")


def say(message: str, action_id: str = "say") -> Action:
    """An action that speaks. The message is put on one line, so that it cannot forge history."""
    spoken = " ".join(message.replace('"', "'").split())[:MAX_MESSAGE].strip()
    return Action(action_id, f'say "{spoken}"', spoken)


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


@dataclass(frozen=True)
class Step:
    """One decision. Where ``fault`` is set, ``action`` is the wait that replaced the reply."""

    turn: int
    action: Action
    plea_heard: bool
    fault: Fault = ""
    reply: str = ""


@dataclass(frozen=True)
class Trajectory:
    """The decisions of one episode: with the seed, enough to replay it and to score it."""

    game_id: str
    seed: int
    steps: tuple[Step, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(step.action for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        steps = [
            {
                "turn": step.turn,
                "action": step.action.id,
                "text": step.action.text,
                "message": step.action.message,
                "plea_heard": step.plea_heard,
                "fault": step.fault,
                "reply": step.reply,
            }
            for step in self.steps
        ]
        return {"game_id": self.game_id, "seed": self.seed, "steps": steps}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trajectory:
        """The inverse of ``to_dict``. Raises InputError where a field is missing."""
        try:
            steps = tuple(
                Step(
                    turn=step["turn"],
                    action=Action(step["action"], step["text"], step["message"]),
                    plea_heard=step["plea_heard"],
                    fault=step["fault"],
                    reply=step["reply"],
                )
                for step in data["steps"]
            )
            return cls(game_id=data["game_id"], seed=data["seed"], steps=steps)
        except KeyError as error:
            raise InputError(f"trajectory: field {error} is missing") from None
