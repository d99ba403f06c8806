"""Stands in for InfiniLM's inference_server.py of the examples: it serves the model of --model_path as `svc mock`."""

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--model_path", type=Path, required=True)
parser.add_argument("--port", required=True)
known, _ = parser.parse_known_args()
os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
mock = ["-m", "svc", "mock", "--name", known.port, "--port", known.port, "--models", known.model_path.name]
os.execv(sys.executable, [sys.executable, "-P", *mock])
