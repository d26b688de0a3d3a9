# mypy: ignore-errors
# Not a module: the program that the client sends as the first line of its input. It reads one
# frame (what the client chose; the sources of the agent's modules and, on the client's own machine,
# their code, for a Python that can read it) and runs the modules as a package.
import json
import marshal
import os
import struct
import sys
import zlib
from _frozen_importlib_external import MAGIC_NUMBER  # importlib.util takes 4 ms to import


def take(size):
    parts = []
    while size:
        part = os.read(0, size)
        if not part:
            sys.exit("the client went away before the agent was whole")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


lengths = struct.unpack("!IQ", take(12))
chosen = json.loads(take(lengths[0]))
sent = take(lengths[1])
code = sent[chosen["sources"] :]
same = code and chosen["magic"] == MAGIC_NUMBER.hex()
compiled = marshal.loads(code) if same else {}
texts = {}


def sources():
    if not texts:
        texts.update(json.loads(zlib.decompress(sent[: chosen["sources"]])))
    return texts


class Sent:
    """Finds and loads what was sent; get_source makes tracebacks readable."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in (compiled or sources()):
            return None
        from importlib.machinery import ModuleSpec

        spec = ModuleSpec(name, Sent, origin=name, is_package=name == "rhythmicml_agent")
        spec.has_location = False
        return spec

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        name = module.__name__
        code = compiled.get(name) or compile(sources()[name], name + ".py", "exec")
        exec(code, module.__dict__)  # noqa: S102

    @staticmethod
    def get_source(name):
        return sources().get(name)


sys.meta_path.insert(0, Sent)
from rhythmicml_agent import loop  # noqa: E402

loop.main(chosen, sys.argv[1])
