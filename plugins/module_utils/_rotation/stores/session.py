# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A conversation with the client of a database over pipes.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import select
import subprocess
import time
from contextlib import suppress
from typing import Mapping, NoReturn, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import StoreError

LOCK_TIMEOUT = 60
"""seconds to wait for the end of another session"""
LOST = "the connection was lost; check that it runs and can be reached, and run again"
_ANSWER_TIMEOUT = 600
"""seconds for an answer as a whole, however it trickles in"""
_LAST_WORDS = 10
"""seconds for what a client complains when it has ended"""
_COMPLAINT = 4096
"""bytes of what a client complains that are kept"""
_PIPE = 1 << 20
_SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ, linux/fcntl.h: room for a page that arrives while the one before is worked on"""


class Session:
    """The client of a database, which reads statements and prints answers until its standard input ends.

    Every request ends with a statement that prints a word made up for this session, so the end of an answer cannot be missed. The client stops at
    the first error, and the database then undoes what was not committed.
    """

    def __init__(
        self,
        command: Sequence[str],
        name: str,
        print_word: str,
        error: str,
        reasons: Mapping[str, str],
        environ: Mapping[str, str] | None,
    ) -> None:
        """print_word: the statement that prints C(%s). error: matches the code in what the client complains. reasons: code to words."""
        self._name = name
        self._error = re.compile(error.encode())
        self._reasons = reasons
        word = secrets.token_hex(16)
        self._end = (print_word % word).encode() + b"\n"
        self._word = word.encode() + b"\n"
        self._complaint = b""
        self._asked = self._answered = self._searched = 0
        self._left: bytes | memoryview = b""
        self._answer = bytearray()
        self._answers: dict[int, bytes] = {}
        try:
            self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command knows no conversation
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environ,
            )
        except OSError as problem:
            raise StoreError("%s: its client cannot be started: %s" % (name, os.strerror(problem.errno or 0))) from None
        pipes = [pipe for pipe in (self._process.stdin, self._process.stdout, self._process.stderr) if pipe is not None]
        self._stdin, self._stdout, self._stderr = (pipe.fileno() for pipe in pipes)
        self._reads = [self._stdout, self._stderr]
        os.set_blocking(self._stdin, False)
        with suppress(OSError):
            fcntl.fcntl(self._stdout, _SET_PIPE_SIZE, _PIPE)

    def ask(self, statements: str) -> list[list[bytes]]:
        """The rows that the statements print, by fields, still escaped."""
        return self.collect(self.post(statements))

    def post(self, statements: str) -> int:
        """Asks, and does not wait for the answer."""
        self._asked += 1
        self._left = bytes(self._left) + statements.encode("utf-8", "surrogateescape") + b"\n" + self._end
        self._exchange(0)
        return self._asked

    def collect(self, number: int) -> list[list[bytes]]:
        """The answer to what was posted under this number. Raises StoreError after 600 seconds without one."""
        deadline = time.monotonic() + _ANSWER_TIMEOUT
        while number not in self._answers:
            left = deadline - time.monotonic()
            if left <= 0:
                self.close()
                raise StoreError("%s did not answer within %d seconds" % (self._name, _ANSWER_TIMEOUT))
            self._exchange(left)
        return [line.split(b"\t") for line in self._answers.pop(number).split(b"\n")[:-1]]

    def forget(self, number: int) -> None:
        """Throws the answer away."""
        if self._process.returncode is None:
            self.collect(number)

    def _exchange(self, timeout: float) -> None:
        """Writes and reads what is possible now, or waits until something is."""
        if self._process.returncode is not None:
            raise StoreError("%s: its client has ended" % self._name)
        writes = [self._stdin] if self._left else []
        readable, writable, _odd = select.select(self._reads, writes, [], timeout)
        if self._stderr in readable:
            self._listen()
        if writable:
            try:
                self._left = memoryview(self._left)[os.write(self._stdin, self._left) :]
            except BrokenPipeError:
                self._left = b""
        if self._stdout in readable:
            data = os.read(self._stdout, 1 << 20)
            if not data:
                self._fail()
            self._answer += data
            while True:
                end = self._answer.find(self._word, max(0, self._searched - len(self._word)))
                self._searched = len(self._answer)
                if end < 0:
                    return
                self._answered += 1
                self._answers[self._answered] = bytes(self._answer[:end])
                del self._answer[: end + len(self._word)]
                self._searched = 0

    def _listen(self) -> None:
        """Keeps the end of what the client complains."""
        data = os.read(self._stderr, 1 << 16)
        self._complaint = (self._complaint + data)[-_COMPLAINT:]
        if not data:
            self._reads.remove(self._stderr)

    def _fail(self) -> NoReturn:
        """The client has ended. What it complains may quote values, so that only the error's code is told, unless nothing had been asked yet."""
        deadline = time.monotonic() + _LAST_WORDS
        while (
            self._stderr in self._reads
            and select.select([self._stderr], [], [], max(0.0, deadline - time.monotonic()))[0]
        ):
            self._listen()
        self.close()
        codes = self._error.findall(self._complaint)
        code = codes[-1].decode() if codes else ""
        if code in self._reasons:
            raise StoreError("%s: %s" % (self._name, self._reasons[code]))
        if not self._answered:
            lines = self._complaint.decode("utf-8", "replace").split("\n")
            raise StoreError(
                "%s cannot be asked: %s"
                % (self._name, next((line for line in reversed(lines) if line.strip()), "its client gave no reason"))
            )
        raise StoreError("%s: %s" % (self._name, "error %s" % code if code else LOST))

    def close(self) -> None:
        """Ends the client. It sees the end of its input even if only the program that led to it is killed here."""
        if self._process.returncode is not None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
