"""A process that is kept on its machine: what leaves it is refused and told, what stays is not."""

import os
import subprocess
import sys

import pytest

from birdlib.pipeline import network_guard

TRIES = """
import socket, subprocess, sys
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname(), timeout=5).close()
socket.getaddrinfo("localhost", server.getsockname()[1])
for attempt in (
    lambda: socket.create_connection(("203.0.113.7", 80), timeout=5),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("203.0.113.8", 53)),
    lambda: socket.getaddrinfo("birds.example.org", 443),
):
    try:
        attempt()
    except OSError as error:
        print(error.strerror)
child = "import urllib.request; urllib.request.urlopen('http://198.51.100.1', timeout=5)"
subprocess.run([sys.executable, "-c", child], stderr=subprocess.DEVNULL)
"""


def test_connections_to_other_machines_are_refused_and_logged(tmp_path):
    """Addresses of documentation (RFC 5737), which no machine has; the last is tried by a child of the process."""
    network_guard.write_guard(tmp_path / "guard", tmp_path / "log.jsonl")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "guard")}
    done = subprocess.run([sys.executable, "-c", TRIES], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hosts = ["203.0.113.7", "203.0.113.8", "birds.example.org"]
    assert done.stdout.splitlines() == [f"the network is off in this rehearsal: {host} is out of reach" for host in hosts]
    assert [each["host"] for each in network_guard.attempts(tmp_path / "log.jsonl")] == [*hosts, "198.51.100.1"]


@pytest.mark.parametrize("host", [None, "", "localhost", "127.0.0.1", "127.8.0.1", "::1", "0.0.0.0"])
def test_loopback_addresses_are_allowed(host):
    assert network_guard.is_here(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "fe80::1%eth0", "169.254.169.254", "localhost.example.org"])
def test_other_addresses_are_refused(host):
    assert not network_guard.is_here(host)


def test_no_log_means_no_attempts(tmp_path):
    assert network_guard.attempts(tmp_path / "log.jsonl") == []
