"""A process of its own that runs the toy: ``python run_toy.py OUT OPTIONS_JSON``. Prints a line per shard."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main() -> int:
    import toy_catalog

    from sapiens_bench.engine.events import ShardDone
    from sapiens_bench.errors import SapiensBenchError

    given = json.loads(sys.argv[2])

    def watch(event: object) -> None:
        if isinstance(event, ShardDone):
            print(f"shard {event.number}", flush=True)  # noqa: T201

    try:
        toy_catalog.go(Path(sys.argv[1]), given.pop("data", {}), on_event=watch, **given)
    except SapiensBenchError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
