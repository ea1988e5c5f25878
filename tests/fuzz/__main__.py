"""`python -m tests.fuzz [--cases N] [--seed S] [TARGET …]`: runs each target and prints what came out."""

import argparse
import sys

from tests.fuzz import engine
from tests.fuzz.targets import TARGETS

CASES = 2_000_000


def main() -> int:
    """Gives the exit status: 1 when an input brought out something undocumented."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all")
    parser.add_argument("--cases", type=int, default=CASES, help=f"over all targets (default {CASES:,})")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"no target {', '.join(sorted(unknown))}; allowed: {', '.join(TARGETS)}")
    targets = [TARGETS[name] for name in options.targets or TARGETS]
    total = 0
    for target in targets:
        try:
            outcome = engine.run(target, options.seed, -(-options.cases // len(targets)))
        except engine.Finding as exc:
            print(f"! {exc}")
            return 1
        total += outcome.cases
        refused = ", ".join(f"{name} {count:,}" for name, count in outcome.refused.most_common()) or "none"
        print(
            f"{outcome.target:24} {outcome.cases:9,} cases {outcome.seconds:7.1f} s  "
            f"+{outcome.grown_kb / 1024:.1f} MB  errors: {refused}",
            flush=True,
        )
    print(f"{total:,} cases, nothing undocumented came out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
