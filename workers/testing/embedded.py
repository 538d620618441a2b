"""librdkafka's own mock cluster in this process: groups, commits, transactions; no fencing.

It keeps the newest 5 MB or 100,000 records of a partition (rdkafka_mock.c) and forgets offsets that
were committed in a transaction. Any process may connect while this one lives.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any, Self

from confluent_kafka import cimpl

_PRODUCER = 0
_ERROR_TEXT = 512


class EmbeddedBroker:
    """A cluster of one broker on a free port of 127.0.0.1.

    Raises:
        RuntimeError: the client library refuses to make it.
    """

    def __init__(self) -> None:
        self._lib = _library()
        text = ctypes.create_string_buffer(_ERROR_TEXT)
        settings = self._lib.rd_kafka_conf_new()
        self._lib.rd_kafka_conf_set(settings, b"log_level", b"0", text, _ERROR_TEXT)
        # The handle takes the settings over.
        self._handle = self._lib.rd_kafka_new(_PRODUCER, settings, text, _ERROR_TEXT)
        if not self._handle:
            raise RuntimeError(f"no client for the embedded broker: {text.value.decode()}")
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._handle, 1)
        if not self._cluster:
            raise RuntimeError("librdkafka made no mock cluster")
        # Nobody waits three seconds for members that never come.
        self._lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap_servers: str = self._lib.rd_kafka_mock_cluster_bootstraps(
            self._cluster
        ).decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic.

        Raises:
            RuntimeError: the broker refuses.
        """
        code = self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code != 0:
            raise RuntimeError(f"topic {name} was not created: error {code}")

    def fail_requests(self, api: int, codes: list[int]) -> None:
        """Answer the next requests of this API key with these error codes, one each."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._lib.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(codes), array)

    def fail_topic(self, name: str, code: int) -> None:
        """Answer everything about this topic with an error code; 0 ends it."""
        self._lib.rd_kafka_mock_topic_set_error(self._cluster, name.encode(), code)

    def set_down(self) -> None:
        """Refuse and drop connections."""
        self._lib.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def set_up(self) -> None:
        """Accept connections again."""
        self._lib.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self._cluster:
            self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
            self._lib.rd_kafka_destroy(self._handle)
            self._cluster = self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()


def _library() -> Any:
    """librdkafka as the client has it loaded, with the signatures we call."""
    # PyDLL would hold the GIL, and destroying a cluster waits for threads that may need it.
    lib = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_topic_set_error": (None, [pointer, text, number]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_push_request_errors_array": (
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib
