"""`swarmsim export`: write the policy of a trained swarm into a file that works without the run."""

import sys
from argparse import Namespace
from pathlib import Path

from swarmsim.commands.command import RUN, argument, command
from swarmsim.results.checkpoint import CheckpointDamaged
from swarmsim.results.snapshot import snapshot

FILE = "policy.pt"
USE = """from swarmsim import load_policy
policy = load_policy({path!r})
action, _ = policy.predict(observation, deterministic=True)"""

RUN_ARGUMENT = argument("run", metavar="DIR", help="run directory, or a checkpoint in it")
BEST_ARGUMENT = argument(
    "--best",
    action="store_true",
    help="the swarm of the run's best evaluation (default: that of the newest checkpoint)",
)
MEMBER_ARGUMENT = argument("--member", metavar="NAME", help="one model alone, such as model3 (default: all)")


@command(
    "export",
    "Write the policy of a trained swarm into one file, for use in Python.",
    RUN_ARGUMENT,
    BEST_ARGUMENT,
    MEMBER_ARGUMENT,
    argument("--out", metavar="FILE", help=f"default: {FILE} in the run directory"),
    example=f"swarmsim export {RUN} --out cartpole.pt",
)
def export(given: Namespace) -> None:
    """Write a policy, and print how to use it."""
    found = snapshot(given.run, warn_of_damage, best=given.best)
    from swarmsim.policy import policy_of

    policy = policy_of(found)
    policy = policy if given.member is None else policy.member(given.member)
    path = found.run / FILE if given.out is None else Path(given.out)
    policy.save(path)
    members = f"{len(policy.names)} models" if given.member is None else given.member
    print(f"{path}: {members} of {found.checkpoint.name}; in Python:\n\n{USE.format(path=str(path))}")


def warn_of_damage(damaged: CheckpointDamaged) -> None:
    """Print that a damaged checkpoint is skipped."""
    print(f"swarmsim: {damaged}; the one before it is used", file=sys.stderr)
