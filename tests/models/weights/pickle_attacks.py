"""Pickles that would do something if they were run: each writes down that it was, by making a file or by a global."""

import builtins
import operator
import os
import pickle
import struct

MARK = "SALIENCY_JAX_TEST_PICKLE_WAS_RUN"


class Calling:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def text(value):
    encoded = value.encode()
    return b"\x8c" + struct.pack("<B", len(encoded)) + encoded


SET_MARK = f"__import__('os').environ.__setitem__({MARK!r}, '1')"
OS_NAMED = b"cos\nsystem\n"
ATTACKS = {
    "os.system": pickle.dumps(Calling(os.system, f"export {MARK}=1"), 3),
    "eval": pickle.dumps(Calling(builtins.eval, SET_MARK), 3),
    "exec": pickle.dumps(Calling(builtins.exec, SET_MARK), 4),
    "inside_a_dict": pickle.dumps({"conv1": [Calling(builtins.eval, SET_MARK)]}, 3),
    "attrgetter": pickle.dumps(Calling(operator.attrgetter, "system"), 4),
    # Older and rarer ways to name or call something.
    "INST": b"(S'" + SET_MARK.replace("'", '"').encode() + b"'\nibuiltins\neval\n.",
    "OBJ": b"\x80\x03(cbuiltins\neval\n" + text(SET_MARK) + b"o.",
    "NEWOBJ": b"\x80\x03cbuiltins\nobject\n)\x81.",
    "EXT1": b"\x80\x03\x82\x01.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    # What is allowed by name must be called with nothing but data, and nothing else may be called.
    "call_of_a_text": b"\x80\x04" + text("system") + b")R.",
    "call_of_a_call": b"\x80\x03cnumpy\ndtype\n)R)R.",
    "split_name": b"\x80\x04" + text("os") + text("system") + b"\x93" + text("true") + b"\x85R.",
    "persistent_id_that_calls": b"\x80\x03" + OS_NAMED + text("true") + b"\x85RQ.",
    "class_with_another_setstate": b"\x80\x03cnumpy\nndarray\n}" + text("__setstate__") + OS_NAMED + b"sb.",
}
"""Name -> pickle."""
