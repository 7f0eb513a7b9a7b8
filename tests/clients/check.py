#!/usr/bin/env python3
"""Checks the OpenAPI document as its users' tools read it: two linters find nothing in it, and clients that are generated
from it in Python and in TypeScript pass their type checkers, and mint at a running service over TLS.

    tests/clients/check.py [EXECUTABLE]

The commands are those of the guide (deploy/guide/interop.md). The tools come from PyPI and npm, once, into target/venv
and target/peers; their versions are pinned beside this file. The clients are generated into target/clients, and stay
there.
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCUMENT = ROOT / "deploy" / "openapi.json"
GUIDE = ROOT / "deploy" / "guide" / "interop.md"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# What a client is generated with, and what it prints last.
FILES = ["mint.py", "mint.mts", "openapi-python-client.yaml", "tsconfig.json"]
SAID = "minted, imported, and was refused"
# How long one step may take, and the start of the service.
LONGEST = 300


def run(what, command, said=None, **more):
    """Runs one step, and says how long it took. Its output is shown only if it fails, or lacks `said`."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=LONGEST, **more,
        )
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as slow:
        status, output = "no end", str(slow)
    seconds = time.monotonic() - began
    if status != 0 or (said and said not in output):
        # Keys of a service that is gone give no access, but no log is to show one.
        print(re.sub(r"tna_[\w-]+", "tna_..", output), flush=True)
        raise SystemExit(f"tests/clients: {what}: FAILED ({status})")
    print(f"tests/clients: {what}: {seconds:.1f} s", flush=True)
    return output


def fetched(command):
    """What a script beside this folder prints: where the tools are."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("tests/clients: the tools are not there, see above")
    return Path(done.stdout.strip())


def lint(tools):
    node, modules = tools["node"], tools["modules"]
    # Neither asks its makers for news, nor sends them any.
    env = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    redocly = modules / "@redocly" / "cli" / "bin" / "cli.js"
    run(
        "redocly lint", [node, redocly, "lint", "--config", HERE / "redocly.yaml", DOCUMENT],
        said="Your API description is valid", env=env, cwd=HERE,
    )
    spectral = modules / "@stoplight" / "spectral-cli" / "dist" / "index.js"
    run(
        "spectral lint",
        [node, spectral, "lint", "--ruleset", HERE / "spectral.yaml", "--fail-severity", "hint", DOCUMENT],
        said="No results", env=env, cwd=HERE,
    )


def commands_of_guide():
    """The commands of the guide for each client, by the name of the language. Its installations are not run, but name
    the versions that are pinned here."""
    section = GUIDE.read_text().split("## Clients from OpenAPI\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh setup\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    packages = json.loads((HERE / "package.json").read_text())["dependencies"]
    pinned = {f"{name}@{version}" for name, version in packages.items()}
    pinned |= set((HERE / "requirements.txt").read_text().split())
    commands = {}
    for language, block in zip(("python", "typescript"), blocks, strict=True):
        install, *commands[language] = block.splitlines()
        known = pinned.intersection(install.split()[2:])
        if not install.startswith(("pip install ", "npm install ")) or len(known) != len(install.split()[2:]):
            raise SystemExit(f"tests/clients: {GUIDE}: not the pinned versions: {install}")
    return commands


def client(language, commands, tools, access):
    """Generates a client, checks types, and calls the service, as the guide says."""
    folder = TARGET / "clients" / language
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "node_modules").symlink_to(tools["modules"])
    for file in (DOCUMENT, *(HERE / name for name in FILES)):
        shutil.copy(file, folder)
    path = [str(tools["python"].parent), str(tools["node"].parent), str(tools["modules"] / ".bin"), os.environ["PATH"]]
    env = {**os.environ, **access, "PATH": os.pathsep.join(path)}
    for command in commands:
        said = SAID if "mint." in command else None
        run(command, ["bash", "-c", command.removeprefix("npx ")], said=said, env=env, cwd=folder)
    if language == "python":
        env["MYPYPATH"] = "generated"
        run("mypy --strict mint.py", [tools["python"], "-m", "mypy", "--strict", "mint.py"], env=env, cwd=folder)


@contextmanager
def service(executable):
    """A service on a free port over TLS, with its data in a folder that goes with it, and how to call it."""
    folder = Path(tempfile.mkdtemp(prefix="tn-authority-clients."))
    home, log = folder / "demo", open(folder / "log", "w")
    env = {**os.environ, "RUST_LOG": "warn"}
    process = subprocess.Popen([executable, "demo", "--keep", "--dir", home], env=env, stdout=log, stderr=log)
    try:
        until = time.monotonic() + LONGEST
        # The last line is written with the others, in one go.
        while not (variables := home / "env").exists() or not variables.read_text().endswith("'\n"):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the service did not start:\n" + (folder / "log").read_text())
            time.sleep(0.1)
        yield dict(re.findall(r"^(\w+)='(.*)'$", variables.read_text(), re.MULTILINE))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "executable", metavar="EXECUTABLE", nargs="?", type=Path, default=TARGET / "debug" / "tn-authority",
        help="the service that the clients call; otherwise that of `cargo build`",
    )
    executable = parser.parse_args().executable.resolve()
    if not executable.is_file():
        raise SystemExit(f"tests/clients: there is no {executable}; run `cargo build` first")
    began = time.monotonic()
    commands = commands_of_guide()
    peers = fetched([ROOT / "tests" / "peers", "clients"])
    tools = {
        "python": fetched([ROOT / "tests" / "venv", HERE / "requirements.txt"]),
        "node": peers / "node",
        "modules": peers / "node_modules",
    }
    base = TARGET / "clients"
    base.mkdir(parents=True, exist_ok=True)
    # Two runs at once must not generate into one folder.
    with open(base / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lint(tools)
        with service(executable) as access:
            for language in commands:
                client(language, commands[language], tools, access)
    count = sum(len(item) for item in json.loads(DOCUMENT.read_text())["paths"].values())
    print(f"tests/clients: {count} operations, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
