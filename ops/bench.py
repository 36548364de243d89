"""The one door for every figure of the project.

    .venv/bin/python ops/bench.py NAME [--data DIR] [--split S] [--limit N] [--seed K] [--model DIR]

Each bench is a module `ops/benchmarks/NAME.py` with `run(args) -> dict` of figures. The last line
printed is one JSON object: bench, split, n, seconds, figures. A bench whose data is missing says
so, prints `"skipped"`, and ends with 0.
"""

import argparse
import importlib
import json
import os
import pkgutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the platform; see `praxis`


def names() -> list[str]:
    return sorted(
        module.name
        for module in pkgutil.iter_modules([str(ROOT / "ops" / "benchmarks")])
        if not module.name.startswith("_")
    )


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=names())
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--model",
        type=Path,
        help="a folder to measure: Hugging Face (balance, perplexity) or shards (engine, parity)",
    )
    parser.add_argument("--type", help="perplexity, dst: the weights in this type, as Q4_1")
    parser.add_argument("--schemas", help="dst: another schema file of the pack")
    parser.add_argument("--answers", type=Path, help="where the engine's answers are kept")
    parser.add_argument(
        "--model-readings",
        action="store_true",
        help="service_dialogues: the shipped model reads beside the rules; crosswoz: instead of them",
    )
    parser.add_argument(
        "--part", choices=["fitted", "held-out"], default="held-out", help="dst, crosswoz"
    )
    parser.add_argument("--pages", type=int, help="ingest: how many pages of PDF")
    parser.add_argument("--kills", type=int, default=3, help="ingest: how often to kill the worker")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]
    args = parse(argv)
    bench = importlib.import_module(f"ops.benchmarks.{args.name}")
    result: dict[str, object] = {"bench": args.name, "split": args.split}
    started = time.monotonic()
    try:
        figures = bench.run(args)
    except FileNotFoundError as missing:
        if args.data.exists() and missing.filename and str(args.data) not in str(missing.filename):
            raise
        print(f"skipped: there is no {missing.filename}; name the data with --data DIR")
        print(json.dumps({**result, "skipped": True, "figures": {}}))
        return 0
    result["n"] = figures.pop("n", args.limit)
    result["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps({**result, "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
