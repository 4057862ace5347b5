# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the process-level benchmarks share: the daemon, its numbers, free ports, a table."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {DEADLINE_S} s")
        time.sleep(0.002)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Daemon:
    """The daemon of build/release with its default configuration, on free ports."""

    def __init__(self, *settings):
        self.directory = tempfile.TemporaryDirectory()
        self.port, self.api_port = free_port(), free_port()
        command = [ROOT / "build/release/tarsier", "run", "--config", ROOT / "config/tarsier.toml",
                   "--set", f"http.listen=127.0.0.1:{self.port}",
                   "--set", f"api.listen=127.0.0.1:{self.api_port}", "--set", "api.auth=none",
                   "--socket", f"{self.directory.name}/control.sock"]
        for setting in settings:
            command += ["--set", setting]
        self.log = open(f"{self.directory.name}/log", "w+b")
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        try:
            wait_until(self.is_ready, "/readyz")
        except TimeoutError:
            self.stop()
            raise
        self.ready_s = time.monotonic() - self.began

    def is_ready(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise RuntimeError(f"the daemon ended: {self.log.read().decode(errors='replace')}")
        try:
            return self.get("/readyz") is not None
        except (urllib.error.URLError, ConnectionError):
            return False

    def get(self, path, port=None):
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def status(self):
        return json.loads(self.get("/api/v1/status", self.api_port))

    def samples(self, name):
        """Yields (labels, value) of the metric."""
        for line in self.get("/metrics").splitlines():
            match = re.fullmatch(re.escape(name) + r"(?:\{(.*)\})? (\S+)", line)
            if match:
                yield dict(re.findall(r'(\w+)="([^"]*)"', match[1] or "")), float(match[2])

    def memory_kib(self, field):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1])

    def map_bytes(self):
        """What the kernel accounts to the BPF maps that the daemon holds."""
        total, seen = 0, set()
        for fd in os.listdir(f"/proc/{self.process.pid}/fdinfo"):
            with contextlib.suppress(OSError):
                text = pathlib.Path(f"/proc/{self.process.pid}/fdinfo/{fd}").read_text()
                found = re.search(r"^map_id:\s+(\d+)", text, re.M)
                if found and found[1] not in seen:
                    seen.add(found[1])
                    total += int(re.search(r"^memlock:\s+(\d+)", text, re.M)[1])
        return total

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE_S)
        self.log.close()
        self.directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def finish(name, result, rows):
    """Prints the rows as a Markdown table, the first one its head, and writes the JSON beside."""
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows[1:]:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
