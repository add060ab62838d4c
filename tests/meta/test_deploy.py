"""The manifests of deploy/k8s and the compose files: parsed, and checked as far as can be without a cluster.

The keys below are a part of Kubernetes' own schema (v1, apps/v1): what our manifests use. A key that is
misspelt or stands in the wrong place is none of them; a key that is new to us is to be looked up and added.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "k8s"

Schema = dict[str, Any]
"""Key to the schema of its value. A type: a value of it. A list of one: a list of such."""

LABELS: Schema = {"app.kubernetes.io/name": str, "app.kubernetes.io/component": str}
METADATA: Schema = {"name": str, "labels": LABELS}
PROBE: Schema = {"tcpSocket": {"port": str}, "periodSeconds": int}
CONTAINER: Schema = {
    "name": str,
    "image": str,
    "args": [str],
    "env": [{"name": str, "value": str}],
    "ports": [{"name": str, "containerPort": int}],
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "resources": {"requests": {"cpu": str, "memory": str}, "limits": {"memory": str}},
    "securityContext": {
        "allowPrivilegeEscalation": bool,
        "readOnlyRootFilesystem": bool,
        "capabilities": {"drop": [str]},
    },
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
}
POD: Schema = {
    "automountServiceAccountToken": bool,
    "terminationGracePeriodSeconds": int,
    "securityContext": {
        "runAsNonRoot": bool,
        "runAsUser": int,
        "runAsGroup": int,
        "fsGroup": int,
        "seccompProfile": {"type": str},
    },
    "containers": [CONTAINER],
    "volumes": [
        {
            "name": str,
            "emptyDir": {"sizeLimit": str},
            "secret": {"secretName": str},
            "persistentVolumeClaim": {"claimName": str, "readOnly": bool},
        }
    ],
}
CLAIM: Schema = {"accessModes": [str], "resources": {"requests": {"storage": str}}}
WORKLOAD: Schema = {
    "selector": {"matchLabels": LABELS},
    "template": {"metadata": {"labels": LABELS}, "spec": POD},
}
KINDS: dict[tuple[str, str], Schema] = {
    ("apps/v1", "Deployment"): {"spec": WORKLOAD | {"replicas": int, "strategy": {"type": str}}},
    ("apps/v1", "DaemonSet"): {
        "spec": WORKLOAD | {"updateStrategy": {"type": str, "rollingUpdate": {"maxUnavailable": int}}}
    },
    ("apps/v1", "StatefulSet"): {
        "spec": WORKLOAD
        | {
            "replicas": int,
            "serviceName": str,
            "volumeClaimTemplates": [{"metadata": METADATA, "spec": CLAIM}],
        }
    },
    ("v1", "Service"): {
        "spec": {
            "clusterIP": str,
            "selector": LABELS,
            "ports": [{"name": str, "port": int, "targetPort": str}],
        }
    },
    ("v1", "PersistentVolumeClaim"): {"spec": CLAIM},
    ("v1", "Secret"): {"type": str, "stringData": {"swarm_key": str}},
}
REQUIRED = {"Deployment", "DaemonSet", "StatefulSet"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


KUSTOMIZATION = documents("kustomization.yaml")[0]
OBJECTS = [(file, one) for file in KUSTOMIZATION["resources"] for one in documents(file)]
WORKLOADS = [one for _, one in OBJECTS if one["kind"] in REQUIRED]


def check(value: Any, schema: Any, where: str) -> None:
    """Fail with the place of the first thing that the schema does not know."""
    if isinstance(schema, type):
        assert type(value) is schema, f"{where} is {value!r}, not {schema.__name__}"
    elif isinstance(schema, list):
        assert isinstance(value, list), f"{where} is no list"
        for number, item in enumerate(value):
            check(item, schema[0], f"{where}[{number}]")
    else:
        assert isinstance(value, dict), f"{where} is no map"
        for key, item in value.items():
            assert key in schema, f"{where}: {key!r} is not known here"
            check(item, schema[key], f"{where}.{key}")


@pytest.mark.parametrize(
    ("file", "one"), OBJECTS, ids=[f"{o['kind']}/{o['metadata']['name']}" for _, o in OBJECTS]
)
def test_every_key_is_one_of_the_schema(file: str, one: dict[str, Any]) -> None:
    schema = KINDS[one["apiVersion"], one["kind"]] | {"apiVersion": str, "kind": str, "metadata": METADATA}
    check(one, schema, file)


def test_every_file_is_part_of_the_whole_and_every_name_is_there_once() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == sorted(
        path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    names = [(one["kind"], one["metadata"]["name"]) for _, one in OBJECTS]
    assert len(set(names)) == len(names)
    assert {kind for kind, _ in names} >= REQUIRED | {"Service", "Secret"}


def test_selectors_choose_their_own_pods_and_nobody_elses() -> None:
    chosen = [one["spec"]["selector"]["matchLabels"] for one in WORKLOADS]
    assert all(chosen.count(labels) == 1 for labels in chosen)
    for one, labels in zip(WORKLOADS, chosen, strict=True):
        assert one["spec"]["template"]["metadata"]["labels"] == labels
    for _, service in OBJECTS:
        if service["kind"] == "Service":
            [target] = [one for one in WORKLOADS if one["metadata"]["labels"] == service["spec"]["selector"]]
            ports = {port["name"] for port in target["spec"]["template"]["spec"]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("one", WORKLOADS, ids=lambda one: one["metadata"]["name"])
def test_every_pod_is_locked_down_and_finds_its_volumes(one: dict[str, Any]) -> None:
    pod = one["spec"]["template"]["spec"]
    claims = {c["metadata"]["name"] for _, c in OBJECTS if c["kind"] == "PersistentVolumeClaim"}
    secrets = {s["metadata"]["name"] for _, s in OBJECTS if s["kind"] == "Secret"}
    own = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == KUSTOMIZATION["images"][0]["name"]
    assert {container[probe]["tcpSocket"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {
        port["name"] for port in container["ports"]
    }
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == volumes.keys() | own
    for volume in volumes.values():
        assert volume.get("persistentVolumeClaim", {}).get("claimName") in {None, *claims}
        assert volume.get("secret", {}).get("secretName") in {None, *secrets}
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    assert env["SWARM_KEY_FILE"] == "/etc/manyhands/swarm_key"
    if container["args"] != ["tracker"]:
        [tracker] = [s for _, s in OBJECTS if s["kind"] == "Service" and s["metadata"]["name"] == "tracker"]
        assert env["TRACKER"] == f"tracker:{tracker['spec']['ports'][0]['port']}"


def test_the_entry_script_knows_every_role_and_variable_that_is_used() -> None:
    script = (ROOT / "deploy" / "docker" / "run").read_text(encoding="utf-8")
    for one in WORKLOADS:
        [container] = one["spec"]["template"]["spec"]["containers"]
        assert f"\n{container['args'][0]})\n" in script
        for variable in container["env"]:
            assert f"${{{variable['name']}" in script or f"${variable['name']}" in script


def test_the_compose_file_can_be_deployed_to_a_swarm_cluster() -> None:
    """What `docker stack deploy` refuses is in the override file, which it does not read."""
    base = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    extra = yaml.safe_load((ROOT / "docker-compose.override.yml").read_text(encoding="utf-8"))
    assert base["version"] == extra["version"] == "3.8"
    assert set(base["services"]) == {"tracker", "seed", "peer"}
    assert set(extra["services"]) == {"lab"}
    for service in base["services"].values():
        assert "profiles" not in service
        assert "container_name" not in service
        assert service["deploy"]["restart_policy"]["condition"] == "any"
        assert service["secrets"] == ["swarm_key"]
        assert service["read_only"] is True
    assert (ROOT / "deploy" / "docker" / "public").read_text(encoding="utf-8") == "public\n"


def test_composed_containers_stop_while_they_start() -> None:
    """A program that is process 1 ignores SIGTERM until it has a handler: `init` is process 1 instead."""
    for name in ("docker-compose.yml", "docker-compose.override.yml"):
        services = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["services"]
        assert {service["init"] for service in services.values()} == {True}


def test_what_containers_read_keeps_its_line_ends_in_every_checkout() -> None:
    folder = ROOT / "deploy" / "docker"
    kept = (folder / ".gitattributes").read_text(encoding="utf-8").splitlines()
    read = [path for path in folder.iterdir() if path.name != ".gitattributes"]
    assert {f"{path.name} text eol=lf" for path in read} <= set(kept)
    assert not [path for path in read if b"\r" in path.read_bytes()]


def test_the_unit_of_a_user_starts_with_that_user_and_uses_their_home() -> None:
    folder = ROOT / "deploy" / "systemd"
    system, own = (
        {line for line in path.read_text().splitlines() if line and not line.startswith("#")}
        for path in (folder / "manyhands.service", folder / "user" / "manyhands.service")
    )

    # A user's manager knows no multi-user.target: `enable` would be without effect.
    assert own - system == {"WantedBy=default.target"}
    assert "WantedBy=multi-user.target" not in own
    kept = (
        "ExecStart=",
        "ExecReload=",
        "Type=",
        "Notify",
        "WatchdogSec=",
        "Restart",
        "TimeoutStopSec=",
        "StartLimit",
    )
    assert {line for line in system if line.startswith(kept)} <= own
    others = ("User=", "Environment", "StateDirectory", "Protect")
    assert not [line for line in own if line.startswith(others)]


@pytest.mark.parametrize("name", ["manyhands.service", "user/manyhands.service"])
def test_a_daemon_that_cannot_start_is_not_started_for_ever(name: str) -> None:
    """Systemd's own limit, 5 starts in 10 s, is never met by one start in 2 s."""
    text = (ROOT / "deploy" / "systemd" / name).read_text()
    unit, _, rest = text.partition("[Service]")  # a limit in any other section is ignored
    values = dict(line.split("=", 1) for line in (unit + rest).splitlines() if "=" in line and line[0] != "#")
    assert "StartLimitBurst" in unit
    assert "StartLimitIntervalSec" in unit
    assert values["Restart"] == "on-failure"
    seconds_each = int(values["RestartSec"]) + 5  # and until it has failed
    assert int(values["StartLimitBurst"]) * seconds_each < int(values["StartLimitIntervalSec"])
