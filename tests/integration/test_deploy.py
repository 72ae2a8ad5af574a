import json
import os
import re
import runpy
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import kubernetes_validate
import pytest
import yaml

from services.host import ROOMS
from services.settings import DeskSettings, database_url
from shared.contracts.registry import TOPICS
from shared.http.revoked import FILE
from shared.postgres.embedded import EmbeddedPostgres, _binary
from shared.postgres.migrate import migrate

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = tuple(ROOMS)
RENDERINGS = ("base", "overlays/dev")
KUBERNETES = ("1.30", "1.34")
DESK_NAMES = {f"DESK_{name.upper()}" for name in DeskSettings.model_fields}
URL_NAMES = {f"{name.upper()}_DATABASE_URL" for name in SERVICES}
PASSWORD_NAMES = {f"{name.upper()}_DATABASE_PASSWORD" for name in SERVICES}
HARDENED = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


@cache
def rendered(folder: Path) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs kubectl")
        pytest.skip("no kubectl")
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    return {r["metadata"]["name"]: r for r in rendered(folder) if r["kind"] == kind}


def pods(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        f"{kind}/{name}": resource["spec"]["template"]["spec"]
        for kind in ("Deployment", "Job")
        for name, resource in of_kind(folder, kind).items()
    }


def environment(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in pod["containers"][0].get("env", [])}


