"""Child processes that are looked after."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emulator import processes
from emulator.processes import ProcessFailedError, Supervised

# Serves the inherited socket; `rude` ignores SIGTERM.
SERVER = """
import http.server, os, signal, socket, sys
if "rude" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
print("serving", flush=True)
server.serve_forever()
"""


def serving(*how: str, **options: object) -> Supervised:
    listener = processes.listen()
    command = [sys.executable, "-c", SERVER, str(listener.fileno()), *how]
    return Supervised("server", command, env=os.environ, listener=listener, **options)


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def soon(condition, seconds: float = 10.0) -> bool:
    ends_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.02)
    return True


def test_a_process_is_started_and_stopped():
    heard = []
    server = serving(output=heard.append)
    server.start()
    pid = server.pid
    assert processes.is_healthy(server.url)
    assert soon(lambda: heard == ["serving"])
    server.stop()
    assert not is_alive(pid)
    assert not processes.is_healthy(server.url, 0.2)
    with pytest.raises(RuntimeError):
        _ = server.pid
    server.stop()


def test_a_process_that_dies_is_started_again_and_nobody_is_refused_meanwhile():
    died = []
    server = serving(on_restart=died.append)
    server.start()
    try:
        first = server.pid
        server.kill()
        # The very next request waits for the new process: the listening socket is never closed.
        assert processes.is_healthy(server.url, 10.0)
        assert server.pid != first
        assert died == [-signal.SIGKILL]
        assert server.starts == 2
    finally:
        server.stop()


def test_a_process_that_keeps_dying_is_given_up_and_its_last_words_are_told():
    listener = processes.listen()
    command = [sys.executable, "-c", "import sys; sys.exit('no such setting')"]
    server = Supervised("server", command, env=os.environ, listener=listener)
    with pytest.raises(ProcessFailedError, match=r"server keeps dying\n(.|\n)*no such setting"):
        server.start()
    assert server.failed
    assert listener.fileno() == -1


def test_a_process_that_is_never_ready_is_stopped():
    listener = processes.listen()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = Supervised("server", command, env=os.environ, listener=listener)
    began = time.monotonic()
    with pytest.raises(ProcessFailedError, match=r"not ready within 0\.3 s"):
        server.start(0.3)
    assert time.monotonic() - began < 10
    with pytest.raises(RuntimeError):
        _ = server.pid


def test_a_process_that_ignores_sigterm_is_killed_at_the_deadline():
    server = serving("rude")
    server.start()
    pid = server.pid
    server.stop(0.2)
    assert not is_alive(pid)


def test_what_a_process_started_goes_with_it(tmp_path):
    grandchild = tmp_path / "pid"
    starts_another = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(grandchild)!r}, 'w').write(str(p.pid));" + SERVER
    )
    listener = processes.listen()
    server = Supervised(
        "server", [sys.executable, "-c", starts_another, str(listener.fileno())], env=os.environ, listener=listener
    )
    server.start()
    try:
        first = int(grandchild.read_text())
        assert is_alive(first)
        os.kill(server.pid, signal.SIGKILL)
        assert soon(lambda: not is_alive(first))
        assert processes.is_healthy(server.url, 10.0)
        second = int(grandchild.read_text())
        assert second != first
    finally:
        server.stop()
    assert soon(lambda: not is_alive(second))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's death")
def test_no_child_survives_its_parent():
    program = f"""
import os, sys, time
from emulator import processes
listener = processes.listen()
command = [sys.executable, "-c", {SERVER!r}, str(listener.fileno())]
server = processes.Supervised("server", command, env=os.environ, listener=listener)
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
        parent.wait()
    assert soon(lambda: not is_alive(child))


def test_a_taken_port_is_noticed():
    with processes.listen() as listener:
        port = listener.getsockname()[1]
        assert not processes.is_free(port)
        with pytest.raises(OSError, match="in use"):
            processes.listen(port)
    assert processes.is_free(port)
    assert not processes.is_free(65536)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"])
def test_only_a_200_is_health(answer):
    with processes.listen() as listener:
        client = None

        def serve():
            nonlocal client
            client, _ = listener.accept()
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        assert not processes.is_healthy(processes.address(listener), 5.0)
        thread.join(5)
        client.close()
