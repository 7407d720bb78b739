"""Where the harness finds what it shares with the end-to-end tests, and the Python that has gRPC."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
# Made by tests/clients/setup.sh; the stubs are generated anew for each campaign.
GRPC_PYTHON = ROOT / "build/clients/venv/bin/python3"
