"""Real nodes on this machine, load and faults drawn from a seed, and a judge: `scripts/chaos`, see docs/reliability.md."""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "chaos")]


def arguments(given):
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="decides faults and load (the time)")
    parser.add_argument("--nodes", type=int, choices=[3, 4, 5], default=3)
    parser.add_argument("--faults", type=int, default=20, help="as many at least (20)")
    parser.add_argument("--rows", type=int, default=100_000, help="acknowledged rows, as many at least (100,000)")
    parser.add_argument("--minutes-max", type=float, default=10, help="ends then, with whatever was done (10)")
    parser.add_argument("--hold-s-max", type=float, default=10, help="the longest that a fault lasts (10)")
    parser.add_argument("--writers", type=int, default=3, help="who write rows over HTTP (3)")
    parser.add_argument("--mqtt", type=int, default=1, help="who publish rows over MQTT (1)")
    parser.add_argument("--registers", type=int, default=2, help="who overwrite a few keys (2)")
    parser.add_argument("--batch-rows", type=int, default=500)
    parser.add_argument("--rows-per-s-max", type=int, default=20_000, help="leaves room for others on the machine (20,000)")
    parser.add_argument("--tables", type=int, default=3)
    parser.add_argument("--buckets", type=int, default=4, help="tablets of each table and range (4)")
    parser.add_argument("--links", choices=["proxies", "plain"], default="proxies", help="plain: no fault of the network")
    parser.add_argument("--disks", choices=["auto", "images", "plain"], default="auto", help="plain: no fault of the disks")
    parser.add_argument("--changes", choices=["all", "none", "only"], default="all", help="nodes that are lost for good, damaged files, other numbers of replicas (all)")
    parser.add_argument("--brokers", choices=["auto", "none"], default="auto", help="Kafka and Mosquitto, whose messages connectors take")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="faults of these names, such as lying_disk,stale_manifests")
    parser.add_argument("--disk-mib", type=int, default=2048)
    parser.add_argument("--flush", choices=["often", "usual"], default="often", help="often: small logs and memtables, many copies")
    parser.add_argument("--alone", action="store_true", help="the others join a node that has lived alone, under load")
    parser.add_argument("--oribi", help="the program (target/debug/oribi)")
    parser.add_argument("--dir", type=pathlib.Path, help="where everything goes (a new folder, removed when all was well)")
    return parser.parse_args(given)


def main(given=None):
    options = arguments(given)
    if options.oribi:
        os.environ["ORIBI_BINARY"] = str(pathlib.Path(options.oribi).resolve())
    from scene import Scene

    folder = options.dir or pathlib.Path(tempfile.mkdtemp(prefix="oribi-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    say(f"chaos: seed {options.seed}, {options.nodes} nodes, everything in {folder}")
    scene = Scene(options, folder, say)
    try:
        is_good = scene.play()
    except Exception as error:
        say(f"chaos: FAILED, seed {options.seed}: {error!r}; logs, ledgers and disks are in {folder}")
        scene.close()
        return 1
    scene.close()
    if is_good:
        scene.clear()
        if not options.dir:
            shutil.rmtree(folder)
    else:
        say(f"logs, ledgers and disks are in {folder}")
    return 0 if is_good else 1


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
