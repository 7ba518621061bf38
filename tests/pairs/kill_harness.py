"""Runs a generation in forked children and kills them with SIGKILL at random moments.

    python kill_harness.py CONFIG OUT N_PAIRS N_KILLS SEED

Everything is imported before the fork, so that kills fall into the run and not into imports.
Prints how many children were killed while they ran; the last one runs to the end.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import anthropic  # noqa: F401
import openai  # noqa: F401

from empathy_lens.pairs import GenerateOptions, generate
from empathy_lens.vendors import load_config

SCENARIOS = Path(__file__).parents[2] / "data" / "eia_scenarios" / "scenarios.json"


def main():
    config, out, n_pairs, n_kills, seed = sys.argv[1:]
    options = GenerateOptions(
        config=load_config(Path(config)), scenarios=SCENARIOS, out=Path(out), n_pairs=int(n_pairs)
    )
    draw, killed = random.Random(int(seed)), 0
    while killed < int(n_kills):
        child = start(options)
        time.sleep(draw.uniform(0.0, 0.7))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(f"the run was over after {killed} kills: give it more pairs")
        killed += 1
    _, status = os.waitpid(start(options), 0)
    print(killed)
    sys.exit(os.waitstatus_to_exitcode(status))


def start(options):
    child = os.fork()
    if child == 0:
        try:
            generate(options)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return child


if __name__ == "__main__":
    main()
