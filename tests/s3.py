"""A real S3 server on the loopback device: moto's, as a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path


class S3Server:
    """Started by `start`, on a port of its own choice or a given one; every bucket is kept in its memory.

    Args:
        log: file that its output goes to.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.address = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        mark = "Running on http://"
        while mark not in (text := self.log.read_text()) or "\n" not in text.partition(mark)[2]:
            assert self.process.poll() is None, text
        self.address = text.partition(mark)[2].split()[0]

    def make_bucket(self, name: str) -> str:
        """Make a bucket; returns its URI."""
        request = urllib.request.Request(f"http://{self.address}/{name}", data=b"", method="PUT")
        urllib.request.urlopen(request, timeout=60).close()
        return self.uri(name)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Put an object as any other program would."""
        request = urllib.request.Request(f"http://{self.address}/{bucket}/{key}", data=data, method="PUT")
        urllib.request.urlopen(request, timeout=60).close()

    def uri(self, path: str) -> str:
        """A bucket, or a path in one, as raylab takes it."""
        return f"s3://{path}?endpoint_override={self.address}&scheme=http"

    def requests(self) -> list[str]:
        """What was asked so far: methods and addresses, as the server has written them down."""
        return re.findall(r'"((?:GET|HEAD|PUT|POST|DELETE) [^"]*) HTTP', self.log.read_text())

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
