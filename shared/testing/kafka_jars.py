"""Apache Kafka's jars: whether they can be had here, and Maven to bring them."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

POM: Final = Path(__file__).parents[2] / "deploy" / "kafka" / "pom.xml"
VERSION_VARIABLE: Final = "KAFKA_VERSION"
_JAVA_MAJOR: Final = 17
_FETCH_SECONDS: Final = 300


def kafka_version() -> str:
    """Return the version to run: the one in the environment, else the pom's."""
    named = os.environ.get(VERSION_VARIABLE)
    if named:
        return named
    found = re.search(r"<kafka\.version>(.+)</kafka\.version>", POM.read_text())
    if found is None:
        raise RuntimeError(f"{POM} names no kafka.version")
    return found[1]


def unavailable() -> str | None:
    """Return why Kafka cannot be had here, None if it can."""
    java = shutil.which("java")
    if java is None:
        return "Java is not installed"
    if shutil.which("mvn") is None and not _whole(_folder()).exists():
        return "Maven is not installed"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    major = int(found[1]) if found else 0
    return None if major >= _JAVA_MAJOR else f"Kafka 4 needs Java {_JAVA_MAJOR}, this is {major}"


def fetch_jars() -> Path:
    """Return the folder of the jars; have Maven bring them first unless all are there.

    Raises: RuntimeError when Maven cannot.
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = _whole(folder)
        if not whole.exists() or whole.read_text() != POM.read_text():
            _run_maven()
            whole.write_text(POM.read_text())
    return folder


def _folder() -> Path:
    return POM.parent / "target" / f"kafka-{kafka_version()}"


def _whole(folder: Path) -> Path:
    """Name the file that is there once every jar is; it holds the pom they were brought for."""
    return folder / "pom-of-these.xml"


def _run_maven() -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise RuntimeError("Maven is not installed")
    version = f"-Dkafka.version={kafka_version()}"
    command = [maven, "-q", "-B", "-f", str(POM), version, "dependency:copy-dependencies"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"Maven brought no Kafka in {_FETCH_SECONDS} s") from error
    if done.returncode != 0:
        said = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise RuntimeError(f"Maven could not bring Kafka: {said[0] if said else done.returncode}")
