"""A sweep into a real MLflow server with a PostgreSQL backend. Half a minute, so only with LLMSIM_POSTGRES=1."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
ENVIRONMENT = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}

if not os.environ.get("LLMSIM_POSTGRES"):
    pytest.skip("set LLMSIM_POSTGRES=1 to run it", allow_module_level=True)
if BINARIES is None:
    pytest.skip("PostgreSQL is not installed (apt-get install postgresql)", allow_module_level=True)
pytest.importorskip("psycopg", reason="pip install 'psycopg[binary]'")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def database(tmp_path_factory):
    """URI of a new database; PostgreSQL refuses to run as root, so root hands it to the account `postgres`."""
    place = Path("/tmp") / f"postgres-{os.getpid()}"
    place.mkdir()
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if user:
        shutil.chown(place, "postgres")
    port, data = free_port(), str(place / "data")
    run = {"check": True, "cwd": "/tmp", "stdout": subprocess.DEVNULL}
    subprocess.run([*user, BINARIES / "initdb", "-D", data, "-A", "trust", "-U", "mlflow"], **run)
    subprocess.run([*user, BINARIES / "pg_ctl", "-D", data, "-w", "-l", str(place / "log"), "-o",
                    f"-p {port} -c listen_addresses=127.0.0.1 -k {place}", "start"], **run)
    try:
        subprocess.run([*user, BINARIES / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow"], **run)
        yield f"postgresql://mlflow@127.0.0.1:{port}/mlflow"
    finally:
        subprocess.run([*user, BINARIES / "pg_ctl", "-D", data, "-m", "fast", "stop"], **run)
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def server(database, tmp_path):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--artifacts-destination",
         str(tmp_path / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=2).read()
            break
        except OSError:
            assert process.poll() is None, "the server does not start"
            time.sleep(0.5)
    yield uri
    os.killpg(process.pid, 15)
    process.wait(30)


def test_parent_children_and_artifacts_arrive(server, tmp_path):
    from mlflow import MlflowClient

    subprocess.run([sys.executable, "-m", "sweeper", "run", "search_spaces/quick.yaml", "--quiet", "--tracking-uri", server,
                    "--out", str(tmp_path / "study")], check=True, cwd=Path(__file__).parents[3])
    client = MlflowClient(server)
    experiment = next(e for e in client.search_experiments() if e.name == "quick")
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    assert [p.info.status for p in parents] == ["FINISHED"]
    front = (tmp_path / "study" / "pareto.csv").read_text().splitlines()[1:]
    assert len(children) == len(front)
    assert {"pareto.csv", "trials.parquet", "report.html"} <= {a.path for a in client.list_artifacts(parents[0].info.run_id)}