def with_component(tmp_path: Path, component: str) -> Path:
    """Kustomize refuses absolute paths, so the overlay names base and component relatively."""

    def relative(to: str) -> str:
        return os.path.relpath(DEPLOY / "k8s" / to, tmp_path.resolve())

    overlay = {"resources": [relative("base")], "components": [relative(component)]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return tmp_path


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(params=RENDERINGS)
def folder(request: pytest.FixtureRequest) -> Path:
    return DEPLOY / "k8s" / request.param


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_resource_is_valid_kubernetes(folder: Path, kubernetes: str) -> None:
    for resource in rendered(folder):
        kubernetes_validate.validate(resource, kubernetes, strict=True)


def test_a_misspelt_field_is_not_valid_kubernetes() -> None:
    deployment = json.loads(json.dumps(of_kind(DEPLOY / "k8s/base", "Deployment")["desk-intake"]))
    deployment["spec"]["replicaz"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
def test_each_service_and_nothing_else_has_one(folder: Path, kind: str) -> None:
    assert set(of_kind(folder, kind)) == {f"desk-{name}" for name in SERVICES}


def test_each_service_has_a_migration_and_the_topics_have_a_job(folder: Path) -> None:
    arguments = {
        name: job["spec"]["template"]["spec"]["containers"][0]["args"]
        for name, job in of_kind(folder, "Job").items()
    }
    assert arguments == {
        **{f"desk-migrate-{name}": ["migrate", name] for name in SERVICES},
        "desk-topics": ["topics", "create"],
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_deployment_serves_its_own_service(folder: Path, service: str) -> None:
    container = pods(folder)[f"Deployment/desk-{service}"]["containers"][0]
    assert container["args"] == ["serve", service, "--host", "0.0.0.0", "--port", "8080"]
    assert container["ports"][0]["containerPort"] == 8080


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_finds_its_servers_and_never_its_migrations(folder: Path, service: str) -> None:
    selector = of_kind(folder, "Service")[f"desk-{service}"]["spec"]["selector"].items()
    budget = of_kind(folder, "PodDisruptionBudget")[f"desk-{service}"]["spec"]["selector"]
    assert budget["matchLabels"].items() == selector
    found = {
        name
        for kind in ("Deployment", "Job")
        for name, each in of_kind(folder, kind).items()
        if selector <= each["spec"]["template"]["metadata"]["labels"].items()
    }
    assert found == {f"desk-{service}"}


def test_two_replicas_unless_an_overlay_says_otherwise() -> None:
    base = of_kind(DEPLOY / "k8s/base", "Deployment").values()
    dev = of_kind(DEPLOY / "k8s/overlays/dev", "Deployment").values()
    assert {each["spec"]["replicas"] for each in base} == {2}
    assert {each["spec"]["replicas"] for each in dev} == {1}


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_the_health_endpoints(folder: Path, service: str) -> None:
    container = pods(folder)[f"Deployment/desk-{service}"]["containers"][0]
    asked = {
        probe: container[f"{probe}Probe"]["httpGet"]
        for probe in ("startup", "liveness", "readiness")
    }
    assert asked == {
        "startup": {"path": "/health/live", "port": "http"},
        "liveness": {"path": "/health/live", "port": "http"},
        "readiness": {"path": "/health/ready", "port": "http"},
    }


def test_every_pod_is_bounded_and_harmless(folder: Path) -> None:
    for name, pod in pods(folder).items():
        (container,) = pod["containers"]
        assert container["securityContext"] == HARDENED, name
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][bound].keys(), name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"], name


def test_no_pod_gets_a_token_for_the_cluster(folder: Path) -> None:
    accounts = of_kind(folder, "ServiceAccount")
    for name, pod in pods(folder).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False, name


def test_a_server_has_time_to_finish(folder: Path) -> None:
    for name in SERVICES:
        pod = pods(folder)[f"Deployment/desk-{name}"]
        pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["terminationGracePeriodSeconds"] >= pause + 30


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("owner", ["Deployment/desk-", "Job/desk-migrate-"])
def test_a_pod_knows_one_database_and_takes_its_url_from_a_secret(
    folder: Path, service: str, owner: str
) -> None:
    variables = environment(pods(folder)[f"{owner}{service}"])
    urls = {name: each["valueFrom"] for name, each in variables.items() if name in URL_NAMES}
    secret = {"secretKeyRef": {"name": f"desk-database-{service}", "key": "url"}}
    assert urls == {f"{service.upper()}_DATABASE_URL": secret}


def test_a_replica_is_named_after_its_pod(folder: Path) -> None:
    for name in SERVICES:
        variables = environment(pods(folder)[f"Deployment/desk-{name}"])
        source = variables["DESK_REPLICA"]["valueFrom"]["fieldRef"]
        assert source["fieldPath"] == "metadata.name"


def test_secrets_are_referenced_and_never_contained(folder: Path) -> None:
    assert not of_kind(folder, "Secret")
    for name, pod in pods(folder).items():
        for variable, each in environment(pod).items():
            if re.search(r"SECRET|PASSWORD|URL", variable):
                assert "secretKeyRef" in each["valueFrom"], (name, variable)
    assert not re.search(r"://[^/\s]*:[^/\s]*@", yaml.safe_dump_all(rendered(folder)))


def test_pods_and_configuration_set_only_what_the_desk_knows(folder: Path) -> None:
    (configuration,) = of_kind(folder, "ConfigMap").values()
    assert {"DESK_KAFKA", "DESK_ROLE"} <= configuration["data"].keys() <= DESK_NAMES
    for name, pod in pods(folder).items():
        assert environment(pod).keys() <= DESK_NAMES | URL_NAMES, name
    values = {name.removeprefix("DESK_").lower(): v for name, v in configuration["data"].items()}
    assert DeskSettings(**values).partitions == 6


def test_a_replica_of_the_desk_reads_the_rendered_configuration(folder: Path) -> None:
    (configuration,) = of_kind(folder, "ConfigMap")
    named = {
        name: [each["configMapRef"]["name"] for each in pod["containers"][0].get("envFrom", [])]
        for name, pod in pods(folder).items()
    }
    migrations = {f"Job/desk-migrate-{name}" for name in SERVICES}
    assert {name for name, maps in named.items() if maps != [configuration]} == migrations


def test_the_base_runs_this_version() -> None:
    images = {p["containers"][0]["image"] for p in pods(DEPLOY / "k8s/base").values()}
    assert images == {f"deskledger:{version('deskledger')}"}


def test_the_local_issuers_key_is_a_file_that_the_world_cannot_read() -> None:
    for name, pod in pods(DEPLOY / "k8s/overlays/dev").items():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert ("signing-key" in volumes) == name.startswith("Deployment/"), name
        if "signing-key" in volumes:
            assert volumes["signing-key"]["secret"]["defaultMode"] & 0o007 == 0
            mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
            path = environment(pod)["DESK_SIGNING_KEY"]["value"]
            assert Path(path).parent == Path(mounts["signing-key"])


def test_every_pod_reads_one_list_of_revoked_tokens_that_may_be_missing() -> None:
    for name, pod in pods(DEPLOY / "k8s/overlays/dev").items():
        if name.startswith("Deployment/"):
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            assert volumes["revoked"]["configMap"] == {"name": "desk-revoked", "optional": True}
            mounts = {m["name"]: m for m in pod["containers"][0]["volumeMounts"]}
            # A single file, by subPath, would never change in a running pod.
            assert "subPath" not in mounts["revoked"]
            path = environment(pod)["DESK_REVOKED"]["value"]
            assert Path(path) == Path(mounts["revoked"]["mountPath"]) / FILE


def test_topics_of_the_contracts_are_the_topics_of_strimzi() -> None:
    script = runpy.run_path(str(DEPLOY / "k8s/components/strimzi/topics.py"))
    text = (DEPLOY / "k8s/components/strimzi/topics.yaml").read_text()
    assert text == script["render"](), "run python -m deploy.k8s.components.strimzi.topics"
    topics = list(yaml.safe_load_all(text))
    assert sorted(each["spec"]["topicName"] for each in topics) == sorted(TOPICS)
    for each in topics:
        assert each["spec"]["partitions"] == 6
        assert each["spec"]["config"] == {"retention.ms": "-1", "cleanup.policy": "delete"}
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", each["metadata"]["name"])


def test_strimzi_takes_the_place_of_the_topics_job(tmp_path: Path) -> None:
    folder = with_component(tmp_path, "components/strimzi")
    assert len(of_kind(folder, "KafkaTopic")) == len(TOPICS)
    assert set(of_kind(folder, "Job")) == {f"desk-migrate-{name}" for name in SERVICES}
    assert "desk-topics" not in of_kind(folder, "ServiceAccount")


@pytest.mark.parametrize("service", SERVICES)
def test_compose_serves_and_migrates_each_service_with_its_own_database(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = compose()["services"]
    server, migration = services[service], services[f"migrate-{service}"]
    assert server["command"] == ["serve", service, "--host", "0.0.0.0", "--port", "8080"]
    assert migration["command"] == ["migrate", service]
    for one in (server, migration):
        assert {n for n in one["environment"] if n.endswith("_URL")} == {
            f"{service.upper()}_DATABASE_URL"
        }
        assert one["environment"].keys() <= DESK_NAMES | URL_NAMES
    monkeypatch.setenv(*next(iter(migration["environment"].items())))
    assert database_url(service).startswith(f"postgresql://{service}:")
    assert database_url(service).endswith(f"@postgres:5432/{service}")


def test_compose_starts_servers_after_migrations_and_topics() -> None:
    services = compose()["services"]
    done = {"condition": "service_completed_successfully"}
    for name in SERVICES:
        assert services[name]["depends_on"] == {f"migrate-{name}": done, "topics": done}
    assert set(services) == {
        *SERVICES, *(f"migrate-{name}" for name in SERVICES), "topics", "kafka", "postgres", "front"
    }  # fmt: skip
    healthy = {"condition": "service_healthy"}
    assert services["front"]["depends_on"] == dict.fromkeys(SERVICES, healthy)


def test_compose_publishes_on_this_machine_only() -> None:
    published = {n: s["ports"] for n, s in compose()["services"].items() if "ports" in s}
    assert published == {
        "front": ["127.0.0.1:8080:8080"],
        **{name: [f"127.0.0.1:{8081 + index}:8080"] for index, name in enumerate(SERVICES)},
    }


def test_the_example_names_every_secret_of_compose_and_gives_none() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    asked = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    assert all(rest.startswith(":?") for _, rest in asked)
    lines = (DEPLOY / "compose.env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert example.keys() == {name for name, _ in asked} >= PASSWORD_NAMES
    assert set(example.values()) == {""}


def test_the_image_takes_only_locked_wheels_and_is_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    installs = [part for line in lines for part in line.split("&&") if " install " in f"{part} "]
    pip = [part for part in installs if "pip" in part]
    assert len(pip) == 3
    for part in pip:
        assert "--no-deps" in part
        assert "--require-hashes" in part or "--no-index" in part
    stages = [index for index, line in enumerate(lines) if line.startswith("FROM ")]
    last = lines[stages[-1] :]
    assert len(stages) == 2
    assert not any("pip install" in line or "apt-get" in line for line in last)
    assert [line for line in last if line.startswith("USER ")] == ["USER 10001:10001"]
    assert last[-1] == 'ENTRYPOINT ["desk"]'


def test_the_build_context_is_a_list_of_what_goes_in() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line.removeprefix("!") for line in rules if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    assert {name for names in copied for name in names.split()} == allowed


def run_init(
    server: EmbeddedPostgres, passwords: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            _binary("psql"),
            "--no-psqlrc",
            "--file",
            DEPLOY / "postgres/init.sql",
            server.dsn("postgres"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        env={"PATH": os.environ["PATH"], **passwords},
    )


async def test_the_init_script_makes_databases_that_only_their_owner_may_open(
    tmp_path: Path,
) -> None:
    server = EmbeddedPostgres(tmp_path)
    await server.start()
    try:
        done = run_init(server, {name: f"{name.lower()}-pw" for name in PASSWORD_NAMES})
        assert done.returncode == 0, done.stderr

        def dsn(login: str, database: str) -> str:
            host = server.dsn(database).split("@", 1)[1]
            return f"postgresql://{login}:{login}_database_password-pw@{host}"

        for name in SERVICES:
            assert await migrate(dsn(name, name), ROOMS[name]().spec.migrations)
            connection = await asyncpg.connect(dsn(name, name))
            for role in ("desk_app", "desk_replay"):
                await connection.execute(f"SET ROLE {role}")
            await connection.close()
            other = next(each for each in SERVICES if each != name)
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
                await asyncpg.connect(dsn(name, other))
    finally:
        await server.stop()


async def test_the_init_script_stops_where_a_password_is_missing(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    await server.start()
    try:
        done = run_init(server, {"INTAKE_DATABASE_PASSWORD": "only-one"})
        assert done.returncode != 0
        assert "routing_password" in done.stderr
    finally:
        await server.stop()
