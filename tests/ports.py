"""Ports of this machine that nobody listens on."""

import secrets
import socket

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def free_ports(number: int) -> int:
    """The first of `number` ports in a row."""
    for base in range(20_000 + secrets.randbelow(8_000), 32_000, number):  # below the ports that systems hand out
        taken = False
        for port in range(base, base + number):
            with socket.socket() as probe:
                taken = taken or probe.connect_ex((HOST, port)) == 0
        if not taken:
            return base
    raise OSError("No ports are free.")
