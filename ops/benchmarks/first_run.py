"""From a fresh clone to the first streamed token, as a newcomer gets there."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import openai

from ops.installation import ROOT, running


def folder_mb(path: Path) -> float:
    found = subprocess.run(
        ["du", "-sm", str(path)], capture_output=True, text=True, check=True
    ).stdout
    return float(found.split()[0])


def run(args: argparse.Namespace) -> dict[str, Any]:
    """`seconds_install` is `make .venv/runtime`; `seconds` ends with the first token."""
    with tempfile.TemporaryDirectory(prefix="praxis-first-run-") as directory:
        clone = Path(directory) / "praxis"
        started = time.monotonic()
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        # This process's environment must not lend its packages to the fresh one.
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("VIRTUAL_ENV", "PYTHONPATH", "DJANGO_SETTINGS_MODULE")
        }
        subprocess.run(
            ["make", "-s", ".venv/runtime", f"PYTHON={Path(sys.base_prefix) / 'bin' / 'python3'}"],
            cwd=clone,
            env=environment,
            check=True,
        )
        installed = time.monotonic() - started
        with running(root=clone, python=str(clone / ".venv/bin/python")) as installation:
            up = installation.started_seconds
            browser = installation.sign_in()
            key = installation.make_key(browser, "chat")
            client = openai.OpenAI(base_url=f"{installation.address}/v1", api_key=key)
            stream = client.chat.completions.create(
                model="service",
                stream=True,
                messages=[{"role": "user", "content": "How long do I have to return an item?"}],
            )
            next(c for c in stream if c.choices and c.choices[0].delta.content)
            seconds = time.monotonic() - started
            stream.close()
        torch = folder_mb(next((clone / ".venv").glob("lib/python3*/site-packages/torch")))
        whole = folder_mb(clone / ".venv")
    return {
        "n": 1,
        "seconds": round(seconds, 1),
        "seconds_install": round(installed, 1),
        "seconds_up": round(up, 1),
        "venv_mb": whole,
        "venv_without_torch_mb": whole - torch,
        "torch_mb": torch,
    }
