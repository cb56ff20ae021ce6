# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that are put side by side: each waits for docker in a thread of its own.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import threading
from typing import Callable, Generic, TypeVar

T = TypeVar("T")


class Asked(Generic[T]):
    """A question that is put now. If nobody wants its answer, nobody waits for it, not even the end of the program."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answer: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._put, daemon=True)
        self._thread.start()

    def _put(self) -> None:
        try:
            self._answer.append(self._ask())
        except BaseException as error:  # pylint: disable=broad-exception-caught  # raised where the answer is wanted
            self._error = error

    def answer(self) -> T:
        """Waits for it, and raises what the question has raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._answer[0]
