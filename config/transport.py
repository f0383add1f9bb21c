"""Celery's way to the queue in the database, for a role that may use the tables of a queue and not create any.

The transport as it comes creates every queue again and replaces its trigger whenever a process declares it. That takes
the rights of the tables' owner and a lock that stops senders.
"""

from typing import Any

from kombu.transport import pgmq


class Channel(pgmq.Channel):
    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        if self._has_queue(queue):  # type: ignore[no-untyped-call]
            self._maybe_enable_notify(queue)
        else:
            super()._new_queue(queue, **kwargs)  # type: ignore[no-untyped-call]

    def _maybe_enable_notify(self, queue: str, queue_name: str | None = None) -> None:
        """The trigger is there. The row it reads is in a table that a crash of the server empties."""
        if not self.use_notify:
            return
        name = queue_name or self._queue_name(queue)
        self.pgmq._execute(
            "INSERT INTO pgmq.notify_insert_throttle (queue_name, throttle_interval_ms) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING",
            (name, self.notify_throttle_interval_ms),
        )
        self.connection._register_notify_queue(name)  # type: ignore[attr-defined]


class Transport(pgmq.Transport):
    Channel = Channel
