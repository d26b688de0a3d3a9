"""A list of what is inside the program, in the form of CycloneDX 1.6."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

from debian import version

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "assets" / "static" / "vendor" / "packages.json"
RUNTIME = ROOT / "app" / "scoring" / "runtime.lock"
ASK = """
import json
from importlib import metadata
said = []
for each in metadata.distributions():
    about = each.metadata
    classified = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or []
                  if c.startswith("License ::")]
    licence = about.get("License-Expression") or ", ".join(classified) or about.get("License") or ""
    said.append([about["Name"], about["Version"], licence.splitlines()[0] if licence else ""])
print(json.dumps(sorted(said, key=str)))
"""
BUILDS_ONLY = ("pip", "setuptools", "pyinstaller-hooks-contrib", "altgraph")


def sbom(python: Path) -> str:
    """Of the build's environment (what its Python has installed), the pages, and the runtime."""
    components = [*installed(python), *vendored(), *runtime()]
    unique = {each["purl"]: each for each in components}
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "rhythmicml",
                                   "version": version(), "bom-ref": "rhythmicml"}},
        "components": [unique[purl] for purl in sorted(unique)],
    }  # fmt: skip
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return json.dumps({**content, "serialNumber": f"urn:uuid:{serial}"}, indent=1) + "\n"


def installed(python: Path) -> list[dict[str, Any]]:
    argv = [str(python), "-I", "-c", ASK]
    said = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return [
        component("pypi", *each) for each in said if each[0].lower() not in BUILDS_ONLY
    ]  # fmt: skip


def vendored() -> list[dict[str, Any]]:
    packages = json.loads(VENDOR.read_text())
    return [component("npm", name, p["version"], p["licence"]) for name, p in packages.items()]


def runtime() -> list[dict[str, Any]]:
    """What is installed on hosts for the scoring program."""
    pinned = re.findall(r"^([\w.-]+)==([^\s;\\]+)", RUNTIME.read_text(), re.MULTILINE)
    return [component("pypi", name, number, "") for name, number in pinned]


def component(kind: str, name: str, number: str, licence: str) -> dict[str, Any]:
    named = name.replace("@", "%40") if kind == "npm" else re.sub(r"[-_.]+", "-", name).lower()
    purl = f"pkg:{kind}/{named}@{number}"
    said = {"type": "library", "name": name, "version": number, "purl": purl, "bom-ref": purl}
    return {**said, "licenses": [{"license": {"name": licence}}]} if licence else said
