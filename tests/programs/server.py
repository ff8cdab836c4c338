"""A TCP server for tests/check-programs that reports to its service manager (sd_notify(3)).

Usage: server.py PORT. Answers each line with `ok`, its pid and the line. `silent` ends its heartbeats, `exit N` ends
it, `send HEX` sends a notification, and `stopping` sends STOPPING=1."""

import os
import signal
import socket
import sys
import threading
import time

silent = threading.Event()


def notify(message):
    name = os.environ.get("NOTIFY_SOCKET")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(message, "\0" + name[1:] if name[0] == "@" else name)


def beat():
    assert "WATCHDOG_PID" not in os.environ or os.environ["WATCHDOG_PID"] == str(os.getpid())
    while "WATCHDOG_USEC" in os.environ:
        if not silent.is_set():
            notify(b"WATCHDOG=1")
        time.sleep(int(os.environ["WATCHDOG_USEC"]) / 4e6)


def serve(client):
    with client, client.makefile("rw") as stream:
        for line in stream:
            word, _, argument = line.strip().partition(" ")
            if word == "silent":
                silent.set()
            elif word == "exit":
                os._exit(int(argument))
            elif word == "send":
                try:
                    notify(bytes.fromhex(argument))
                except OSError as error:
                    line = f"{error}\n"
            elif word == "stopping":
                notify(b"STOPPING=1")
            stream.write(f"ok {os.getpid()} {line}")
            stream.flush()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
notify(b"READY=1\nSTATUS=serving\nMAINPID=%d" % os.getpid())
threading.Thread(target=beat, daemon=True).start()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
