"""Something that is done while the callback does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def beside(work: Callable[[], T]) -> Future[T]:
    """Start `work` in a thread of its own, which nothing waits for but the future's `result`."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            answer.set_exception(error)

    threading.Thread(target=run, name="beside", daemon=True).start()
    return answer
