"""A process without a network: connections to other machines are refused and logged.

This covers the Python code of a process and of every Python process started from it, not programs in other languages. Nothing of birdlib is
imported here: ``write_guard`` copies this file to where Python looks for it when it starts.
"""

import errno
import ipaddress
import json
import platform
import sys
from pathlib import Path

_SEND_EVENTS = ("socket.connect", "socket.sendto", "socket.sendmsg")  # audit events whose second argument is an address
_LOOKUP_EVENTS = ("socket.getaddrinfo", "socket.gethostbyname")  # whose first is a name


def write_guard(folder, log):
    """Make a folder that, on PYTHONPATH, keeps a Python process and its children on this machine.

    Args:
        folder: where ``sitecustomize.py``, which Python runs when it starts, is written.
        log: file to which attempts are added, a JSON object a line: ``event``, ``host``, ``program``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    guard = Path(__file__).read_text(encoding="utf-8") + f"\n\nrefuse({str(log)!r})\n"
    (folder / "sitecustomize.py").write_text(guard, encoding="utf-8")


def attempts(log):
    """The refused attempts: a list of the log's objects, empty where there is no log."""
    log = Path(log)
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []


def refuse(log):
    """Refuse all connections of this process to other machines: ``OSError`` with ``ENETUNREACH``, as without a network."""

    def hook(event, arguments):
        if event not in _SEND_EVENTS and event not in _LOOKUP_EVENTS:
            return
        host = _host(arguments[1] if event in _SEND_EVENTS else (arguments[0],))
        if not is_here(host):
            with open(log, "a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, "host": host, "program": " ".join(sys.argv[:2])}) + "\n")
            raise OSError(errno.ENETUNREACH, f"the network is off in this rehearsal: {host} is out of reach")

    sys.addaudithook(hook)


def is_here(host):
    """Whether a host is this machine: a loopback address, its own name, or None, which stands for no host at all."""
    if host in (None, "", "localhost", platform.node()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _host(address):
    """The host of (host, port, ...); None for the path of a Unix socket and the like."""
    host = address[0] if isinstance(address, tuple) and address else None
    host = host.decode(errors="replace") if isinstance(host, bytes) else host
    return host if isinstance(host, str) else None
