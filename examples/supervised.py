#!/usr/bin/env python3
"""A supervised Python program, through ctypes.
Call register() while the program has one thread. Use the default warning signal, SIGTERM, with its default action,
which ends the instance: Python runs a signal handler only between two of its instructions, so not while a call in C
hangs.
"""

import ctypes
import json
import os
import signal
import sys

RESTART = 2
OK = 1

sam = ctypes.CDLL("libsam.so.4", use_errno=True)
sam.sam_initialize.argtypes = [ctypes.c_int, ctypes.c_uint]
sam.sam_register.argtypes = [ctypes.POINTER(ctypes.c_uint)]
sam.sam_data_store.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
sam.sam_data_restore.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
sam.sam_data_getsize.argtypes = [ctypes.POINTER(ctypes.c_size_t)]


def check(code):
    if code != OK:
        raise OSError(f"libsam: error {code}")


def store(state):
    text = json.dumps(state).encode()
    check(sam.sam_data_store(text, len(text)))


def restore():
    size = ctypes.c_size_t()
    check(sam.sam_data_getsize(ctypes.byref(size)))
    if size.value == 0:
        return {"lines": []}
    text = ctypes.create_string_buffer(size.value)
    check(sam.sam_data_restore(text, size.value))
    return json.loads(text.raw)


def main():
    check(sam.sam_initialize(1000, RESTART))
    instance = ctypes.c_uint()
    sys.stdout.flush()  # or each instance prints it again
    check(sam.sam_register(ctypes.byref(instance)))

    state = restore()
    check(sam.sam_start())
    for line in ["one", "two", "three"][len(state["lines"]):]:
        state["lines"].append(line)
        store(state)
        sam.sam_hc_send()
        if line == "two":
            os.kill(os.getpid(), signal.SIGKILL)
    check(sam.sam_stop())
    print(f"instance {instance.value} has {' '.join(state['lines'])}")


if __name__ == "__main__":
    main()
