"""Do projections before an act predict the act, when the model itself plays the five games?

    python experiments/predict_behaviour.py [--episodes 10] [--resume]
    python experiments/predict_behaviour.py --steer [--steer-episodes 5] [--alphas=-4,-2,0,2,4]
        [--n-random 20] [--random-episodes 1] [--resume]

Reads the directions of a finished run (run_full_pipeline.py) and plays every game under kind,
neutral and ruthless instructions. Writes ``on_policy.json`` into the run's folder (and, with
``--steer``, ``steered_play.json``), a page of per-token projections for some episodes in
``transcripts/``, and the report again. What has been played is kept in ``plays/`` as it is done;
--resume plays only what is missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from empathy_lens.cli.shared import (
    FROM_LAST_STAGE,
    BackendOption,
    DeviceOption,
    DtypeOption,
    TrustOption,
    clear_errors,
    parse_numbers,
    run_folder_option,
    run_script,
)

ROOT = Path(__file__).resolve().parents[1]


def main(
    *,
    model: Annotated[str, typer.Option(help="embedded, embedded:smollm2, a hub id, a folder")] = (
        "embedded"
    ),
    run: Annotated[
        Path, run_folder_option("folder of a run, with its directions", ROOT, panel=None)
    ],
    episodes: Annotated[
        int, typer.Option(min=1, help="episodes of each game under each kind of instruction")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    temperature: Annotated[float, typer.Option(min=0)] = 1.0,
    calibrated: Annotated[bool, typer.Option("--calibrated")] = False,
    steer: Annotated[bool, typer.Option("--steer", help="play under steering too")] = False,
    steer_episodes: Annotated[int, typer.Option(min=1, help="of each game, steered")] = 5,
    alphas: Annotated[str, typer.Option(help="strengths, 0 among them")] = "-4,-2,0,2,4",
    n_random: Annotated[int, typer.Option(min=0, help="random directions beside it")] = 20,
    random_episodes: Annotated[int, typer.Option(min=1, help="of each game, for each of them")] = 1,
    transcripts: Annotated[int, typer.Option(min=0, help="episodes to show token by token")] = 3,
    resume: Annotated[bool, typer.Option("--resume", help="skip what has been played")] = False,
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    trust_remote_code: TrustOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result")] = False,
) -> None:
    """Play, predict, and write the results into the run's folder."""
    with clear_errors(FROM_LAST_STAGE):
        from empathy_lens.cli.view import saved_directions
        from empathy_lens.console import progress_bars, say
        from empathy_lens.directions.store import load_directions, run_of
        from empathy_lens.errors import InputError
        from empathy_lens.files import read_json, sha256_file, write_json
        from empathy_lens.games import (
            GAMES,
            Choice,
            assignments,
            conditions,
            on_policy_result,
            steered_play_result,
        )
        from empathy_lens.models import load_model
        from empathy_lens.results import to_plain
        from empathy_lens.study.own_play import play_under_instructions, play_under_steering
        from empathy_lens.study.runs import Run
        from empathy_lens.views import token_view, write_report

        if not (run / "directions.safetensors").is_file():
            raise InputError(
                f"{run}: expected a run with directions.safetensors; make one with: "
                f"python experiments/run_full_pipeline.py --model {model}"
            )
        choice = Choice("score", temperature, calibrated)
        steering = conditions(parse_numbers("--alphas", alphas), n_random)
        plan = assignments(episodes, seed)
        asked = [model, episodes, seed, temperature, calibrated, steer, steer_episodes, alphas]
        with progress_bars() as console, Run(run, resume, console.announce) as stages:
            file = run / "directions.safetensors"
            directions = load_directions(file)
            # Play belongs to the run whose directions it reads, where their file names it.
            if (identity := run_of(file)) is not None:
                stages.join(identity)
            else:
                stages.begin([*asked, n_random, random_episodes, sha256_file(file)])
            console.announce(f"loading {model}")
            loaded = load_model(
                model,
                backend=backend,
                device=device,
                dtype=dtype,
                trust_remote_code=trust_remote_code,
            )
            play = play_under_instructions(
                stages,
                loaded,
                plan,
                choice,
                sorted(directions),
                seed=seed,
                progress=console.progress,
            )
            console.announce("intervals")
            result = on_policy_result(play, plan, directions, choice, seed=seed)
            stages.write("on_policy.json", result)
            correlation = run / "eia_correlation.json"
            beside = read_json(correlation) if correlation.is_file() else {}
            if not isinstance(beside, dict):
                raise InputError(f"{correlation}: expected a JSON object, got another value")
            write_json(correlation, beside | {"on_policy": to_plain(result)})
            for game_id in list(GAMES)[:transcripts]:
                episode, text = play.transcript(game_id)
                view = token_view(loaded, text, directions)
                view.save(run / "transcripts" / f"{game_id}-{episode.seed}.html")
            out: dict[str, object] = {"on_policy": to_plain(result)}
            if steer:
                _, layer = saved_directions(run, None)
                steered = [(g, seed + i) for i in range(steer_episodes) for g in GAMES]
                controls = steered[: random_episodes * len(GAMES)]
                outcomes = play_under_steering(
                    stages,
                    loaded,
                    directions[layer],
                    {c: controls if c.kind == "random" else steered for c in steering},
                    choice,
                    seed=seed,
                    progress=console.progress,
                )
                moved = steered_play_result(
                    directions[layer], steered, controls, outcomes, seed=seed
                )
                stages.write("steered_play.json", moved)
                out["steered_play"] = to_plain(moved)
            console.announce("report")
            write_report(run)
        if as_json:
            print(json.dumps(out, indent=2))
        else:
            say(f"{result.finding} Results: {run / 'on_policy.json'}")


if __name__ == "__main__":
    run_script(main)
