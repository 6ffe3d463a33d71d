"""`python -m tests.bench.echo_client URL`: a WebSocket echo client, for the Autobahn suite's fuzzing server at URL.

    wstest -m fuzzingserver -s spec.json        # {"url": "ws://127.0.0.1:9001", "cases": ["*"], ...}

websocket-client shakes hands, as it does for the product's vendors; the pump and the codec are the product's.
"""

import sys
from typing import Final

import websocket

from stream_service.handshake import take_over_opened
from stream_service.pump import Pump
from tests.bench.echo import LIMITS, Echo

AGENT: Final = "callbot"
_CASE_SECONDS: Final = 120


def run_case(url: str, pump: Pump) -> None:
    """Echo whatever this URL's server sends until it ends. Raises TimeoutError if it never does."""
    ws = websocket.create_connection(url, timeout=10)
    echo = Echo()
    echo.link = pump.adopt(
        take_over_opened(ws), name="echo", server=False, limits=LIMITS, held=True,
        on_message=echo.on_message, on_lost=echo.on_lost,
    )  # fmt: skip
    echo.link.release()
    if not echo.ended.wait(_CASE_SECONDS):
        raise TimeoutError(url)


def run_suite(server: str, pump: Pump) -> int:
    """Every case the fuzzing server has, and then its report; how many cases there were."""
    asked = websocket.create_connection(f"{server}/getCaseCount", timeout=10)
    count = int(asked.recv())
    asked.close()
    for case in range(1, count + 1):
        run_case(f"{server}/runCase?case={case}&agent={AGENT}", pump)
    websocket.create_connection(f"{server}/updateReports?agent={AGENT}", timeout=60).close()
    return count


def main() -> None:
    pump = Pump()
    pump.start()
    sys.stdout.write(f"{run_suite(sys.argv[1].rstrip('/'), pump)} cases run\n")
    pump.stop(2)


if __name__ == "__main__":
    main()
