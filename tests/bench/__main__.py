"""`make bench`, or `python -m tests.bench`: everything that is measured, in two minutes.

python -m tests.bench                           # tables here, build/bench.json and build/bench.png
python -m tests.bench --long                    # some twenty minutes: all sizes, long windows, three rounds, bad peers
python -m tests.bench --check                   # the little that CI judges: ratios only
python -m tests.bench --readme                  # and its figures into the README
python -m tests.bench --readme --from bench.json    # those of an earlier run
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench import plot, readme, suite, verdict
from tests.bench.report import machine_in_words, settled, text

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
# What the README shows, and what it was made of.
PICTURE, FIGURES = ROOT / "tests" / "bench" / "latency.png", ROOT / "tests" / "bench" / "figures.json"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").partition("\n")[0])
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--long", action="store_true", help="all sizes, long windows, three rounds, bad peers")
    form.add_argument("--check", action="store_true", help="the small form: fail when a ratio is far from what it was")
    form.add_argument("--from", type=Path, dest="earlier", metavar="JSON", help="show an earlier run, measure nothing")
    parser.add_argument("--readme", action="store_true", help="write the figures and the plot into the README")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="where bench.json and bench.png go")
    given = parser.parse_args(words)
    if given.check:
        return check()
    if given.earlier:
        report = json.loads(given.earlier.read_text(encoding="utf-8"))
    else:
        report = suite.measure(suite.LONG if given.long else suite.SHORT)
    sys.stdout.write(text(report) + "\n\n")
    given.out.mkdir(parents=True, exist_ok=True)
    written = given.out / "bench.json"
    written.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    _picture(report, given.out / "bench.png")
    if given.readme:
        if not report["capacity"]:
            parser.error("without capacity there is nothing for the README")
        FIGURES.write_text(json.dumps(report, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
        _picture(report, PICTURE)
        new = readme.section(report, PICTURE.relative_to(ROOT).as_posix())
        README.write_text(readme.with_section(README.read_text(encoding="utf-8"), new), encoding="utf-8")
    return 0


def check() -> int:
    """Measure the small form and judge it; what is bad is asked once more, because a machine may have been busy."""
    for last in (False, True):
        report = suite.measure(suite.CHECK)
        sys.stdout.write(text(report) + "\n\n")
        relays = "callbot beside the floor in C, and " if report["capacity"] else ""
        sys.stdout.write(f"judged: {relays}turns, starts and the cost of a message, by ratios\n")
        found = verdict.complaints(report)
        sys.stdout.writelines(f"{'FAILED' if last else 'once more, because'}: {line}\n" for line in found)
        if not found:
            return 0
    return 1


def _picture(report: suite.Report, path: Path) -> None:
    if not report["capacity"]:
        return
    try:
        plot.draw(settled(report["capacity"]), path, f"{report['at'][:10]}, {machine_in_words(report)}")
    except ImportError:
        sys.stdout.write("no plot: matplotlib is not installed (`make bench` does it)\n")
    else:
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    sys.exit(main())
