"""A model that reads a secret, and a search for the secret wherever it should not be."""

import subprocess
import sys

from client import write_model

SCRIPT = """
import hashlib
import os

def load(artifacts):
    return hashlib.sha256(os.environ["DB_PASSWORD"].encode()).hexdigest()

def predict(model, inputs: list):
    return [model for _ in inputs]
"""

SEARCH = r"""
import glob, os, subprocess, sys
secret = sys.stdin.read().strip().encode()
assert len(secret) > 20
paths = [*glob.glob("/proc/[0-9]*/cmdline"), *glob.glob("/proc/[0-9]*/environ")]
for root in sys.argv[1:]:
    paths += [os.path.join(at, name) for at, _, names in os.walk(root) for name in names]
read = found = 0
for path in paths:
    if not path.startswith("/proc/") and not os.path.isfile(path):
        continue
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        continue
    read += 1
    if secret in content:
        print(path)
try:
    said = subprocess.run(["journalctl", "--no-pager", "-o", "export"], capture_output=True).stdout
except FileNotFoundError:
    said = b""
if secret in said:
    print("journal")
assert read > 20, read
"""


def write_secretive_model(folder, name):
    write_model(folder, name, script=SCRIPT)
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write('[deploy]\nsecrets = ["DB_PASSWORD"]\n')
    return folder


def set_secret(client, model, value, *options, name="DB_PASSWORD"):
    """Through stdin; returns (exit code, what was said)."""
    done = subprocess.run(
        client.argv("secret", "set", model, name, "--stdin", *options),
        env=client.environ,
        input=value,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def places_here(secret, *roots):
    """Files, processes and journals of this machine that hold the secret."""
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, *map(str, roots)],
        input=secret,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(done.stdout.split())
