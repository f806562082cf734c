"""`swarmsim export`: the policy of a trained swarm as a file that needs no run."""

import sys
from collections.abc import Sequence
from pathlib import Path

from swarmsim.flags import Parser
from swarmsim.results.checkpoint import CheckpointDamaged
from swarmsim.results.snapshot import snapshot

DONE = 0
FILE = "policy.pt"

USE = """from swarmsim import load_policy
policy = load_policy({path!r})
action, _ = policy.predict(observation, deterministic=True)"""


def make_parser() -> Parser:
    """Return the parser of `swarmsim export`."""
    parser = Parser(
        prog="swarmsim export",
        description="Write the policy of a trained swarm into one file, to be used from Python.",
        epilog="Example: swarmsim export runs/CartPole-v1-20261124-120000 --out cartpole.pt",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="DIR", help="a run directory, or one checkpoint in it")
    parser.add_argument("--member", metavar="NAME", help="one model alone, such as model3 (default: the swarm)")
    parser.add_argument("--out", metavar="FILE", help=f"the file (default: {FILE} in the run directory)")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Write a policy, say how to use it, and return the exit status.

    Raises:
        SettingsError: a flag or the run cannot be used, or the file cannot be written.
    """
    given = make_parser().parsed(arguments)
    found = snapshot(given.run, tell_damage)
    from swarmsim.policy import policy_of

    policy = policy_of(found)
    policy = policy if given.member is None else policy.member(given.member)
    path = found.run / FILE if given.out is None else Path(given.out)
    policy.save(path)
    who = f"{len(policy.names)} models" if given.member is None else given.member
    print(f"{path}: {who} of {found.checkpoint.name}; in Python:\n\n{USE.format(path=str(path))}")
    return DONE


def tell_damage(damaged: CheckpointDamaged) -> None:
    """Say that a checkpoint cannot be used, and what is used in its place."""
    print(f"swarmsim: {damaged}; the one before it is used", file=sys.stderr)
